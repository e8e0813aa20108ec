//! Fetch: hands out whole batches, hot ones as slices for sendfile, cold ones from the tier's cache.
//!
//! One answer serves all partitions that were asked, hot and cold. It is given at once when there is enough, an error, or
//! nothing to wait for; else the request sleeps on its partitions until appends have brought what it misses. The rules of size are Kafka's:
//! the first partition that has data gives at least one whole batch, the others give what still fits, and a batch is never
//! cut. What a client asks is kept in its fetch session (KIP-227), and with it the partitions that were found.
//!
//! TIER-3: an offset that lies in the bucket is answered with its records or with an error. When the client's patience ends
//! before the block is there, the answer is empty, the high watermark in it lies beyond the offset, and it is counted; the
//! block is fetched all the same, so that the next request finds it.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use broker_model::{ErrorCode, LeaderEpoch, Offset, PartitionIndex};
use broker_wire::Records;
use broker_wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use broker_wire::messages::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use bytes::Bytes;
use futures::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::{Body, Call, Pending};
use crate::clock;
use crate::context::{Operation, Resource};
use crate::fetch_sessions::{Asked, FetchPlan, Outcome, PlanTopic};
use crate::net::reply::{FileSlice, Reply};
use crate::replica::waiters::{Ticket, Until};
use crate::replica::{AtHand, Ends, Partition, Want};
use crate::topics::FoundPartition;

/// Versions from here name topics by id (KIP-516).
const VERSION_TOPIC_IDS: i16 = 13;
/// The isolation level of a consumer that takes all records.
const READ_UNCOMMITTED: i8 = 0;
/// The isolation level of a consumer that does not want records of aborted transactions (KIP-98).
const READ_COMMITTED: i8 = 1;
/// A cold read is given at least this long, as Kafka's `remote.fetch.max.wait.ms`.
const COLD_WAIT_MIN: Duration = Duration::from_millis(500);

/// What a partition has for this request.
enum Look {
    Empty,
    Failed(ErrorCode),
    Diverged {
        epoch: LeaderEpoch,
        end: Offset,
    },
    Hot(FileSlice),
    /// On the local disk, and where is not known without reading there.
    OnDisk(Want),
    /// In the bucket; this many bytes are asked of it.
    Cold(usize),
    Read(Vec<Bytes>),
}

/// All of one pass over the partitions.
pub(super) struct Pass {
    looks: Vec<Look>,
    bytes: usize,
    /// There is an error, or something that has to be read first: no reason to wait for appends.
    is_due: bool,
}

struct Fetch {
    call: Call,
    plan: FetchPlan<FoundPartition>,
    bytes_min: usize,
    bytes_max: usize,
    wait: Duration,
    is_read_committed: bool,
}

/// A Fetch that waits for records.
pub struct FetchWait {
    fetch: Fetch,
    registered: Registered,
    begun: Instant,
}

/// Looks once, and waits only if that is not enough.
pub(super) fn start(call: Call, request: FetchRequest) -> Pending {
    if !matches!(request.isolation_level, READ_UNCOMMITTED | READ_COMMITTED) {
        return call.ready(&refused(request, ErrorCode::InvalidRequest));
    }
    let fetch = match Fetch::new(&call, request) {
        Ok(fetch) => fetch,
        Err(error) => return call.ready(&FetchResponse { error_code: error.code(), ..Default::default() }),
    };
    let (begun, pass) = (Instant::now(), fetch.look());
    if fetch.is_enough(&pass) {
        return fetch.end(pass, begun);
    }
    let mut wait = FetchWait { fetch, registered: Registered::default(), begun };
    match wait.sleep() {
        Poll::Ready(pass) => wait.end(pass),
        Poll::Pending => Pending::Fetch(wait),
    }
}

impl FetchWait {
    /// When it is answered with what there is.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.begun + self.fetch.wait
    }

    /// Looks again, if there may be enough.
    pub(super) fn poll(&mut self, now: Instant) -> Poll<Pass> {
        if now >= self.deadline() {
            return Poll::Ready(self.fetch.look());
        }
        if self.fetch.call.caller.is_due() { self.sleep() } else { Poll::Pending }
    }

    /// Registers, looks, and stays registered where that is not enough.
    fn sleep(&mut self) -> Poll<Pass> {
        let caller = &self.fetch.call.caller;
        loop {
            self.registered.leave();
            caller.count();
            for replica in self.fetch.replicas() {
                let ticket = replica.waiters.register(caller, Until::Bytes);
                self.registered.0.push((replica.clone(), ticket));
            }
            let pass = self.fetch.look();
            if self.fetch.is_enough(&pass) {
                return Poll::Ready(pass);
            }
            if caller.misses(self.fetch.bytes_min.saturating_sub(pass.bytes)) {
                return Poll::Pending;
            }
        }
    }

    /// Answers with what the last look found.
    pub(super) fn end(self, pass: Pass) -> Pending {
        drop(self.registered);
        self.fetch.end(pass, self.begun)
    }
}

/// Where a fetch is registered.
#[derive(Default)]
struct Registered(Vec<(Arc<Partition>, Ticket)>);

impl Registered {
    fn leave(&mut self) {
        self.0.drain(..).for_each(|(replica, ticket)| replica.waiters.forget(ticket));
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Fetch {
    fn new(call: &Call, mut request: FetchRequest) -> Result<Fetch, ErrorCode> {
        let version = call.context.version;
        let mut plan = call.broker.fetch_sessions.begin(&mut request, version, clock::now())?;
        for at in 0..plan.len() {
            if !plan.cached(at).0.as_ref().is_ok_and(|replica| replica.is_served()) {
                let found = find(call, plan.topic(at), plan.asked(at).partition);
                plan.cached_mut(at).replace(found);
            }
        }
        let size = |value: i32| usize::try_from(value).unwrap_or(0);
        let bytes_max = size(request.max_bytes).min(call.broker.limits.fetch_bytes_max);
        Ok(Fetch {
            call: call.clone(),
            plan,
            bytes_max,
            bytes_min: size(request.min_bytes).min(bytes_max),
            wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
            is_read_committed: request.isolation_level == READ_COMMITTED,
        })
    }

    fn replicas(&self) -> impl Iterator<Item = &Arc<Partition>> {
        (0..self.plan.len()).filter_map(|at| self.plan.cached(at).0.as_ref().ok())
    }

    /// Answers, after reading what is not at hand.
    fn end(self, pass: Pass, begun: Instant) -> Pending {
        if !pass.looks.iter().any(|look| matches!(look, Look::Cold(_) | Look::OnDisk(_))) {
            return Pending::Ready(Some(self.answer(pass.looks)));
        }
        let deadline = begun + self.wait.max(COLD_WAIT_MIN);
        Pending::wait(async move {
            let looks = self.read(pass.looks, deadline).await;
            self.answer(looks)
        })
    }

    fn is_enough(&self, pass: &Pass) -> bool {
        pass.is_due || pass.bytes >= self.bytes_min || self.wait.is_zero() || self.plan.is_empty()
    }

    fn look(&self) -> Pass {
        let mut pass = Pass { looks: Vec::with_capacity(self.plan.len()), bytes: 0, is_due: false };
        for at in 0..self.plan.len() {
            let asked = self.plan.asked(at);
            let left = self.bytes_max.saturating_sub(pass.bytes);
            let room = left.min(usize::try_from(asked.partition_max_bytes).unwrap_or(0));
            let want = if pass.bytes == 0 { Want::AtLeastOne(room) } else { Want::AtMost(room) };
            let look = look_at(self.plan.cached(at), asked, want).unwrap_or_else(Look::Failed);
            match &look {
                Look::Failed(_) | Look::Diverged { .. } => pass.is_due = true,
                Look::Hot(slice) => pass.bytes += slice.bytes,
                Look::Cold(bytes) => {
                    pass.bytes += (*bytes).max(1);
                    pass.is_due = true;
                }
                Look::OnDisk(want) => {
                    pass.bytes += want.bytes().max(1);
                    pass.is_due = true;
                }
                Look::Empty | Look::Read(_) => {}
            }
            pass.looks.push(look);
        }
        pass
    }

    async fn read(&self, looks: Vec<Look>, deadline: Instant) -> Vec<Look> {
        let reads = looks.into_iter().enumerate().map(|(at, look)| async move {
            let from = Offset(self.plan.asked(at).fetch_offset);
            match (look, &self.plan.cached(at).0) {
                (Look::Cold(bytes), Ok(replica)) => self.read_cold(replica, from, (bytes, deadline)).await,
                (Look::OnDisk(want), Ok(replica)) => find_on_disk(replica.clone(), from, want).await,
                (look, _) => look,
            }
        });
        join_all(reads).await
    }

    async fn read_cold(&self, replica: &Partition, from: Offset, (bytes, deadline): (usize, Instant)) -> Look {
        let metrics = &self.call.broker.metrics;
        match timeout_at(deadline, replica.read_cold(from, bytes)).await {
            Ok(Ok(batches)) => {
                metrics.fetched_cold_bytes.add(batches.iter().map(|chunk| chunk.len() as u64).sum());
                Look::Read(batches)
            }
            Ok(Err(error)) => {
                metrics.fetched_cold_errors.add(1);
                Look::Failed(error)
            }
            Err(_) => {
                metrics.fetched_cold_timeouts.add(1);
                Look::Empty
            }
        }
    }

    fn answer(mut self, looks: Vec<Look>) -> Reply {
        let (mut bodies, mut responses, mut group) = (Vec::new(), Vec::<FetchableTopicResponse>::new(), None);
        for (at, look) in looks.into_iter().enumerate() {
            let ends = self.plan.cached(at).0.as_ref().map_or(Ends::UNKNOWN, |replica| replica.ends());
            let outcome = outcome(&look, ends);
            if !self.plan.settle(at, &outcome) {
                continue;
            }
            let answer = self.answer_one(self.plan.asked(at).partition, (look, ends), &mut bodies);
            // Neighbours of one topic share an entry.
            let key = Some(self.plan.topic_key(at));
            match responses.last_mut().filter(|_| group == key) {
                Some(topic) => topic.partitions.push(answer),
                None => {
                    let PlanTopic { name, id } = self.plan.topic(at);
                    let (topic, topic_id) = (name.clone(), *id);
                    responses.push(FetchableTopicResponse { topic, topic_id, partitions: vec![answer] });
                    group = key;
                }
            }
        }
        let throttle_time_ms = self.call.context.throttle_ms();
        let session_id = self.plan.finish(clock::now());
        let response = FetchResponse { throttle_time_ms, session_id, responses, ..Default::default() };
        self.call.reply_with(&response, bodies)
    }

    fn answer_one(&self, partition: i32, (look, ends): (Look, Ends), bodies: &mut Vec<Body>) -> PartitionData {
        // An error tells of nothing else.
        let ends = if matches!(look, Look::Failed(_)) { Ends::UNKNOWN } else { ends };
        let mut answer = PartitionData {
            partition_index: partition,
            high_watermark: ends.high_watermark.0,
            last_stable_offset: ends.high_watermark.0,
            log_start_offset: ends.log_start.0,
            aborted_transactions: (self.is_read_committed && ends != Ends::UNKNOWN).then(Vec::new),
            records: Some(Records::default()),
            ..Default::default()
        };
        match look {
            Look::Empty | Look::Cold(_) | Look::OnDisk(_) => {}
            Look::Failed(error) => answer.error_code = error.code(),
            Look::Diverged { epoch, end } => {
                (answer.diverging_epoch.epoch, answer.diverging_epoch.end_offset) = (epoch.0, end.0);
            }
            Look::Hot(slice) => {
                self.call.broker.metrics.fetched_hot_bytes.add(slice.bytes as u64);
                answer.records = Some(hole(slice.bytes));
                bodies.push(Body::File(slice));
            }
            Look::Read(batches) => {
                answer.records = Some(hole(batches.iter().map(Bytes::len).sum()));
                bodies.push(Body::Memory(batches));
            }
        }
        answer
    }
}

/// What the session is told of a partition.
fn outcome(look: &Look, ends: Ends) -> Outcome {
    let error = match look {
        Look::Failed(error) => *error,
        _ => ErrorCode::None,
    };
    Outcome {
        error,
        high_watermark: ends.high_watermark.0,
        log_start: ends.log_start.0,
        has_records: matches!(look, Look::Hot(_) | Look::Read(_)),
        has_advice: matches!(look, Look::Diverged { .. }),
    }
}

/// The whole request is refused; where a version has no place to say so, each partition says it.
fn refused(request: FetchRequest, error: ErrorCode) -> FetchResponse {
    let error_code = error.code();
    let partition = |asked: FetchPartition| PartitionData {
        partition_index: asked.partition,
        error_code,
        high_watermark: Ends::UNKNOWN.high_watermark.0,
        ..Default::default()
    };
    let topic = |asked: FetchTopic| FetchableTopicResponse {
        topic: asked.topic,
        topic_id: asked.topic_id,
        partitions: asked.partitions.into_iter().map(partition).collect(),
    };
    FetchResponse { error_code, responses: request.topics.into_iter().map(topic).collect(), ..Default::default() }
}

fn hole(bytes: usize) -> Records {
    Records::Hole(u32::try_from(bytes).expect("a fetch is bounded below 4 GiB"))
}

fn find(call: &Call, asked: &PlanTopic, partition: i32) -> Result<Arc<Partition>, ErrorCode> {
    let topics = call.broker.topics.load();
    let topic = if call.context.version >= VERSION_TOPIC_IDS {
        topics.by_id(asked.id).ok_or(ErrorCode::UnknownTopicId)?
    } else {
        topics.by_name(&asked.name).ok_or(ErrorCode::UnknownTopicOrPartition)?
    };
    if !call.context.is_allowed(Resource::Topic, Operation::Read, &topic.name) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    topic.partition(PartitionIndex(partition)).cloned().ok_or(ErrorCode::UnknownTopicOrPartition)
}

fn look_at(found: &FoundPartition, asked: &Asked, want: Want) -> Result<Look, ErrorCode> {
    let replica = found.0.as_ref().map_err(|error| *error)?;
    let from = Offset(asked.fetch_offset);
    // To a fetch, and to it alone, each negative epoch is none.
    replica.check_epoch(LeaderEpoch(asked.current_leader_epoch.max(-1)))?;
    let ends = replica.open_ends()?;
    if let Some((epoch, end)) = replica.diverges(LeaderEpoch(asked.last_fetched_epoch), from)? {
        return Ok(Look::Diverged { epoch, end });
    }
    if from < ends.log_start || from > ends.end {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    if from < ends.local_start {
        return Ok(match want.bytes() {
            0 if !want.at_least_one() => Look::Empty,
            bytes => Look::Cold(bytes),
        });
    }
    if from >= ends.high_watermark {
        return Ok(Look::Empty);
    }
    Ok(match replica.slice_at_hand(from, want)? {
        AtHand::Slice(slice) => Look::Hot(slice),
        AtHand::Nothing => Look::Empty,
        AtHand::OnDisk => Look::OnDisk(want),
    })
}

/// Finds a stretch on a thread that may wait for the disk.
async fn find_on_disk(replica: Arc<Partition>, from: Offset, want: Want) -> Look {
    let found = tokio::task::spawn_blocking(move || replica.slice(from, want)).await;
    match found.unwrap_or(Err(ErrorCode::UnknownServerError)) {
        Ok(slice) => slice.map_or(Look::Empty, Look::Hot),
        Err(error) => Look::Failed(error),
    }
}
