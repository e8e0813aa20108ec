//! Metadata: brokers, topics and their leaders, as seen from the listener that is asked.
//!
//! A topic that is asked by name and does not exist is created when both the client and `auto.create.topics.enable` say
//! so (KIP-361). With one node, this broker is the controller and leads every partition, but those of a log directory that
//! failed: they have no leader (KIP-112). A topic that is asked twice is told once.

use std::collections::HashSet;
use std::sync::Arc;

use broker_model::{ErrorCode, TopicId};
use broker_wire::Str;
use broker_wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use broker_wire::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

use super::{Call, Pending};
use crate::context::{Operation, Resource};
use crate::replica::Partition;
use crate::topics::Topic;

/// The leader of a partition that has none.
const NO_LEADER: i32 = -1;
/// In this version an empty list means all topics; later a null list does.
const VERSION_EMPTY_IS_ALL: i16 = 0;
/// Before this version creation cannot be declined.
const VERSION_MAY_DECLINE: i16 = 4;
/// Before this version a topic must be asked by name.
const VERSION_BY_ID: i16 = 12;
/// From here a response can say that the request failed as a whole.
const VERSION_ERROR: i16 = 13;
/// The topics that Kafka itself writes.
const INTERNAL: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// One topic as it was asked.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Asked {
    Name(Str),
    Id(TopicId),
}

/// What the answer has beside the topics.
#[derive(Clone, Copy)]
struct Wanted {
    cluster_operations: bool,
    topic_operations: bool,
}

/// Answers from the image; waits only when a topic is to be made.
pub(super) fn start(call: Call, request: MetadataRequest) -> Pending {
    let wanted = Wanted {
        cluster_operations: request.include_cluster_authorized_operations,
        topic_operations: request.include_topic_authorized_operations,
    };
    let Some(topics) = request.topics.as_ref().filter(|topics| !is_all(&call, topics)) else {
        let topics = call.broker.topics.load();
        let all = topics.iter().filter(|topic| is_visible(&call, topic)).map(|topic| describe(&call, topic)).collect();
        return call.ready(&response(&call, all, wanted));
    };
    if topics.iter().any(|topic| is_illegal(&call, topic)) {
        let failed = topics.iter().map(|topic| {
            let name = topic.name.clone().unwrap_or_default();
            MetadataResponseTopic { topic_id: topic.topic_id, ..failed(ErrorCode::InvalidRequest, Some(name)) }
        });
        let is_told = call.context.version >= VERSION_ERROR;
        let error = if is_told { ErrorCode::InvalidRequest } else { ErrorCode::None };
        let topics = failed.collect();
        return call.ready(&MetadataResponse { topics, error_code: error.code(), ..Default::default() });
    }
    let asked = asked(topics);
    let creates = request.allow_auto_topic_creation || call.context.version < VERSION_MAY_DECLINE;
    if !creates || !call.broker.limits.auto_create || asked.iter().all(|topic| is_known(&call, topic)) {
        let topics = asked.into_iter().map(|topic| look_up(&call, topic)).collect();
        return call.ready(&response(&call, topics, wanted));
    }
    Pending::wait(async move {
        let mut topics = Vec::with_capacity(asked.len());
        for topic in asked {
            let error = match &topic {
                Asked::Name(name) if !is_known(&call, &topic) => call.broker.auto_create(name).await.err(),
                _ => None,
            };
            topics.push(match (error, topic) {
                (Some(error), Asked::Name(name)) => failed(error, Some(name)),
                (_, topic) => look_up(&call, topic),
            });
        }
        call.reply(&response(&call, topics, wanted))
    })
}

/// Whether a list means all topics.
fn is_all(call: &Call, topics: &[MetadataRequestTopic]) -> bool {
    topics.is_empty() && call.context.version == VERSION_EMPTY_IS_ALL
}

/// Versions 10 and 11 have a field for the id, and do not take one. Later ones take either, but not neither.
fn is_illegal(call: &Call, topic: &MetadataRequestTopic) -> bool {
    let has_id = topic.topic_id != TopicId::ZERO;
    if call.context.version < VERSION_BY_ID { topic.name.is_none() || has_id } else { topic.name.is_none() && !has_id }
}

/// Each topic once. Where one is asked by its id, those asked by name only are not heeded, as in Kafka.
fn asked(topics: &[MetadataRequestTopic]) -> Vec<Asked> {
    let by_id = topics.iter().any(|topic| topic.topic_id != TopicId::ZERO);
    let asked = topics.iter().filter_map(|topic| match &topic.name {
        _ if by_id => Some(topic.topic_id).filter(|id| *id != TopicId::ZERO).map(Asked::Id),
        name => name.clone().map(Asked::Name),
    });
    let mut seen = HashSet::new();
    asked.filter(|topic| seen.insert(topic.clone())).collect()
}

fn find(call: &Call, asked: &Asked) -> Option<Arc<Topic>> {
    let topics = call.broker.topics.load();
    match asked {
        Asked::Name(name) => topics.by_name(name).cloned(),
        Asked::Id(id) => topics.by_id(*id).cloned(),
    }
}

fn is_known(call: &Call, asked: &Asked) -> bool {
    matches!(asked, Asked::Id(_)) || find(call, asked).is_some()
}

fn is_visible(call: &Call, topic: &Topic) -> bool {
    call.context.is_allowed(Resource::Topic, Operation::Describe, &topic.name)
}

/// True for a topic that only brokers write.
pub(super) fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// Why a name stands for no topic.
pub(super) fn missing(name: &str) -> ErrorCode {
    match broker_metadata::names::validate(name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    }
}

fn look_up(call: &Call, asked: Asked) -> MetadataResponseTopic {
    match (find(call, &asked), asked) {
        (Some(topic), _) if is_visible(call, &topic) => describe(call, &topic),
        (Some(topic), _) => failed(ErrorCode::TopicAuthorizationFailed, Some(topic.name.as_ref().into())),
        (None, Asked::Name(name)) => failed(missing(&name), Some(name)),
        (None, Asked::Id(topic_id)) => MetadataResponseTopic { topic_id, ..failed(ErrorCode::UnknownTopicId, None) },
    }
}

fn failed(error: ErrorCode, name: Option<Str>) -> MetadataResponseTopic {
    let is_internal = name.as_deref().is_some_and(is_internal);
    MetadataResponseTopic { error_code: error.code(), name, is_internal, ..Default::default() }
}

/// Who has a partition.
pub(super) struct Led {
    pub(super) error: ErrorCode,
    pub(super) leader: i32,
    pub(super) replicas: Vec<i32>,
    pub(super) offline: Vec<i32>,
}

/// Who has this partition: this node, unless its log directory failed.
pub(super) fn led(call: &Call, partition: &Partition) -> Led {
    let node = call.broker.node.0;
    if partition.is_offline() {
        let error = ErrorCode::LeaderNotAvailable;
        return Led { error, leader: NO_LEADER, replicas: vec![node], offline: vec![node] };
    }
    Led { error: ErrorCode::None, leader: node, replicas: vec![node], offline: Vec::new() }
}

fn describe(call: &Call, topic: &Topic) -> MetadataResponseTopic {
    let partitions = topic.partitions().map(|partition| {
        let Led { error, leader, replicas, offline } = led(call, partition);
        MetadataResponsePartition {
            error_code: error.code(),
            partition_index: partition.id.partition.0,
            leader_id: leader,
            leader_epoch: partition.leader_epoch().0,
            isr_nodes: replicas.clone(),
            replica_nodes: replicas,
            offline_replicas: offline,
        }
    });
    MetadataResponseTopic {
        name: Some(topic.name.as_ref().into()),
        topic_id: topic.id,
        is_internal: topic.is_internal(),
        partitions: partitions.collect(),
        ..Default::default()
    }
}

fn response(call: &Call, mut topics: Vec<MetadataResponseTopic>, wanted: Wanted) -> MetadataResponse {
    let (broker, endpoint) = (&call.broker, call.broker.endpoint(&call.context.listener));
    let node = MetadataResponseBroker {
        node_id: broker.node.0,
        host: endpoint.host.as_str().into(),
        port: i32::from(endpoint.port),
        ..Default::default()
    };
    if wanted.topic_operations {
        let known = topics.iter_mut().filter(|topic| topic.error_code != ErrorCode::UnknownTopicId.code());
        known.for_each(|topic| {
            topic.topic_authorized_operations = call.context.authorized_operations(Resource::Topic);
        });
    }
    let mut response = MetadataResponse {
        throttle_time_ms: call.context.throttle_ms(),
        brokers: vec![node],
        cluster_id: Some(broker.cluster_id.as_str().into()),
        controller_id: broker.node.0,
        topics,
        ..Default::default()
    };
    if wanted.cluster_operations {
        response.cluster_authorized_operations = call.context.authorized_operations(Resource::Cluster);
    }
    response
}
