//! What the decisions of several requests have in common: their form, the bounds of a cluster, and finding a topic.

use std::sync::Arc;

use broker_model::ErrorCode;
use broker_model::limits::PARTITIONS_PER_CREATE_MAX;
use broker_model::machine::Record;

use crate::image::{ClusterImage, TopicImage};
use crate::records::TopicValue;
use crate::request::{Output, TopicError, TopicRef};

/// Partitions of one cluster.
pub(crate) const PARTITIONS_MAX: usize = 200_000;
/// Bytes of a config's value (Kafka's number).
pub(crate) const CONFIG_VALUE_BYTES_MAX: usize = 32_767;

/// Bytes of a config's name.
const CONFIG_NAME_BYTES_MAX: usize = 255;

const _: () = assert!(PARTITIONS_PER_CREATE_MAX <= PARTITIONS_MAX);
const _: () = assert!(CONFIG_VALUE_BYTES_MAX <= u16::MAX as usize);

/// Records to write, and the answer.
pub(crate) type Decision = (Vec<Record>, Output);

/// Kafka's bounds on names and values.
pub(crate) fn check_configs<'a>(configs: impl Iterator<Item = (&'a String, &'a String)>) -> Result<(), TopicError> {
    for (name, value) in configs {
        if name.len() > CONFIG_NAME_BYTES_MAX || value.len() > CONFIG_VALUE_BYTES_MAX {
            let what = format!(
                "The configuration value cannot be added because it exceeds the maximum value size of \
                 {CONFIG_VALUE_BYTES_MAX} bytes."
            );
            return Err(TopicError::new(ErrorCode::InvalidConfig, what));
        }
    }
    Ok(())
}

pub(crate) fn find<'a>(hard: &'a ClusterImage, topic: &TopicRef) -> Result<&'a Arc<TopicImage>, TopicError> {
    match topic {
        TopicRef::Name(name) => hard.topic(name).ok_or_else(|| {
            TopicError::new(ErrorCode::UnknownTopicOrPartition, format!("there is no topic {}", name.escape_debug()))
        }),
        TopicRef::Id(id) => hard
            .topic_by_id(*id)
            .ok_or_else(|| TopicError::new(ErrorCode::UnknownTopicId, format!("there is no topic with id {id}"))),
    }
}

pub(crate) fn topic_value(topic: &TopicImage) -> TopicValue {
    let TopicImage { name, partition_count, configs, .. } = topic.clone();
    TopicValue { name, partition_count, configs }
}
