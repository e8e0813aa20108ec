//! Where partitions lie, and how a topic gets more of them.
//!
//! Partitions are only added, behind those that a topic has. The order of the checks and what they say are Kafka's.

use broker_model::limits::PARTITIONS_PER_CREATE_MAX;
use broker_model::machine::Record;
use broker_model::{ErrorCode, NodeId, PartitionIndex};

use crate::decision::{Decision, PARTITIONS_MAX, topic_value};
use crate::image::{BrokerImage, ClusterImage, PartitionImage, Replica, TopicImage};
use crate::records;
use crate::request::{CreateMode, CreatePartitions, MorePartitions, Output, TopicError};

/// The broker that new partitions lie on: the registered one with the lowest number.
pub(crate) fn home(hard: &ClusterImage) -> Result<(NodeId, &BrokerImage), TopicError> {
    let first = hard.brokers.iter().next().map(|(node, broker)| (*node, broker));
    first.ok_or(TopicError::new(ErrorCode::InvalidReplicationFactor, "no broker is registered"))
}

/// A new partition on this broker. Its leader epoch begins at 0.
pub(crate) fn placed(node: NodeId, broker: &BrokerImage) -> PartitionImage {
    PartitionImage {
        leader: node,
        epoch_base: i32::try_from(-broker.epoch).expect("a broker starts less than 2^31 times"),
        partition_epoch: 0,
        replicas: vec![Replica { node, directory: broker.directory }],
        isr: vec![node],
    }
}

/// Gives topics more partitions, those that can have them.
pub(crate) fn create(hard: &ClusterImage, request: CreatePartitions) -> Decision {
    let (mut batch, mut results) = (Vec::new(), Vec::new());
    let mut standing: usize = hard.topics.values().map(|topic| topic.partitions.len()).sum();
    let mut added = 0;
    for asked in &request.topics {
        let grown = grow(hard, asked).and_then(|records| {
            // One record is the topic's own.
            let more = records.len() - 1;
            if added + more > PARTITIONS_PER_CREATE_MAX || standing + more > PARTITIONS_MAX {
                let what = "Unable to perform excessively large batch operation.";
                return Err(TopicError::new(ErrorCode::PolicyViolation, what));
            }
            (added, standing) = (added + more, standing + more);
            batch.extend(records);
            Ok(())
        });
        results.push(grown);
    }
    if request.mode == CreateMode::ValidateOnly {
        batch.clear();
    }
    (batch, Output::PartitionsCreated(results))
}

/// The records of a topic that gets more partitions: its own, then one for each of them.
fn grow(hard: &ClusterImage, asked: &MorePartitions) -> Result<Vec<Record>, TopicError> {
    let unknown =
        || TopicError::new(ErrorCode::UnknownTopicOrPartition, "This server does not host this topic-partition.");
    let topic = hard.topic(&asked.name).ok_or_else(unknown)?;
    let additional = additional(topic, asked)?;
    if let Some(assignments) = &asked.assignments {
        if assignments.len() != additional {
            let what = format!(
                "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            );
            return Err(TopicError::new(ErrorCode::InvalidReplicaAssignment, what));
        }
        let factor = topic.partitions.values().next().map(|partition| partition.replicas.len());
        let is_registered = |node| hard.broker(node).is_some();
        assignments.iter().try_for_each(|replicas| check_assignment(replicas, factor, is_registered))?;
    }
    if additional > PARTITIONS_PER_CREATE_MAX {
        let what = "Unable to perform excessively large batch operation.";
        return Err(TopicError::new(ErrorCode::PolicyViolation, what));
    }
    let cluster_choice = home(hard)?;
    let value = records::TopicValue { partition_count: asked.count, ..topic_value(topic) };
    let mut out = vec![records::topic(topic.id, &value)];
    for (at, index) in (topic.partition_count..asked.count).enumerate() {
        let chosen = asked.assignments.as_ref().and_then(|assignments| assignments.get(at)?.first());
        let chosen = chosen.and_then(|node| Some((*node, hard.broker(*node)?)));
        let (node, broker) = chosen.unwrap_or(cluster_choice);
        out.push(records::partition(topic.id, PartitionIndex(index), &placed(node, broker)));
    }
    Ok(out)
}

/// How many partitions come to those that the topic has; at least one.
fn additional(topic: &TopicImage, asked: &MorePartitions) -> Result<usize, TopicError> {
    let (name, has) = (&topic.name, topic.partition_count);
    if asked.count == has {
        let what = format!("Topic already has {has} partition(s).");
        return Err(TopicError::new(ErrorCode::InvalidPartitions, what));
    }
    let more = usize::try_from(i64::from(asked.count) - i64::from(has));
    more.map_err(|_| {
        let what =
            format!("The topic {name} currently has {has} partition(s); {} would not be an increase.", asked.count);
        TopicError::new(ErrorCode::InvalidPartitions, what)
    })
}

/// Whether a partition can have these replicas; `factor` is how many the topic's other partitions have.
///
/// # Errors
/// INVALID_REPLICA_ASSIGNMENT with the rule that is broken.
pub fn check_assignment(
    replicas: &[NodeId],
    factor: Option<usize>,
    is_registered: impl Fn(NodeId) -> bool,
) -> Result<(), TopicError> {
    let wrong = |what: String| {
        let what = format!("The manual partition assignment includes {what}");
        Err(TopicError::new(ErrorCode::InvalidReplicaAssignment, what))
    };
    if replicas.is_empty() {
        return wrong("an empty replica list.".to_owned());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    let mut previous = None;
    for node in sorted {
        if !is_registered(node) {
            return wrong(format!("broker {node}, but no such broker is registered."));
        }
        if previous.replace(node) == Some(node) {
            return wrong(format!("the broker {node} more than once."));
        }
    }
    match factor.filter(|factor| *factor != replicas.len()) {
        Some(factor) => wrong(format!(
            "a partition with {} replica(s), but this is not consistent with previous partitions, which have {factor} \
             replica(s).",
            replicas.len()
        )),
        None => Ok(()),
    }
}
