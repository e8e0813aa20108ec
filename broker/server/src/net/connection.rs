//! One connection: one task that reads frames, starts requests in the order of arrival, and sends replies in that order.
//!
//! At most [`limits::REQUESTS_PER_CONNECTION_MAX`] requests are in flight. Starting a request does all that must happen in
//! order (an append, a place in a coordinator's queue) without waiting; only the waits of several requests overlap. While
//! a reply is being sent nothing is read: that is the back pressure on a consumer which does not take what it asked for.
//!
//! A frame that cannot be understood ends this connection only; the reason is logged once, here.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use broker_model::limits;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::budget::Charge;
use super::frame_reader::{Frame, FrameError, FrameLimits, FrameReader};
use super::reply::Reply;
use crate::api::{self, Pending};
use crate::broker::Broker;
use crate::context::Session;

/// A started request and the memory of its frame.
struct InFlight {
    pending: Pending,
    _charge: Charge,
}

/// Serves a connection until the peer leaves, breaks the protocol, or the program stops.
pub async fn serve(broker: Arc<Broker>, stream: TcpStream, session: Session, stop: CancellationToken) {
    let reason = run(&broker, &stream, session, &stop).await;
    match reason {
        Ok(()) => {}
        Err(FrameError::Closed | FrameError::Idle) => {}
        Err(error) => {
            broker.metrics.connections_failed.add(1);
            debug!(%error, peer = ?stream.peer_addr().ok(), "connection ended");
        }
    }
}

async fn run(
    broker: &Arc<Broker>,
    stream: &TcpStream,
    mut session: Session,
    stop: &CancellationToken,
) -> Result<(), FrameError> {
    let frame_limits = FrameLimits { request_bytes_max: broker.limits.request_bytes_max, idle: broker.limits.idle };
    let mut reader = FrameReader::new(frame_limits, broker.budget.clone());
    let mut in_flight: VecDeque<InFlight> = VecDeque::new();
    loop {
        tokio::select! {
            biased;
            reply = front(&mut in_flight), if !in_flight.is_empty() => {
                in_flight.pop_front();
                if let Some(reply) = reply {
                    send(broker, stream, reply).await?;
                }
                reader.excuse();
            }
            frame = reader.next(stream), if in_flight.len() < limits::REQUESTS_PER_CONNECTION_MAX => {
                let Frame { bytes, charge } = frame?;
                let pending = api::start(broker, &mut session, bytes)?;
                in_flight.push_back(InFlight { pending, _charge: charge });
            }
            () = stop.cancelled() => return Ok(()),
        }
    }
}

async fn front(in_flight: &mut VecDeque<InFlight>) -> Option<Reply> {
    poll_fn(|cx| match in_flight.front_mut() {
        Some(first) => first.pending.poll(cx),
        None => Poll::Pending,
    })
    .await
}

async fn send(broker: &Broker, stream: &TcpStream, reply: Reply) -> Result<(), FrameError> {
    let bytes = reply.bytes() as u64;
    reply.send(stream).await?;
    broker.metrics.bytes_out.add(bytes);
    Ok(())
}
