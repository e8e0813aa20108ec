//! The two files that describe: `strata.json` says whose bucket it is, `topic.json` what a topic is. Both are JSON objects
//! with a format version.

use std::collections::BTreeMap;

use broker_model::TopicId;

use crate::error::DecodeError;
use crate::json;
use crate::writer::Generation;

/// `strata.json`: created once if absent, swapped by a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketFile {
    /// The id of the cluster that owns the prefix.
    pub cluster_id: String,
    /// The cluster's name, for people.
    pub name: String,
    /// Counts restores: a writer of an older generation has lost its right.
    pub generation: Generation,
}

impl BucketFile {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        json::encode_bucket(self)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// The bytes are damaged, or of a newer format.
    pub fn decode(bytes: &[u8]) -> Result<BucketFile, DecodeError> {
        json::decode_bucket(bytes)
    }
}

/// `topic.json`: what a restore needs to make the topic again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFile {
    /// The topic's name.
    pub name: String,
    /// The topic's id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: u32,
    /// The configs that were set on the topic, by name.
    pub configs: BTreeMap<String, String>,
}

impl TopicFile {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        json::encode_topic(self)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// The bytes are damaged, or of a newer format.
    pub fn decode(bytes: &[u8]) -> Result<TopicFile, DecodeError> {
        json::decode_topic(bytes)
    }
}
