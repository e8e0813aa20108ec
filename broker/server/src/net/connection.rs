//! One connection: one task that reads frames, starts requests in the order of arrival, and sends replies in that order.
//!
//! At most [`limits::REQUESTS_PER_CONNECTION_MAX`] requests are in flight, each in a seat of its own. Starting a request does
//! all that must happen in order (an append, a place in a coordinator's queue) without waiting; only the waits of several
//! requests overlap. What they wait for rings the connection's bell; one timer serves all their deadlines. Frames that are
//! here already are started before replies leave, so that small replies leave together. While replies are being sent nothing
//! is read: that is the back pressure on a consumer which does not take what it asked for.
//!
//! A frame that cannot be understood ends this connection only; the reason is logged once, here.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use broker_model::limits;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::budget::Charge;
use super::frame_reader::{Frame, FrameError, FrameLimits, FrameReader};
use super::reply::{Reply, Then, send_all};
use crate::api::{self, Pending};
use crate::broker::Broker;
use crate::context::Session;
use crate::replica::waiters::{Bell, Caller, Seat};

/// The timer of a connection on which nothing waits.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);
#[expect(clippy::cast_possible_truncation, reason = "a handful")]
const SEATS: u8 = limits::REQUESTS_PER_CONNECTION_MAX as u8;
/// Seats that a connection keeps when nothing is in flight.
const IDLE_SEATS: usize = 1;

/// Serves a connection until the peer leaves, breaks the protocol, or the program stops.
pub async fn serve(broker: Arc<Broker>, mut stream: TcpStream, session: Session, stop: CancellationToken) {
    let frame_limits = FrameLimits { request_bytes_max: broker.limits.request_bytes_max, idle: broker.limits.idle };
    let mut connection = Connection {
        reader: FrameReader::new(frame_limits, (broker.budget.clone(), broker.buffers.clone())),
        requests: Requests::new(),
        broker,
        session,
    };
    match connection.run(&mut stream, &stop).await {
        Ok(()) | Err(FrameError::Closed | FrameError::Idle) => {}
        Err(error) => {
            connection.broker.metrics.connections_failed.add(1);
            debug!(%error, peer = ?stream.peer_addr().ok(), "connection ended");
        }
    }
}

struct Connection {
    broker: Arc<Broker>,
    session: Session,
    reader: FrameReader,
    requests: Requests,
}

impl Connection {
    async fn run(&mut self, stream: &mut TcpStream, stop: &CancellationToken) -> Result<(), FrameError> {
        let mut stopped = pin!(stop.cancelled());
        loop {
            let replies = poll_fn(|cx| match stopped.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(None)),
                Poll::Pending => self.poll(cx, stream).map_ok(Some),
            });
            let Some(mut replies) = replies.await? else { return Ok(()) };
            let last = replies.iter().position(|reply| reply.then == Then::End);
            replies.truncate(last.map_or(replies.len(), |last| last + 1));
            let bytes: usize = replies.iter().map(Reply::bytes).sum();
            self.requests.mute(replies.iter().map(|reply| reply.throttle).max());
            send_all(stream, replies).await?;
            self.broker.metrics.bytes_out.add(bytes as u64);
            if last.is_some() {
                return Ok(());
            }
            self.reader.excuse();
        }
    }

    /// Starts what comes, and gives the next replies that may leave.
    fn poll(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream) -> Poll<Result<Vec<Reply>, FrameError>> {
        self.requests.bell.hear(cx.waker());
        loop {
            let mut is_asleep = false;
            while self.requests.has_room() && !is_asleep {
                match self.reader.poll_next(cx, stream) {
                    Poll::Ready(frame) => self.start(frame?)?,
                    Poll::Pending => is_asleep = true,
                }
                if !self.reader.has_more() {
                    break;
                }
            }
            let replies = self.requests.poll(cx);
            if !replies.is_empty() {
                return Poll::Ready(Ok(replies));
            }
            if self.requests.poll_timer(cx).is_pending() && (is_asleep || !self.requests.has_room()) {
                return Poll::Pending;
            }
        }
    }

    fn start(&mut self, frame: Frame) -> Result<(), FrameError> {
        let caller = self.requests.seat();
        let pending = api::start(&self.broker, &mut self.session, frame.bytes, caller)?;
        self.requests.in_flight.push_back(InFlight { pending, _charge: frame.charge });
        Ok(())
    }
}

/// A started request and the memory of its frame.
struct InFlight {
    pending: Pending,
    _charge: Charge,
}

/// The requests in flight, in the order of their arrival.
struct Requests {
    in_flight: VecDeque<InFlight>,
    bell: Arc<Bell>,
    next_seat: u8,
    /// Until then nothing is read: the client sent more than its quota (KIP-219).
    muted_until: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Requests {
    fn new() -> Requests {
        let timer = Box::pin(sleep_until(Instant::now() + NEVER));
        Requests { in_flight: VecDeque::new(), bell: Arc::default(), next_seat: 0, muted_until: None, timer }
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < limits::REQUESTS_PER_CONNECTION_MAX && self.muted_until.is_none()
    }

    /// The next request's seat: free, because requests leave in the order in which they came.
    fn seat(&mut self) -> Caller {
        let seat = Seat(self.next_seat);
        self.next_seat = (self.next_seat + 1) % SEATS;
        Caller { bell: self.bell.clone(), seat }
    }

    fn mute(&mut self, throttle: Option<Duration>) {
        let throttle = throttle.filter(|throttle| !throttle.is_zero());
        self.muted_until = throttle.map(|throttle| Instant::now() + throttle);
    }

    /// Looks at all that wait, and takes the replies that may leave. A request without a reply just leaves.
    fn poll(&mut self, cx: &mut Context<'_>) -> Vec<Reply> {
        let now = Instant::now();
        for request in &mut self.in_flight {
            if !matches!(request.pending, Pending::Ready(_))
                && let Poll::Ready(reply) = request.pending.poll(cx, now)
            {
                request.pending = Pending::Ready(reply);
            }
        }
        let mut replies = Vec::new();
        while let Some(InFlight { pending: Pending::Ready(reply), .. }) = self.in_flight.front_mut() {
            replies.extend(reply.take());
            self.in_flight.pop_front();
        }
        if self.in_flight.is_empty() && self.in_flight.capacity() > IDLE_SEATS {
            self.in_flight.shrink_to(IDLE_SEATS);
        }
        replies
    }

    /// Ready when a deadline passed: then everything is looked at again. One timer serves all; where it rings too early,
    /// because the request it was set for is done, it is set anew.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let waits = self.in_flight.iter().filter_map(|request| request.pending.deadline());
        let Some(next) = waits.chain(self.muted_until).min() else { return Poll::Pending };
        if self.timer.is_elapsed() || self.timer.deadline() > next {
            self.timer.as_mut().reset(next);
        }
        ready!(self.timer.as_mut().poll(cx));
        self.muted_until = self.muted_until.filter(|until| *until > Instant::now());
        Poll::Ready(())
    }
}
