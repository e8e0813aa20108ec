//! OffsetCommit and OffsetFetch. Topics are resolved here (by name or, from version 10, by id); the rest is the machine's.

use broker_group::request::{
    CommitOffsets, CommitPartition, CommitTopic, CommittedOffset, CommittedTopic, FetchOffsets, FetchTopic,
    FetchedGroup, MemberRef, Output, Request, UnknownGroup,
};
use broker_model::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicId};
use broker_wire::Str;
use broker_wire::messages::offset_commit_request::OffsetCommitRequestTopic;
use broker_wire::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use broker_wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use broker_wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use broker_wire::messages::{OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse};

use super::{Call, Pending};
use crate::context::{Operation, Resource};
use crate::coordinator::Asked;
use crate::errors;

/// From here topics are named by id.
const VERSION_TOPIC_IDS: i16 = 10;
/// From here the member of a group that is not there hears GROUP_ID_NOT_FOUND.
const COMMIT_VERSION_NOT_FOUND: i16 = 9;
/// The offset is kept as long as the broker says.
const RETENTION_DEFAULT: i64 = -1;
/// From here one request asks for several groups.
const FETCH_VERSION_BATCHED: i16 = 8;

/// OffsetCommit.
pub(super) fn commit(call: Call, request: OffsetCommitRequest) -> Pending {
    let group = request.group_id.to_string();
    let allowed = call.context.is_allowed(Resource::Group, Operation::Read, &group);
    let topics: Vec<CommitTopic> = request.topics.iter().map(|topic| to_commit(&call, topic)).collect();
    if !allowed {
        return call.ready(&commit_failed(&request, ErrorCode::GroupAuthorizationFailed));
    }
    let who = MemberRef {
        group: group.clone(),
        member: request.member_id.to_string(),
        instance: request.group_instance_id.as_ref().map(ToString::to_string),
        generation: request.generation_id_or_member_epoch,
    };
    let commit = CommitOffsets {
        who,
        unknown_group: match call.context.version {
            COMMIT_VERSION_NOT_FOUND.. => UnknownGroup::NotFound,
            _ => UnknownGroup::IllegalGeneration,
        },
        retention_ms: Some(request.retention_time_ms).filter(|retention_ms| *retention_ms != RETENTION_DEFAULT),
        topics,
    };
    let asked = call.broker.groups.ask(&group, Request::CommitOffsets(commit));
    Pending::wait(async move {
        let mut response = match asked.answer().await {
            Ok(Output::Committed(topics)) => {
                OffsetCommitResponse { topics: topics.into_iter().map(committed).collect(), ..Default::default() }
            }
            Ok(other) => unreachable!("a commit was answered by {other:?}"),
            Err(refusal) => commit_failed(&request, errors::of_group(refusal)),
        };
        response.throttle_time_ms = call.context.throttle_ms();
        if call.context.version >= VERSION_TOPIC_IDS {
            response.topics.iter_mut().for_each(|topic| topic.name = Str::default());
        } else {
            response.topics.iter_mut().for_each(|topic| topic.topic_id = TopicId::ZERO);
        }
        call.reply(&response)
    })
}

fn to_commit(call: &Call, asked: &OffsetCommitRequestTopic) -> CommitTopic {
    let topics = call.broker.topics.load();
    let by_id = call.context.version >= VERSION_TOPIC_IDS;
    let found = if by_id { topics.by_id(asked.topic_id) } else { topics.by_name(&asked.name) };
    let missing = if by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
    let error = match found {
        None => missing,
        Some(topic) if call.context.is_allowed(Resource::Topic, Operation::Read, &topic.name) => ErrorCode::None,
        Some(_) => ErrorCode::TopicAuthorizationFailed,
    };
    let partitions = asked.partitions.iter().map(|partition| {
        let index = PartitionIndex(partition.partition_index);
        let exists = found.is_none_or(|topic| topic.partition(index).is_some());
        CommitPartition {
            partition: index,
            error: if exists { ErrorCode::None } else { ErrorCode::UnknownTopicOrPartition },
            offset: CommittedOffset {
                offset: Offset(partition.committed_offset),
                leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
                metadata: partition.committed_metadata.as_ref().map(ToString::to_string).unwrap_or_default(),
            },
        }
    });
    CommitTopic {
        topic: found.map_or_else(|| asked.name.to_string(), |topic| topic.name.to_string()),
        id: found.map_or(asked.topic_id, |topic| topic.id),
        error,
        partitions: partitions.collect(),
    }
}

fn committed(topic: CommittedTopic) -> OffsetCommitResponseTopic {
    let partitions = topic.partitions.into_iter().map(|(partition, error)| OffsetCommitResponsePartition {
        partition_index: partition.0,
        error_code: error.code(),
    });
    OffsetCommitResponseTopic { name: topic.topic.into(), topic_id: topic.id, partitions: partitions.collect() }
}

fn commit_failed(request: &OffsetCommitRequest, error: ErrorCode) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: error.code(),
            })
            .collect(),
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

/// OffsetFetch. The old form asks for one group, and is brought into the new one.
pub(super) fn fetch(call: Call, request: OffsetFetchRequest) -> Pending {
    let is_batched = call.context.version >= FETCH_VERSION_BATCHED;
    let groups = if is_batched { request.groups } else { vec![one_group(request)] };
    let asked: Vec<(Str, Vec<OffsetFetchRequestTopics>, Asked<Output>)> = groups
        .into_iter()
        .map(|group| {
            let topics =
                group.topics.as_ref().map(|topics| topics.iter().map(|topic| to_fetch(&call, topic)).collect());
            let request = FetchOffsets { group: group.group_id.to_string(), topics };
            let asked = call.broker.groups.ask(&group.group_id, Request::FetchOffsets(vec![request]));
            (group.group_id, group.topics.unwrap_or_default(), asked)
        })
        .collect();
    Pending::wait(async move {
        let mut groups = Vec::with_capacity(asked.len());
        for (group_id, topics, asked) in asked {
            groups.push(match asked.answer().await {
                Ok(Output::Fetched(fetched)) => fetched_group(&call, group_id, topics, fetched),
                Ok(other) => unreachable!("a fetch of offsets was answered by {other:?}"),
                Err(refusal) => {
                    let error_code = errors::of_group(refusal).code();
                    OffsetFetchResponseGroup { group_id, topics: Vec::new(), error_code }
                }
            });
        }
        let mut response = OffsetFetchResponse { throttle_time_ms: call.context.throttle_ms(), ..Default::default() };
        if is_batched {
            response.groups = groups;
        } else if let Some(only) = groups.into_iter().next() {
            response.error_code = if call.context.version >= 2 { only.error_code } else { 0 };
            response.topics = only.topics.into_iter().map(old_form).collect();
        }
        call.reply(&response)
    })
}

fn one_group(request: OffsetFetchRequest) -> OffsetFetchRequestGroup {
    let topics = request.topics.map(|topics| {
        let topic =
            |topic: broker_wire::messages::offset_fetch_request::OffsetFetchRequestTopic| OffsetFetchRequestTopics {
                name: topic.name,
                partition_indexes: topic.partition_indexes,
                ..Default::default()
            };
        topics.into_iter().map(topic).collect()
    });
    OffsetFetchRequestGroup { group_id: request.group_id, topics, ..Default::default() }
}

fn to_fetch(call: &Call, asked: &OffsetFetchRequestTopics) -> FetchTopic {
    let topics = call.broker.topics.load();
    let by_id = call.context.version >= VERSION_TOPIC_IDS;
    let found = if by_id { topics.by_id(asked.topic_id) } else { topics.by_name(&asked.name) };
    FetchTopic {
        topic: found.map_or_else(|| asked.name.to_string(), |topic| topic.name.to_string()),
        id: found.map_or(TopicId::ZERO, |topic| topic.id),
        partitions: asked.partition_indexes.iter().copied().map(PartitionIndex).collect(),
    }
}

fn fetched_group(
    call: &Call,
    group_id: Str,
    asked: Vec<OffsetFetchRequestTopics>,
    fetched: Vec<FetchedGroup>,
) -> OffsetFetchResponseGroup {
    let topics = fetched.into_iter().next().map(|group| group.topics).unwrap_or_default();
    let by_id = call.context.version >= VERSION_TOPIC_IDS;
    let known = call.broker.topics.load();
    let topics = topics.into_iter().enumerate().filter_map(|(place, (name, partitions))| {
        let asked_id = asked.get(place).map(|topic| topic.topic_id).filter(|_| by_id);
        let known_id = known.by_name(&name).map(|topic| topic.id);
        // Where all are asked for by id, a topic without one cannot be told.
        let topic_id = if by_id { asked_id.or(known_id)? } else { TopicId::ZERO };
        let error = match by_id && known.by_id(topic_id).is_none() {
            true => ErrorCode::UnknownTopicId,
            false => ErrorCode::None,
        };
        let partitions = partitions.into_iter().map(|(partition, offset)| OffsetFetchResponsePartitions {
            partition_index: partition.0,
            committed_offset: offset.offset.0,
            committed_leader_epoch: offset.leader_epoch.0,
            metadata: Some(offset.metadata.into()),
            error_code: error.code(),
        });
        let name = if by_id { Str::default() } else { name.into() };
        Some(OffsetFetchResponseTopics { name, topic_id, partitions: partitions.collect() })
    });
    OffsetFetchResponseGroup { group_id, topics: topics.collect(), error_code: 0 }
}

fn old_form(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partitions = topic.partitions.into_iter().map(|partition| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
    });
    OffsetFetchResponseTopic { name: topic.name, partitions: partitions.collect() }
}
