//! The registry keeps its own rules, and values resolve as Kafka's documentation says.

use std::collections::{BTreeMap, BTreeSet};

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
        assert_eq!(described.value, described.def.default_value().shown(), "{}", described.def.name);
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
        ("listeners", "", "listeners=: expected a list separated by commas that is not empty"),
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
    let secret = described.iter().find(|config| config.def.sensitive() && config.source == ConfigSource::StaticBroker);
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
    // What a topic says itself must fit.
    assert_eq!(
        resolve(&[("retention.ms", "1000"), ("local.retention.ms", "2000")], &hour).unwrap_err(),
        "local.retention.ms=2000: expected -2, or at most retention.ms, which is 1000"
    );
    assert!(resolve(&[("retention.bytes", "1000"), ("local.retention.bytes", "-1")], &hour).is_err());
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
    assert_eq!(
        resolve(&[("remote.storage.enable", "true"), ("cleanup.policy", "compact")], &values).unwrap_err(),
        "remote.storage.enable=true: expected false, or cleanup.policy=delete: compacted topics are not tiered yet"
    );
    let off = broker(&[("strata.remote.storage.enable.default", "false")]);
    assert!(!resolve(&[], &off).unwrap().tiered);
    assert!(resolve(&[("remote.storage.enable", "true")], &off).unwrap().tiered);
    assert!(resolve(&[("remote.storage.enable", "false"), ("strata.export.enable", "true")], &values).is_err());
}

#[test]
fn unknown_topic_configs_are_refused_with_the_nearest() {
    let error = resolve(&[("retention.mss", "1")], &ConfigValues::default()).unwrap_err();
    assert_eq!(error, "unknown config retention.mss, did you mean retention.ms?");
}

#[test]
fn described_configs_name_every_place_most_specific_first() {
    let values = broker(&[("log.retention.minutes", "5")]);
    let described = TopicConfig::describe(&overrides(&[("retention.ms", "9")]), &values, TopicClass::User).unwrap();
    let retention = described.iter().find(|config| config.def.name == "retention.ms").unwrap();
    assert_eq!((retention.value.as_deref(), retention.source), (Some("9"), ConfigSource::Topic));
    let places: Vec<_> =
        retention.synonyms.iter().map(|place| (place.name, place.value.as_deref().unwrap(), place.source)).collect();
    assert_eq!(
        places,
        [
            ("retention.ms", "9", ConfigSource::Topic),
            ("log.retention.minutes", "5", ConfigSource::StaticBroker),
            ("log.retention.hours", "168", ConfigSource::Default),
        ]
    );
    assert!(!retention.read_only());
    let described = values.describe();
    let segment = described.iter().find(|config| config.def.name == "log.segment.bytes").unwrap();
    assert_eq!((segment.source, segment.read_only()), (ConfigSource::Default, false));
    assert!(described.iter().any(|config| config.def.name == "listeners" && config.read_only()));
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
        described.into_iter().find(|config| config.def.name == name).unwrap().value.unwrap()
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
