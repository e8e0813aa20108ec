//! The registry keeps its own rules, and values resolve as Kafka's documentation says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;

fn overrides(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn broker(pairs: &[(&str, &str)]) -> ConfigValues {
    let mut values = ConfigValues::default();
    for (key, value) in pairs {
        values.set(key, value).unwrap();
    }
    values
}

fn resolve(own: &[(&str, &str)], values: &ConfigValues) -> Result<TopicConfig, String> {
    TopicConfig::resolve(&overrides(own), values, TopicClass::User).map_err(|error| error.to_string())
}

/// What a client hears that makes a topic with these configs.
fn check(own: &[(&str, &str)], values: &ConfigValues) -> Result<TopicConfig, String> {
    alter(None, own, values)
}

/// What a client hears that changes a topic's configs.
fn alter(before: Option<&[(&str, &str)]>, own: &[(&str, &str)], values: &ConfigValues) -> Result<TopicConfig, String> {
    let (before, after) = (before.map(overrides), overrides(own));
    let change = TopicChange { before: before.as_ref(), after: &after, class: TopicClass::User };
    change.check(values).map_err(|error| error.to_string())
}

fn described_topic(own: &[(&str, &str)], values: &ConfigValues, name: &str) -> Described {
    let described = TopicConfig::describe(&overrides(own), values, TopicClass::User).unwrap();
    described.into_iter().find(|config| config.name == name).unwrap()
}

fn places(described: &Described) -> Vec<(&str, &str, ConfigSource)> {
    let places = described.synonyms.iter();
    places.map(|place| (&*place.name, place.value.as_deref().unwrap(), place.source)).collect()
}

#[test]
fn every_default_keeps_its_own_rule_and_every_config_has_a_doc() {
    for def in broker_defs().chain(topic_defs()) {
        let _ = def.default_value();
        assert!(def.doc().len() > 10 && def.doc().ends_with('.'), "{}", def.name);
    }
}

#[test]
fn names_are_unique_within_a_scope() {
    let names: BTreeSet<&str> = broker_defs().map(|def| def.name).collect();
    assert_eq!(names.len(), broker_defs().count());
    let names: BTreeSet<&str> = topic_defs().map(|def| def.name).collect();
    assert_eq!(names.len(), topic_defs().count());
}

#[test]
fn synonyms_exist_and_agree_with_the_topics_default() {
    let values = ConfigValues::default();
    for def in topic_defs() {
        for synonym in def.synonyms {
            assert!(lookup(Scope::Broker, synonym.name).is_some(), "{} has no {}", def.name, synonym.name);
        }
    }
    for described in TopicConfig::describe(&BTreeMap::new(), &values, TopicClass::User).unwrap() {
        assert_eq!(described.value, described.def.unwrap().default_value().shown(), "{}", described.name);
    }
}

#[test]
fn values_have_the_type_of_their_handle() {
    let values = broker(&[("num.partitions", " 6 "), ("auto.create.topics.enable", "FALSE"), ("log.dirs", "a, b")]);
    assert_eq!(values.get(broker::NUM_PARTITIONS), 6);
    assert!(!values.get(broker::AUTO_CREATE_TOPICS_ENABLE));
    assert_eq!(values.get(broker::LOG_DIRS), Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(values.get(broker::LOG_RETENTION_MS), None);
    assert!(values.is_set(broker::NUM_PARTITIONS) && !values.is_set(broker::LOG_SEGMENT_BYTES));
    assert_eq!(
        values.given().map(|def| def.name).collect::<Vec<_>>(),
        ["auto.create.topics.enable", "log.dirs", "num.partitions"]
    );
}

#[test]
fn bad_values_name_key_value_and_what_is_expected() {
    let mut values = ConfigValues::default();
    for (key, value, message) in [
        ("num.partitions", "many", "num.partitions=many: expected a whole number of 32 bits from 1 to 10000"),
        ("log.segment.bytes", "1000", "log.segment.bytes=1000: expected a whole number of 32 bits, at least 1048576"),
        ("delete.topic.enable", "yes", "delete.topic.enable=yes: expected true or false"),
        ("log.cleanup.policy", "delete,burn", "log.cleanup.policy=delete,burn: expected a list of: delete, compact"),
        ("listeners", "", "listeners=: expected a list of words separated by commas that is not empty"),
        ("log.cleanup.policy", "delete,", "log.cleanup.policy=delete,: expected a list of: delete, compact"),
        ("num.partition", "1", "unknown config num.partition, did you mean num.partitions?"),
        ("zookeeper.connect", "1", "unknown config zookeeper.connect"),
        (
            "authorizer.class.name",
            "org.example.Acl",
            "authorizer.class.name=org.example.Acl: expected no value: Strata has no ACLs yet, and does not start as if it had",
        ),
    ] {
        assert_eq!(values.set(key, value).unwrap_err().to_string(), message);
    }
}

#[test]
fn secrets_are_never_shown() {
    let values = broker(&[("strata.tier.s3.secret.access.key", "hush")]);
    assert!(!format!("{values:?}").contains("hush"));
    let described = values.describe();
    let secret = described.iter().find(|config| config.sensitive() && config.source == ConfigSource::StaticBroker);
    assert_eq!(secret.map(|config| config.value.clone()), Some(None));
    assert_eq!(values.get(tier::TIER_S3_SECRET_ACCESS_KEY).map(|key| key.reveal().to_owned()), Some("hush".to_owned()));
}

#[test]
fn retention_takes_the_most_exact_of_its_synonyms() {
    let retention = |pairs: &[(&str, &str)]| resolve(&[], &broker(pairs)).unwrap().retention_ms;
    assert_eq!(retention(&[]), Some(604_800_000));
    assert_eq!(retention(&[("log.retention.hours", "1")]), Some(3_600_000));
    assert_eq!(retention(&[("log.retention.hours", "1"), ("log.retention.minutes", "2")]), Some(120_000));
    assert_eq!(retention(&[("log.retention.ms", "7"), ("log.retention.minutes", "2")]), Some(7));
    assert_eq!(retention(&[("log.retention.hours", "-1")]), None);
    assert_eq!(resolve(&[("retention.ms", "-1")], &broker(&[("log.retention.ms", "7")])).unwrap().retention_ms, None);
}

#[test]
fn local_retention_is_never_longer_than_retention() {
    let hour = broker(&[("log.local.retention.ms", "3600000")]);
    assert_eq!(resolve(&[], &hour).unwrap().local_retention_ms, Some(3_600_000));
    // The broker's default gives way to a topic that keeps less.
    assert_eq!(resolve(&[("retention.ms", "1000")], &hour).unwrap().local_retention_ms, Some(1000));
    assert_eq!(resolve(&[("retention.ms", "-1")], &hour).unwrap().local_retention_ms, Some(3_600_000));
    assert_eq!(resolve(&[("retention.ms", "-1")], &broker(&[])).unwrap().local_retention_ms, None);
    // What a topic says itself must fit when it is asked for, and gives way where a broker's config moved under it.
    let longer = [("retention.ms", "1000"), ("local.retention.ms", "2000")];
    assert_eq!(
        check(&longer, &hour).unwrap_err(),
        "local.retention.ms=2000: expected -2, or at most retention.ms, which is 1000"
    );
    assert_eq!(resolve(&longer, &hour).unwrap().local_retention_ms, Some(1000));
    assert!(check(&[("retention.bytes", "1000"), ("local.retention.bytes", "-1")], &hour).is_err());
    assert!(check(&[("retention.bytes", "-1"), ("local.retention.bytes", "-1")], &hour).is_ok());
    assert_eq!(resolve(&[("local.retention.bytes", "10")], &hour).unwrap().local_retention_bytes, Some(10));
}

#[test]
fn what_is_only_local_is_kept_as_long_as_the_topic() {
    let hour = broker(&[("log.local.retention.ms", "3600000"), ("log.local.retention.bytes", "10")]);
    for own in [[("remote.storage.enable", "false")], [("remote.log.copy.disable", "true")]] {
        let config = resolve(&own, &hour).unwrap();
        assert_eq!((config.local_retention_ms, config.retention_ms), (Some(604_800_000), Some(604_800_000)), "{own:?}");
        assert_eq!(config.local_retention_bytes, None);
    }
    let compacted = resolve(&[("cleanup.policy", "compact"), ("retention.ms", "1")], &hour).unwrap();
    assert_eq!((compacted.local_retention_ms, compacted.retention_ms), (None, None));
    let both = resolve(&[("cleanup.policy", "compact,delete"), ("retention.ms", "1")], &hour).unwrap();
    assert_eq!(both.retention_ms, Some(1));
}

#[test]
fn topics_are_tiered_by_default_unless_compacted_or_internal() {
    let values = ConfigValues::default();
    assert!(resolve(&[], &values).unwrap().tiered);
    assert!(!resolve(&[("cleanup.policy", "compact")], &values).unwrap().tiered);
    assert!(!resolve(&[("cleanup.policy", "compact,delete")], &values).unwrap().tiered);
    assert!(!TopicConfig::resolve(&BTreeMap::new(), &values, TopicClass::Internal).unwrap().tiered);
    assert!(!resolve(&[("remote.storage.enable", "false")], &values).unwrap().tiered);
    let compacted = check(&[("remote.storage.enable", "true"), ("cleanup.policy", "compact")], &values);
    assert!(compacted.unwrap_err().starts_with("Remote log storage only supports topics with cleanup.policy=delete"));
    let both = check(&[("remote.storage.enable", "true"), ("cleanup.policy", "compact,delete")], &values);
    assert!(both.is_err());
    assert!(check(&[("remote.storage.enable", "true"), ("cleanup.policy", "")], &values).unwrap().tiered);
    let off = broker(&[("strata.remote.storage.enable.default", "false")]);
    assert!(!resolve(&[], &off).unwrap().tiered);
    assert!(resolve(&[("remote.storage.enable", "true")], &off).unwrap().tiered);
    assert!(check(&[("remote.storage.enable", "false"), ("strata.export.enable", "true")], &values).is_err());
}

#[test]
fn unknown_topic_configs_are_refused_with_the_nearest() {
    let error = resolve(&[("retention.mss", "1")], &ConfigValues::default()).unwrap_err();
    assert_eq!(error, "unknown config retention.mss, did you mean retention.ms?");
}

#[test]
fn described_configs_name_every_place_most_specific_first() {
    let values = broker(&[("log.retention.minutes", "5")]);
    let retention = described_topic(&[("retention.ms", "9")], &values, "retention.ms");
    assert_eq!((retention.value.as_deref(), retention.source), (Some("9"), ConfigSource::Topic));
    let expected = [
        ("retention.ms", "9", ConfigSource::Topic),
        ("log.retention.minutes", "5", ConfigSource::StaticBroker),
        ("log.retention.hours", "168", ConfigSource::Default),
    ];
    assert_eq!(places(&retention), expected);
    assert!(!retention.read_only());
    // A default under another name is no place to begin with.
    assert_eq!(places(&described_topic(&[], &broker(&[]), "retention.ms")), []);
    assert_eq!(places(&described_topic(&[], &broker(&[]), "remote.storage.enable")).len(), 1);
    assert_eq!(places(&described_topic(&[], &broker(&[]), "local.retention.ms")).len(), 1);
    assert_eq!(places(&described_topic(&[], &broker(&[]), "remote.log.copy.disable")), []);
    let described = values.describe();
    let segment = described.iter().find(|config| config.name == "log.segment.bytes").unwrap();
    assert_eq!((segment.source, segment.read_only()), (ConfigSource::Default, false));
    assert!(described.iter().any(|config| config.name == "listeners" && config.read_only()));
}

#[test]
fn layers_stand_above_one_another_and_within_one_the_strongest_name() {
    let given = broker(&[("log.retention.hours", "1"), ("log.segment.bytes", "2000000"), ("num.partitions", "3")]);
    let layer = |values: &ConfigValues, level, pairs: &[(&str, &str)]| {
        let (values, left_out) = values.with_dynamic(level, Arc::new(overrides(pairs)));
        assert_eq!(left_out, []);
        values
    };
    let cluster = layer(&given, DynamicLevel::Cluster, &[("log.retention.ms", "20"), ("log.segment.bytes", "3000000")]);
    let both = layer(&cluster, DynamicLevel::Broker, &[("log.retention.ms", "10")]);
    assert_eq!(resolve(&[], &both).unwrap().retention_ms, Some(10));
    assert_eq!(resolve(&[], &both).unwrap().segment_bytes, 3_000_000);
    assert_eq!(resolve(&[("retention.ms", "5")], &both).unwrap().retention_ms, Some(5));
    let retention = described_topic(&[], &both, "retention.ms");
    assert_eq!((retention.value.as_deref(), retention.source), (Some("10"), ConfigSource::DynamicBroker));
    let expected = [
        ("log.retention.ms", "10", ConfigSource::DynamicBroker),
        ("log.retention.ms", "20", ConfigSource::DynamicDefault),
        ("log.retention.hours", "1", ConfigSource::StaticBroker),
        ("log.retention.hours", "168", ConfigSource::Default),
    ];
    assert_eq!(places(&retention), expected);
    let find = |name: &str| both.describe().into_iter().find(|config| config.name == name).unwrap();
    assert_eq!(places(&find("log.retention.ms")), expected);
    assert_eq!(places(&find("log.retention.hours")), expected[2..]);
    assert_eq!(find("log.segment.bytes").source, ConfigSource::DynamicDefault);
    let cluster_wide: Vec<_> = both.describe_cluster().into_iter().map(|config| (config.name, config.value)).collect();
    let expected = [("log.retention.ms", "20"), ("log.segment.bytes", "3000000")];
    assert_eq!(cluster_wide, expected.map(|(name, value)| (name.to_owned(), Some(value.to_owned()))));
    // Without them the file holds again.
    let without = layer(&both, DynamicLevel::Broker, &[]);
    let without = layer(&without, DynamicLevel::Cluster, &[]);
    assert_eq!(resolve(&[], &without).unwrap().retention_ms, Some(3_600_000));
}

#[test]
fn what_cannot_change_while_the_broker_runs_is_refused_and_left_out_where_a_log_says_it() {
    let fixed = overrides(&[("listeners", "PLAINTEXT://:1"), ("num.partitions", "3"), ("log.retention.ms", "1")]);
    let refused = ConfigValues::check_dynamic(&fixed).unwrap_err();
    assert_eq!(refused.to_string(), "Cannot update these configs dynamically: listeners, num.partitions");
    assert!(ConfigValues::check_dynamic(&overrides(&[("log.retention.ms", "soon")])).is_err());
    assert_eq!(ConfigValues::check_dynamic(&overrides(&[("log.retention.ms", "1"), ("my.plugin.key", "x")])), Ok(()));
    let stored = Arc::new(overrides(&[("num.partitions", "3"), ("log.retention.ms", "1"), ("log.roll.ms", "soon")]));
    let (values, left_out) = broker(&[]).with_dynamic(DynamicLevel::Broker, stored);
    assert_eq!(left_out.len(), 2);
    assert_eq!(values.get(broker::NUM_PARTITIONS), 1);
    assert_eq!(resolve(&[], &values).unwrap().retention_ms, Some(1));
}

#[test]
fn what_only_a_dynamic_layer_knows_is_named_and_never_shown() {
    let custom = Arc::new(overrides(&[("my.plugin.key", "hush")]));
    let (values, left_out) = broker(&[]).with_dynamic(DynamicLevel::Broker, custom.clone());
    let (values, _) = values.with_dynamic(DynamicLevel::Cluster, custom);
    assert_eq!(left_out, []);
    assert!(!format!("{values:?}").contains("hush"));
    let described = values.describe();
    let rows: Vec<_> = described.iter().filter(|config| config.name == "my.plugin.key").collect();
    let [row] = rows[..] else { panic!("{rows:?}") };
    assert_eq!((&row.value, row.sensitive(), row.kind_code(), row.synonyms.len()), (&None, true, 0, 2));
    assert_eq!(values.describe_cluster().len(), 1);
}

#[test]
fn what_gives_topics_their_defaults_can_change_while_the_broker_runs() {
    let first = topic_defs().filter_map(|def| def.synonyms.first()).filter(|name| !name.name.starts_with("strata."));
    for synonym in first {
        assert!(lookup(Scope::Broker, synonym.name).unwrap().dynamic, "{}", synonym.name);
    }
}

#[test]
fn leaving_the_tier_must_say_that_the_bucket_is_emptied() {
    let values = ConfigValues::default();
    let refused = |before: &[(&str, &str)], after: &[(&str, &str)]| {
        alter(Some(before), after, &values).is_err_and(|error| error.contains("remote.log.delete.on.disable=true"))
    };
    let (off, delete) = (("remote.storage.enable", "false"), ("remote.log.delete.on.disable", "true"));
    assert!(refused(&[], &[off]), "a topic is tiered by default");
    assert!(refused(&[], &[("cleanup.policy", "compact")]));
    assert!(!refused(&[], &[off, delete]));
    assert!(!refused(&[off], &[off]));
    assert!(!refused(&[off], &[]));
    assert!(!refused(&[("cleanup.policy", "compact")], &[off]));
    assert_eq!(check(&[off], &values).map(|config| config.tiered), Ok(false), "a new topic has nothing to lose");
}

#[test]
fn what_is_copied_no_more_is_kept_locally_as_long_as_at_all() {
    let values = broker(&[("log.local.retention.ms", "5")]);
    let copy = ("remote.log.copy.disable", "true");
    assert!(check(&[copy], &values).is_ok());
    assert!(check(&[copy, ("local.retention.ms", "-2")], &values).is_ok());
    assert!(check(&[copy, ("local.retention.ms", "7"), ("retention.ms", "7")], &values).is_ok());
    assert!(check(&[copy, ("local.retention.ms", "6"), ("retention.ms", "7")], &values).is_err());
    assert!(check(&[copy, ("local.retention.bytes", "6"), ("retention.bytes", "7")], &values).is_err());
}

#[test]
fn single_values_keep_kafkas_rules() {
    for (name, value) in [
        ("cleanup.policy", "delete,delete"),
        ("min.cleanable.dirty.ratio", "1.5"),
        ("min.cleanable.dirty.ratio", "NaN"),
        ("leader.replication.throttled.replicas", "0:1,2"),
        ("leader.replication.throttled.replicas", "*,0:1"),
        ("compression.type", "brotli"),
        ("segment.bytes", "1048575"),
    ] {
        assert!(check(&[(name, value)], &ConfigValues::default()).is_err(), "{name}={value}");
    }
    for (name, value) in [
        ("cleanup.policy", "compact,delete"),
        ("cleanup.policy", ""),
        ("min.cleanable.dirty.ratio", "1"),
        ("leader.replication.throttled.replicas", "*"),
        ("follower.replication.throttled.replicas", "0:1,12:3"),
        ("retention.bytes", "-5"),
    ] {
        assert!(check(&[(name, value)], &ConfigValues::default()).is_ok(), "{name}={value}");
    }
    let lag = [("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "9")];
    let conflict = "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (9)";
    assert_eq!(check(&lag, &ConfigValues::default()).unwrap_err(), conflict);
    let ratio =
        described_topic(&[("min.cleanable.dirty.ratio", "1")], &ConfigValues::default(), "min.cleanable.dirty.ratio");
    assert_eq!((ratio.value.as_deref(), ratio.kind_code()), (Some("1.0"), 6));
}

#[test]
fn configs_of_another_version_are_left_out_and_the_others_hold() {
    let stored = overrides(&[("retention.ms", "7"), ("of.the.future", "1"), ("segment.ms", "0")]);
    let (config, left_out) = TopicConfig::resolve_stored(&stored, &ConfigValues::default(), TopicClass::User);
    assert_eq!((config.retention_ms, config.segment_ms, left_out.len()), (Some(7), 604_800_000, 2));
}

#[test]
fn operations_change_single_configs_and_members_of_lists() {
    let set = |value: &str| ConfigOp::Set(value.to_owned());
    let (append, subtract) =
        (|text: &str| ConfigOp::Append(text.to_owned()), |text: &str| ConfigOp::Subtract(text.to_owned()));
    let run = |before: &[(&str, &str)], ops: &[(&str, ConfigOp)]| {
        let ops: Vec<_> = ops.iter().map(|(name, op)| ((*name).to_owned(), op.clone())).collect();
        changed(Scope::Topic, &overrides(before), &ops)
    };
    let (policy, ms) = ("cleanup.policy", "retention.ms");
    for (before, ops, after) in [
        (&[(ms, "1")][..], &[(ms, set("2"))][..], &[(ms, "2")][..]),
        (&[(ms, "1"), (policy, "compact")], &[(ms, ConfigOp::Delete)], &[(policy, "compact")]),
        (&[], &[(ms, ConfigOp::Delete)], &[]),
        (&[], &[(policy, append("compact"))], &[(policy, "delete,compact")]),
        (&[(policy, "compact")], &[(policy, append("compact,delete"))], &[(policy, "compact,delete")]),
        (&[], &[(policy, subtract("delete"))], &[(policy, "")]),
        (&[(policy, "delete,compact")], &[(policy, subtract("delete,none"))], &[(policy, "compact")]),
    ] {
        assert_eq!(run(before, ops), Ok(overrides(after)), "{before:?} {ops:?}");
    }
    for name in [ms, "no.such.key"] {
        assert!(run(&[], &[(name, append("1"))]).unwrap_err().to_string().contains("its type is not LIST"));
    }
}

/// A broker config, a value, and what the topic then has.
type Given = (&'static str, &'static str, &'static str);

/// A topic config and its broker configs, from the strongest to the weakest.
const LOG_CONFIGS: &[(&str, &[Given])] = &[
    ("preallocate", &[("log.preallocate", "true", "true")]),
    ("segment.index.bytes", &[("log.index.size.max.bytes", "8192", "8192")]),
    ("index.interval.bytes", &[("log.index.interval.bytes", "1024", "1024")]),
    ("segment.jitter.ms", &[("log.roll.jitter.ms", "5", "5"), ("log.roll.jitter.hours", "1", "3600000")]),
    ("segment.ms", &[("log.roll.ms", "7", "7"), ("log.roll.hours", "2", "7200000")]),
    ("file.delete.delay.ms", &[("log.segment.delete.delay.ms", "9", "9")]),
    ("max.message.bytes", &[("message.max.bytes", "2000", "2000")]),
    ("message.timestamp.type", &[("log.message.timestamp.type", "LogAppendTime", "LogAppendTime")]),
    ("message.timestamp.before.max.ms", &[("log.message.timestamp.before.max.ms", "11", "11")]),
    ("message.timestamp.after.max.ms", &[("log.message.timestamp.after.max.ms", "12", "12")]),
    ("flush.messages", &[("log.flush.interval.messages", "1", "1")]),
    ("flush.ms", &[("log.flush.interval.ms", "13", "13"), ("log.flush.scheduler.interval.ms", "14", "14")]),
];

#[test]
fn configs_of_the_log_come_from_the_topic_then_from_the_brokers_names_in_kafkas_order() {
    let shown = |own: &[(&str, &str)], given: &[(&str, &str)], name: &str| {
        let described = TopicConfig::describe(&overrides(own), &broker(given), TopicClass::User).unwrap();
        described.into_iter().find(|config| config.name == name).unwrap().value.unwrap()
    };
    for (name, synonyms) in LOG_CONFIGS {
        // Each synonym with all the weaker ones given too: the strongest holds.
        for (rank, (_, _, expected)) in synonyms.iter().enumerate() {
            let given: Vec<_> = synonyms[rank..].iter().map(|(name, value, _)| (*name, *value)).collect();
            assert_eq!(shown(&[], &given, name), *expected, "{name} from {given:?}");
        }
        let given: Vec<_> = synonyms.iter().map(|(name, value, _)| (*name, *value)).collect();
        let own = lookup(Scope::Topic, name).unwrap().default_value().shown().unwrap();
        assert_eq!(shown(&[(name, &own)], &given, name), own, "the topic's own {name} stands above the broker's");
        let def = lookup(Scope::Topic, name).unwrap();
        assert_eq!(def.standing, Standing::Served, "{name}");
    }
}

#[test]
fn the_log_is_told_what_its_topic_says() {
    let values = broker(&[("log.preallocate", "true"), ("log.roll.jitter.hours", "1"), ("log.flush.interval.ms", "5")]);
    let config = resolve(&[("file.delete.delay.ms", "1"), ("segment.index.bytes", "8192")], &values).unwrap();
    assert!(config.preallocate);
    assert_eq!((config.segment_jitter_ms, config.flush_ms), (3_600_000, 5));
    assert_eq!((config.file_delete_delay_ms, config.segment_index_bytes), (1, 8192));
}
