//! CreateTopics: checks configs against the registry, then asks the metadata machine.

use std::collections::{BTreeMap, BTreeSet};

use broker_metadata::{CreateTopics, CreatedTopic, Existing, NewTopic, Output, Request, TopicError, names, partitions};
use broker_model::config::{TopicChange, TopicConfig};
use broker_model::{ErrorCode, NodeId, TopicId};
use broker_wire::Str;
use broker_wire::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use broker_wire::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};

use super::{Call, Pending, mode};
use crate::context::{Operation, Resource};
use crate::errors;
use crate::topics::class_of;

/// Kafka's name of the metadata log, which is no topic.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// Asks at once, so that requests of one connection keep their order; waits for the commit.
pub(super) fn start(call: Call, request: CreateTopicsRequest) -> Pending {
    let (mut topics, mut refused) = (Vec::new(), Vec::new());
    for asked in &request.topics {
        let twice = request.topics.iter().filter(|other| other.name == asked.name).count() > 1;
        let checked = match twice {
            true => Err(TopicError::new(ErrorCode::InvalidRequest, "Duplicate topic name.")),
            false => check(&call, asked),
        };
        match checked {
            Ok(topic) => topics.push(topic),
            Err(error) => refused.push(CreatedTopic { name: asked.name.to_string(), result: Err(error) }),
        }
    }
    let mode = mode(request.validate_only);
    let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
    let asked =
        call.broker.metadata.ask(Request::CreateTopics(CreateTopics { topics, mode, existing: Existing::Refuse }));
    Pending::wait(async move {
        let created = match asked.answer().await {
            Ok(Output::Created(created)) => created,
            Ok(Output::Refused(error)) => all_failed(names, &error),
            Ok(other) => unreachable!("a creation was answered by {other:?}"),
            Err(refusal) => all_failed(names, &TopicError::new(errors::of_metadata(refusal), refusal.to_string())),
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
    if asked.name == METADATA_TOPIC {
        let what = format!("Creation of internal topic {METADATA_TOPIC} is prohibited.");
        return fail(ErrorCode::InvalidRequest, what);
    }
    // As in Kafka a name that is wrong or taken is told before configs that are.
    names::validate(&asked.name)?;
    if call.broker.topics.load().by_name(&asked.name).is_some() {
        return fail(ErrorCode::TopicAlreadyExists, format!("Topic '{}' already exists.", &*asked.name));
    }
    let configs = configs(asked)?;
    let change = TopicChange { before: None, after: &configs, class: class_of(&asked.name) };
    change.check(&call.broker.values.now()).map_err(|error| errors::of_config(&error))?;
    let (partitions, replication_factor) = match asked.assignments.as_slice() {
        [] => call.broker.with_defaults(asked.num_partitions, asked.replication_factor),
        _ if (asked.num_partitions, asked.replication_factor) != (-1, -1) => {
            let unset = if asked.replication_factor == -1 { "numPartitions" } else { "replication factor" };
            let message = format!("A manual partition assignment was specified, but {unset} was not set to -1.");
            return fail(ErrorCode::InvalidRequest, message);
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

fn configs(asked: &CreatableTopic) -> Result<BTreeMap<String, String>, TopicError> {
    let without: Vec<&str> =
        asked.configs.iter().filter(|config| config.value.is_none()).map(|config| &*config.name).collect();
    if !without.is_empty() {
        let what = format!("Null value not supported for topic configs: {}", without.join(","));
        return Err(TopicError::new(ErrorCode::InvalidConfig, what));
    }
    let given = asked.configs.iter().filter_map(|config| Some((config.name.to_string(), config.value.as_ref()?)));
    Ok(given.map(|(name, value)| (name, value.to_string())).collect())
}

/// A manual assignment: partitions 0 to n-1, each on brokers that there are.
fn assigned<'a>(call: &Call, rows: impl Iterator<Item = (i32, &'a [i32])>) -> Result<(i32, i16), TopicError> {
    let wrong = |what: String| TopicError::new(ErrorCode::InvalidReplicaAssignment, what);
    let (mut indexes, mut factor) = (BTreeSet::new(), None);
    for (index, brokers) in rows {
        if !indexes.insert(index) {
            return Err(wrong(format!("Found multiple manual partition assignments for partition {index}")));
        }
        let replicas: Vec<NodeId> = brokers.iter().copied().map(NodeId).collect();
        partitions::check_assignment(&replicas, factor, |node| node == call.broker.node)?;
        factor = Some(replicas.len());
    }
    let count = i32::try_from(indexes.len()).unwrap_or(i32::MAX);
    if !indexes.into_iter().eq(0..count) {
        return Err(wrong("partitions should be a consecutive 0-based integer sequence".to_owned()));
    }
    Ok((count, 1))
}

fn answer(call: &Call, created: CreatedTopic) -> CreatableTopicResult {
    let name = Str::from(created.name);
    match created.result {
        Ok(topic) => {
            let described = TopicConfig::describe(&topic.configs, &call.broker.values.now(), class_of(&name));
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
