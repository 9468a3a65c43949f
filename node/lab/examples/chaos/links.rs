//! The network between the members, in user space: a TCP proxy for each way from one member to
//! another, so that a member can be cut off from all others, both ways, without any right over the
//! machine.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The state of a member's line to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// All passes.
    Open,
    /// Nothing passes and nobody is told: bytes wait, as when a cable is pulled for a while.
    Silent,
    /// Connections break and none is made.
    Cut,
}

/// All ways between the members.
pub(crate) struct Links {
    lines: Vec<watch::Sender<Line>>,
    ports: Vec<Arc<AtomicU16>>,
    addresses: Vec<Vec<String>>,
}

/// The lines of the two members at the ends of a way.
type Ends = [watch::Receiver<Line>; 2];

impl Links {
    /// Opens a way for each ordered pair of `nodes` members.
    pub(crate) async fn between(nodes: usize) -> io::Result<Self> {
        let lines: Vec<_> = (0..nodes).map(|_| watch::Sender::new(Line::Open)).collect();
        let ports: Vec<_> = (0..nodes).map(|_| Arc::<AtomicU16>::default()).collect();
        let mut addresses = vec![Vec::new(); nodes];
        for (from, known) in addresses.iter_mut().enumerate() {
            for to in 0..nodes {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                known.push(format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr()?.port()));
                // A way from a member to itself leads nowhere: nobody is to find a shorter one.
                if from != to {
                    let ends = [lines[from].subscribe(), lines[to].subscribe()];
                    tokio::spawn(serve(listener, Arc::clone(&ports[to]), ends));
                }
            }
        }
        Ok(Self { lines, ports, addresses })
    }

    /// Where member `from` reaches member `to`.
    pub(crate) fn address(&self, from: usize, to: usize) -> &str {
        &self.addresses[from][to]
    }

    /// Where member `node` really listens now.
    pub(crate) fn leads_to(&self, node: usize, port: u16) {
        self.ports[node].store(port, Ordering::Relaxed);
    }

    /// Changes the line of a member.
    pub(crate) fn set(&self, node: usize, line: Line) {
        self.lines[node].send_replace(line);
    }
}

async fn serve(listener: TcpListener, port: Arc<AtomicU16>, ends: Ends) {
    while let Ok((near, _)) = listener.accept().await {
        let (port, ends) = (Arc::clone(&port), ends.clone());
        tokio::spawn(async move { carry(near, &port, ends).await });
    }
}

/// Carries one connection until either side ends it or it is cut.
async fn carry(near: TcpStream, port: &AtomicU16, mut ends: Ends) -> Option<()> {
    opened(&mut ends).await?;
    let far = TcpStream::connect(("127.0.0.1", port.load(Ordering::Relaxed))).await.ok()?;
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let [mut one, mut other] = ends.clone();
    tokio::select! {
        _ = forward(near_in, far_out, ends.clone()) => {}
        _ = forward(far_in, near_out, ends) => {}
        _ = one.wait_for(|line| *line == Line::Cut) => {}
        _ = other.wait_for(|line| *line == Line::Cut) => {}
    }
    Some(())
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut ends: Ends) -> Option<()> {
    let mut bytes = vec![0; BUFFER_BYTES];
    loop {
        let count = from.read(&mut bytes).await.ok().filter(|count| *count > 0)?;
        opened(&mut ends).await?;
        to.write_all(&bytes[..count]).await.ok()?;
    }
}

/// Waits while a line is silent; `None` if one is cut.
async fn opened(ends: &mut Ends) -> Option<()> {
    loop {
        for end in ends.iter_mut() {
            end.wait_for(|line| *line != Line::Silent).await.ok()?;
        }
        match [*ends[0].borrow(), *ends[1].borrow()] {
            [Line::Open, Line::Open] => return Some(()),
            [Line::Cut, _] | [_, Line::Cut] => return None,
            _ => {}
        }
    }
}

const BUFFER_BYTES: usize = 64 << 10;
