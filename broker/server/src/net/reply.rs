//! A reply on its way out: bytes from memory, and slices of files that the kernel sends itself.
//!
//! The slices go by sendfile(2) on the socket's readiness, at most [`TURN_BYTES`] a turn, so that one fast consumer leaves
//! the others their turn. The head waits in the socket (`MSG_MORE`) for the bytes behind it. Whatever fails after the
//! head has left closes the connection: the client cannot know where it stands.
//!
//! Not here: pages that are not resident. They are read by the data thread, which is why it has its own runtime.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use broker_log::DiskFile;
use bytes::{Buf, Bytes};
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The most that one sendfile call moves.
pub const TURN_BYTES: usize = 1 << 20;
/// A peer that takes nothing for so long is gone.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// A piece of a reply.
#[derive(Clone, Debug)]
pub enum Part {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A slice of a file.
    File(FileSlice),
}

/// Bytes of a file that go to a socket without a visit to this program's memory.
#[derive(Clone, Debug)]
pub struct FileSlice {
    /// Open for reading. It may be unlinked meanwhile.
    pub file: Arc<DiskFile>,
    /// Where the slice begins, in bytes.
    pub position: u64,
    /// How long it is.
    pub bytes: usize,
}

/// A reply with its length prefix, in the order in which it leaves.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Never empty pieces first: the first has the length and the head.
    pub parts: Vec<Part>,
}

impl Part {
    /// How many bytes it sends.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Part::Bytes(bytes) => bytes.len(),
            Part::File(slice) => slice.bytes,
        }
    }
}

impl Reply {
    /// How many bytes it sends.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(Part::bytes).sum()
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// After any error the connection is over.
    pub async fn send(self, stream: &TcpStream) -> io::Result<()> {
        let last = self.parts.len().saturating_sub(1);
        for (index, part) in self.parts.into_iter().enumerate() {
            match part {
                Part::Bytes(bytes) => {
                    let flags = if index < last { SendFlags::MORE } else { SendFlags::empty() };
                    send_bytes(stream, bytes, flags | SendFlags::NOSIGNAL).await?;
                }
                Part::File(slice) => send_file(stream, slice).await?,
            }
        }
        Ok(())
    }
}

async fn send_bytes(stream: &TcpStream, mut bytes: Bytes, flags: SendFlags) -> io::Result<()> {
    while bytes.has_remaining() {
        let sending =
            stream.async_io(Interest::WRITABLE, || Ok(rustix::net::send(stream.as_fd(), bytes.chunk(), flags)?));
        let sent = timeout(SEND_TIMEOUT, sending).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        bytes.advance(sent);
    }
    Ok(())
}

async fn send_file(stream: &TcpStream, slice: FileSlice) -> io::Result<()> {
    let (mut position, end) = (slice.position, slice.position + slice.bytes as u64);
    while position < end {
        let count = TURN_BYTES.min(usize::try_from(end - position).unwrap_or(TURN_BYTES));
        let sending = stream.async_io(Interest::WRITABLE, || {
            Ok(rustix::fs::sendfile(stream.as_fd(), slice.file.as_fd(), Some(&mut position), count)?)
        });
        let sent = timeout(SEND_TIMEOUT, sending).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if sent == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than its slice"));
        }
        tokio::task::consume_budget().await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_log::{DiskFiles, Files, OpenMode};
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn parts_leave_in_order_and_a_file_that_is_too_short_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut client, server) = (client.unwrap(), server.unwrap().0);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("segment");
        std::fs::write(&path, vec![7; 3 << 20]).unwrap();
        let file = Arc::new(DiskFiles.open(&path, OpenMode::Read).unwrap());
        let slice = move |position, bytes| Part::File(FileSlice { file: file.clone(), position, bytes });
        let text = |text: &'static str| Part::Bytes(Bytes::from_static(text.as_bytes()));
        let reply = Reply { parts: vec![text("head"), slice(1, 2 << 20), text("tail")] };
        assert_eq!(reply.bytes(), 8 + (2 << 20));
        let sending = tokio::spawn(async move {
            reply.send(&server).await.unwrap();
            Reply { parts: vec![slice(3 << 20, 1)] }.send(&server).await.unwrap_err().kind()
        });
        let mut received = vec![0; 8 + (2 << 20)];
        client.read_exact(&mut received).await.unwrap();
        assert!(received.starts_with(b"head\x07") && received.ends_with(b"\x07tail"));
        assert_eq!(sending.await.unwrap(), io::ErrorKind::UnexpectedEof);
    }
}
