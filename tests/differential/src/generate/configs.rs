//! Configs of topics and of the broker: valid values, values at their bounds, wrong ones, unknown names.

use broker_wire::messages::create_topics_request::CreatableTopicConfig;
use broker_wire::messages::describe_configs_request::DescribeConfigsResource;
use broker_wire::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, alter_configs_request,
    incremental_alter_configs_request,
};
use broker_wire::{ApiKey, RequestBody, Str};

use super::Plan;
use super::admin::Name;
use crate::step::View;

/// A config in a request.
type Entry = (&'static str, Option<&'static str>);

/// Topic configs with values worth trying.
const VALUES: &[(&str, &[&str])] = &[
    ("retention.ms", &["-1", "0", "1", "86400000", "-2", "9223372036854775807", "9223372036854775808"]),
    ("retention.bytes", &["-1", "0", "1073741824", "-2"]),
    ("segment.bytes", &["1048576", "1048575", "14", "0", "-1", "2147483647", "2147483648"]),
    ("segment.ms", &["1", "0", "-1", "604800000"]),
    ("segment.jitter.ms", &["0", "1000", "-1"]),
    ("segment.index.bytes", &["1024", "3", "0", "10485760"]),
    ("index.interval.bytes", &["0", "4096", "-1"]),
    ("max.message.bytes", &["0", "200", "1048588", "-1"]),
    ("message.timestamp.type", &["CreateTime", "LogAppendTime", "createtime", "x"]),
    ("message.timestamp.before.max.ms", &["0", "3600000", "9223372036854775807", "-1"]),
    ("message.timestamp.after.max.ms", &["0", "3600000", "9223372036854775807", "-1"]),
    // Strata keeps batches as they come whatever the type is: other codecs would make other batches.
    ("compression.type", &["producer", "none", "GZIP"]),
    ("compression.gzip.level", &["-1", "1", "9", "10", "0"]),
    ("compression.lz4.level", &["1", "9", "17", "18", "0"]),
    ("compression.zstd.level", &["3", "22", "23", "-131072", "-131073"]),
    ("cleanup.policy", &["delete", "compact", "compact,delete", "delete, compact", "", "x"]),
    ("min.insync.replicas", &["1", "2", "0", "-1"]),
    ("flush.messages", &["1", "0", "9223372036854775807"]),
    ("flush.ms", &["0", "1000", "-1"]),
    ("file.delete.delay.ms", &["0", "60000", "-1"]),
    ("delete.retention.ms", &["0", "86400000", "-1"]),
    ("min.compaction.lag.ms", &["0", "-1"]),
    ("max.compaction.lag.ms", &["1", "0"]),
    ("min.cleanable.dirty.ratio", &["0", "0.5", "1", "1.1", "-0.1", "x"]),
    ("unclean.leader.election.enable", &["true", "false", "TRUE", "yes"]),
    ("preallocate", &["true", "false", "1"]),
    ("local.retention.ms", &["-2", "-1", "1000", "0"]),
    ("local.retention.bytes", &["-2", "-1", "1000", "0"]),
    ("remote.storage.enable", &["false"]),
    ("remote.log.copy.disable", &["false", "true"]),
    ("remote.log.delete.on.disable", &["false", "true"]),
    ("leader.replication.throttled.replicas", &["", "*", "0:1", "none", "x"]),
    ("follower.replication.throttled.replicas", &["", "*", "0:1"]),
    ("message.format.version", &["3.0", "2.8"]),
    ("no.such.config", &["1", ""]),
    ("", &["1"]),
    (" retention.ms", &["1"]),
    ("Retention.ms", &["1"]),
];

/// A config as CreateTopics has it.
pub(super) fn config(name: &'static str, value: Option<&'static str>) -> CreatableTopicConfig {
    CreatableTopicConfig { name: Str::from_static(name), value: value.map(Str::from_static) }
}

fn entry(plan: &mut Plan<'_>) -> Entry {
    let (name, values) = plan.dice.of(VALUES);
    let value = if plan.dice.percent(5) {
        None
    } else if plan.dice.percent(6) {
        Some(plan.dice.of(&["", "x", " 1 ", "1.5", "0x10", "true", "+1", "99999999999999999999"]))
    } else {
        Some(plan.dice.of(values))
    };
    (name, value)
}

/// Entries; mostly of different names.
fn entries(plan: &mut Plan<'_>) -> Vec<Entry> {
    let count = plan.dice.weighted(&[(8, 1), (4, 2), (2, 3), (1, 0)]);
    let mut found: Vec<Entry> = (0..count).map(|_| entry(plan)).collect();
    if plan.dice.percent(95) {
        let mut seen = Vec::new();
        found.retain(|(name, _)| {
            let is_new = !seen.contains(name);
            seen.push(*name);
            is_new
        });
    }
    found
}

type Create = fn(&mut Plan<'_>, &'static str, &[(Name, i32, i16)], &[Entry]);

/// A topic with configs.
pub(super) fn create_with(plan: &mut Plan<'_>, create: Create) {
    let slot = plan.dice.below(4) as u8;
    let configs = entries(plan);
    create(plan, "create-topics/configs", &[(Name::Slot(slot), 1, 1)], &configs);
}

/// A thing that has configs.
#[derive(Clone, Copy, Debug)]
enum Resource {
    Topic(Name),
    Broker(&'static str),
    Other(i8, &'static str),
}

impl Resource {
    fn parts(self, view: &View<'_>) -> (i8, Str) {
        match self {
            Resource::Topic(name) => (2, name.text(view)),
            Resource::Broker(name) => (4, Str::from_static(name)),
            Resource::Other(kind, name) => (kind, Str::from_static(name)),
        }
    }
}

fn resource(plan: &mut Plan<'_>) -> Resource {
    match plan.dice.below(20) {
        0 => Resource::Broker(plan.dice.of(&["2", "x", "-1", "1000000000000"])),
        1 => Resource::Other(plan.dice.of(&[0, 1, 3, 99, -1]), plan.dice.of(&["", "x", "1"])),
        2 => Resource::Topic(super::admin::name(plan)),
        _ => Resource::Topic(Name::Slot(plan.topic())),
    }
}

/// Any request about configs.
pub(super) fn configs(plan: &mut Plan<'_>) {
    match plan.dice.below(10) {
        0..4 => describe(plan),
        4..8 => incremental(plan),
        8 => replace(plan),
        _ => super::admin::metadata(plan),
    }
}

fn describe(plan: &mut Plan<'_>) {
    let count = plan.dice.weighted(&[(6, 1), (2, 2), (1, 0)]);
    let mut resources: Vec<Resource> = (0..count).map(|_| resource(plan)).collect();
    if let Some(strange) = resources.iter().copied().find(|resource| matches!(resource, Resource::Other(..))) {
        resources = vec![strange];
    }
    let mut keys = match plan.dice.below(8) {
        0 => Some(vec!["retention.ms", "no.such.config"]),
        1 => Some(Vec::new()),
        2 => Some(vec!["segment.bytes", "cleanup.policy", "segment.bytes"]),
        _ => None,
    };
    if plan.dice.percent(20) && !matches!(resources.as_slice(), [Resource::Other(..)]) {
        resources.push(Resource::Broker(plan.dice.of(&["1", "1", ""])));
        let of_broker = ["log.retention.ms", "num.partitions", "message.max.bytes", "auto.create.topics.enable", "x"];
        keys = Some(of_broker.to_vec());
    }
    let include_synonyms = plan.dice.percent(40);
    let include_documentation = plan.dice.percent(15);
    plan.add("describe-configs", ApiKey::DescribeConfigs, move |view| {
        let resources = resources.iter().map(|resource| {
            let (resource_type, resource_name) = resource.parts(view);
            let configuration_keys = keys.as_ref().map(|keys| keys.iter().map(|key| Str::from_static(key)).collect());
            DescribeConfigsResource { resource_type, resource_name, configuration_keys }
        });
        RequestBody::DescribeConfigs(DescribeConfigsRequest {
            resources: resources.collect(),
            include_synonyms,
            include_documentation,
        })
    });
}

fn incremental(plan: &mut Plan<'_>) {
    let resources: Vec<(Resource, Vec<(Entry, i8)>)> = (0..plan.dice.weighted(&[(8, 1), (2, 2), (1, 0)]))
        .map(|_| {
            let resource = resource(plan);
            let entries = entries(plan);
            let list = entries
                .into_iter()
                .map(|entry| (entry, plan.dice.weighted(&[(10, 0), (5, 1), (2, 2), (2, 3)])))
                .collect();
            (resource, list)
        })
        .collect();
    let validate_only = plan.dice.percent(20);
    let made = plan.add("incremental-alter-configs", ApiKey::IncrementalAlterConfigs, move |view| {
        use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
        let resources = resources.iter().map(|(resource, entries)| {
            let (resource_type, resource_name) = resource.parts(view);
            let config = |((name, value), operation): &(Entry, i8)| AlterableConfig {
                name: Str::from_static(name),
                config_operation: *operation,
                value: value.map(Str::from_static),
            };
            AlterConfigsResource { resource_type, resource_name, configs: entries.iter().map(config).collect() }
        });
        RequestBody::IncrementalAlterConfigs(IncrementalAlterConfigsRequest {
            resources: resources.collect(),
            validate_only,
        })
    });
    if let Some(step) = made {
        step.settles = true;
    }
}

fn replace(plan: &mut Plan<'_>) {
    let resource = resource(plan);
    let entries = entries(plan);
    let validate_only = plan.dice.percent(20);
    let made = plan.add("alter-configs", ApiKey::AlterConfigs, move |view| {
        use alter_configs_request::{AlterConfigsResource, AlterableConfig};
        let (resource_type, resource_name) = resource.parts(view);
        let config = |(name, value): &Entry| AlterableConfig {
            name: Str::from_static(name),
            value: value.map(Str::from_static),
        };
        let configs = entries.iter().map(config).collect();
        let resources = vec![AlterConfigsResource { resource_type, resource_name, configs }];
        RequestBody::AlterConfigs(AlterConfigsRequest { resources, validate_only })
    });
    if let Some(step) = made {
        step.settles = true;
    }
}
