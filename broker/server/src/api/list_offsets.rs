//! ListOffsets: the offset that a timestamp means, on hot and cold data alike.
//!
//! Sentinels (kafka-requirements, section 3): -1 the high watermark, -2 the log start, -3 the record with the largest
//! timestamp, -4 the first local offset, -5 the last tiered offset, -6 the first offset that waits for its upload. Any
//! other timestamp is searched in the tier first and then in the local log.

use std::sync::Arc;

use broker_model::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, Timestamp};
use broker_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use broker_wire::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};

use super::{Call, Pending};
use crate::context::{Operation, Resource};
use crate::replica::Partition;
use crate::topics::Topic;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// From here an answer says the leader epoch of what was found.
const VERSION_LEADER_EPOCH: i16 = 4;

/// The version that brought a sentinel; in older ones it is not known.
fn version_of(sentinel: i64) -> i16 {
    match sentinel {
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        EARLIEST_PENDING_UPLOAD => 11,
        _ => 0,
    }
}

/// What was found.
struct Found {
    offset: Offset,
    timestamp: Timestamp,
    epoch: LeaderEpoch,
}

/// Looks all of them up.
pub(super) fn start(call: Call, request: ListOffsetsRequest) -> Pending {
    Pending::wait(async move {
        let mut response = ListOffsetsResponse::default();
        for topic in request.topics {
            let found = call.broker.topics.load().by_name(&topic.name).cloned();
            let allowed = call.context.is_allowed(Resource::Topic, Operation::Describe, &topic.name);
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in &topic.partitions {
                let answer = match &found {
                    _ if !allowed => Err(ErrorCode::TopicAuthorizationFailed),
                    Some(topic) => look_up(&call, topic, asked).await,
                    None => Err(ErrorCode::UnknownTopicOrPartition),
                };
                partitions.push(answer_of(&call, asked.partition_index, answer));
            }
            let answer = ListOffsetsTopicResponse { name: topic.name, partitions };
            response.topics.push(answer);
        }
        response.throttle_time_ms = call.context.throttle_ms();
        call.reply(&response)
    })
}

async fn look_up(call: &Call, topic: &Topic, asked: &ListOffsetsPartition) -> Result<Option<Found>, ErrorCode> {
    let index = PartitionIndex(asked.partition_index);
    let partition = topic.partition(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    partition.check_epoch(LeaderEpoch(asked.current_leader_epoch))?;
    if call.context.version < version_of(asked.timestamp) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let ends = partition.open_ends()?;
    let epoch = partition.leader_epoch();
    let at = |offset, epoch| Some(Found { offset, timestamp: Timestamp::NONE, epoch });
    Ok(match asked.timestamp {
        LATEST => at(ends.high_watermark, epoch),
        EARLIEST => at(ends.log_start, partition.epoch_of(ends.log_start)?),
        EARLIEST_LOCAL => at(ends.local_start, partition.epoch_of(ends.local_start)?),
        LATEST_TIERED => match partition.tiered_end() {
            Some(end) if end > ends.log_start => at(end.plus(-1), partition.epoch_of(end.plus(-1))?),
            _ => at(Offset(-1), LeaderEpoch(-1)),
        },
        EARLIEST_PENDING_UPLOAD => match partition.tiered_end() {
            Some(end) => at(end.max(ends.log_start), epoch),
            // Nothing is in the bucket yet, so that all of it waits.
            None if partition.config().tiered && ends.local_start == ends.log_start => at(ends.log_start, epoch),
            None => at(Offset(-1), LeaderEpoch(-1)),
        },
        MAX_TIMESTAMP => from_time(partition.max_timestamp()?),
        timestamp if timestamp >= 0 => from_time(search(partition, Timestamp(timestamp)).await?),
        _ => return Err(ErrorCode::InvalidRequest),
    })
}

fn from_time(found: Option<(Offset, Timestamp, LeaderEpoch)>) -> Option<Found> {
    found.map(|(offset, timestamp, epoch)| Found { offset, timestamp, epoch })
}

/// The first record at or after a time. What lies only in the bucket is older in offset, so it is asked first.
async fn search(
    partition: &Arc<Partition>,
    from: Timestamp,
) -> Result<Option<(Offset, Timestamp, LeaderEpoch)>, ErrorCode> {
    if let Some(found) = partition.cold_offset_for_time(from).await? {
        return Ok(Some(found));
    }
    partition.offset_for_time(from)
}

fn answer_of(call: &Call, index: i32, found: Result<Option<Found>, ErrorCode>) -> ListOffsetsPartitionResponse {
    let mut answer = ListOffsetsPartitionResponse { partition_index: index, ..Default::default() };
    match found {
        Ok(Some(found)) => {
            (answer.timestamp, answer.offset) = (found.timestamp.0, found.offset.0);
            if call.context.version >= VERSION_LEADER_EPOCH {
                answer.leader_epoch = found.epoch.0;
            }
        }
        Ok(None) => {}
        Err(error) => answer.error_code = error.code(),
    }
    answer
}
