//! Topics come into being: each of a request by itself, all of them in one batch.
//!
//! Placement is simple as yet: every partition on the registered broker with the lowest number, replication factor 1.

use std::collections::BTreeSet;
use std::sync::Arc;

use broker_model::limits::PARTITIONS_PER_CREATE_MAX;
use broker_model::machine::Record;
use broker_model::{ErrorCode, NodeId, PartitionIndex, TopicId};

use crate::decision::{Decision, PARTITIONS_MAX, check_configs};
use crate::image::{BrokerImage, ClusterImage, TopicImage};
use crate::names;
use crate::partitions;
use crate::records::{self, TopicValue};
use crate::request::{CreateMode, CreateTopics, CreatedTopic, Existing, NewTopic, Output, TopicError};

/// Makes the topics that can be.
pub(crate) fn create(hard: &ClusterImage, request: CreateTopics) -> Decision {
    let CreateTopics { topics, mode, existing } = request;
    let mut room = CreationRoom::new(hard, &topics);
    let (mut batch, mut created) = (Vec::new(), Vec::new());
    for topic in topics {
        let standing = hard.topic(&topic.name).filter(|_| existing == Existing::Return);
        let name = topic.name.clone();
        let result = match standing {
            Some(standing) => Ok(describe(standing)),
            None => room.admit(&topic).map(|(node, broker)| {
                batch.extend(creation(&topic, node, broker));
                topic
            }),
        };
        created.push(CreatedTopic { name, result });
    }
    if mode == CreateMode::ValidateOnly {
        batch.clear();
    }
    (batch, Output::Created(created))
}

fn describe(topic: &TopicImage) -> NewTopic {
    let replicas = topic.partitions.values().next().map_or(0, |partition| partition.replicas.len());
    NewTopic {
        name: topic.name.to_string(),
        id: topic.id,
        partitions: topic.partition_count,
        replication_factor: i16::try_from(replicas).unwrap_or(i16::MAX),
        configs: (*topic.configs).clone(),
    }
}

/// The records of a topic whose partitions all lie on `node`. Their leader epoch begins at 0.
fn creation(topic: &NewTopic, node: NodeId, broker: &BrokerImage) -> Vec<Record> {
    let configs = Arc::new(topic.configs.clone());
    let value = TopicValue { name: topic.name.as_str().into(), partition_count: topic.partitions, configs };
    let row = partitions::placed(node, broker);
    let partitions = (0..topic.partitions).map(|index| records::partition(topic.id, PartitionIndex(index), &row));
    std::iter::once(records::topic(topic.id, &value)).chain(partitions).collect()
}

/// What one request may still create, and what it did already.
struct CreationRoom<'a> {
    hard: &'a ClusterImage,
    twice: BTreeSet<String>,
    names: Vec<String>,
    ids: BTreeSet<TopicId>,
    partitions_standing: usize,
    partitions_new: usize,
}

impl<'a> CreationRoom<'a> {
    fn new(hard: &'a ClusterImage, topics: &[NewTopic]) -> Self {
        let (mut once, mut twice) = (BTreeSet::new(), BTreeSet::new());
        for topic in topics {
            if !once.insert(&topic.name) {
                twice.insert(topic.name.clone());
            }
        }
        let partitions_standing = hard.topics.values().map(|topic| topic.partitions.len()).sum();
        CreationRoom { hard, twice, names: Vec::new(), ids: BTreeSet::new(), partitions_standing, partitions_new: 0 }
    }

    /// Checks one topic and takes its room. Returns where it will lie.
    fn admit(&mut self, topic: &NewTopic) -> Result<(NodeId, &'a BrokerImage), TopicError> {
        self.admit_name(topic)?;
        let placed = partitions::home(self.hard)?;
        let factor = topic.replication_factor;
        if factor < 1 {
            let what = "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err(TopicError::new(ErrorCode::InvalidReplicationFactor, what));
        }
        let partitions = usize::try_from(topic.partitions).unwrap_or(0);
        if partitions == 0 {
            let what = "Number of partitions was set to an invalid non-positive value.";
            return Err(TopicError::new(ErrorCode::InvalidPartitions, what));
        }
        if factor > 1 {
            // Placement as yet: every partition on one broker.
            let what = format!(
                "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot \
                 be reached because only 1 broker(s) are registered."
            );
            return Err(TopicError::new(ErrorCode::InvalidReplicationFactor, what));
        }
        let new = self.partitions_new + partitions;
        if new > PARTITIONS_PER_CREATE_MAX {
            let what = "Excessively large number of partitions per request.";
            return Err(TopicError::new(ErrorCode::PolicyViolation, what));
        }
        if self.partitions_standing + new > PARTITIONS_MAX {
            let what = format!("the cluster has at most {PARTITIONS_MAX} partitions");
            return Err(TopicError::new(ErrorCode::PolicyViolation, what));
        }
        check_configs(topic.configs.iter())?;
        self.partitions_new = new;
        self.names.push(topic.name.clone());
        self.ids.insert(topic.id);
        Ok(placed)
    }

    fn admit_name(&self, topic: &NewTopic) -> Result<(), TopicError> {
        let name = topic.name.as_str();
        if self.twice.contains(name) {
            return Err(TopicError::new(ErrorCode::InvalidRequest, "Duplicate topic name."));
        }
        names::validate(name)?;
        if self.hard.topic(name).is_some() {
            return Err(TopicError::new(ErrorCode::TopicAlreadyExists, format!("Topic '{name}' already exists.")));
        }
        let mut known = self.hard.names.keys().map(AsRef::as_ref).chain(self.names.iter().map(String::as_str));
        if let Some(other) = names::can_collide(name).then(|| known.find(|known| names::collide(known, name))).flatten()
        {
            let what = format!("Topic '{name}' collides with existing topic: {other}");
            return Err(TopicError::new(ErrorCode::InvalidTopicException, what));
        }
        let id = topic.id;
        let is_taken = self.hard.topics.contains_key(&id) || self.hard.purges.contains_key(&id);
        if id.is_zero() || is_taken || self.ids.contains(&id) {
            return Err(TopicError::new(ErrorCode::InvalidRequest, format!("topic id {id} is not fresh")));
        }
        Ok(())
    }
}
