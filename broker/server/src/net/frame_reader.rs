//! Reads frames: four bytes of length, then that many bytes (Kafka protocol guide, "Protocol primitives").
//!
//! What a frame costs follows the bytes received, not the bytes announced: the first bytes of a frame come through a small
//! buffer on the stack, and a large frame's buffer begins small (or is one that was used before) and doubles. Only Produce
//! may send large frames. A frame that makes no progress within [`PROGRESS_TIMEOUT`] ends its connection; while others
//! wait for memory, within [`PROGRESS_TIMEOUT_SHORT`]. Between frames a connection owns no buffer.
//!
//! Start reading at [`FrameReader::poll_next`].

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use broker_wire::DecodeError;
use broker_wire::frame::Prelude;
use bytes::{BufMut, Bytes};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::budget::{Budget, Charge};
use super::buffers::Buffers;

/// Bytes that are read at once where no frame is under way, and the end of a frame.
pub const FIRST_BYTES: usize = 4 << 10;
/// A begun frame that receives nothing for so long ends its connection.
pub const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);
/// The same while others wait for the memory that it holds.
pub const PROGRESS_TIMEOUT_SHORT: Duration = Duration::from_secs(1);

const LENGTH_BYTES: usize = 4;

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

/// A frame that is not whole yet.
#[derive(Debug)]
struct Partial {
    length: usize,
    body: Vec<u8>,
    charge: Charge,
}

/// Waits for memory that others hold.
type Charging = Pin<Box<dyn Future<Output = Charge> + Send>>;

/// The reading side of one connection.
pub struct FrameReader {
    limits: FrameLimits,
    budget: Budget,
    buffers: Buffers,
    /// Received, and not yet part of a frame.
    carry: Vec<u8>,
    frame: Option<Partial>,
    charging: Option<Charging>,
    last_progress: Instant,
    timer: Pin<Box<Sleep>>,
}

impl FrameReader {
    /// A reader between two frames.
    #[must_use]
    pub fn new(limits: FrameLimits, (budget, buffers): (Budget, Buffers)) -> FrameReader {
        let now = Instant::now();
        FrameReader {
            limits,
            budget,
            buffers,
            carry: Vec::new(),
            frame: None,
            charging: None,
            last_progress: now,
            timer: Box::pin(sleep_until(now + limits.idle)),
        }
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// After any error the connection is over: the stream's position is unknown.
    pub fn poll_next(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream) -> Poll<Result<Frame, FrameError>> {
        loop {
            if self.charging.is_none() && !self.carry.is_empty() {
                let carry = std::mem::take(&mut self.carry);
                let mut input = &*carry;
                let absorbed = self.absorb(&mut input);
                if !input.is_empty() {
                    self.carry = input.to_vec();
                }
                if let Some(frame) = absorbed? {
                    return Poll::Ready(Ok(frame));
                }
            }
            if let Some(charging) = &mut self.charging {
                let Poll::Ready(charge) = charging.as_mut().poll(cx) else { return self.poll_timer(cx).map(Err) };
                self.charging = None;
                if let Some(frame) = &mut self.frame {
                    frame.charge.merge(charge);
                }
                continue;
            }
            match self.poll_read(cx, stream) {
                Poll::Ready(read) => {
                    if let Some(frame) = read? {
                        return Poll::Ready(Ok(frame));
                    }
                }
                Poll::Pending => return self.poll_timer(cx).map(Err),
            }
        }
    }

    /// True where more was received than the frames that were given.
    #[must_use]
    pub fn has_more(&self) -> bool {
        !self.carry.is_empty()
    }

    /// Time passed that was not the peer's: a reply was being sent.
    pub fn excuse(&mut self) {
        self.last_progress = Instant::now();
    }

    /// Reads once: what is large straight into the frame, everything else through the stack.
    fn poll_read(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream) -> Poll<Result<Option<Frame>, FrameError>> {
        if let Some(frame) = &mut self.frame
            && frame.length - frame.body.len() > FIRST_BYTES
        {
            if frame.body.len() == frame.body.capacity() && !self.grow() {
                return Poll::Ready(Ok(None));
            }
            let frame = self.frame.as_mut().expect("it was just there");
            let room = (frame.length - frame.body.len()).min(frame.body.capacity() - frame.body.len());
            let spare = frame.body.spare_capacity_mut().get_mut(..room).expect("the room is within the capacity");
            let mut into = ReadBuf::uninit(spare);
            ready!(Pin::new(stream).poll_read(cx, &mut into))?;
            let count = into.filled().len();
            // SAFETY: the first `count` bytes of the spare capacity were just filled.
            unsafe { frame.body.advance_mut(count) };
            self.progress(count)?;
            return Poll::Ready(self.complete());
        }
        let mut scratch = [MaybeUninit::<u8>::uninit(); FIRST_BYTES];
        let mut into = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(stream).poll_read(cx, &mut into))?;
        let mut input = into.filled();
        if input.is_empty() && self.frame.is_none() && self.carry.is_empty() {
            return Poll::Ready(Err(FrameError::Closed));
        }
        self.progress(input.len())?;
        if !self.carry.is_empty() {
            self.carry.extend_from_slice(input);
            return Poll::Ready(Ok(None));
        }
        let frame = self.absorb(&mut input);
        self.carry.extend_from_slice(input);
        Poll::Ready(frame)
    }

    /// Takes from `input` what belongs to one frame. Begins a frame where its length is there.
    fn absorb(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        if self.frame.is_none() {
            let Some((head, rest)) = input.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
            let length = self.length(*head)?;
            *input = rest;
            let body = self.buffers.take(length);
            let capacity = body.capacity();
            self.frame = Some(Partial { length, body, charge: Charge::default() });
            if !self.charge(capacity) {
                return Ok(None);
            }
        }
        loop {
            let frame = self.frame.as_mut().expect("it is there, or was just begun");
            let room = (frame.length - frame.body.len()).min(frame.body.capacity() - frame.body.len());
            let (now, later) = input.split_at(room.min(input.len()));
            frame.body.extend_from_slice(now);
            *input = later;
            if input.is_empty() || frame.body.len() == frame.length || !self.grow() {
                return self.complete();
            }
        }
    }

    /// Makes room for more of the frame: twice as much, but not more than its length. False where that has to wait for
    /// memory.
    fn grow(&mut self) -> bool {
        let Some(frame) = &self.frame else { return true };
        let capacity = frame.length.min((frame.body.capacity() * 2).max(FIRST_BYTES));
        if !self.charge(capacity) {
            return false;
        }
        if let Some(frame) = &mut self.frame {
            frame.body.reserve_exact(capacity - frame.body.len());
        }
        true
    }

    /// Charges the frame `bytes`. False where that has to wait.
    fn charge(&mut self, bytes: usize) -> bool {
        let Some(frame) = &mut self.frame else { return true };
        if self.budget.try_raise(&mut frame.charge, bytes) {
            return true;
        }
        self.charging = Some(Box::pin(self.budget.more(&frame.charge, bytes)));
        false
    }

    /// The frame, if it is whole.
    fn complete(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(frame) = &self.frame else { return Ok(None) };
        if let Some(prelude) = Prelude::parse(&frame.body)
            && frame.length > prelude.frame_bytes_max(self.limits.request_bytes_max)
        {
            return Err(FrameError::Length(i32::try_from(frame.length).unwrap_or(i32::MAX)));
        }
        if frame.body.len() < frame.length || self.charging.is_some() {
            return Ok(None);
        }
        let whole = self.frame.take();
        Ok(whole.map(|frame| Frame { bytes: self.buffers.freeze(frame.body), charge: frame.charge }))
    }

    fn progress(&mut self, count: usize) -> Result<(), FrameError> {
        self.last_progress = Instant::now();
        if count == 0 { Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into())) } else { Ok(()) }
    }

    fn length(&self, head: [u8; LENGTH_BYTES]) -> Result<usize, FrameError> {
        let announced = i32::from_be_bytes(head);
        let length = usize::try_from(announced).map_err(|_| FrameError::Length(announced))?;
        // A head has at least key, version and correlation id.
        if length < 8 || length > self.limits.request_bytes_max {
            Err(FrameError::Length(announced))
        } else {
            Ok(length)
        }
    }

    /// Ready when the peer was silent for too long. The timer is set anew only when it rings.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<FrameError> {
        loop {
            let is_begun = self.frame.is_some() || !self.carry.is_empty();
            let silent = self.last_progress.elapsed();
            // Who waits for memory is not to blame for it.
            let is_short = self.budget.is_short() && self.charging.is_none();
            let (patience, look_again) = match (is_begun, is_short) {
                (false, _) => (self.limits.idle, self.limits.idle),
                (true, false) => (PROGRESS_TIMEOUT, PROGRESS_TIMEOUT_SHORT),
                (true, true) => (PROGRESS_TIMEOUT_SHORT, PROGRESS_TIMEOUT_SHORT),
            };
            if silent >= patience {
                return Poll::Ready(if is_begun { FrameError::Stalled } else { FrameError::Idle });
            }
            let next = Instant::now() + look_again.min(patience - silent);
            if self.timer.is_elapsed() || self.timer.deadline() > next {
                self.timer.as_mut().reset(next);
            }
            ready!(self.timer.as_mut().poll(cx));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::super::buffers::BUFFER_BYTES_MIN;
    use super::*;

    const LIMITS: FrameLimits = FrameLimits { request_bytes_max: 100 << 20, idle: Duration::from_secs(600) };

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.unwrap(), server.unwrap().0)
    }

    fn reader(budget: &Budget) -> FrameReader {
        FrameReader::new(LIMITS, (budget.clone(), Buffers::default()))
    }

    async fn next(reader: &mut FrameReader, stream: &mut TcpStream) -> Result<Frame, FrameError> {
        std::future::poll_fn(|cx| reader.poll_next(cx, stream)).await
    }

    #[tokio::test]
    async fn frames_come_whole_and_in_order_whatever_the_cuts() {
        let (mut client, mut server) = pair().await;
        let mut reader = reader(&Budget::new(64 << 20));
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
            let frame = next(&mut reader, &mut server).await.unwrap();
            assert_eq!(frame.bytes.len(), size);
            assert!(frame.bytes.iter().skip(2).all(|byte| usize::from(*byte) == round));
        }
        sent.await.unwrap();
        assert!(matches!(next(&mut reader, &mut server).await, Err(FrameError::Closed)));
    }

    #[tokio::test]
    async fn lengths_that_lie_are_refused_and_cost_nothing() {
        for length in [-1i32, 0, 7, i32::MAX, (100 << 20) + 1] {
            let (mut client, mut server) = pair().await;
            let budget = Budget::new(1 << 20);
            let mut reader = reader(&budget);
            client.write_all(&length.to_be_bytes()).await.unwrap();
            assert!(matches!(next(&mut reader, &mut server).await, Err(FrameError::Length(found)) if found == length));
            assert_eq!(budget.available(), 1 << 20);
        }
    }

    #[tokio::test]
    async fn only_produce_sends_large_frames_and_bytes_announced_are_not_charged() {
        let (mut client, mut server) = pair().await;
        let budget = Budget::new(32 << 20);
        let mut reader = reader(&budget);
        client.write_all(&(50i32 << 20).to_be_bytes()).await.unwrap();
        let waiting = next(&mut reader, &mut server);
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        assert!(budget.available() >= (32 << 20) - 2 * BUFFER_BYTES_MIN);
        client.write_all(&[0, 3, 0, 1, 0, 0, 0, 0]).await.unwrap();
        assert!(matches!(waiting.await, Err(FrameError::Length(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_stalls_ends_the_connection() {
        let (mut client, mut server) = pair().await;
        let mut reader = reader(&Budget::new(1 << 20));
        client.write_all(&[0, 0]).await.unwrap();
        assert!(matches!(next(&mut reader, &mut server).await, Err(FrameError::Stalled)));
    }
    #[tokio::test]
    async fn a_frame_waits_for_memory_and_who_stalls_meanwhile_has_to_go() {
        tokio::time::pause();
        let budget = Budget::new(64 << 10);
        let (mut slow, mut slow_server) = pair().await;
        let mut slow_reader = reader(&budget);
        slow.write_all(&(60i32 << 10).to_be_bytes()).await.unwrap();
        slow.write_all(&[0; 50 << 10]).await.unwrap();
        tokio::select! {
            _ = next(&mut slow_reader, &mut slow_server) => panic!("the frame is not whole"),
            () = tokio::time::sleep(PROGRESS_TIMEOUT_SHORT * 2) => {}
        }
        let (mut good, mut good_server) = pair().await;
        let mut good_reader = reader(&budget);
        good.write_all(&(20i32 << 10).to_be_bytes()).await.unwrap();
        good.write_all(&[0; 20 << 10]).await.unwrap();
        let stalled = async {
            let stalled = next(&mut slow_reader, &mut slow_server).await;
            drop(slow_reader);
            stalled
        };
        let (stalled, frame) = tokio::join!(stalled, next(&mut good_reader, &mut good_server));
        assert!(matches!(stalled, Err(FrameError::Stalled)));
        assert_eq!(frame.unwrap().bytes.len(), 20 << 10);
    }
}
