//! OffsetDelete: single offsets of a group go, of topics that none of its members subscribes to (KIP-496).
//!
//! Topics and rights are looked up here, the rest is the machine's. An error of the group stands for all.

use broker_group::request::{DeleteOffsets, DeletedTopic, Output, Request};
use broker_model::{ErrorCode, PartitionIndex};
use broker_wire::messages::offset_delete_request::{OffsetDeleteRequest, OffsetDeleteRequestTopic};
use broker_wire::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use super::{Call, Pending};
use crate::context::{Operation, Resource};
use crate::errors;

/// Asks the group's machine about what of the request names partitions that are there.
pub(super) fn start(call: Call, request: OffsetDeleteRequest) -> Pending {
    if !call.context.is_allowed(Resource::Group, Operation::Delete, &request.group_id) {
        return call.ready(&refused(&call, ErrorCode::GroupAuthorizationFailed));
    }
    let topics: Vec<DeletedTopic> = request.topics.iter().map(|topic| checked(&call, topic)).collect();
    let valid = topics.iter().map(|(name, partitions)| {
        let partitions = partitions.iter().filter(|(_, error)| *error == ErrorCode::None);
        (name.clone(), partitions.map(|(partition, _)| *partition).collect())
    });
    let delete = DeleteOffsets { group: request.group_id.to_string(), topics: valid.collect() };
    let asked = call.broker.groups.ask(&request.group_id, Request::DeleteOffsets(delete));
    Pending::wait(async move {
        let response = match asked.answer().await {
            Ok(Output::OffsetsDeleted(Ok(deleted))) => OffsetDeleteResponse {
                throttle_time_ms: call.context.throttle_ms(),
                topics: topics.into_iter().zip(deleted).map(|(asked, done)| merged(asked, done)).collect(),
                ..Default::default()
            },
            Ok(Output::OffsetsDeleted(Err(error))) => refused(&call, error),
            Ok(other) => unreachable!("a delete of offsets was answered by {other:?}"),
            Err(refusal) => refused(&call, errors::of_group(refusal)),
        };
        call.reply(&response)
    })
}

fn refused(call: &Call, error: ErrorCode) -> OffsetDeleteResponse {
    let throttle_time_ms = call.context.throttle_ms();
    OffsetDeleteResponse { throttle_time_ms, error_code: error.code(), ..Default::default() }
}

fn checked(call: &Call, asked: &OffsetDeleteRequestTopic) -> DeletedTopic {
    let topics = call.broker.topics.load();
    let topic = topics.by_name(&asked.name);
    let check = |partition: PartitionIndex| match topic {
        _ if !call.context.is_allowed(Resource::Topic, Operation::Read, &asked.name) => {
            ErrorCode::TopicAuthorizationFailed
        }
        Some(topic) if topic.partition(partition).is_some() => ErrorCode::None,
        Some(_) | None => ErrorCode::UnknownTopicOrPartition,
    };
    let partitions = asked.partitions.iter().map(|partition| PartitionIndex(partition.partition_index));
    (asked.name.to_string(), partitions.map(|partition| (partition, check(partition))).collect())
}

/// What the machine did not hear of keeps its error; the rest has the machine's, in the same order.
fn merged((name, asked): DeletedTopic, (_, done): DeletedTopic) -> OffsetDeleteResponseTopic {
    let mut done = done.into_iter();
    let partitions = asked.into_iter().map(|(partition, error)| {
        let error = if error == ErrorCode::None { done.next().map_or(error, |(_, error)| error) } else { error };
        OffsetDeleteResponsePartition { partition_index: partition.0, error_code: error.code() }
    });
    OffsetDeleteResponseTopic { name: name.into(), partitions: partitions.collect() }
}
