//! The topics that this broker serves, by name and by id: an immutable table behind an atomic pointer.
//!
//! It is made from the metadata image. A topic's partitions live as long as the topic; only tables come and go.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use broker_model::config::{TopicClass, TopicConfig};
use broker_model::{ErrorCode, PartitionIndex, TopicId};

use crate::replica::Partition;

/// The topic of the group coordinators.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// One topic.
#[derive(Debug)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its identity.
    pub id: TopicId,
    /// Its own configs.
    pub overrides: Arc<BTreeMap<String, String>>,
    /// Its effective configuration.
    pub config: Arc<TopicConfig>,
    partitions: Vec<Arc<Partition>>,
}

impl Topic {
    /// A topic with its partitions, by number from 0.
    #[must_use]
    pub fn new(
        (name, id): (Arc<str>, TopicId),
        (overrides, config): (Arc<BTreeMap<String, String>>, Arc<TopicConfig>),
        partitions: Vec<Arc<Partition>>,
    ) -> Topic {
        Topic { name, id, overrides, config, partitions }
    }

    /// A partition by its number.
    #[must_use]
    pub fn partition(&self, index: PartitionIndex) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index.0).ok()?)
    }

    /// All partitions, by number.
    pub fn partitions(&self) -> impl ExactSizeIterator<Item = &Arc<Partition>> {
        self.partitions.iter()
    }

    /// True for a topic that only the broker itself writes.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        class_of(&self.name) == TopicClass::Internal
    }

    /// Whether it is a user's or the broker's own.
    #[must_use]
    pub fn class(&self) -> TopicClass {
        class_of(&self.name)
    }
}

/// Whether a topic of this name is a user's or the broker's own.
#[must_use]
pub fn class_of(name: &str) -> TopicClass {
    if name == OFFSETS_TOPIC { TopicClass::Internal } else { TopicClass::User }
}

/// The partition that a name or id stood for, or why there is none. What fetch sessions keep beside a partition.
#[derive(Clone, Debug)]
pub struct FoundPartition(pub Result<Arc<Partition>, ErrorCode>);

impl FoundPartition {
    /// What a newer search found instead. An id that stood for a topic before is not unknown, but its topic is gone.
    pub fn replace(&mut self, found: Result<Arc<Partition>, ErrorCode>) {
        let was_known = !matches!(self.0, Err(ErrorCode::UnknownTopicId));
        self.0 = match found {
            Err(ErrorCode::UnknownTopicId) if was_known => Err(ErrorCode::UnknownTopicOrPartition),
            found => found,
        };
    }
}

impl Default for FoundPartition {
    fn default() -> FoundPartition {
        FoundPartition(Err(ErrorCode::UnknownTopicId))
    }
}

/// All topics at one moment.
#[derive(Debug, Default)]
pub struct TopicTable {
    names: BTreeMap<Arc<str>, Arc<Topic>>,
    ids: HashMap<TopicId, Arc<Topic>>,
}

impl TopicTable {
    /// The table of these topics.
    pub fn new(topics: impl IntoIterator<Item = Arc<Topic>>) -> TopicTable {
        // A map that is made from all its entries is built in one go, which counts with ten thousand topics.
        let names: BTreeMap<_, _> = topics.into_iter().map(|topic| (topic.name.clone(), topic)).collect();
        let ids = names.values().map(|topic| (topic.id, topic.clone())).collect();
        TopicTable { names, ids }
    }

    /// The topic of this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Arc<Topic>> {
        self.names.get(name)
    }

    /// The topic with this id.
    #[must_use]
    pub fn by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.ids.get(&id)
    }

    /// All topics, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.names.values()
    }
}
