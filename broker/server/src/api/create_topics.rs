//! CreateTopics: checks configs against the registry, then asks the metadata machine.

use std::collections::BTreeMap;

use broker_metadata::{CreateMode, CreateTopics, CreatedTopic, Existing, NewTopic, Output, Request, TopicError};
use broker_model::config::TopicConfig;
use broker_model::{ErrorCode, TopicId};
use broker_wire::Str;
use broker_wire::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use broker_wire::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};

use super::{Call, Pending};
use crate::context::{Operation, Resource};
use crate::topics::class_of;

/// Asks at once, so that requests of one connection keep their order; waits for the commit.
pub(super) fn start(call: Call, request: CreateTopicsRequest) -> Pending {
    let (mut topics, mut refused) = (Vec::new(), Vec::new());
    for asked in &request.topics {
        let twice = request.topics.iter().filter(|other| other.name == asked.name).count() > 1;
        let checked = match twice {
            true => Err(TopicError::new(ErrorCode::InvalidRequest, "the request names this topic twice")),
            false => check(&call, asked),
        };
        match checked {
            Ok(topic) => topics.push(topic),
            Err(error) => refused.push(CreatedTopic { name: asked.name.to_string(), result: Err(error) }),
        }
    }
    let mode = if request.validate_only { CreateMode::ValidateOnly } else { CreateMode::Apply };
    let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
    let asked =
        call.broker.metadata.ask(Request::CreateTopics(CreateTopics { topics, mode, existing: Existing::Refuse }));
    Pending::wait(async move {
        let created = match asked.answer().await {
            Ok(Output::Created(created)) => created,
            Ok(Output::Refused(error)) => all_failed(names, &error),
            Ok(other) => unreachable!("a creation was answered by {other:?}"),
            Err(refusal) => {
                all_failed(names, &TopicError::new(crate::errors::of_metadata(refusal), refusal.to_string()))
            }
        };
        let mut created: BTreeMap<String, CreatedTopic> =
            created.into_iter().chain(refused).map(|topic| (topic.name.clone(), topic)).collect();
        let topics = request.topics.iter().filter_map(|asked| created.remove(&*asked.name));
        let topics = topics.map(|topic| answer(&call, topic)).collect();
        let throttle_time_ms = call.context.throttle_ms();
        call.reply(&CreateTopicsResponse { throttle_time_ms, topics })
    })
}

fn all_failed(names: Vec<String>, error: &TopicError) -> Vec<CreatedTopic> {
    names.into_iter().map(|name| CreatedTopic { name, result: Err(error.clone()) }).collect()
}

fn check(call: &Call, asked: &CreatableTopic) -> Result<NewTopic, TopicError> {
    let fail = |code, message: String| Err(TopicError::new(code, message));
    if !call.context.is_allowed(Resource::Topic, Operation::Create, &asked.name) {
        return fail(ErrorCode::TopicAuthorizationFailed, "not allowed".to_owned());
    }
    let mut configs = BTreeMap::new();
    for config in &asked.configs {
        let Some(value) = &config.value else {
            return fail(ErrorCode::InvalidConfig, format!("{} has no value", &*config.name));
        };
        configs.insert(config.name.to_string(), value.to_string());
    }
    if let Err(error) = TopicConfig::resolve(&configs, &call.broker.values, class_of(&asked.name)) {
        return fail(ErrorCode::InvalidConfig, error.to_string());
    }
    let (partitions, replication_factor) = match asked.assignments.as_slice() {
        [] => call.broker.with_defaults(asked.num_partitions, asked.replication_factor),
        _ if (asked.num_partitions, asked.replication_factor) != (-1, -1) => {
            let message = "with an assignment by hand, partition count and replication factor must be -1";
            return fail(ErrorCode::InvalidRequest, message.to_owned());
        }
        given => assigned(call, given.iter().map(|row| (row.partition_index, row.broker_ids.as_slice())))?,
    };
    Ok(NewTopic {
        name: asked.name.to_string(),
        id: call.broker.fresh_topic_id(),
        partitions,
        replication_factor,
        configs,
    })
}

/// A manual assignment: partitions 0 to n-1, each on this broker.
fn assigned<'a>(call: &Call, rows: impl Iterator<Item = (i32, &'a [i32])>) -> Result<(i32, i16), TopicError> {
    let mut indexes = Vec::new();
    for (index, brokers) in rows {
        if brokers != [call.broker.node.0] {
            let message = format!("partition {index}: the only broker is {}", call.broker.node);
            return Err(TopicError::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        indexes.push(index);
    }
    indexes.sort_unstable();
    let count = i32::try_from(indexes.len()).unwrap_or(i32::MAX);
    if !indexes.into_iter().eq(0..count) {
        let message = "partitions are numbered from 0 without gaps";
        return Err(TopicError::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    Ok((count, 1))
}

fn answer(call: &Call, created: CreatedTopic) -> CreatableTopicResult {
    let name = Str::from(created.name);
    match created.result {
        Ok(topic) => {
            let described = TopicConfig::describe(&topic.configs, &call.broker.values, class_of(&name));
            let configs = described.unwrap_or_default().into_iter().map(|config| CreatableTopicConfigs {
                read_only: config.read_only(),
                config_source: config.source.code(),
                is_sensitive: config.sensitive(),
                name: config.name.into(),
                value: config.value.as_deref().map(Str::from),
            });
            CreatableTopicResult {
                name,
                topic_id: topic.id,
                num_partitions: topic.partitions,
                replication_factor: topic.replication_factor,
                error_message: None,
                configs: Some(configs.collect()),
                ..Default::default()
            }
        }
        Err(error) => CreatableTopicResult {
            name,
            topic_id: TopicId::ZERO,
            error_code: error.code.code(),
            error_message: Some(error.message.as_str().into()),
            ..Default::default()
        },
    }
}
