//! DescribeConfigs: effective values with where they come from (KIP-133, KIP-226, KIP-569), straight from the registry.
//!
//! Each resource is answered by itself: one that is wrong does not spoil the others.

use broker_model::ErrorCode;
use broker_model::config::{Described, DescribedSynonym, TopicConfig};
use broker_wire::Str;
use broker_wire::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use broker_wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::{Call, Pending, resource};
use crate::context::{Operation, Resource};

/// Why a resource is not described.
type Refused = (ErrorCode, String);

/// Answers from the image and the settings.
pub(super) fn start(call: Call, request: DescribeConfigsRequest) -> Pending {
    let results = request.resources.iter().map(|asked| describe(&call, &request, asked)).collect();
    let throttle_time_ms = call.context.throttle_ms();
    call.ready(&DescribeConfigsResponse { throttle_time_ms, results })
}

fn describe(call: &Call, request: &DescribeConfigsRequest, asked: &DescribeConfigsResource) -> DescribeConfigsResult {
    let mut result = DescribeConfigsResult {
        resource_type: asked.resource_type,
        resource_name: asked.resource_name.clone(),
        // As Kafka has it: the schema says null, clients have only ever seen the empty text.
        error_message: Some(Str::default()),
        ..Default::default()
    };
    let configs = match asked.resource_type {
        resource::TOPIC => topic_configs(call, &asked.resource_name),
        resource::BROKER => broker_configs(call, &asked.resource_name),
        other => Err(resource::without_configs(other)),
    };
    match configs {
        Ok(configs) => {
            // As in Kafka no keys are all keys.
            let keys = asked.configuration_keys.as_deref().filter(|keys| !keys.is_empty());
            let wanted = |config: &Described| keys.is_none_or(|keys| keys.iter().any(|key| **key == *config.name));
            result.configs = configs.into_iter().filter(wanted).map(|config| one(request, config)).collect();
        }
        Err((error, message)) => {
            (result.error_code, result.error_message) = (error.code(), Some(message.as_str().into()));
        }
    }
    result
}

fn topic_configs(call: &Call, name: &str) -> Result<Vec<Described>, Refused> {
    if !call.context.is_allowed(Resource::Topic, Operation::DescribeConfigs, name) {
        return Err((ErrorCode::TopicAuthorizationFailed, "not allowed".to_owned()));
    }
    broker_metadata::names::validate(name).map_err(|error| (error.code, error.message))?;
    let topic = call.broker.topics.load().by_name(name).cloned();
    let topic = topic.ok_or_else(|| (ErrorCode::UnknownTopicOrPartition, format!("there is no topic {name}")))?;
    let described = TopicConfig::describe(&topic.overrides, &call.broker.values.now(), topic.class());
    described.map_err(|error| (ErrorCode::InvalidConfig, error.to_string()))
}

/// An empty name asks for what the protocol gave for all brokers.
fn broker_configs(call: &Call, name: &str) -> Result<Vec<Described>, Refused> {
    if !call.context.is_allowed(Resource::Cluster, Operation::DescribeConfigs, name) {
        return Err((ErrorCode::ClusterAuthorizationFailed, "not allowed".to_owned()));
    }
    match name {
        "" => Ok(call.broker.values.now().describe_cluster()),
        name => {
            resource::is_this_broker(call.broker.node, name)?;
            Ok(call.broker.values.now().describe())
        }
    }
}

fn one(request: &DescribeConfigsRequest, config: Described) -> DescribeConfigsResourceResult {
    let synonym = |place: DescribedSynonym| DescribeConfigsSynonym {
        name: place.name.into(),
        value: place.value.as_deref().map(Str::from),
        source: place.source.code(),
    };
    DescribeConfigsResourceResult {
        read_only: config.read_only(),
        config_source: config.source.code(),
        is_sensitive: config.sensitive(),
        config_type: config.kind_code(),
        documentation: config.documentation().filter(|_| request.include_documentation).map(Str::from),
        name: config.name.into(),
        synonyms: match request.include_synonyms {
            true => config.synonyms.into_iter().map(synonym).collect(),
            false => Vec::new(),
        },
        value: config.value.as_deref().map(Str::from),
    }
}
