//! DescribeConfigs: effective values with where they come from (KIP-133, KIP-226, KIP-569), straight from the registry.

use broker_model::ErrorCode;
use broker_model::config::{Described, TopicConfig};
use broker_wire::Str;
use broker_wire::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use broker_wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::{Call, Pending};
use crate::context::{Operation, Resource};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Answers from the image and the settings.
pub(super) fn start(call: Call, request: DescribeConfigsRequest) -> Pending {
    let results = request.resources.iter().map(|resource| describe(&call, &request, resource)).collect();
    let throttle_time_ms = call.context.throttle_ms();
    call.ready(&DescribeConfigsResponse { throttle_time_ms, results })
}

fn describe(call: &Call, request: &DescribeConfigsRequest, asked: &DescribeConfigsResource) -> DescribeConfigsResult {
    let mut result = DescribeConfigsResult {
        resource_type: asked.resource_type,
        resource_name: asked.resource_name.clone(),
        error_message: None,
        ..Default::default()
    };
    let configs = match asked.resource_type {
        TOPIC => topic_configs(call, &asked.resource_name),
        BROKER => broker_configs(call, &asked.resource_name),
        other => Err((ErrorCode::InvalidRequest, format!("resource type {other} has no configs here"))),
    };
    match configs {
        Ok(configs) => {
            let wanted = |config: &Described| match &asked.configuration_keys {
                Some(keys) => keys.iter().any(|key| &**key == config.def.name),
                None => true,
            };
            result.configs = configs.into_iter().filter(wanted).map(|config| one(request, config)).collect();
        }
        Err((error, message)) => {
            (result.error_code, result.error_message) = (error.code(), Some(message.as_str().into()));
        }
    }
    result
}

fn topic_configs(call: &Call, name: &str) -> Result<Vec<Described>, (ErrorCode, String)> {
    if !call.context.is_allowed(Resource::Topic, Operation::DescribeConfigs, name) {
        return Err((ErrorCode::TopicAuthorizationFailed, "not allowed".to_owned()));
    }
    let topic = call.broker.topics.load().by_name(name).cloned();
    let topic = topic.ok_or_else(|| (ErrorCode::UnknownTopicOrPartition, format!("there is no topic {name}")))?;
    let described = TopicConfig::describe(&topic.overrides, &call.broker.values, topic.class());
    described.map_err(|error| (ErrorCode::InvalidConfig, error.to_string()))
}

/// An empty name asks for the cluster's defaults, of which there are none yet: they come with dynamic configs.
fn broker_configs(call: &Call, name: &str) -> Result<Vec<Described>, (ErrorCode, String)> {
    match name {
        "" => Ok(Vec::new()),
        name if name == call.broker.node.0.to_string() => Ok(call.broker.values.describe()),
        name => Err((ErrorCode::InvalidRequest, format!("this is broker {}, not {name}", call.broker.node))),
    }
}

fn one(request: &DescribeConfigsRequest, config: Described) -> DescribeConfigsResourceResult {
    let synonym = |place: broker_model::config::DescribedSynonym| DescribeConfigsSynonym {
        name: place.name.into(),
        value: place.value.as_deref().map(Str::from),
        source: place.source.code(),
    };
    DescribeConfigsResourceResult {
        name: config.def.name.into(),
        read_only: config.read_only(),
        config_source: config.source.code(),
        is_sensitive: config.def.sensitive(),
        config_type: config.def.kind.code(),
        documentation: request.include_documentation.then(|| config.def.doc().into()),
        synonyms: match request.include_synonyms {
            true => config.synonyms.into_iter().map(synonym).collect(),
            false => Vec::new(),
        },
        value: config.value.as_deref().map(Str::from),
    }
}
