//! The control socket: how the commands of a person reach the node that runs in a home.
//!
//! A Unix socket in the home folder, which only its owner can enter. One JSON query a line, JSON
//! answers a line; a client that is slow, long-winded or one too many is dropped and never delays
//! the node. The driver owns what is asked for and answers each [`Request`] through its channel.

mod address;
mod client;
pub mod petitions;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use witan_home::Home;
use witan_home::StoreError;
use witan_home::store::{LogEntry, LogFilter};
use witan_protocol::digest::Digest;
use witan_protocol::io::Time;
use witan_protocol::status::Status;

pub use client::{Client, ControlError};
use petitions::{CastRequest, PetitionRow};

/// What the driver is asked. An answer nobody waits for any more is dropped.
#[derive(Debug)]
pub struct Request {
    /// The client's query; of [`Query::Log`] it wants one page.
    pub query: Query,
    /// Takes the answer: one [`Reply`], or a page of entries.
    pub reply: oneshot::Sender<Vec<Reply>>,
}

/// A status with the clock it was read by, so that "until when" can be told as "in 12 s".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// Now, on the participant's clock.
    pub now: Time,
    /// What the participant says.
    pub status: Status,
}

/// One line from a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// What is the node doing?
    Status,
    /// Stop, in good order.
    Stop,
    /// Which petitions are open?
    Petitions,
    /// Cast a ballot.
    Cast(CastRequest),
    /// Show the gossip log.
    Log {
        /// Which entries.
        #[serde(default)]
        filter: LogFilter,
        /// Whether to go on with those to come.
        #[serde(default)]
        follow: bool,
    },
}

/// One line to a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// What the node is doing.
    Status(Box<StatusReport>),
    /// The node stops.
    Stopping,
    /// The open petitions.
    Petitions(Vec<PetitionRow>),
    /// The petition of the ballot that was cast.
    Cast(Digest),
    /// One entry of the log.
    Entry(LogEntry),
    /// The log ends here.
    End,
    /// Why the query is not answered.
    Refused(String),
}

/// The open socket; dropping it closes it and removes its file.
#[derive(Debug)]
pub struct ControlSocket {
    /// What clients ask.
    pub requests: mpsc::Receiver<Request>,
    path: PathBuf,
    task: JoinHandle<()>,
}

/// Opens the socket of a home that this process has locked, inside a tokio runtime.
pub fn listen(home: &Home) -> Result<ControlSocket, StoreError> {
    let path = home.control_socket();
    let failed = |source| StoreError::io("cannot listen on", &path, source);
    // The lock is ours, so a socket that is there is left over from a node that was killed.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let address = address::of(&path).map_err(failed)?;
    let listener = UnixListener::bind(&address.path).map_err(failed)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    let (sender, requests) = mpsc::channel(REQUESTS_WAITING_MAX);
    let task = tokio::spawn(accept(listener, sender));
    Ok(ControlSocket { requests, path, task })
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.task.abort();
        // If it stays, the next node removes it.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn accept(listener: UnixListener, requests: mpsc::Sender<Request>) {
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: they come back.
            tokio::time::sleep(FOLLOW_INTERVAL).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let requests = requests.clone();
        tokio::spawn(async move {
            // A client that went away is nobody's loss.
            let _ = serve(stream, requests).await;
            drop(place);
        });
    }
}

async fn serve(stream: UnixStream, requests: mpsc::Sender<Request>) -> Option<()> {
    let (reader, writer) = stream.into_split();
    let mut client = Connection { reader, writer, requests };
    let mut line = String::new();
    let mut bounded = BufReader::new((&mut client.reader).take(QUERY_MAX_BYTES));
    timeout(CLIENT_TIMEOUT, bounded.read_line(&mut line)).await.ok()?.ok()?;
    match serde_json::from_str(&line) {
        Ok(Query::Log { filter, follow }) => client.log(filter, follow).await,
        Ok(query) => client.pass_on(query).await.map(drop),
        Err(error) => client.answer(&Reply::Refused(error.to_string())).await,
    }
}

/// One client; every step ends in `None` when the client or the driver is gone.
struct Connection {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    requests: mpsc::Sender<Request>,
}

impl Connection {
    /// Has the driver answer a query; returns what was sent last.
    async fn pass_on(&mut self, query: Query) -> Option<Option<Reply>> {
        let (reply, replies) = oneshot::channel();
        self.requests.send(Request { query, reply }).await.ok()?;
        let mut replies = replies.await.ok()?;
        for reply in &replies {
            self.answer(reply).await?;
        }
        Some(replies.pop())
    }

    /// The log page by page; with `follow` also what comes, until the client is gone.
    async fn log(&mut self, mut filter: LogFilter, follow: bool) -> Option<()> {
        loop {
            match self.pass_on(Query::Log { filter: filter.clone(), follow }).await? {
                Some(Reply::Entry(last)) => filter.after = Some(last.seq),
                Some(_) => return None,
                None if !follow => return self.answer(&Reply::End).await,
                // A client has nothing more to say: whatever can be read now is its end.
                None => match timeout(FOLLOW_INTERVAL, self.reader.read(&mut [0])).await {
                    Ok(_) => return None,
                    Err(_) => continue,
                },
            }
        }
    }

    async fn answer(&mut self, answer: &Reply) -> Option<()> {
        let mut line = serde_json::to_vec(answer).expect("an answer is plain data");
        line.push(b'\n');
        timeout(CLIENT_TIMEOUT, self.writer.write_all(&line)).await.ok()?.ok()
    }
}

/// A person has two or three terminals open, a script a few more.
const CLIENTS_MAX: usize = 16;

/// Queries the driver has not looked at; a client waits beyond that.
const REQUESTS_WAITING_MAX: usize = 16;

/// The longest query, a log filter, is under 300 bytes.
const QUERY_MAX_BYTES: u64 = 4 << 10;

/// How long a client may take to send its query, or to take a line of the answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often `--follow` looks for news: soon enough for a person, nothing for the node.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests;
