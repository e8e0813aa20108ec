//! Produce: appends each partition's batch in the order of arrival, and answers when `acks` is satisfied.
//!
//! The batches are handed in by [`start`], without an await: two requests of one connection cannot overtake one another.
//! What waits is a [`ProduceWait`]: for a batch that somebody else writes, and for the high watermark. Record bytes are not
//! copied: the partition gets slices of the frame.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use broker_model::{ErrorCode, Offset, PartitionIndex};
use broker_records::{BatchHead, Codec};
use broker_wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use broker_wire::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use broker_wire::{Records, Str};
use tokio::time::Instant;

use super::{Call, Pending};
use crate::clock;
use crate::context::{Operation, Resource};
use crate::net::reply::{Reply, Then};
use crate::replica::waiters::{Ticket, Until};
use crate::replica::{Appended, Partition, ProduceError, Promise, Submitted};
use crate::topics::Topic;

/// The oldest version that is served; older ones are told so.
const VERSION_MIN: i16 = 3;
/// Versions from here name topics by id (KIP-516).
const VERSION_TOPIC_IDS: i16 = 13;
/// Producers that speak less do not know zstd (KIP-110).
const VERSION_ZSTD: i16 = 7;
const ACKS_ALL: i16 = -1;

/// What one partition waits for.
enum Stage {
    /// Somebody writes the batch.
    Queued(Arc<Promise>),
    /// It is written, and to be committed up to here.
    Written(Offset, Option<Ticket>),
    /// Its answer stands.
    Answered,
}

/// A partition whose answer waits.
struct Wait {
    /// Where its answer stands in the response: topic, partition.
    at: (usize, usize),
    replica: Arc<Partition>,
    stage: Stage,
}

/// A Produce request that waits. All its partitions are waited for together.
pub struct ProduceWait {
    call: Call,
    response: ProduceResponse,
    waits: Vec<Wait>,
    acks: i16,
    deadline: Instant,
}

/// Appends.
pub(super) fn start(call: Call, request: ProduceRequest) -> Pending {
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let refusal = refusal(&call, &request);
    let mut wait = ProduceWait {
        response: ProduceResponse { throttle_time_ms: call.context.throttle_ms(), ..Default::default() },
        waits: Vec::new(),
        acks: request.acks,
        deadline: Instant::now() + timeout,
        call,
    };
    wait.response.responses.reserve_exact(request.topic_data.len());
    for topic in request.topic_data {
        let found = match &refusal {
            Some(refused) => Err(refused.clone()),
            None => find(&wait.call, &topic),
        };
        let mut answers = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let at = (wait.response.responses.len(), answers.len());
            answers.push(PartitionProduceResponse { index: data.index, ..Default::default() });
            let answer = answers.last_mut().expect("it was just pushed");
            let replica = match found.as_ref().map(|topic| topic.partition(PartitionIndex(data.index))) {
                Ok(Some(replica)) => replica,
                Ok(None) => {
                    refused(ErrorCode::UnknownTopicOrPartition.into(), None, answer);
                    continue;
                }
                Err(error) => {
                    refused(error.clone(), None, answer);
                    continue;
                }
            };
            match append(&wait.call, replica, &data) {
                Ok(Submitted::Done(done)) => {
                    written(&wait.call, replica, &done, answer);
                    if wait.acks != 0 && waits_for_commit(replica, done.next, wait.acks) {
                        let stage = Stage::Written(done.next, None);
                        wait.waits.push(Wait { at, replica: replica.clone(), stage });
                    }
                }
                Ok(Submitted::Queued(promise)) => {
                    wait.waits.push(Wait { at, replica: replica.clone(), stage: Stage::Queued(promise) });
                }
                Err(error) => refused(error, Some(replica), answer),
            }
        }
        let (name, topic_id) = (topic.name, topic.topic_id);
        wait.response.responses.push(TopicProduceResponse { name, topic_id, partition_responses: answers });
    }
    if wait.waits.is_empty() { wait.end() } else { Pending::Produce(wait) }
}

impl ProduceWait {
    /// When it is answered although something is not committed. A write is waited for as long as it takes.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let has_limit = self.waits.iter().any(|wait| matches!(wait.stage, Stage::Written(..)));
        has_limit.then_some(self.deadline)
    }

    /// Looks at all that is waited for.
    pub fn poll(&mut self, now: Instant) -> Poll<Pending> {
        let mut is_done = true;
        for wait in &mut self.waits {
            let (topic, partition) = wait.at;
            let answers = self.response.responses.get_mut(topic).map(|topic| &mut topic.partition_responses);
            let answer = answers.and_then(|answers| answers.get_mut(partition)).expect("it waits for its answer");
            wait.look(&self.call, self.acks, answer);
            if now >= self.deadline && matches!(wait.stage, Stage::Written(..)) {
                // The records may still be committed later.
                refused(ErrorCode::RequestTimedOut.into(), Some(&wait.replica), answer);
                wait.leave();
            }
            is_done &= matches!(wait.stage, Stage::Answered);
        }
        if is_done { Poll::Ready(self.end()) } else { Poll::Pending }
    }

    fn end(&mut self) -> Pending {
        let response = std::mem::take(&mut self.response);
        if self.acks != 0 {
            return self.call.ready(&response);
        }
        let mut answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        let has_error = answers.any(|answer| answer.error_code != ErrorCode::None.code());
        Pending::Ready(has_error.then(|| Reply { then: Then::End, ..Reply::default() }))
    }
}

impl Wait {
    fn look(&mut self, call: &Call, acks: i16, answer: &mut PartitionProduceResponse) {
        if let Stage::Queued(promise) = &self.stage {
            match promise.take() {
                None => return,
                Some(Err(error)) => {
                    refused(error, Some(&self.replica), answer);
                    self.stage = Stage::Answered;
                }
                Some(Ok(done)) => {
                    written(call, &self.replica, &done, answer);
                    self.stage = if acks == 0 { Stage::Answered } else { Stage::Written(done.next, None) };
                }
            }
        }
        let Stage::Written(until, ticket) = &mut self.stage else { return };
        if !waits_for_commit(&self.replica, *until, acks) {
            return self.leave();
        }
        if ticket.is_none() {
            *ticket = Some(self.replica.waiters.register(&call.caller, Until::Committed(*until)));
        }
        match self.replica.is_committed(*until) {
            Ok(false) => {}
            Ok(true) => self.leave(),
            Err(error) => {
                refused(error.into(), Some(&self.replica), answer);
                self.leave();
            }
        }
    }

    fn leave(&mut self) {
        if let Stage::Written(_, Some(ticket)) = self.stage {
            self.replica.waiters.forget(ticket);
        }
        self.stage = Stage::Answered;
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What refuses the request as a whole.
fn refusal(call: &Call, request: &ProduceRequest) -> Option<ProduceError> {
    match request.acks {
        _ if call.context.version < VERSION_MIN => Some(ErrorCode::UnsupportedVersion.into()),
        -1..=1 => request.transactional_id.as_ref().map(|_| ErrorCode::TransactionalIdAuthorizationFailed.into()),
        _ => Some(ErrorCode::InvalidRequiredAcks.into()),
    }
}

fn find(call: &Call, data: &TopicProduceData) -> Result<Arc<Topic>, ProduceError> {
    let topics = call.broker.topics.load();
    let topic = if call.context.version >= VERSION_TOPIC_IDS {
        topics.by_id(data.topic_id).ok_or(ErrorCode::UnknownTopicId)?
    } else {
        topics.by_name(&data.name).ok_or(ErrorCode::UnknownTopicOrPartition)?
    };
    if !call.context.is_allowed(Resource::Topic, Operation::Write, &topic.name) {
        return Err(ErrorCode::TopicAuthorizationFailed.into());
    }
    if topic.is_internal() {
        return Err(ErrorCode::InvalidTopicException.into());
    }
    Ok(topic.clone())
}

fn append(call: &Call, replica: &Arc<Partition>, data: &PartitionProduceData) -> Result<Submitted, ProduceError> {
    let records = data.records.as_ref().and_then(Records::bytes).ok_or(ErrorCode::InvalidRecord)?;
    let is_zstd = || BatchHead::parse(records).is_ok_and(|head| head.codec() == Ok(Codec::Zstd));
    if call.context.version < VERSION_ZSTD && is_zstd() {
        return Err(ErrorCode::UnsupportedCompressionType.into());
    }
    let submitted = replica.append(records, &call.caller, clock::now())?;
    call.broker.metrics.produced_bytes.add(records.len() as u64);
    Ok(submitted)
}

/// Whether `acks`, or the topic's `flush.messages=1`, asks for more than a write, and that is not there yet.
fn waits_for_commit(replica: &Partition, until: Offset, acks: i16) -> bool {
    (acks == ACKS_ALL || replica.is_durable()) && replica.is_committed(until) != Ok(true)
}

fn written(call: &Call, replica: &Partition, done: &Appended, answer: &mut PartitionProduceResponse) {
    call.broker.metrics.produced_records.add(done.records);
    answer.base_offset = done.base.0;
    answer.log_append_time_ms = done.append_time.0;
    answer.log_start_offset = replica.ends().log_start.0;
}

/// Fills in an error. Kafka tells the log start with those that say that the partition is as it should be.
fn refused(error: ProduceError, replica: Option<&Partition>, answer: &mut PartitionProduceResponse) {
    use ErrorCode::{CorruptMessage, KafkaStorageError, MessageTooLarge, RecordListTooLarge};
    let is_untold = [CorruptMessage, KafkaStorageError, MessageTooLarge, RecordListTooLarge].contains(&error.code);
    let log_start = replica.filter(|_| !is_untold).map_or(Offset(-1), |replica| replica.ends().log_start);
    let message = error.message.map(Str::from);
    let record = |(batch_index, message): (i32, String)| BatchIndexAndErrorMessage {
        batch_index,
        batch_index_error_message: Some(message.into()),
    };
    *answer = PartitionProduceResponse {
        index: answer.index,
        error_code: error.code.code(),
        base_offset: -1,
        log_start_offset: log_start.0,
        record_errors: error.records.into_iter().map(record).collect(),
        error_message: message,
        current_leader: LeaderIdAndEpoch::default(),
        ..Default::default()
    };
}
