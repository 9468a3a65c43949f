//! TCP (Noise, Yamux) and QUIC behind one door, with every byte of every stream counted.
//!
//! TCP carries the bulk: QUIC costs about three times the processor time on a local network. It is
//! there for members that only UDP reaches.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};
use libp2p::core::transport::{Boxed, Transport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, dns, noise, quic, tcp, yamux};

use super::limits;

/// What [`super::Traffic`] is read from. Bytes are those of all streams, without the framing of
/// Noise, Yamux, TCP and QUIC around them (some 2 % for blobs).
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    pub peers: AtomicUsize,
}

/// The transport of the peer with this key.
pub(crate) fn build(
    key: &Keypair,
    counters: &Arc<Counters>,
) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
    let noise = noise::Config::new(key).map_err(io::Error::other)?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::default())
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .timeout(limits::HANDSHAKE_TIMEOUT)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let mut config = quic::Config::new(key);
    config.handshake_timeout = limits::HANDSHAKE_TIMEOUT;
    config.max_idle_timeout = limits::PING_TIMEOUT.as_millis() as u32;
    let quic = quic::tokio::Transport::new(config)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let either = tcp.or_transport(quic).map(|either, _| either.into_inner());
    let counters = counters.clone();
    let counted = either.map(move |(peer, inner), _| {
        let counters = counters.clone();
        (peer, StreamMuxerBox::new(CountedMuxer { inner, counters }))
    });
    with_names(counted)
}

/// Resolves names with the system's servers, or not at all where the system names none.
fn with_names<T>(inner: T) -> io::Result<Boxed<T::Output>>
where
    T: Transport + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send,
    T::ListenerUpgrade: Send,
{
    if Path::new(NAME_SERVERS).exists() {
        return Ok(dns::tokio::Transport::system(inner)?.boxed());
    }
    let (servers, options) = (dns::ResolverConfig::default(), dns::ResolverOpts::default());
    Ok(dns::tokio::Transport::custom(inner, servers, options).boxed())
}

/// Where the system lists its name servers.
const NAME_SERVERS: &str = "/etc/resolv.conf";

/// A connection whose streams are counted.
struct CountedMuxer {
    inner: StreamMuxerBox,
    counters: Arc<Counters>,
}

impl CountedMuxer {
    fn counted(&self, stream: io::Result<SubstreamBox>) -> io::Result<CountedStream> {
        Ok(CountedStream { inner: stream?, counters: self.counters.clone() })
    }
}

impl StreamMuxer for CountedMuxer {
    type Substream = CountedStream;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<CountedStream>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_inbound(cx));
        Poll::Ready(self.counted(stream))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<CountedStream>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_outbound(cx));
        Poll::Ready(self.counted(stream))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, io::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// A stream that adds what passes to the counters.
struct CountedStream {
    inner: SubstreamBox,
    counters: Arc<Counters>,
}

impl AsyncRead for CountedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        self.counters.bytes_in.fetch_add(count as u64, Ordering::Relaxed);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.counters.bytes_out.fetch_add(count as u64, Ordering::Relaxed);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
