//! A request between its start and its reply, and how a message becomes a reply.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use broker_wire::{EncodeError, Encoder, Hole, encode_response, messages};
use bytes::Bytes;
use tokio::time::Instant;

use super::fetch::FetchWait;
use super::produce::ProduceWait;
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::net::reply::{FileSlice, Part, Reply};
use crate::replica::waiters::Caller;

/// A started request.
pub enum Pending {
    /// It is done. `None` is a request that gets no reply (Produce with acks=0).
    Ready(Option<Reply>),
    /// It waits until its batches are written and committed.
    Produce(ProduceWait),
    /// It waits for records.
    Fetch(FetchWait),
    /// It waits for something slow: a coordinator, the tier.
    Slow(Pin<Box<dyn Future<Output = Option<Reply>> + Send>>),
}

impl Pending {
    /// A future that ends with the reply.
    pub fn wait(future: impl Future<Output = Reply> + Send + 'static) -> Pending {
        Pending::Slow(Box::pin(async move { Some(future.await) }))
    }

    /// Looks whether it is done. After it was, it is not asked again.
    pub fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Option<Reply>> {
        loop {
            let next = match self {
                Pending::Ready(reply) => return Poll::Ready(reply.take()),
                Pending::Slow(future) => return future.as_mut().poll(cx),
                Pending::Produce(wait) => ready!(wait.poll(now)),
                Pending::Fetch(wait) => {
                    let pass = ready!(wait.poll(now));
                    let Pending::Fetch(wait) = std::mem::replace(self, Pending::Ready(None)) else {
                        unreachable!("it was just looked at")
                    };
                    wait.end(pass)
                }
            };
            *self = next;
        }
    }

    /// When it is to be looked at, should nobody ring before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Pending::Produce(wait) => wait.deadline(),
            Pending::Fetch(wait) => Some(wait.deadline()),
            Pending::Ready(_) | Pending::Slow(_) => None,
        }
    }
}

/// What fills a hole that the encoder left for records.
pub enum Body {
    /// Record batches in memory.
    Memory(Vec<Bytes>),
    /// Record batches in a segment.
    File(FileSlice),
}

/// A request's handler and all it may ask.
#[derive(Clone)]
pub struct Call {
    /// The broker.
    pub broker: Arc<Broker>,
    /// Who asks, how.
    pub context: RequestContext,
    /// Whom to ring when what is waited for is there.
    pub caller: Caller,
}

/// A response message.
pub trait Answer {
    /// Writes the message in this version.
    ///
    /// # Errors
    /// The version cannot carry it: a handler's mistake.
    fn write(&self, out: &mut Encoder, version: i16) -> Result<(), EncodeError>;
}

macro_rules! answers {
    ($($name:ident)*) => {
        $(impl Answer for messages::$name {
            fn write(&self, out: &mut Encoder, version: i16) -> Result<(), EncodeError> {
                self.encode(out, version)
            }
        })*
    };
}

answers! {
    AlterConfigsResponse AlterPartitionReassignmentsResponse ApiVersionsResponse CreatePartitionsResponse
    CreateTopicsResponse DeleteGroupsResponse DeleteRecordsResponse DeleteTopicsResponse DescribeClusterResponse
    DescribeConfigsResponse DescribeGroupsResponse DescribeLogDirsResponse DescribeTopicPartitionsResponse
    ElectLeadersResponse FetchResponse FindCoordinatorResponse HeartbeatResponse IncrementalAlterConfigsResponse
    InitProducerIdResponse JoinGroupResponse LeaveGroupResponse ListGroupsResponse ListOffsetsResponse
    ListPartitionReassignmentsResponse MetadataResponse OffsetCommitResponse OffsetDeleteResponse OffsetFetchResponse
    OffsetForLeaderEpochResponse ProduceResponse SyncGroupResponse
}

impl Call {
    /// `message` as a reply to this call, in the version of the request.
    pub fn reply(&self, message: &impl Answer) -> Reply {
        self.reply_with(message, Vec::new())
    }

    /// `message` at once.
    pub fn ready(&self, message: &impl Answer) -> Pending {
        Pending::Ready(Some(self.reply(message)))
    }

    /// `message` as a reply, whose holes are filled by `bodies` in their order.
    pub fn reply_with(&self, message: &impl Answer, bodies: Vec<Body>) -> Reply {
        let RequestContext { api, version, correlation_id, .. } = self.context;
        let encoded = encode_response(api, version, correlation_id, |out| message.write(out, version));
        let (bytes, holes) = encoded.expect("a handler fills only what its version carries");
        assert_eq!(holes.len(), bodies.len(), "each hole has its body");
        let parts = fill(bytes, holes.iter().map(|hole: &Hole| hole.at), bodies);
        Reply { parts, throttle: self.context.throttle(), ..Reply::default() }
    }
}

fn fill(mut bytes: Bytes, positions: impl Iterator<Item = usize>, bodies: Vec<Body>) -> Vec<Part> {
    let (mut parts, mut taken) = (Vec::with_capacity(2 * bodies.len() + 1), 0);
    for (position, body) in positions.zip(bodies) {
        let before = bytes.split_to(position - taken);
        taken = position;
        if !before.is_empty() {
            parts.push(Part::Bytes(before));
        }
        match body {
            Body::Memory(chunks) => parts.extend(chunks.into_iter().map(Part::Bytes)),
            Body::File(slice) => parts.push(Part::File(slice)),
        }
    }
    if !bytes.is_empty() {
        parts.push(Part::Bytes(bytes));
    }
    parts
}
