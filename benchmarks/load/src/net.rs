//! Sockets that do not block: what waits to be sent, what was received, and which of many is ready.
//!
//! Bodies of batches are sent from where they lie, with `writev`; only heads are bytes of their own. Nothing here
//! knows the protocol beyond the length before each frame.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;

use bytes::{Bytes, BytesMut};
use rustix::event::epoll;

use crate::clock;
use crate::error::LoadError;

/// Pieces of one `writev`.
const PIECES: usize = 32;
/// Bytes received at once, where answers are small.
const INBOX_BYTES: usize = 32 << 10;
const SMALL_INBOX_BYTES: usize = 512;

/// Connects for use with a [`Poller`].
pub(crate) fn connect(address: SocketAddr) -> Result<TcpStream, LoadError> {
    let stream = TcpStream::connect(address).map_err(LoadError::io(format!("cannot connect to {address}")))?;
    stream.set_nodelay(true).map_err(LoadError::io("cannot set the socket's options"))?;
    stream.set_nonblocking(true).map_err(LoadError::io("cannot set the socket's options"))?;
    Ok(stream)
}

/// What waits to be sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pieces: VecDeque<Bytes>,
    /// Where pieces that are made for one use are written.
    pub(crate) scratch: BytesMut,
    /// Bytes that were ever put in, and that were ever sent.
    pub(crate) queued: u64,
    pub(crate) sent: u64,
}

impl Outbox {
    /// Puts in.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.queued += piece.len() as u64;
        self.pieces.push_back(piece);
    }

    /// All that waits, as one piece.
    pub(crate) fn into_bytes(self) -> Bytes {
        self.pieces.iter().flatten().copied().collect()
    }

    /// True where all was sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Sends what the socket takes.
    pub(crate) fn flush(&mut self, mut stream: &TcpStream) -> io::Result<()> {
        while !self.pieces.is_empty() {
            let mut slices = [IoSlice::new(&[]); PIECES];
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(piece);
            }
            let count = self.pieces.len().min(PIECES);
            match stream.write_vectored(&slices[..count]) {
                Ok(sent) => self.advance(sent),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn advance(&mut self, sent: usize) {
        self.sent += sent as u64;
        let mut left = sent;
        while let Some(piece) = self.pieces.front_mut() {
            if left < piece.len() {
                drop(piece.split_to(left));
                return;
            }
            left -= piece.len();
            self.pieces.pop_front();
        }
    }
}

/// Frames that were received.
#[derive(Debug)]
pub(crate) struct Inbox {
    buffer: Vec<u8>,
    from: usize,
    to: usize,
}

impl Inbox {
    /// Empty.
    pub(crate) fn new() -> Inbox {
        Inbox { buffer: vec![0; INBOX_BYTES], from: 0, to: 0 }
    }

    /// Empty, and small until more comes: where there are many.
    pub(crate) fn small() -> Inbox {
        Inbox { buffer: vec![0; SMALL_INBOX_BYTES], from: 0, to: 0 }
    }

    /// Receives once. False where there is nothing now.
    pub(crate) fn fill(&mut self, mut stream: &TcpStream) -> io::Result<bool> {
        self.buffer.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, self.to - self.from);
        if self.to == self.buffer.len() {
            self.buffer.resize(self.to * 2, 0);
        }
        loop {
            match stream.read(&mut self.buffer[self.to..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(received) => {
                    self.to += received;
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next whole frame, without its length.
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        let (length, rest) = self.buffer[self.from..self.to].split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let frame = rest.get(..length)?;
        self.from += 4 + length;
        Some(frame)
    }
}

/// Tells which sockets are ready. Each is known by a number.
pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

/// A socket that is ready.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    /// The socket's number.
    pub(crate) number: usize,
    /// It takes more.
    pub(crate) writable: bool,
    /// It has something, or is broken.
    pub(crate) readable: bool,
}

impl Poller {
    /// With no socket yet. The calling thread's timers become exact.
    pub(crate) fn new() -> Result<Poller, LoadError> {
        let exact = std::num::NonZeroU64::new(1);
        rustix::thread::set_current_timer_slack(exact).map_err(LoadError::io("cannot make timers exact"))?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(LoadError::io("cannot make a poller"))?;
        Ok(Poller { epoll, events: Vec::with_capacity(256) })
    }

    /// From now on tells when this socket is readable.
    pub(crate) fn add(&self, stream: &TcpStream, number: usize) -> Result<(), LoadError> {
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&self.epoll, stream, data, epoll::EventFlags::IN).map_err(LoadError::io("cannot watch a socket"))
    }

    /// Also tells when it is writable, or no longer.
    pub(crate) fn watch(&self, stream: &TcpStream, number: usize, interest: Interest) -> Result<(), LoadError> {
        let flags = match interest {
            Interest::Read => epoll::EventFlags::IN,
            Interest::ReadAndWrite => epoll::EventFlags::IN | epoll::EventFlags::OUT,
        };
        let data = epoll::EventData::new_u64(number as u64);
        epoll::modify(&self.epoll, stream, data, flags).map_err(LoadError::io("cannot watch a socket"))
    }

    /// Says nothing of this socket from now on.
    pub(crate) fn remove(&self, stream: &TcpStream) -> Result<(), LoadError> {
        epoll::delete(&self.epoll, stream).map_err(LoadError::io("cannot stop watching a socket"))
    }

    /// Waits until a socket is ready or this moment has come.
    pub(crate) fn wait(&mut self, until: Option<u64>, ready: &mut Vec<Ready>) -> Result<(), LoadError> {
        ready.clear();
        self.events.clear();
        let timeout = until.map(|until| clock::timespec(until.saturating_sub(clock::monotonic())));
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(LoadError::io("cannot wait for sockets")(error)),
        }
        ready.extend(self.events.iter().map(|event| {
            let (flags, data) = (event.flags, event.data);
            Ready {
                number: data.u64() as usize,
                writable: flags.contains(epoll::EventFlags::OUT),
                readable: flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR),
            }
        }));
        Ok(())
    }
}

/// What a socket is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    ReadAndWrite,
}
