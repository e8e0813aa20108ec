//! A reply on its way out: bytes from memory, and slices of files that the kernel sends itself.
//!
//! Bytes of several replies leave together with one sendmsg(2). Slices go by sendfile(2) on the socket's readiness, at most
//! [`TURN_BYTES`] a turn, so that one fast consumer leaves the others their turn. A head waits in the socket (`MSG_MORE`) for
//! the bytes behind it. Pages that are not resident are read on a thread that may wait (see `residency`). Whatever fails
//! after the head has left closes the connection: the client cannot know where it stands.
//!
//! Start reading at [`send_all`].

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use broker_log::DiskFile;
use bytes::{Buf, Bytes};
use rustix::net::{SendAncillaryBuffer, SendFlags};
use smallvec::SmallVec;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::residency;

/// The most that one sendfile call moves.
pub const TURN_BYTES: usize = 1 << 20;
/// A peer that takes nothing for so long is gone.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// Pieces of memory that leave with one call.
const PIECES_MAX: usize = 32;

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
    /// So long the connection is muted after it.
    pub throttle: Duration,
    /// What becomes of the connection.
    pub then: Then,
}

/// What becomes of a connection after a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// It goes on.
    #[default]
    GoOn,
    /// It ends: that is how a client hears of an error that has no reply.
    End,
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
}

/// Bytes that leave together.
type Pieces = SmallVec<[Bytes; PIECES_MAX]>;

/// Sends all of these replies, in order.
///
/// # Errors
/// After any error the connection is over.
pub async fn send_all(stream: &TcpStream, replies: Vec<Reply>) -> io::Result<()> {
    let mut pieces = Pieces::new();
    for part in replies.into_iter().flat_map(|reply| reply.parts) {
        match part {
            Part::Bytes(bytes) => {
                if pieces.len() == PIECES_MAX {
                    send_pieces(stream, std::mem::take(&mut pieces), SendFlags::MORE).await?;
                }
                pieces.push(bytes);
            }
            Part::File(slice) => {
                send_pieces(stream, std::mem::take(&mut pieces), SendFlags::MORE).await?;
                send_file(stream, slice).await?;
            }
        }
    }
    send_pieces(stream, pieces, SendFlags::empty()).await
}

async fn send_pieces(stream: &TcpStream, mut pieces: Pieces, flags: SendFlags) -> io::Result<()> {
    let mut first = 0;
    while let Some(rest) = pieces.get(first..).filter(|rest| !rest.is_empty()) {
        let slices: SmallVec<[IoSlice<'_>; PIECES_MAX]> = rest.iter().map(|piece| IoSlice::new(piece)).collect();
        let sending = stream.async_io(Interest::WRITABLE, || {
            let mut nothing = SendAncillaryBuffer::default();
            Ok(rustix::net::sendmsg(stream.as_fd(), &slices, &mut nothing, flags | SendFlags::NOSIGNAL)?)
        });
        let mut sent = timeout(SEND_TIMEOUT, sending).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        drop(slices);
        while let Some(piece) = pieces.get_mut(first) {
            let taken = sent.min(piece.len());
            piece.advance(taken);
            sent -= taken;
            if piece.has_remaining() {
                break;
            }
            first += 1;
        }
    }
    Ok(())
}

async fn send_file(stream: &TcpStream, slice: FileSlice) -> io::Result<()> {
    let (mut position, end) = (slice.position, slice.position + slice.bytes as u64);
    while position < end {
        let count = TURN_BYTES.min(usize::try_from(end - position).unwrap_or(TURN_BYTES));
        residency::ensure(&slice.file, position, count).await?;
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
        let reply = Reply { parts: vec![text("he"), text("ad"), slice(1, 2 << 20), text("t")], ..Reply::default() };
        let next = Reply { parts: vec![text("ail")], ..Reply::default() };
        assert_eq!(reply.bytes() + next.bytes(), 8 + (2 << 20));
        let sending = tokio::spawn(async move {
            send_all(&server, vec![reply, next]).await.unwrap();
            let too_short = Reply { parts: vec![slice(3 << 20, 1)], ..Reply::default() };
            send_all(&server, vec![too_short]).await.unwrap_err().kind()
        });
        let mut received = vec![0; 8 + (2 << 20)];
        client.read_exact(&mut received).await.unwrap();
        assert!(received.starts_with(b"head\x07") && received.ends_with(b"\x07tail"));
        assert_eq!(sending.await.unwrap(), io::ErrorKind::UnexpectedEof);
    }
}
