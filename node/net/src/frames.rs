//! One request, one answer, each a length and that many bytes, on a stream of their own.
//!
//! Decides that a frame is too large before anything is kept for it, and grows with what arrives
//! rather than with what was announced.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response::{self, Behaviour, Config, ProtocolSupport};

use super::limits;

/// Reads and writes frames within two caps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frames {
    /// Bytes a request may have.
    pub request_bytes_max: usize,
    /// Bytes an answer may have.
    pub answer_bytes_max: usize,
}

impl Frames {
    /// The request-response behaviour of one protocol.
    pub(crate) fn behaviour(self, protocol: StreamProtocol) -> Behaviour<Frames> {
        let config = Config::default()
            .with_request_timeout(limits::REQUEST_TIMEOUT)
            .with_max_concurrent_streams(limits::STREAMS_PER_PEER_MAX);
        Behaviour::with_codec(self, [(protocol, ProtocolSupport::Full)], config)
    }
}

impl request_response::Codec for Frames {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        read(io, self.request_bytes_max).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        read(io, self.answer_bytes_max).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        write(io, &bytes).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        write(io, &bytes).await
    }
}

async fn read<T: AsyncRead + Unpin + Send>(io: &mut T, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    io.read_exact(&mut head).await?;
    let announced = u32::from_be_bytes(head) as usize;
    if announced > bytes_max {
        let error = format!("frame of {announced} bytes, at most {bytes_max} are allowed");
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    let mut bytes = Vec::with_capacity(announced.min(FIRST_ALLOCATION_BYTES));
    io.take(announced as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < announced {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

async fn write<T: AsyncWrite + Unpin + Send>(io: &mut T, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    io.write_all(&length.to_be_bytes()).await?;
    io.write_all(bytes).await
}

/// Kept for a frame on its word alone; the rest follows as bytes arrive.
const FIRST_ALLOCATION_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::Cursor;

    use super::*;

    #[test]
    fn a_frame_reads_back_as_written() {
        let mut wire = Cursor::new(Vec::new());
        block_on(write(&mut wire, b"frame")).unwrap();
        let wire = wire.into_inner();
        assert_eq!(wire, b"\0\0\0\x05frame");
        assert_eq!(block_on(read(&mut Cursor::new(wire), 5)).unwrap(), b"frame");
    }

    #[test]
    fn a_frame_over_the_cap_is_refused_by_its_head() {
        let error = block_on(read(&mut Cursor::new(b"\0\0\0\x06frames"), 5)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let error = block_on(read(&mut Cursor::new([0xff; 4]), 1 << 20)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_frame_cut_short_is_an_error() {
        let error = block_on(read(&mut Cursor::new(b"\0\0\0\x05fra"), 5)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
