//! Produce: appends each partition's batch in the order of arrival, and answers when `acks` is satisfied.
//!
//! The append happens in [`start`], without an await: two requests of one connection cannot overtake one another. Only the
//! wait for the high watermark is a future. Record bytes are not copied: the partition gets slices of the frame.

use std::sync::Arc;
use std::time::Duration;

use broker_model::{ErrorCode, Offset, PartitionIndex, Timestamp};
use broker_wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use broker_wire::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use broker_wire::{Records, Str};
use tokio::task::JoinHandle;

use super::{Call, Pending};
use crate::clock;
use crate::context::{Operation, Resource};
use crate::replica::{Partition, ProduceError};
use crate::topics::Topic;

/// The oldest version that is served; older ones are told so.
const VERSION_MIN: i16 = 3;
/// Versions from here name topics by id (KIP-516).
const VERSION_TOPIC_IDS: i16 = 13;
const ACKS_ALL: i16 = -1;

/// A partition whose reply waits for the high watermark.
struct Wait {
    topic: usize,
    partition: usize,
    committed: JoinHandle<Result<(), ErrorCode>>,
}

/// Appends.
pub(super) fn start(call: Call, request: ProduceRequest) -> Pending {
    let acks = request.acks;
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let refusal = refusal(&call, &request);
    let (mut response, mut waits) = (ProduceResponse::default(), Vec::new());
    for topic in request.topic_data {
        let found = match &refusal {
            Some(refused) => Err(refused.clone()),
            None => find(&call, &topic),
        };
        let mut answers = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let index = data.index;
            let appended = found.clone().and_then(|found| append(&call, &found, data));
            if let Ok((replica, done)) = &appended
                && let Some(committed) = commit_of(replica, done.next, acks)
            {
                let (topic, partition) = (response.responses.len(), answers.len());
                waits.push(Wait { topic, partition, committed });
            }
            answers.push(answer(index, appended.map(|(_, done)| done)));
        }
        response.responses.push(TopicProduceResponse {
            name: topic.name,
            topic_id: topic.topic_id,
            partition_responses: answers,
        });
    }
    response.throttle_time_ms = call.context.throttle_ms();
    match acks {
        0 => Pending::Ready(None),
        _ if waits.is_empty() => call.ready(&response),
        _ => Pending::wait(async move {
            commit(&mut response, waits, timeout).await;
            call.reply(&response)
        }),
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

/// What an append answers.
struct Done {
    base: Offset,
    next: Offset,
    log_start: Offset,
    append_time: Timestamp,
}

fn append(call: &Call, topic: &Topic, data: PartitionProduceData) -> Result<(Arc<Partition>, Done), ProduceError> {
    let partition = topic.partition(PartitionIndex(data.index)).ok_or(ErrorCode::UnknownTopicOrPartition)?.clone();
    let records = data.records.as_ref().and_then(Records::bytes).ok_or(ErrorCode::InvalidRecord)?;
    let appended = partition.append(records, clock::now())?;
    call.broker.metrics.produced_bytes.add(records.len() as u64);
    call.broker.metrics.produced_records.add(appended.records);
    let done = Done {
        base: appended.base,
        next: appended.next,
        log_start: partition.ends().log_start,
        append_time: appended.append_time,
    };
    Ok((partition, done))
}

fn answer(index: i32, done: Result<Done, ProduceError>) -> PartitionProduceResponse {
    match done {
        Ok(done) => PartitionProduceResponse {
            index,
            base_offset: done.base.0,
            log_append_time_ms: done.append_time.0,
            log_start_offset: done.log_start.0,
            ..Default::default()
        },
        Err(error) => PartitionProduceResponse {
            index,
            error_code: error.code.code(),
            base_offset: -1,
            record_errors: error
                .record
                .map(|batch_index| BatchIndexAndErrorMessage { batch_index, ..Default::default() })
                .into_iter()
                .collect(),
            error_message: error.message.map(Str::from),
            current_leader: LeaderIdAndEpoch::default(),
            ..Default::default()
        },
    }
}

/// What a batch waits for that is not committed yet. It is a task of its own: where nothing is shown before it is synced,
/// somebody must ask for the sync, also after `acks=0` and when the client has gone.
fn commit_of(replica: &Arc<Partition>, until: Offset, acks: i16) -> Option<JoinHandle<Result<(), ErrorCode>>> {
    if replica.is_committed(until) || !(acks == ACKS_ALL || replica.is_durable()) {
        return None;
    }
    let replica = replica.clone();
    Some(tokio::spawn(async move { replica.committed(until).await }))
}

/// Waits until all are below their high watermarks. Who is not in time is told so; the records may still be committed later.
async fn commit(response: &mut ProduceResponse, waits: Vec<Wait>, timeout: Duration) {
    let deadline = tokio::time::Instant::now() + timeout;
    for wait in waits {
        let committed = tokio::time::timeout_at(deadline, wait.committed).await;
        let error = match committed {
            Ok(Ok(Ok(()))) => continue,
            Ok(Ok(Err(error))) => error,
            Ok(Err(_)) => ErrorCode::KafkaStorageError,
            Err(_) => ErrorCode::RequestTimedOut,
        };
        let answers = response.responses.get_mut(wait.topic).map(|topic| &mut topic.partition_responses);
        if let Some(answer) = answers.and_then(|answers| answers.get_mut(wait.partition)) {
            answer.error_code = error.code();
            answer.base_offset = -1;
        }
    }
}
