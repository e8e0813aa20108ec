//! The cluster as all its committed records say: immutable to those who read it, cheap to clone and to publish.
//!
//! Maps are behind `Arc`, so a clone copies a few pointers; a change copies only what is shared. Readers look topics up
//! by name or by id. A partition's leader epoch is not stored but derived: its own base plus the epoch of the broker
//! that leads it, so that one record at each process start raises the epochs of all partitions.
//!
//! Between two records of a batch an image may hold half a topic; `check` runs only after whole batches.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_model::{LeaderEpoch, NodeId, PartitionIndex, ProducerId, TopicId, TopicPartition};

/// Configs of one owner, by name.
pub type Configs = Arc<BTreeMap<String, String>>;

/// The cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterImage {
    pub(crate) feature_level: Option<i16>,
    pub(crate) cluster_id: Option<Arc<str>>,
    pub(crate) brokers: Arc<BTreeMap<NodeId, BrokerImage>>,
    pub(crate) topics: Arc<BTreeMap<TopicId, Arc<TopicImage>>>,
    pub(crate) names: Arc<BTreeMap<Arc<str>, TopicId>>,
    pub(crate) next_producer_id: i64,
    pub(crate) purges: Arc<BTreeMap<TopicId, Purge>>,
    pub(crate) broker_configs: Arc<BTreeMap<Option<NodeId>, Configs>>,
}

/// A broker, as of the last start of its process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerImage {
    /// Rises with each start.
    pub epoch: i64,
    /// Random, of the process.
    pub incarnation: [u8; 16],
    /// The id of its log directory.
    pub directory: [u8; 16],
}

/// A topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicImage {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: Arc<str>,
    /// How many partitions it has.
    pub partition_count: i32,
    /// Its own configs, by name; what is not here has its default.
    pub configs: Configs,
    /// Its partitions, by number, from 0 without gaps.
    pub partitions: BTreeMap<PartitionIndex, PartitionImage>,
}

/// A partition's placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionImage {
    /// The broker that leads it.
    pub leader: NodeId,
    /// What is added to the leading broker's epoch; see [`ClusterImage::leader_epoch`]. May be negative.
    pub epoch_base: i32,
    /// Rises with each change of this record.
    pub partition_epoch: i32,
    /// The replicas, preferred leader first.
    pub replicas: Vec<Replica>,
    /// Those in sync.
    pub isr: Vec<NodeId>,
}

/// One replica of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The broker.
    pub node: NodeId,
    /// Its log directory there.
    pub directory: [u8; 16],
}

/// A topic that was deleted or left the tier, and whose archive may still stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purge {
    /// The name that it had.
    pub name: Arc<str>,
    /// The partitions that it had.
    pub partition_count: i32,
}

impl ClusterImage {
    /// The finalized feature level; `None` until the cluster is founded.
    #[must_use]
    pub fn feature_level(&self) -> Option<i16> {
        self.feature_level
    }

    /// The cluster's id; `None` until it is founded.
    #[must_use]
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// The brokers, by number.
    pub fn brokers(&self) -> impl Iterator<Item = (NodeId, &BrokerImage)> {
        self.brokers.iter().map(|(node, broker)| (*node, broker))
    }

    /// A broker.
    #[must_use]
    pub fn broker(&self, node: NodeId) -> Option<&BrokerImage> {
        self.brokers.get(&node)
    }

    /// The topics, in the order of their names.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.names.values().filter_map(|id| self.topics.get(id))
    }

    /// How many topics there are.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.names.len()
    }

    /// The topic of this name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topic_by_id(*self.names.get(name)?)
    }

    /// The topic with this id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicImage>> {
        self.topics.get(&id)
    }

    /// A partition's placement.
    #[must_use]
    pub fn partition(&self, at: TopicPartition) -> Option<&PartitionImage> {
        self.topic_by_id(at.topic)?.partitions.get(&at.partition)
    }

    /// The leader epoch of a partition: its base plus the epoch of the broker that leads it.
    #[must_use]
    pub fn leader_epoch(&self, partition: &PartitionImage) -> LeaderEpoch {
        let broker = self.brokers.get(&partition.leader).map_or(0, |broker| broker.epoch);
        let epoch = broker.saturating_add(i64::from(partition.epoch_base)).clamp(0, i64::from(i32::MAX));
        LeaderEpoch(i32::try_from(epoch).expect("it was clamped"))
    }

    /// The first producer id that was not handed out.
    #[must_use]
    pub fn next_producer_id(&self) -> ProducerId {
        ProducerId(self.next_producer_id)
    }

    /// The configs that the protocol gave a broker, or with `None` all brokers, by name.
    #[must_use]
    pub fn broker_configs(&self, of: Option<NodeId>) -> Configs {
        self.broker_configs.get(&of).cloned().unwrap_or_default()
    }

    /// Topics, most of them deleted, whose archive is still to be purged.
    pub fn purges(&self) -> impl Iterator<Item = (TopicId, &Purge)> {
        self.purges.iter().map(|(id, purge)| (*id, purge))
    }
}
