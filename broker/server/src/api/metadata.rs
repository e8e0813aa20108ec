//! Metadata: brokers, topics and their leaders, as seen from the listener that is asked.
//!
//! A topic that is asked by name and does not exist is created when both the client and `auto.create.topics.enable` say
//! so (KIP-361). With one node, this broker is the controller and leads every partition, but those of a log directory that
//! failed: they have no leader (KIP-112).

use std::sync::Arc;

use broker_model::{ErrorCode, TopicId};
use broker_wire::Str;
use broker_wire::messages::metadata_request::MetadataRequest;
use broker_wire::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

use super::{Call, Pending};
use crate::context::{Operation, Resource};
use crate::topics::Topic;

/// The leader of a partition that has none.
const NO_LEADER: i32 = -1;
/// In this version an empty list means all topics; later a null list does.
const VERSION_EMPTY_IS_ALL: i16 = 0;

/// One topic as it was asked.
enum Asked {
    Name(Str),
    Id(TopicId),
}

/// Answers from the image; waits only when a topic is to be made.
pub(super) fn start(call: Call, request: MetadataRequest) -> Pending {
    let Some(asked) = asked(&call, &request) else {
        let topics = call.broker.topics.load();
        let all = topics.iter().filter(|topic| is_visible(&call, topic)).map(|topic| describe(&call, topic)).collect();
        return call.ready(&response(&call, all));
    };
    let creates = request.allow_auto_topic_creation || call.context.version < 4;
    if !creates || !call.broker.limits.auto_create || asked.iter().all(|topic| is_known(&call, topic)) {
        let topics = asked.into_iter().map(|topic| look_up(&call, topic)).collect();
        return call.ready(&response(&call, topics));
    }
    Pending::wait(async move {
        let mut topics = Vec::with_capacity(asked.len());
        for topic in asked {
            let error = match &topic {
                Asked::Name(name) if !is_known(&call, &topic) => call.broker.auto_create(name).await.err(),
                _ => None,
            };
            topics.push(match (error, topic) {
                (Some(error), Asked::Name(name)) => failed(error, Some(name), TopicId::ZERO),
                (_, topic) => look_up(&call, topic),
            });
        }
        call.reply(&response(&call, topics))
    })
}

/// `None` when all topics are asked.
fn asked(call: &Call, request: &MetadataRequest) -> Option<Vec<Asked>> {
    let topics = request.topics.as_ref()?;
    if topics.is_empty() && call.context.version == VERSION_EMPTY_IS_ALL {
        return None;
    }
    let asked = topics.iter().map(|topic| match &topic.name {
        Some(name) => Asked::Name(name.clone()),
        None => Asked::Id(topic.topic_id),
    });
    Some(asked.collect())
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

fn look_up(call: &Call, asked: Asked) -> MetadataResponseTopic {
    match (find(call, &asked), asked) {
        (Some(topic), _) if is_visible(call, &topic) => describe(call, &topic),
        (Some(topic), _) => {
            failed(ErrorCode::TopicAuthorizationFailed, Some(topic.name.as_ref().into()), TopicId::ZERO)
        }
        (None, Asked::Name(name)) => {
            let error = match broker_metadata::names::validate(&name) {
                Ok(()) => ErrorCode::UnknownTopicOrPartition,
                Err(_) => ErrorCode::InvalidTopicException,
            };
            failed(error, Some(name), TopicId::ZERO)
        }
        (None, Asked::Id(id)) => failed(ErrorCode::UnknownTopicId, None, id),
    }
}

fn failed(error: ErrorCode, name: Option<Str>, id: TopicId) -> MetadataResponseTopic {
    MetadataResponseTopic { error_code: error.code(), name, topic_id: id, ..Default::default() }
}

fn describe(call: &Call, topic: &Topic) -> MetadataResponseTopic {
    let node = call.broker.node.0;
    let partitions = topic.partitions().map(|partition| {
        let is_offline = partition.is_offline();
        let error = if is_offline { ErrorCode::LeaderNotAvailable } else { ErrorCode::None };
        MetadataResponsePartition {
            error_code: error.code(),
            partition_index: partition.id.partition.0,
            leader_id: if is_offline { NO_LEADER } else { node },
            leader_epoch: partition.leader_epoch().0,
            replica_nodes: vec![node],
            isr_nodes: vec![node],
            offline_replicas: if is_offline { vec![node] } else { Vec::new() },
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

fn response(call: &Call, topics: Vec<MetadataResponseTopic>) -> MetadataResponse {
    let (broker, endpoint) = (&call.broker, call.broker.endpoint(&call.context.listener));
    let node = MetadataResponseBroker {
        node_id: broker.node.0,
        host: endpoint.host.as_str().into(),
        port: i32::from(endpoint.port),
        ..Default::default()
    };
    MetadataResponse {
        throttle_time_ms: call.context.throttle_ms(),
        brokers: vec![node],
        cluster_id: Some(broker.cluster_id.as_str().into()),
        controller_id: broker.node.0,
        topics,
        ..Default::default()
    }
}
