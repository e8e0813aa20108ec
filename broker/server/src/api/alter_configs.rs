//! IncrementalAlterConfigs and AlterConfigs: configs of topics and brokers change without a restart (KIP-133, KIP-339).
//!
//! What is legal is judged here, by what stands now; the metadata machine takes the change only if that still stands, and
//! otherwise it is judged again. Each resource is changed whole or not at all, and one that is refused does not stop the
//! others. The order of the checks and their error codes are Kafka's.

use std::collections::{BTreeMap, BTreeSet};

use broker_metadata::{
    AlterConfigs, AlterError, ArchiveChange, ConfigChange, ConfigOwner, CreateMode, Output, Request, TopicError, names,
};
use broker_model::ErrorCode;
use broker_model::config::{ConfigError, ConfigOp, ConfigValues, DynamicLevel, Scope, TopicChange, changed};
use broker_wire::Str;
use broker_wire::messages::alter_configs_request::AlterConfigsRequest;
use broker_wire::messages::alter_configs_response::{
    AlterConfigsResourceResponse as ReplacedResource, AlterConfigsResponse,
};
use broker_wire::messages::incremental_alter_configs_request::{AlterableConfig, IncrementalAlterConfigsRequest};
use broker_wire::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse as ChangedResource, IncrementalAlterConfigsResponse,
};

use super::{Call, Pending, mode, resource};
use crate::context::{Operation, Resource};
use crate::coordinator::Asked;
use crate::errors;
use crate::topics::class_of;

/// How often a change is judged anew because another one came before it.
const ATTEMPTS_MAX: usize = 16;

type Outcome = Result<(), TopicError>;

/// One resource of a request.
struct Wanted {
    kind: i8,
    name: Str,
    /// What is to become of its configs, or what is wrong with the request itself.
    change: Result<Change, TopicError>,
}

/// What is to become of a resource's configs.
enum Change {
    /// These operations, one for a config.
    Ops(Vec<(String, ConfigOp)>),
    /// These configs instead of all that it has.
    All(BTreeMap<String, String>),
}

/// Changes single configs.
pub(super) fn incremental(call: Call, request: IncrementalAlterConfigsRequest) -> Pending {
    let wanted = request.resources.into_iter().map(|asked| Wanted {
        kind: asked.resource_type,
        name: asked.resource_name,
        change: operations(&asked.configs),
    });
    let wanted = each_once(wanted.collect());
    let mut work = Work::begin(&call, wanted, mode(request.validate_only));
    Pending::wait(async move {
        let outcomes = work.finish(&call).await;
        let rows = work.wanted.into_iter().zip(outcomes).map(|(asked, outcome)| {
            let (error_code, error_message) = errors::told(outcome);
            ChangedResource { error_code, error_message, resource_type: asked.kind, resource_name: asked.name }
        });
        let throttle_time_ms = call.context.throttle_ms();
        call.reply(&IncrementalAlterConfigsResponse { throttle_time_ms, responses: rows.collect() })
    })
}

/// Replaces all configs of a resource.
pub(super) fn replace(call: Call, request: AlterConfigsRequest) -> Pending {
    let wanted = request.resources.into_iter().map(|asked| {
        let configs = asked.configs.iter().map(|config| (config.name.clone(), config.value.clone()));
        Wanted { kind: asked.resource_type, name: asked.resource_name, change: replacement(configs.collect()) }
    });
    let wanted = each_once(wanted.collect());
    let mut work = Work::begin(&call, wanted, mode(request.validate_only));
    Pending::wait(async move {
        let outcomes = work.finish(&call).await;
        let rows = work.wanted.into_iter().zip(outcomes).map(|(asked, outcome)| {
            let (error_code, error_message) = errors::told(outcome);
            ReplacedResource { error_code, error_message, resource_type: asked.kind, resource_name: asked.name }
        });
        let throttle_time_ms = call.context.throttle_ms();
        call.reply(&AlterConfigsResponse { throttle_time_ms, responses: rows.collect() })
    })
}

fn invalid_request(what: impl Into<String>) -> TopicError {
    TopicError::new(ErrorCode::InvalidRequest, what)
}

/// A resource that stands twice in a request is not changed at all.
fn each_once(mut wanted: Vec<Wanted>) -> Vec<Wanted> {
    let mut counts: BTreeMap<(i8, Str), usize> = BTreeMap::new();
    for asked in &wanted {
        *counts.entry((asked.kind, asked.name.clone())).or_default() += 1;
    }
    for asked in wanted.iter_mut().filter(|asked| counts.get(&(asked.kind, asked.name.clone())) != Some(&1)) {
        asked.change = Err(invalid_request("Each resource must appear at most once."));
    }
    wanted
}

/// No config twice, and a value for each of them that needs one.
fn check_keys<'a>(keys: impl Iterator<Item = (&'a Str, bool)>) -> Result<(), TopicError> {
    let (mut known, mut without) = (BTreeSet::new(), Vec::new());
    for (name, has_value) in keys {
        if !known.insert(name) {
            return Err(invalid_request("Error due to duplicate config keys"));
        }
        if !has_value {
            without.push(&**name);
        }
    }
    if without.is_empty() {
        return Ok(());
    }
    Err(invalid_request(format!("Null value not supported for : {}", without.join(", "))))
}

fn operations(configs: &[AlterableConfig]) -> Result<Change, TopicError> {
    const DELETE: i8 = 1;
    let has_value = |config: &AlterableConfig| config.value.is_some() || config.config_operation == DELETE;
    check_keys(configs.iter().map(|config| (&config.name, has_value(config))))?;
    let ops = configs.iter().map(|config| {
        let value = config.value.as_ref().map(Str::to_string).unwrap_or_default();
        let op = match config.config_operation {
            0 => ConfigOp::Set(value),
            DELETE => ConfigOp::Delete,
            2 => ConfigOp::Append(value),
            3 => ConfigOp::Subtract(value),
            other => return Err(invalid_request(format!("Unknown operations type {other}"))),
        };
        Ok((config.name.to_string(), op))
    });
    Ok(Change::Ops(ops.collect::<Result<_, _>>()?))
}

fn replacement(configs: Vec<(Str, Option<Str>)>) -> Result<Change, TopicError> {
    check_keys(configs.iter().map(|(name, value)| (name, value.is_some())))?;
    let configs = configs.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?.to_string())));
    Ok(Change::All(configs.collect()))
}

impl Change {
    fn of(&self, scope: Scope, current: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, ConfigError> {
        match self {
            Change::Ops(ops) => changed(scope, current, ops),
            Change::All(configs) => Ok(configs.clone()),
        }
    }
}

/// A request on its way through the metadata machine.
struct Work {
    wanted: Vec<Wanted>,
    outcomes: Vec<Option<Outcome>>,
    mode: CreateMode,
    asked: Round,
}

/// What the machine was asked last: the resources, by their place in the request.
struct Round {
    places: Vec<usize>,
    answer: Asked<Output>,
}

impl Work {
    /// Asks at once, so that requests of one connection keep their order.
    fn begin(call: &Call, wanted: Vec<Wanted>, mode: CreateMode) -> Work {
        let mut outcomes = wanted.iter().map(|_| None).collect();
        let asked = ask(call, &wanted, (&mut outcomes, mode));
        Work { wanted, outcomes, mode, asked }
    }

    /// The outcome of each resource, in the request's order.
    async fn finish(&mut self, call: &Call) -> Vec<Outcome> {
        for _ in 0..ATTEMPTS_MAX {
            let next = Round { places: Vec::new(), answer: Asked::refused(broker_model::machine::Refusal::Conflict) };
            let Round { places, answer } = std::mem::replace(&mut self.asked, next);
            if places.is_empty() {
                break;
            }
            let results = match answer.answer().await {
                Ok(Output::Altered(results)) => results,
                Ok(Output::Refused(error)) => vec![Err(AlterError::Refused(error)); places.len()],
                Ok(other) => unreachable!("a change of configs was answered by {other:?}"),
                Err(refusal) => {
                    let error = TopicError::new(errors::of_metadata(refusal), refusal.to_string());
                    vec![Err(AlterError::Refused(error)); places.len()]
                }
            };
            for (place, result) in places.into_iter().zip(results) {
                let decided = match result {
                    Ok(()) => Some(Ok(())),
                    Err(AlterError::Refused(error)) => Some(Err(error)),
                    Err(AlterError::Overtaken) => None,
                };
                if let Some(outcome) = self.outcomes.get_mut(place) {
                    *outcome = decided;
                }
            }
            self.asked = ask(call, &self.wanted, (&mut self.outcomes, self.mode));
        }
        let undecided = || Err(TopicError::new(ErrorCode::RequestTimedOut, "other changes came before this one"));
        std::mem::take(&mut self.outcomes).into_iter().map(|outcome| outcome.unwrap_or_else(undecided)).collect()
    }
}

/// Judges what is not decided, and asks the machine for what may be.
fn ask(call: &Call, wanted: &[Wanted], (outcomes, mode): (&mut Vec<Option<Outcome>>, CreateMode)) -> Round {
    let (mut places, mut changes) = (Vec::new(), Vec::new());
    for (place, (asked, outcome)) in wanted.iter().zip(outcomes).enumerate().filter(|(_, (_, known))| known.is_none()) {
        match judge(call, asked) {
            Ok(change) => {
                places.push(place);
                changes.push(change);
            }
            Err(error) => *outcome = Some(Err(error)),
        }
    }
    if changes.is_empty() {
        let answer = Asked::refused(broker_model::machine::Refusal::Conflict);
        return Round { places, answer };
    }
    Round { places, answer: call.broker.metadata.ask(Request::AlterConfigs(AlterConfigs { changes, mode })) }
}

/// What the machine is asked for a resource, by what stands now.
fn judge(call: &Call, asked: &Wanted) -> Result<ConfigChange, TopicError> {
    let change = asked.change.as_ref().map_err(Clone::clone)?;
    match asked.kind {
        resource::TOPIC => judge_topic(call, &asked.name, change),
        resource::BROKER => judge_broker(call, &asked.name, change),
        other => {
            let (code, what) = resource::without_configs(other);
            Err(TopicError::new(code, what))
        }
    }
}

fn judge_topic(call: &Call, name: &str, change: &Change) -> Result<ConfigChange, TopicError> {
    if !call.context.is_allowed(Resource::Topic, Operation::AlterConfigs, name) {
        return Err(TopicError::new(ErrorCode::TopicAuthorizationFailed, "not allowed"));
    }
    if name.is_empty() {
        return Err(invalid_request("Default topic resources are not allowed."));
    }
    names::validate(name)?;
    let (values, topic) = (call.broker.values.now(), call.broker.topics.load().by_name(name).cloned());
    let before = topic.as_ref().map(|topic| (*topic.overrides).clone());
    let expected = before.clone().unwrap_or_default();
    let configs = change.of(Scope::Topic, &expected).map_err(|error| errors::of_config(&error))?;
    let judged = TopicChange { before: before.as_ref(), after: &configs, class: class_of(name) };
    let after = judged.check(&values).map_err(|error| errors::of_config(&error))?;
    if before.is_none() {
        let what = format!("The topic '{name}' does not exist.");
        return Err(TopicError::new(ErrorCode::UnknownTopicOrPartition, what));
    }
    let archive = match (judged.was_tiered(&values), after.tiered) {
        (true, false) => ArchiveChange::Purge,
        (false, true) => ArchiveChange::Begin,
        _ => ArchiveChange::Keep,
    };
    Ok(ConfigChange { owner: ConfigOwner::Topic(name.to_owned()), expected, configs, archive })
}

/// An empty name is what all brokers have.
fn judge_broker(call: &Call, name: &str, change: &Change) -> Result<ConfigChange, TopicError> {
    if !call.context.is_allowed(Resource::Cluster, Operation::AlterConfigs, name) {
        return Err(TopicError::new(ErrorCode::ClusterAuthorizationFailed, "not allowed"));
    }
    let node = call.broker.node;
    let (level, of) = if name.is_empty() {
        (DynamicLevel::Cluster, None)
    } else {
        resource::is_this_broker(node, name).map_err(|(code, what)| TopicError::new(code, what))?;
        (DynamicLevel::Broker, Some(node))
    };
    let expected = (**call.broker.values.now().dynamic(level)).clone();
    let configs = change.of(Scope::Broker, &expected).map_err(|error| errors::of_config(&error))?;
    // Kafka answers INVALID_REQUEST for a broker's bad value, and INVALID_CONFIG for a topic's.
    ConfigValues::check_dynamic(&configs).map_err(|error| invalid_request(errors::of_config(&error).message))?;
    Ok(ConfigChange { owner: ConfigOwner::Broker(of), expected, configs, archive: ArchiveChange::Keep })
}
