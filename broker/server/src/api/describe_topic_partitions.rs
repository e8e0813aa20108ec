//! DescribeTopicPartitions (KIP-966): topics by name, page by page. A cursor says where the next page begins.

use std::collections::BTreeSet;

use broker_model::config::network;
use broker_model::{ErrorCode, TopicId};
use broker_wire::Str;
use broker_wire::messages::DescribeTopicPartitionsRequest;
use broker_wire::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};

use super::metadata::{self, Led};
use super::{Call, Pending};
use crate::context::{Operation, Resource};
use crate::topics::{Topic, TopicTable};

/// Answers from the table.
pub(super) fn start(call: Call, request: DescribeTopicPartitionsRequest) -> Pending {
    let topics = call.broker.topics.load();
    let answer = match asked(&topics, &request) {
        Ok(names) => page(&call, &topics, (&request, names)),
        Err(error) => {
            let failed = |topic| failed(topic, error);
            let topics = request.topics.iter().map(|topic| failed(topic.name.clone())).collect();
            DescribeTopicPartitionsResponse { topics, ..Default::default() }
        }
    };
    drop(topics);
    call.ready(&DescribeTopicPartitionsResponse { throttle_time_ms: call.context.throttle_ms(), ..answer })
}

/// The names that are asked, from the cursor's on.
fn asked(topics: &TopicTable, request: &DescribeTopicPartitionsRequest) -> Result<BTreeSet<Str>, ErrorCode> {
    let from = request.cursor.as_ref().map_or("", |cursor| &*cursor.topic_name);
    let names: BTreeSet<Str> = if request.topics.is_empty() {
        topics.iter().map(|topic| Str::from(topic.name.as_ref())).filter(|name| **name >= *from).collect()
    } else {
        request.topics.iter().map(|topic| topic.name.clone()).filter(|name| **name >= *from).collect()
    };
    if let Some(cursor) = &request.cursor {
        let is_listed = request.topics.is_empty() || names.contains(&cursor.topic_name);
        if !is_listed || cursor.partition_index < 0 {
            return Err(ErrorCode::InvalidRequest);
        }
    }
    Ok(names)
}

fn page(
    call: &Call,
    topics: &TopicTable,
    (request, names): (&DescribeTopicPartitionsRequest, BTreeSet<Str>),
) -> DescribeTopicPartitionsResponse {
    let most = call.broker.values.get(network::MAX_REQUEST_PARTITION_SIZE_LIMIT);
    let mut room = usize::try_from(request.response_partition_limit.min(most).max(1)).unwrap_or(1);
    let (mut page, mut refused) = (DescribeTopicPartitionsResponse::default(), Vec::new());
    for name in names {
        if !call.context.is_allowed(Resource::Topic, Operation::Describe, &name) {
            if !request.topics.is_empty() {
                refused.push(failed(name, ErrorCode::TopicAuthorizationFailed));
            }
            continue;
        }
        if room == 0 {
            page.next_cursor = Some(Cursor { topic_name: name, partition_index: 0 });
            break;
        }
        let Some(topic) = topics.by_name(&name) else {
            page.topics.push(failed(name.clone(), metadata::missing(&name)));
            continue;
        };
        let cursor = request.cursor.as_ref().filter(|cursor| cursor.topic_name == name);
        let first = cursor.map_or(0, |cursor| usize::try_from(cursor.partition_index).unwrap_or(0));
        let end = topic.partitions().len().min(first.saturating_add(room));
        page.topics.push(describe(call, topic, first..end));
        if end < topic.partitions().len() {
            let partition_index = i32::try_from(end).unwrap_or(i32::MAX);
            page.next_cursor = Some(Cursor { topic_name: name, partition_index });
            break;
        }
        room -= end.saturating_sub(first);
    }
    for topic in &mut page.topics {
        topic.topic_authorized_operations = call.context.authorized_operations(Resource::Topic);
    }
    page.topics.extend(refused);
    page
}

fn failed(name: Str, error: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: error.code(),
        topic_id: TopicId::ZERO,
        is_internal: metadata::is_internal(&name),
        name: Some(name),
        ..Default::default()
    }
}

fn describe(call: &Call, topic: &Topic, range: std::ops::Range<usize>) -> DescribeTopicPartitionsResponseTopic {
    let partitions = topic.partitions().skip(range.start).take(range.len()).map(|partition| {
        let Led { leader, replicas, offline, .. } = metadata::led(call, partition);
        DescribeTopicPartitionsResponsePartition {
            // That nobody leads it is told by the leader alone.
            error_code: ErrorCode::None.code(),
            partition_index: partition.id.partition.0,
            leader_id: leader,
            leader_epoch: partition.leader_epoch().0,
            isr_nodes: replicas.clone(),
            replica_nodes: replicas,
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
            offline_replicas: offline,
        }
    });
    DescribeTopicPartitionsResponseTopic {
        name: Some(topic.name.as_ref().into()),
        topic_id: topic.id,
        is_internal: topic.is_internal(),
        partitions: partitions.collect(),
        ..Default::default()
    }
}
