//! IncrementalAlterConfigs and AlterConfigs: what is taken holds at once and after a restart, what is wrong is refused alone.

use broker_wire::messages::alter_configs_request::{
    AlterConfigsRequest, AlterConfigsResource as Replaced, AlterableConfig as Replacement,
};
use broker_wire::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use crate::configs::{BROKER, TOPIC, describe};
use crate::support::requests::{append, batch, create, only, produce};
use crate::support::{Client, Server};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// A config, an operation, a value.
type Op<'a> = (&'a str, i8, Option<&'a str>);

fn resource(kind: i8, name: &str, ops: &[Op<'_>]) -> AlterConfigsResource {
    let config = |(name, operation, value): &Op<'_>| AlterableConfig {
        name: (*name).into(),
        config_operation: *operation,
        value: value.map(Into::into),
    };
    AlterConfigsResource { resource_type: kind, resource_name: name.into(), configs: ops.iter().map(config).collect() }
}

/// The error code and message of each resource.
fn alter_all(client: &mut Client, version: i16, resources: Vec<AlterConfigsResource>) -> Vec<(i16, String)> {
    let answer = client.call(version, &IncrementalAlterConfigsRequest { resources, validate_only: false });
    let told = |text: Option<broker_wire::Str>| text.map(|text| text.to_string()).unwrap_or_default();
    answer.responses.into_iter().map(|row| (row.error_code, told(row.error_message))).collect()
}

fn alter(client: &mut Client, (kind, name): (i8, &str), ops: &[Op<'_>]) -> (i16, String) {
    only(alter_all(client, 1, vec![resource(kind, name, ops)]))
}

fn replace(client: &mut Client, version: i16, (kind, name): (i8, &str), configs: &[(&str, &str)]) -> i16 {
    let config = |(name, value): &(&str, &str)| Replacement { name: (*name).into(), value: Some((*value).into()) };
    let configs = configs.iter().map(config).collect();
    let resources = vec![Replaced { resource_type: kind, resource_name: name.into(), configs }];
    only(client.call(version, &AlterConfigsRequest { resources, validate_only: false }).responses).error_code
}

/// Value and source of one config.
fn value(client: &mut Client, kind: i8, name: &str, key: &str) -> (Option<String>, i8) {
    let found = only(describe(client, kind, name, Some(&[key])).configs);
    (found.value.map(|value| value.to_string()), found.config_source)
}

fn shown(text: &str, source: i8) -> (Option<String>, i8) {
    (Some(text.to_owned()), source)
}

/// Every version of both, on a topic that there is.
pub(crate) fn incremental_version(client: &mut Client, version: i16) {
    let text = format!("{}", 1000 + i32::from(version));
    let ops = [("segment.ms", SET, Some(&*text))];
    assert_eq!(alter_all(client, version, vec![resource(TOPIC, "world", &ops)]), [(0, String::new())]);
    assert_eq!(value(client, TOPIC, "world", "segment.ms"), shown(&text, 1));
}

pub(crate) fn replace_version(client: &mut Client, version: i16) {
    let text = format!("{}", 2000 + i32::from(version));
    assert_eq!(replace(client, version, (TOPIC, "world"), &[("segment.ms", &text)]), 0);
    assert_eq!(value(client, TOPIC, "world", "segment.ms"), shown(&text, 1));
}

#[test]
fn a_topics_configs_hold_at_once_and_after_a_restart() {
    let mut server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[("retention.ms", "1234")]);
    append(&mut client, &topic, 0, batch(&["fits"]));
    let ops = [("max.message.bytes", SET, Some("70")), ("retention.ms", DELETE, None)];
    assert_eq!(alter(&mut client, (TOPIC, "t"), &ops), (0, String::new()));
    assert_eq!(produce(&mut client, &topic, 0, batch(&["this one does not fit"])).error_code, 10);
    server.kill_and_restart();
    let mut client = server.connect();
    assert_eq!(produce(&mut client, &topic, 0, batch(&["this one does not fit"])).error_code, 10);
    assert_eq!(value(&mut client, TOPIC, "t", "retention.ms"), shown("-1", 4), "the broker's again");
    let ops = [("max.message.bytes", DELETE, None), ("min.insync.replicas", SET, Some("2"))];
    assert_eq!(alter(&mut client, (TOPIC, "t"), &ops).0, 0);
    append(&mut client, &topic, 0, batch(&["this one fits now, and one replica is as many as there can be"]));
}

#[test]
fn lists_get_and_lose_members() {
    let server = Server::start();
    let mut client = server.connect();
    create(&mut client, "t", 1, &[("remote.storage.enable", "false")]);
    let policy = "cleanup.policy";
    for (op, text, after) in [
        (APPEND, "compact", "delete,compact"),
        (APPEND, "compact", "delete,compact"),
        (SUBTRACT, "delete", "compact"),
        (SUBTRACT, "compact", ""),
    ] {
        assert_eq!(alter(&mut client, (TOPIC, "t"), &[(policy, op, Some(text))]), (0, String::new()), "{op} {text}");
        assert_eq!(value(&mut client, TOPIC, "t", policy), shown(after, 1));
    }
    let (error, message) = alter(&mut client, (TOPIC, "t"), &[("retention.ms", APPEND, Some("1"))]);
    assert_eq!((error, message.contains("not LIST")), (40, true), "{message}");
}

#[test]
fn what_is_wrong_is_refused_alone_and_whole() {
    let server = Server::start();
    let mut client = server.connect();
    create(&mut client, "t", 1, &[]);
    let cases: [(i8, &str, &[Op<'_>], i16, &str); 19] = [
        (TOPIC, "t", &[("no.such.key", SET, Some("1"))], 40, "Unknown topic config name: no.such.key"),
        (TOPIC, "t", &[("retention.ms", SET, Some("soon"))], 40, "Invalid value soon for configuration retention.ms"),
        (TOPIC, "t", &[("compression.type", SET, Some("brotli"))], 40, "compression.type"),
        (TOPIC, "t", &[("retention.ms", SET, None)], 42, "Null value not supported for : retention.ms"),
        (TOPIC, "t", &[("retention.ms", 9, Some("1"))], 42, "Unknown operations type 9"),
        (TOPIC, "t", &[("a", SET, Some("1")), ("a", DELETE, None)], 42, "duplicate config keys"),
        (TOPIC, "nobody", &[("retention.ms", SET, Some("1"))], 3, "does not exist"),
        (TOPIC, "nobody", &[("no.such.key", SET, Some("1"))], 40, "Unknown topic config name"),
        (TOPIC, "no name", &[], 17, "Topic name is invalid"),
        (TOPIC, "", &[], 42, "Default topic resources"),
        (TOPIC, "t", &[("remote.storage.enable", SET, Some("false"))], 40, "remote.log.delete.on.disable=true"),
        (BROKER, "1", &[("listeners", SET, Some("PLAINTEXT://:1"))], 42, "Cannot update these configs dynamically"),
        (BROKER, "1", &[("log.retention.ms", SET, Some("soon"))], 42, "log.retention.ms"),
        (BROKER, "2", &[], 42, "Unexpected broker id"),
        (BROKER, "one", &[], 42, "must be an integer"),
        (8, "1", &[], 42, ""),
        (16, "metrics", &[], 42, ""),
        (32, "group", &[], 42, ""),
        (99, "x", &[], 42, "Unknown resource type 99"),
    ];
    for (kind, name, ops, error, words) in cases {
        let beside = [("segment.ms", SET, Some("7"))];
        let answers = alter_all(&mut client, 1, vec![resource(kind, name, ops), resource(BROKER, "", &beside[..0])]);
        let (code, message) = &answers[0];
        assert!(*code == error && !message.is_empty() && message.contains(words), "{kind} {name} {ops:?}: {answers:?}");
        assert_eq!(answers[1].0, 0);
    }
    let both = [("segment.ms", SET, Some("7")), ("retention.ms", SET, Some("soon"))];
    assert_eq!(alter(&mut client, (TOPIC, "t"), &both).0, 40);
    assert_eq!(value(&mut client, TOPIC, "t", "segment.ms").1, 5, "whole or not at all");
    let set = [("segment.ms", SET, Some("8"))];
    let twice = vec![resource(TOPIC, "t", &set), resource(BROKER, "1", &[]), resource(TOPIC, "t", &set)];
    let errors: Vec<i16> = alter_all(&mut client, 1, twice).into_iter().map(|(error, _)| error).collect();
    assert_eq!(errors, [42, 0, 42]);
    assert_eq!(value(&mut client, TOPIC, "t", "segment.ms").1, 5);
}

#[test]
fn validation_alone_changes_nothing() {
    let server = Server::start();
    let mut client = server.connect();
    create(&mut client, "t", 1, &[]);
    for (name, error) in [("t", 0), ("nobody", 3)] {
        let resources = vec![resource(TOPIC, name, &[("segment.ms", SET, Some("7"))])];
        let answer = client.call(1, &IncrementalAlterConfigsRequest { resources, validate_only: true });
        assert_eq!(only(answer.responses).error_code, error);
    }
    assert_eq!(value(&mut client, TOPIC, "t", "segment.ms").1, 5);
}

#[test]
fn the_older_request_replaces_all() {
    let server = Server::start();
    let mut client = server.connect();
    create(&mut client, "t", 1, &[("retention.ms", "1234")]);
    assert_eq!(replace(&mut client, 2, (TOPIC, "t"), &[("segment.ms", "7")]), 0);
    assert_eq!(value(&mut client, TOPIC, "t", "segment.ms"), shown("7", 1));
    assert_eq!(value(&mut client, TOPIC, "t", "retention.ms").1, 4);
    assert_eq!(replace(&mut client, 2, (TOPIC, "t"), &[("segment.ms", "no")]), 40);
    assert_eq!(replace(&mut client, 2, (TOPIC, "nobody"), &[]), 3);
    assert_eq!(replace(&mut client, 2, (8, "1"), &[]), 42);
    assert_eq!(value(&mut client, TOPIC, "t", "segment.ms"), shown("7", 1));
}

#[test]
fn pipelined_changes_all_hold() {
    let server = Server::start();
    let mut client = server.connect();
    create(&mut client, "t", 1, &[]);
    let keys = ["retention.ms", "segment.ms", "flush.ms", "retention.bytes", "max.message.bytes", "segment.jitter.ms"];
    let sent: Vec<_> = keys
        .iter()
        .map(|key| {
            let resources = vec![resource(TOPIC, "t", &[(key, SET, Some("77"))])];
            client.send(1, &IncrementalAlterConfigsRequest { resources, validate_only: false })
        })
        .collect();
    for sent in &sent {
        assert_eq!(only(client.receive::<IncrementalAlterConfigsRequest>(sent).responses).error_code, 0);
    }
    for key in keys {
        assert_eq!(value(&mut client, TOPIC, "t", key), shown("77", 1), "{key}");
    }
}

#[test]
fn broker_configs_reach_topics_at_once_and_survive_a_restart() {
    let mut server = Server::with(&["log.roll.hours=48"]);
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[]);
    let all = [("message.max.bytes", SET, Some("70")), ("log.roll.ms", SET, Some("9000000"))];
    assert_eq!(alter(&mut client, (BROKER, ""), &all), (0, String::new()));
    assert_eq!(produce(&mut client, &topic, 0, batch(&["this one does not fit"])).error_code, 10);
    assert_eq!(alter(&mut client, (BROKER, "1"), &[("log.roll.ms", SET, Some("8000000"))]).0, 0);
    server.kill_and_restart();
    let mut client = server.connect();
    assert_eq!(produce(&mut client, &topic, 0, batch(&["this one does not fit"])).error_code, 10);
    let segment = only(describe(&mut client, TOPIC, "t", Some(&["segment.ms"])).configs);
    let places: Vec<_> =
        segment.synonyms.iter().map(|place| (&*place.name, place.value.as_deref().unwrap(), place.source)).collect();
    let expected = [("log.roll.ms", "8000000", 2), ("log.roll.ms", "9000000", 3), ("log.roll.hours", "48", 4)];
    assert_eq!((places[..3].to_vec(), places[3]), (expected.to_vec(), ("log.roll.hours", "168", 5)));
    assert_eq!((segment.value.as_deref(), segment.config_source), (Some("8000000"), 2));
    let mut cluster: Vec<_> = describe(&mut client, BROKER, "", None).configs;
    cluster.sort_by(|one, other| one.name.cmp(&other.name));
    let rows: Vec<_> =
        cluster.iter().map(|row| (&*row.name, row.value.as_deref().unwrap(), row.config_source)).collect();
    assert_eq!(rows, [("log.roll.ms", "9000000", 3), ("message.max.bytes", "70", 3)]);
    assert_eq!(value(&mut client, BROKER, "1", "message.max.bytes"), shown("70", 3));
    assert_eq!(value(&mut client, BROKER, "1", "log.roll.ms"), shown("8000000", 2));
    for name in ["1", ""] {
        assert_eq!(alter(&mut client, (BROKER, name), &[("log.roll.ms", DELETE, None)]).0, 0);
    }
    assert_eq!(value(&mut client, TOPIC, "t", "segment.ms"), shown("172800000", 4));
    assert_eq!(replace(&mut client, 2, (BROKER, ""), &[]), 0);
    assert_eq!(describe(&mut client, BROKER, "", None).configs.len(), 0);
    append(&mut client, &topic, 0, batch(&["this one fits again"]));
}

#[test]
fn what_kafka_calls_a_custom_config_is_kept_and_not_shown() {
    let server = Server::start();
    let mut client = server.connect();
    assert_eq!(alter(&mut client, (BROKER, "1"), &[("my.plugin.secret", SET, Some("hush"))]).0, 0);
    let result = describe(&mut client, BROKER, "1", Some(&["my.plugin.secret"]));
    let custom = only(result.configs);
    assert_eq!((custom.value, custom.is_sensitive, custom.config_type, custom.config_source), (None, true, 0, 2));
}

#[test]
fn connections_are_bounded_by_what_is_set_while_they_stand() {
    let server = Server::start();
    let mut client = server.connect();
    assert_eq!(alter(&mut client, (BROKER, ""), &[("max.connections", SET, Some("1"))]).0, 0);
    assert!(server.connect().is_closed());
    assert_eq!(alter(&mut client, (BROKER, ""), &[("max.connections", DELETE, None)]).0, 0);
    assert_eq!(describe(&mut server.connect(), BROKER, "", None).error_code, 0);
}
