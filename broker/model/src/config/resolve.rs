//! The effective configuration of a topic: its overrides laid over the broker's values, checked as a whole.
//!
//! Invariants: every field keeps its own rule; a tiered topic is deleted by time and size and not compacted; local
//! retention is never longer than retention, and never shorter where nothing is shipped, so that a log that obeys it
//! cannot lose what only it has; what is not deleted by time and size has no bound at all. Rules are Kafka's (KIP-405) with two differences that make the defaults of
//! Strata usable: a broker-wide local retention that is longer than a topic's retention counts as the topic's retention
//! (Kafka refuses the topic), and a compacted or internal topic is not tiered by the broker's default.

use std::collections::BTreeMap;

use super::def::{ConfigDef, ConfigError, Scope, TopicKey};
use super::topic;
use super::value::{ConfigType, Kind, Value};
use super::values::{ConfigSource, ConfigValues, Described, DescribedSynonym};
use super::{lookup, nearest, topic_defs};

/// Whether a topic is a user's or the broker's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicClass {
    /// A topic that clients created.
    User,
    /// A topic of the broker, as `__consumer_offsets`. It is never tiered.
    Internal,
}

/// What happens to old records. Both may be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// They are deleted by time and size.
    pub delete: bool,
    /// Of each key the newest is kept.
    pub compact: bool,
}

/// Whose time a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at the append.
    LogAppendTime,
}

/// The effective configuration of one topic. A new one is made when a config changes; it is shared, never copied in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// `cleanup.policy`.
    pub cleanup: CleanupPolicy,
    /// `retention.ms`; `None` means for ever, as also where `cleanup.policy` has no `delete`.
    pub retention_ms: Option<i64>,
    /// `retention.bytes` of one partition over both tiers; `None` as for `retention_ms`.
    pub retention_bytes: Option<i64>,
    /// `local.retention.ms` with -2 resolved; never longer than `retention_ms`, and the same where nothing is shipped.
    pub local_retention_ms: Option<i64>,
    /// `local.retention.bytes` with -2 resolved; never larger than `retention_bytes`, and the same where nothing is shipped.
    pub local_retention_bytes: Option<i64>,
    /// `remote.storage.enable`: records go to the bucket.
    pub tiered: bool,
    /// `remote.log.copy.disable`: nothing more is shipped.
    pub copy_disabled: bool,
    /// `strata.export.enable`.
    pub exported: bool,
    /// `segment.bytes`.
    pub segment_bytes: i32,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `segment.jitter.ms`.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`.
    pub segment_index_bytes: i32,
    /// `index.interval.bytes`.
    pub index_interval_bytes: i32,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: i64,
    /// `preallocate`.
    pub preallocate: bool,
    /// `flush.messages`.
    pub flush_messages: i64,
    /// `flush.ms`.
    pub flush_ms: i64,
    /// `max.message.bytes`.
    pub max_message_bytes: i32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `min.insync.replicas`.
    pub min_insync_replicas: i32,
}

impl TopicConfig {
    /// Lays a topic's own configs over the broker's and checks them together.
    ///
    /// # Errors
    /// [`ConfigError`]: an unknown name, a value that does not fit its config, or two that do not fit each other.
    pub fn resolve(
        overrides: &BTreeMap<String, String>,
        broker: &ConfigValues,
        class: TopicClass,
    ) -> Result<TopicConfig, ConfigError> {
        let layers = Layers { overrides, broker };
        layers.check_names()?;
        let cleanup = layers.cleanup()?;
        let tiered = layers.tiered(cleanup, class)?;
        let copy_disabled = layers.get(topic::REMOTE_LOG_COPY_DISABLE)?;
        let time = layers.retention(topic::LOCAL_RETENTION_MS, topic::RETENTION_MS)?;
        let bytes = layers.retention(topic::LOCAL_RETENTION_BYTES, topic::RETENTION_BYTES)?;
        let (time, bytes) = if cleanup.delete { (time, bytes) } else { (Retention::NONE, Retention::NONE) };
        let ships = tiered && !copy_disabled;
        Ok(TopicConfig {
            cleanup,
            retention_ms: time.whole,
            retention_bytes: bytes.whole,
            local_retention_ms: if ships { time.local } else { time.whole },
            local_retention_bytes: if ships { bytes.local } else { bytes.whole },
            tiered,
            copy_disabled,
            exported: layers.exported(tiered)?,
            segment_bytes: layers.get(topic::SEGMENT_BYTES)?,
            segment_ms: layers.get(topic::SEGMENT_MS)?,
            segment_jitter_ms: layers.get(topic::SEGMENT_JITTER_MS)?,
            segment_index_bytes: layers.get(topic::SEGMENT_INDEX_BYTES)?,
            index_interval_bytes: layers.get(topic::INDEX_INTERVAL_BYTES)?,
            file_delete_delay_ms: layers.get(topic::FILE_DELETE_DELAY_MS)?,
            preallocate: layers.get(topic::PREALLOCATE)?,
            flush_messages: layers.get(topic::FLUSH_MESSAGES)?,
            flush_ms: layers.get(topic::FLUSH_MS)?,
            max_message_bytes: layers.get(topic::MAX_MESSAGE_BYTES)?,
            timestamp_type: match layers.get(topic::MESSAGE_TIMESTAMP_TYPE)?.as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_before_max_ms: layers.get(topic::MESSAGE_TIMESTAMP_BEFORE_MAX_MS)?,
            timestamp_after_max_ms: layers.get(topic::MESSAGE_TIMESTAMP_AFTER_MAX_MS)?,
            min_insync_replicas: layers.get(topic::MIN_INSYNC_REPLICAS)?,
        })
    }

    /// Every config of a topic with its effective value and where it comes from, by name.
    ///
    /// # Errors
    /// As [`TopicConfig::resolve`].
    pub fn describe(
        overrides: &BTreeMap<String, String>,
        broker: &ConfigValues,
        class: TopicClass,
    ) -> Result<Vec<Described>, ConfigError> {
        let resolved = TopicConfig::resolve(overrides, broker, class)?;
        let layers = Layers { overrides, broker };
        let mut described: Vec<Described> = topic_defs()
            .map(|def| {
                let (value, source) = layers.value(def)?;
                let value = match def.name {
                    name if name == topic::REMOTE_STORAGE_ENABLE.name() => Some(resolved.tiered.to_string()),
                    name if name == topic::EXPORT_ENABLE.name() => Some(resolved.exported.to_string()),
                    _ => value.shown(),
                };
                Ok(Described { def, value, source, synonyms: layers.places(def)? })
            })
            .collect::<Result<_, ConfigError>>()?;
        described.sort_by_key(|config| config.def.name);
        Ok(described)
    }
}

/// -1 means no bound.
fn bounded(value: i64) -> Option<i64> {
    (value >= 0).then_some(value)
}

/// A topic's own configs over the broker's.
struct Layers<'a> {
    overrides: &'a BTreeMap<String, String>,
    broker: &'a ConfigValues,
}

impl Layers<'_> {
    fn check_names(&self) -> Result<(), ConfigError> {
        for key in self.overrides.keys() {
            if lookup(Scope::Topic, key).is_none() {
                return Err(ConfigError::UnknownKey { key: key.clone(), nearest: nearest(Scope::Topic, key) });
            }
        }
        Ok(())
    }

    fn get<T: ConfigType>(&self, key: TopicKey<T>) -> Result<T, ConfigError> {
        let def = definition(key);
        let (value, _) = self.value(def)?;
        Ok(T::from_value(&value).expect("a handle and its entry in the registry have one declaration"))
    }

    /// The effective value of a config, whatever other configs say.
    fn value(&self, def: &'static ConfigDef) -> Result<(Value, ConfigSource), ConfigError> {
        if let Some(text) = self.overrides.get(def.name) {
            return Ok((def.parse(text)?, ConfigSource::Topic));
        }
        let given = def.synonyms.iter().find(|synonym| *self.broker.value(synonym.name) != Value::Null);
        Ok(match given {
            Some(synonym) => {
                let value = scaled(def.kind, self.broker.value(synonym.name), synonym.scale);
                (value, self.broker.source(synonym.name))
            }
            None => (def.default_value(), ConfigSource::Default),
        })
    }

    fn places(&self, def: &'static ConfigDef) -> Result<Vec<DescribedSynonym>, ConfigError> {
        let mut places = Vec::new();
        if let Some(text) = self.overrides.get(def.name) {
            let value = def.parse(text)?.shown();
            places.push(DescribedSynonym { name: def.name, value, source: ConfigSource::Topic });
        }
        places.extend(def.synonyms.iter().flat_map(|synonym| self.broker.places(synonym.name)));
        if def.synonyms.is_empty() && def.default.is_some() {
            let value = def.default_value().shown();
            places.push(DescribedSynonym { name: def.name, value, source: ConfigSource::Default });
        }
        Ok(places)
    }

    fn cleanup(&self) -> Result<CleanupPolicy, ConfigError> {
        let policies = self.get(topic::CLEANUP_POLICY)?;
        let has = |name: &str| policies.iter().any(|policy| policy == name);
        Ok(CleanupPolicy { delete: has("delete"), compact: has("compact") })
    }

    fn tiered(&self, cleanup: CleanupPolicy, class: TopicClass) -> Result<bool, ConfigError> {
        let wanted = self.get(topic::REMOTE_STORAGE_ENABLE)?;
        let possible = class == TopicClass::User && !cleanup.compact;
        let asked = self.overrides.contains_key(topic::REMOTE_STORAGE_ENABLE.name());
        if wanted && asked && !possible {
            let expected = match class {
                TopicClass::Internal => "false: internal topics are not tiered",
                TopicClass::User => "false, or cleanup.policy=delete: compacted topics are not tiered yet",
            };
            return Err(definition(topic::REMOTE_STORAGE_ENABLE).refuse("true", expected.to_owned()));
        }
        Ok(wanted && possible)
    }

    /// The export reads what was shipped: it needs the tier.
    fn exported(&self, tiered: bool) -> Result<bool, ConfigError> {
        let wanted = self.get(topic::EXPORT_ENABLE)?;
        if wanted && !tiered && self.overrides.contains_key(topic::EXPORT_ENABLE.name()) {
            let expected = "false, or a tiered topic: the export reads the bucket".to_owned();
            return Err(definition(topic::EXPORT_ENABLE).refuse("true", expected));
        }
        Ok(wanted && tiered)
    }

    /// A bound over both tiers and the one of local disk, which cannot exceed it.
    fn retention(&self, local: TopicKey<i64>, whole: TopicKey<i64>) -> Result<Retention, ConfigError> {
        let value = self.get(local)?;
        let Some(bound) = bounded(self.get(whole)?) else {
            return Ok(Retention { whole: None, local: bounded(value) });
        };
        let exceeds = value == -1 || value > bound;
        if exceeds && self.overrides.contains_key(local.name()) {
            let expected = format!("-2, or at most {}, which is {bound}", whole.name());
            return Err(definition(local).refuse(&value.to_string(), expected));
        }
        let local = if exceeds || value == -2 { bound } else { value };
        Ok(Retention { whole: Some(bound), local: Some(local) })
    }
}

/// A bound by time or by size; `None` means no bound.
#[derive(Clone, Copy)]
struct Retention {
    whole: Option<i64>,
    local: Option<i64>,
}

impl Retention {
    const NONE: Retention = Retention { whole: None, local: None };
}

fn definition<T: ConfigType>(key: TopicKey<T>) -> &'static ConfigDef {
    lookup(Scope::Topic, key.name()).expect("every handle has its entry in the registry")
}

/// A broker's value in the unit and the width of the topic's. A negative one means no bound, in every unit.
fn scaled(kind: Kind, value: &Value, scale: i64) -> Value {
    match (kind, value.as_number()) {
        (Kind::Long, Some(number)) if number < 0 => Value::Long(number),
        (Kind::Long, Some(number)) => Value::Long(number.saturating_mul(scale)),
        _ => value.clone(),
    }
}
