//! Reads frames: four bytes of length, then that many bytes (Kafka protocol guide, "Protocol primitives").
//!
//! The buffer grows with the bytes received: it starts at [`FIRST_BYTES`] and doubles, so a peer that announces a gigabyte
//! and sends nothing costs nothing. Only Produce may send large frames. A frame that does not make progress within
//! [`PROGRESS_TIMEOUT`] ends the connection. [`FrameReader::next`] may be dropped and called again: its state is here.

use std::io;
use std::time::Duration;

use broker_wire::DecodeError;
use broker_wire::frame::Prelude;
use bytes::{BufMut, Bytes};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::budget::{Budget, Charge};

/// The buffer that a frame begins with.
pub const FIRST_BYTES: usize = 64 << 10;
/// A begun frame that receives nothing for so long ends its connection.
pub const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);

/// A whole frame without its length, and what it is charged.
#[derive(Debug)]
pub struct Frame {
    /// Request head and body.
    pub bytes: Bytes,
    /// Held until the request is answered.
    pub charge: Charge,
}

/// Why the connection ends.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer closed between two frames.
    #[error("closed by the peer")]
    Closed,
    /// The length is negative, too small for a head, or beyond `socket.request.max.bytes`.
    #[error("frame of {0} bytes is outside of what is served here")]
    Length(i32),
    /// Nothing came for [`PROGRESS_TIMEOUT`] within a frame.
    #[error("frame was not completed in time")]
    Stalled,
    /// Nothing came for `connections.max.idle.ms` between frames.
    #[error("idle")]
    Idle,
    /// The frame is not a request of this protocol.
    #[error("malformed request: {0}")]
    Malformed(#[from] DecodeError),
    /// The API, or this version of it, is not served here.
    #[error("API {key} version {version} is not served here")]
    Unsupported {
        /// The API's number.
        key: i16,
        /// The version that was asked.
        version: i16,
    },
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a reader is bound by.
#[derive(Clone, Copy, Debug)]
pub struct FrameLimits {
    /// `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// `connections.max.idle.ms`.
    pub idle: Duration,
}

/// The reading side of one connection.
#[derive(Debug)]
pub struct FrameReader {
    limits: FrameLimits,
    budget: Budget,
    head: [u8; 4],
    head_bytes: usize,
    body: Vec<u8>,
    charge: Charge,
    last_progress: Instant,
}

impl FrameReader {
    /// A reader between two frames.
    #[must_use]
    pub fn new(limits: FrameLimits, budget: Budget) -> FrameReader {
        let (head, body) = ([0; 4], Vec::new());
        FrameReader {
            limits,
            budget,
            head,
            head_bytes: 0,
            body,
            charge: Charge::default(),
            last_progress: Instant::now(),
        }
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// After any error the connection is over: the stream's position is unknown.
    pub async fn next(&mut self, stream: &TcpStream) -> Result<Frame, FrameError> {
        while self.head_bytes < self.head.len() {
            let rest = self.head.get_mut(self.head_bytes..).expect("head_bytes is below its length");
            match stream.try_read(rest) {
                Ok(0) if self.head_bytes == 0 => return Err(FrameError::Closed),
                Ok(count) => {
                    self.progress(count)?;
                    self.head_bytes += count;
                }
                Err(error) => self.wait(stream, error).await?,
            }
        }
        let length = self.length()?;
        while self.body.len() < length {
            if self.body.len() == self.body.capacity() {
                let capacity = length.min((self.body.len() * 2).max(FIRST_BYTES));
                let deadline = self.last_progress + PROGRESS_TIMEOUT;
                let charging = self.budget.raise(&mut self.charge, capacity);
                timeout_at(deadline, charging).await.map_err(|_| FrameError::Stalled)?;
                self.body.reserve_exact(capacity - self.body.len());
            }
            let room = length.min(self.body.capacity()) - self.body.len();
            match stream.try_read_buf(&mut (&mut self.body).limit(room)) {
                Ok(count) => {
                    self.progress(count)?;
                    self.check_size(length)?;
                }
                Err(error) => self.wait(stream, error).await?,
            }
        }
        self.head_bytes = 0;
        Ok(Frame { bytes: Bytes::from(std::mem::take(&mut self.body)), charge: std::mem::take(&mut self.charge) })
    }

    /// Time passed that was not the peer's: a reply was being sent.
    pub fn excuse(&mut self) {
        self.last_progress = Instant::now();
    }

    fn progress(&mut self, count: usize) -> Result<(), FrameError> {
        self.last_progress = Instant::now();
        if count == 0 { Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into())) } else { Ok(()) }
    }

    fn length(&self) -> Result<usize, FrameError> {
        let announced = i32::from_be_bytes(self.head);
        let length = usize::try_from(announced).map_err(|_| FrameError::Length(announced))?;
        // A head has at least key, version and correlation id.
        if length < 8 || length > self.limits.request_bytes_max {
            Err(FrameError::Length(announced))
        } else {
            Ok(length)
        }
    }

    fn check_size(&self, length: usize) -> Result<(), FrameError> {
        let Some(prelude) = Prelude::parse(&self.body) else { return Ok(()) };
        if length > prelude.frame_bytes_max(self.limits.request_bytes_max) {
            return Err(FrameError::Length(i32::from_be_bytes(self.head)));
        }
        Ok(())
    }

    async fn wait(&self, stream: &TcpStream, error: io::Error) -> Result<(), FrameError> {
        match error.kind() {
            io::ErrorKind::WouldBlock => {}
            io::ErrorKind::Interrupted => return Ok(()),
            _ => return Err(error.into()),
        }
        let begun = self.head_bytes > 0;
        let patience = if begun { PROGRESS_TIMEOUT } else { self.limits.idle };
        let late = if begun { FrameError::Stalled } else { FrameError::Idle };
        Ok(timeout_at(self.last_progress + patience, stream.readable()).await.map_err(|_| late)??)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    const LIMITS: FrameLimits = FrameLimits { request_bytes_max: 100 << 20, idle: Duration::from_secs(600) };

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.unwrap(), server.unwrap().0)
    }

    #[tokio::test]
    async fn frames_come_whole_and_in_order_whatever_the_cuts() {
        let (mut client, server) = pair().await;
        let mut reader = FrameReader::new(LIMITS, Budget::new(64 << 20));
        let sizes = [8usize, 9, 70_000, 8, 300_000];
        let sent = tokio::spawn(async move {
            for (round, size) in sizes.into_iter().enumerate() {
                let mut bytes = u32::try_from(size).unwrap().to_be_bytes().to_vec();
                bytes.extend([0, 0]);
                bytes.resize(4 + size, round as u8);
                for part in bytes.chunks(1 + 7919 * round) {
                    client.write_all(part).await.unwrap();
                }
            }
        });
        for (round, size) in sizes.into_iter().enumerate() {
            let frame = reader.next(&server).await.unwrap();
            assert_eq!(frame.bytes.len(), size);
            assert!(frame.bytes.iter().skip(2).all(|byte| usize::from(*byte) == round));
        }
        sent.await.unwrap();
        assert!(matches!(reader.next(&server).await, Err(FrameError::Closed)));
    }

    #[tokio::test]
    async fn lengths_that_lie_are_refused_and_cost_nothing() {
        for length in [-1i32, 0, 7, i32::MAX, (100 << 20) + 1] {
            let (mut client, server) = pair().await;
            let budget = Budget::new(1 << 20);
            let mut reader = FrameReader::new(LIMITS, budget.clone());
            client.write_all(&length.to_be_bytes()).await.unwrap();
            assert!(matches!(reader.next(&server).await, Err(FrameError::Length(found)) if found == length));
            assert_eq!(budget.available(), 1 << 20);
        }
    }

    #[tokio::test]
    async fn only_produce_sends_large_frames_and_bytes_announced_are_not_charged() {
        let (mut client, server) = pair().await;
        let budget = Budget::new(32 << 20);
        let mut reader = FrameReader::new(LIMITS, budget.clone());
        client.write_all(&(50i32 << 20).to_be_bytes()).await.unwrap();
        let waiting = reader.next(&server);
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        assert!(budget.available() >= (32 << 20) - 2 * FIRST_BYTES);
        client.write_all(&[0, 3, 0, 1, 0, 0, 0, 0]).await.unwrap();
        assert!(matches!(waiting.await, Err(FrameError::Length(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_stalls_ends_the_connection() {
        let (mut client, server) = pair().await;
        let mut reader = FrameReader::new(LIMITS, Budget::new(1 << 20));
        client.write_all(&[0, 0]).await.unwrap();
        assert!(matches!(reader.next(&server).await, Err(FrameError::Stalled)));
    }
}
