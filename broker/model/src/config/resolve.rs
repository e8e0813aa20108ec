//! The effective configuration of a topic: its overrides laid over the broker's values.
//!
//! Invariants: every field keeps its own rule; a tiered topic is not compacted; local
//! retention is never longer than retention, and never shorter where nothing is shipped, so that a log that obeys it
//! cannot lose what only it has; what is not deleted by time and size has no bound at all.
//!
//! Values that do not go together are not refused here but brought into these bounds: a broker's config may change under
//! a topic that was legal when it was made. What a client asks for is held against Kafka's rules in [`super::check`].
//! Two differences make the defaults of Strata usable: a broker-wide local retention that is longer than a topic's
//! retention counts as the topic's retention (Kafka refuses the topic), and a compacted or internal topic is not tiered
//! by the broker's default.

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
    /// `remote.log.delete.on.disable`: switching the tier off deletes what is in the bucket.
    pub delete_on_disable: bool,
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
    /// `producer.id.expiration.ms`, of the broker.
    pub producer_expiration_ms: i64,
}

impl TopicConfig {
    /// Lays a topic's own configs over the broker's.
    ///
    /// # Errors
    /// [`ConfigError`]: an unknown name, or a value that does not fit its config.
    pub fn resolve(
        overrides: &BTreeMap<String, String>,
        broker: &ConfigValues,
        class: TopicClass,
    ) -> Result<TopicConfig, ConfigError> {
        let layers = Layers { overrides, broker };
        layers.check_each()?;
        let cleanup = layers.cleanup()?;
        let tiered = layers.get(topic::REMOTE_STORAGE_ENABLE)? && can_be_tiered(cleanup, class);
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
            delete_on_disable: layers.get(topic::REMOTE_LOG_DELETE_ON_DISABLE)?,
            // The export reads what was shipped: it needs the tier.
            exported: layers.get(topic::EXPORT_ENABLE)? && tiered,
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
            producer_expiration_ms: i64::from(broker.get(super::broker::PRODUCER_ID_EXPIRATION_MS)),
        })
    }

    /// The same of configs that a log brought, which may be another version's: what cannot be read is left out, and told.
    #[must_use]
    pub fn resolve_stored(
        overrides: &BTreeMap<String, String>,
        broker: &ConfigValues,
        class: TopicClass,
    ) -> (TopicConfig, Vec<ConfigError>) {
        let (mut legible, mut left_out) = (BTreeMap::new(), Vec::new());
        for (name, text) in overrides {
            match known(name).and_then(|def| def.parse(text)) {
                Ok(_) => drop(legible.insert(name.clone(), text.clone())),
                Err(error) => left_out.push(error),
            }
        }
        let resolved = TopicConfig::resolve(&legible, broker, class);
        (resolved.expect("each of these was read alone, and the broker's are read already"), left_out)
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
                let synonyms = layers.places(def)?;
                Ok(Described { name: def.name.to_owned(), def: Some(def), value, source, synonyms })
            })
            .collect::<Result<_, ConfigError>>()?;
        described.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(described)
    }
}

/// Internal topics are never tiered, and compacted ones are not yet.
pub(super) fn can_be_tiered(cleanup: CleanupPolicy, class: TopicClass) -> bool {
    class == TopicClass::User && !cleanup.compact
}

/// -1 means no bound.
fn bounded(value: i64) -> Option<i64> {
    (value >= 0).then_some(value)
}

/// A topic's own configs over the broker's.
pub(super) struct Layers<'a> {
    pub(super) overrides: &'a BTreeMap<String, String>,
    pub(super) broker: &'a ConfigValues,
}

impl Layers<'_> {
    /// Also what nothing asks for keeps its rule.
    fn check_each(&self) -> Result<(), ConfigError> {
        self.overrides.iter().try_for_each(|(name, text)| known(name)?.parse(text).map(|_| ()))
    }

    /// True where the topic itself says it.
    pub(super) fn says<T: ConfigType>(&self, key: TopicKey<T>) -> bool {
        self.overrides.contains_key(key.name())
    }

    pub(super) fn get<T: ConfigType>(&self, key: TopicKey<T>) -> Result<T, ConfigError> {
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

    /// The topic's own value, then those of its broker configs. As in Kafka a default under another name than the first
    /// one's is no place to begin with.
    fn places(&self, def: &'static ConfigDef) -> Result<Vec<DescribedSynonym>, ConfigError> {
        let mut places = Vec::new();
        if let Some(text) = self.overrides.get(def.name) {
            let value = def.parse(text)?.shown();
            places.push(DescribedSynonym { name: def.name.to_owned(), value, source: ConfigSource::Topic });
        }
        let names: Vec<_> = def.synonyms.iter().map(|synonym| synonym.name).collect();
        let said =
            |place: &DescribedSynonym| place.source != ConfigSource::Default || names.first() == Some(&&*place.name);
        places.extend(self.broker.places_of(&names).into_iter().skip_while(|place| !said(place)));
        Ok(places)
    }

    pub(super) fn cleanup(&self) -> Result<CleanupPolicy, ConfigError> {
        let policies = self.get(topic::CLEANUP_POLICY)?;
        let has = |name: &str| policies.iter().any(|policy| policy == name);
        Ok(CleanupPolicy { delete: has("delete"), compact: has("compact") })
    }

    /// A bound over both tiers and the one of local disk, which cannot exceed it.
    fn retention(&self, local: TopicKey<i64>, whole: TopicKey<i64>) -> Result<Retention, ConfigError> {
        let value = self.get(local)?;
        let Some(bound) = bounded(self.get(whole)?) else {
            return Ok(Retention { whole: None, local: bounded(value) });
        };
        let local = if value < 0 || value > bound { bound } else { value };
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

pub(super) fn definition<T: ConfigType>(key: TopicKey<T>) -> &'static ConfigDef {
    lookup(Scope::Topic, key.name()).expect("every handle has its entry in the registry")
}

fn known(name: &str) -> Result<&'static ConfigDef, ConfigError> {
    let unknown = || ConfigError::UnknownKey { key: name.to_owned(), nearest: nearest(Scope::Topic, name) };
    lookup(Scope::Topic, name).ok_or_else(unknown)
}

/// A broker's value in the unit and the width of the topic's. A negative one means no bound, in every unit.
fn scaled(kind: Kind, value: &Value, scale: i64) -> Value {
    match (kind, value.as_number()) {
        (Kind::Long, Some(number)) if number < 0 => Value::Long(number),
        (Kind::Long, Some(number)) => Value::Long(number.saturating_mul(scale)),
        _ => value.clone(),
    }
}
