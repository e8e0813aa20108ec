//! Names of objects. Every key of the bucket is built here and parsed here, and nowhere else.
//!
//! Keys are relative to the bucket's root prefix (`s3://bucket/prefix` gives `prefix`), which is not part of them. Inside
//! a partition, objects are named relative to the partition's directory, so that rows stay short whatever the topic is
//! called. Parsing is strict: a key has one spelling, and building what was parsed gives the same text.

use std::fmt;
use std::str::FromStr;

use broker_model::limits::TOPIC_NAME_BYTES_MAX;
use broker_model::{LeaderEpoch, PartitionIndex, TopicId};

use crate::crc32c;
use crate::writer::{Generation, ObjectId, Writer};

/// Marks the bucket.
pub const BUCKET_FILE: &str = "strata.json";
/// The root of a partition's manifest, in the partition's directory.
pub const ROOT_FILE: &str = "manifest.json";
/// A topic's description, beside its partitions.
pub const TOPIC_FILE: &str = "topic.json";
/// The root of a table, in the table's directory.
pub const TABLE_FILE: &str = "table.json";
/// Reserved for objects that hold fragments of many partitions.
pub const SHARED_PREFIX: &str = "shared/";

const TOPIC_ID_CHARS: usize = 22;

/// What an object is; its name says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// Batches and a footer: `objects/<n>-<generation>-<epoch>.log`.
    Data,
    /// A group of entries: `groups/<n>-<generation>-<epoch>.json.zst`.
    Group,
    /// A data file of a table: `data/<n>-<generation>-<epoch>.parquet`.
    Table,
    /// Rows that could not be exported: `dead/<n>-<generation>-<epoch>.parquet`.
    DeadLetters,
}

impl ObjectKind {
    /// All kinds.
    pub const ALL: [ObjectKind; 4] = [ObjectKind::Data, ObjectKind::Group, ObjectKind::Table, ObjectKind::DeadLetters];

    const fn folder(self) -> &'static str {
        match self {
            ObjectKind::Data => "objects/",
            ObjectKind::Group => "groups/",
            ObjectKind::Table => "data/",
            ObjectKind::DeadLetters => "dead/",
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            ObjectKind::Data => ".log",
            ObjectKind::Group => ".json.zst",
            ObjectKind::Table | ObjectKind::DeadLetters => ".parquet",
        }
    }

    /// The word in JSON rows.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            ObjectKind::Data => "data",
            ObjectKind::Group => "group",
            ObjectKind::Table => "table",
            ObjectKind::DeadLetters => "dead",
        }
    }

    /// The kind with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<ObjectKind> {
        ObjectKind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// The name of an object relative to its root's directory. Prints as the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// What it is.
    pub kind: ObjectKind,
    /// The registered id.
    pub id: ObjectId,
    /// The generation of the writer that registered the id.
    pub generation: Generation,
    /// The epoch of that writer.
    pub epoch: LeaderEpoch,
}

impl ObjectName {
    /// The name that `writer` gives to an object with this id.
    #[must_use]
    pub fn new(kind: ObjectKind, id: ObjectId, writer: &Writer) -> ObjectName {
        ObjectName { kind, id, generation: writer.generation, epoch: writer.epoch }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}-{}-{}{}", self.kind.folder(), self.id, self.generation, self.epoch, self.kind.suffix())
    }
}

impl FromStr for ObjectName {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<ObjectName, KeyError> {
        for kind in ObjectKind::ALL {
            let Some(rest) = text.strip_prefix(kind.folder()).and_then(|rest| rest.strip_suffix(kind.suffix())) else {
                continue;
            };
            let mut parts = rest.split('-');
            let (Some(id), Some(generation), Some(epoch), None) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                return Err(KeyError);
            };
            return Ok(ObjectName {
                kind,
                id: ObjectId(number(id)?),
                generation: Generation(number(generation)?),
                epoch: LeaderEpoch(number(epoch)?),
            });
        }
        Err(KeyError)
    }
}

/// The key is none of this format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key of the bucket format")]
pub struct KeyError;

/// A decimal number in its one spelling: no sign, no leading zero.
fn number<T: FromStr>(text: &str) -> Result<T, KeyError> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || (text.len() > 1 && text.starts_with('0')) {
        return Err(KeyError);
    }
    text.parse().map_err(|_| KeyError)
}

/// True for Kafka's legal topic names: 1 to 249 of letters, digits, `.`, `_` and `-`, and neither `.` nor `..`.
#[must_use]
pub fn is_topic_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= TOPIC_NAME_BYTES_MAX && name != "." && name != ".." && name.bytes().all(legal)
}

/// Three hex digits of the topic id's checksum, so that topics spread over the store's key space.
#[must_use]
pub fn shard(topic: &TopicId) -> String {
    format!("{:03x}", crc32c(&topic.0) >> 20)
}

/// The directory of a topic, with its slash: `topics/<shard>/<name>-<id>/`.
///
/// # Errors
/// The name is not a legal topic name.
pub fn topic_prefix(name: &str, topic: &TopicId) -> Result<String, KeyError> {
    if !is_topic_name(name) {
        return Err(KeyError);
    }
    Ok(format!("topics/{}/{name}-{topic}/", shard(topic)))
}

/// The key of a topic's description.
///
/// # Errors
/// The name is not a legal topic name.
pub fn topic_file(name: &str, topic: &TopicId) -> Result<String, KeyError> {
    Ok(topic_prefix(name, topic)? + TOPIC_FILE)
}

/// The directory of a topic's table, with its slash: `tables/<name>-<id>/`.
///
/// # Errors
/// The name is not a legal topic name.
pub fn table_prefix(name: &str, topic: &TopicId) -> Result<String, KeyError> {
    if !is_topic_name(name) {
        return Err(KeyError);
    }
    Ok(format!("tables/{name}-{topic}/"))
}

/// The key of a table's root.
///
/// # Errors
/// The name is not a legal topic name.
pub fn table_root(name: &str, topic: &TopicId) -> Result<String, KeyError> {
    Ok(table_prefix(name, topic)? + TABLE_FILE)
}

/// The directory of an ad-hoc export, with its slash. The id is 1 to 64 letters, digits, `_` or `-`.
///
/// # Errors
/// The id is not legal.
pub fn export_prefix(export: &str) -> Result<String, KeyError> {
    if !is_export_id(export) {
        return Err(KeyError);
    }
    Ok(format!("exports/{export}/"))
}

fn is_export_id(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(legal)
}

/// The directory of a partition. Prints as `topics/<shard>/<name>-<id>/<partition>/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionPrefix {
    name: String,
    topic: TopicId,
    partition: PartitionIndex,
}

impl PartitionPrefix {
    /// The directory of this partition.
    ///
    /// # Errors
    /// The name is not a legal topic name, or the partition is negative.
    pub fn new(name: &str, topic: TopicId, partition: PartitionIndex) -> Result<PartitionPrefix, KeyError> {
        if !is_topic_name(name) || partition.0 < 0 {
            return Err(KeyError);
        }
        Ok(PartitionPrefix { name: name.to_owned(), topic, partition })
    }

    /// The topic's name.
    #[must_use]
    pub fn topic_name(&self) -> &str {
        &self.name
    }

    /// The topic's id.
    #[must_use]
    pub fn topic(&self) -> TopicId {
        self.topic
    }

    /// The partition's number.
    #[must_use]
    pub fn partition(&self) -> PartitionIndex {
        self.partition
    }

    /// The key of the partition's root.
    #[must_use]
    pub fn root(&self) -> String {
        format!("{self}{ROOT_FILE}")
    }

    /// The key of an object that rows name relative to this directory.
    #[must_use]
    pub fn join(&self, relative: &str) -> String {
        format!("{self}{relative}")
    }

    /// The key of an object.
    #[must_use]
    pub fn object(&self, name: &ObjectName) -> String {
        format!("{self}{name}")
    }
}

impl fmt::Display for PartitionPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topics/{}/{}-{}/{}/", shard(&self.topic), self.name, self.topic, self.partition)
    }
}

/// Every key that the format knows, relative to the bucket's root prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `strata.json`
    Bucket,
    /// `topics/<shard>/<name>-<id>/topic.json`
    Topic(String, TopicId),
    /// A partition's `manifest.json`.
    Root(PartitionPrefix),
    /// A data object or group of a partition.
    Object(PartitionPrefix, ObjectName),
    /// `tables/<name>-<id>/table.json`
    TableRoot(String, TopicId),
    /// A file of a table.
    TableObject(String, TopicId, ObjectName),
    /// `exports/<export-id>/<file>`
    Export(String, String),
    /// `shared/…`, reserved.
    Shared(String),
}

impl Key {
    /// Parses a key relative to the bucket's root prefix.
    ///
    /// # Errors
    /// The key is none of this format.
    pub fn parse(key: &str) -> Result<Key, KeyError> {
        if key == BUCKET_FILE {
            return Ok(Key::Bucket);
        }
        let (top, rest) = key.split_once('/').ok_or(KeyError)?;
        match top {
            "topics" => parse_topics(rest),
            "tables" => parse_tables(rest),
            "exports" => {
                let (export, file) = rest.split_once('/').ok_or(KeyError)?;
                if !is_export_id(export) || file.is_empty() {
                    return Err(KeyError);
                }
                Ok(Key::Export(export.to_owned(), file.to_owned()))
            }
            "shared" if !rest.is_empty() => Ok(Key::Shared(rest.to_owned())),
            _ => Err(KeyError),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Bucket => f.write_str(BUCKET_FILE),
            Key::Topic(name, topic) => write!(f, "topics/{}/{name}-{topic}/{TOPIC_FILE}", shard(topic)),
            Key::Root(prefix) => write!(f, "{prefix}{ROOT_FILE}"),
            Key::Object(prefix, name) => write!(f, "{prefix}{name}"),
            Key::TableRoot(name, topic) => write!(f, "tables/{name}-{topic}/{TABLE_FILE}"),
            Key::TableObject(name, topic, object) => write!(f, "tables/{name}-{topic}/{object}"),
            Key::Export(export, file) => write!(f, "exports/{export}/{file}"),
            Key::Shared(rest) => write!(f, "{SHARED_PREFIX}{rest}"),
        }
    }
}

fn parse_topics(rest: &str) -> Result<Key, KeyError> {
    let (found_shard, rest) = rest.split_once('/').ok_or(KeyError)?;
    let (directory, rest) = rest.split_once('/').ok_or(KeyError)?;
    let (name, topic) = name_and_id(directory)?;
    if shard(&topic) != found_shard {
        return Err(KeyError);
    }
    if rest == TOPIC_FILE {
        return Ok(Key::Topic(name, topic));
    }
    let (partition, rest) = rest.split_once('/').ok_or(KeyError)?;
    let prefix = PartitionPrefix::new(&name, topic, PartitionIndex(number(partition)?))?;
    if rest == ROOT_FILE {
        return Ok(Key::Root(prefix));
    }
    let object: ObjectName = rest.parse()?;
    match object.kind {
        ObjectKind::Data | ObjectKind::Group => Ok(Key::Object(prefix, object)),
        ObjectKind::Table | ObjectKind::DeadLetters => Err(KeyError),
    }
}

fn parse_tables(rest: &str) -> Result<Key, KeyError> {
    let (directory, rest) = rest.split_once('/').ok_or(KeyError)?;
    let (name, topic) = name_and_id(directory)?;
    if rest == TABLE_FILE {
        return Ok(Key::TableRoot(name, topic));
    }
    let object: ObjectName = rest.parse()?;
    match object.kind {
        ObjectKind::Table | ObjectKind::DeadLetters => Ok(Key::TableObject(name, topic, object)),
        ObjectKind::Data | ObjectKind::Group => Err(KeyError),
    }
}

/// Splits `<name>-<topic id>` from the right: both parts may hold dashes, the id has a fixed width.
fn name_and_id(directory: &str) -> Result<(String, TopicId), KeyError> {
    let at = directory.len().checked_sub(TOPIC_ID_CHARS).ok_or(KeyError)?;
    let (head, id) = directory.split_at_checked(at).ok_or(KeyError)?;
    let name = head.strip_suffix('-').ok_or(KeyError)?;
    if !is_topic_name(name) {
        return Err(KeyError);
    }
    Ok((name.to_owned(), id.parse().map_err(|_| KeyError)?))
}
