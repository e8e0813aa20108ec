//! From the metadata image to the partitions that this broker serves.
//!
//! [`Replicas::reconcile`] runs whenever the image changed, before anybody hears of the change: new topics get their
//! partitions, changed configs reach theirs, deleted topics are retired and their directories removed. A topic that did not
//! change keeps its objects. What a topic has
//! in the bucket is purged elsewhere (the tier's wiring), from the purge records that the image keeps.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use broker_metadata::{ClusterImage, TopicImage};
use broker_model::config::{ConfigValues, TopicConfig};
use broker_model::{TopicId, TopicPartition};
use tracing::{error, warn};

use crate::disk::{LogDirs, remove_in_background};
use crate::replica::{ColdReader, Partition};
use crate::topics::{Topic, TopicTable, class_of};

/// The maker of partitions.
#[derive(Debug)]
pub struct Replicas {
    /// The topics now.
    pub topics: Arc<ArcSwap<TopicTable>>,
    /// All broker configs.
    pub values: Arc<ConfigValues>,
    /// `producer.id.expiration.ms`.
    pub producer_expiration_ms: i64,
    /// The log directories.
    pub dirs: Arc<LogDirs>,
    /// What only the bucket holds.
    pub cold: Arc<dyn ColdReader>,
}

impl Replicas {
    /// Brings the table to the image. Returns the names of topics that are gone.
    pub fn reconcile(&self, image: &ClusterImage) -> Vec<String> {
        let old = self.topics.load_full();
        let topics = image.topics().filter_map(|topic| self.topic(image, topic, old.by_id(topic.id)));
        self.topics.store(Arc::new(TopicTable::new(topics)));
        let gone: Vec<_> = old.iter().filter(|topic| image.topic_by_id(topic.id).is_none()).collect();
        remove_in_background(gone.iter().flat_map(|topic| self.retire(topic)).collect());
        gone.iter().map(|topic| topic.name.to_string()).collect()
    }

    fn topic(&self, image: &ClusterImage, topic: &TopicImage, old: Option<&Arc<Topic>>) -> Option<Arc<Topic>> {
        // The image shares what did not change, so that this is mostly a comparison of pointers.
        let unchanged = |old: &&Arc<Topic>| {
            let same = Arc::ptr_eq(&old.overrides, &topic.configs) || *old.overrides == *topic.configs;
            same && old.partitions().len() == topic.partitions.len()
        };
        if let Some(old) = old.filter(unchanged) {
            return Some(old.clone());
        }
        let resolved = TopicConfig::resolve(&topic.configs, &self.values, class_of(&topic.name));
        let config = match resolved.or_else(|error| {
            error!(topic = %topic.name, %error, "configs do not fit the broker's any more: the defaults hold");
            TopicConfig::resolve(&BTreeMap::new(), &self.values, class_of(&topic.name))
        }) {
            Ok(config) => Arc::new(config),
            Err(error) => {
                error!(topic = %topic.name, %error, "topic is not served");
                return None;
            }
        };
        let partitions = topic.partitions.iter().map(|(index, placement)| {
            let kept = old.and_then(|old| old.partition(*index)).cloned();
            if let Some(kept) = kept {
                kept.set_config(config.clone());
                return kept;
            }
            let id = TopicPartition { topic: topic.id, partition: *index };
            let identity = (id, topic.name.clone(), image.leader_epoch(placement));
            let places = (self.dirs.place(&topic.name, id), self.cold.clone());
            Arc::new(Partition::new(identity, config.clone(), self.producer_expiration_ms, places))
        });
        let partitions = partitions.collect();
        Some(Arc::new(Topic::new((topic.name.clone(), topic.id), (topic.configs.clone(), config), partitions)))
    }

    /// Ends the service of a deleted topic. Returns the directories that are to be removed.
    fn retire(&self, topic: &Topic) -> Vec<PathBuf> {
        let retired = topic.partitions().filter_map(|partition| {
            partition.retire();
            self.dirs.forget(partition);
            set_aside(partition.disk().root().join(partition.directory()), topic.id)
        });
        retired.collect()
    }
}

/// Renames a directory out of the way at once, as Kafka does: the name is free for a new topic, and what is in it can be
/// removed later. `None` where there is nothing to remove.
fn set_aside(path: PathBuf, id: TopicId) -> Option<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{id}-delete"));
    let doomed = PathBuf::from(name);
    match std::fs::rename(&path, &doomed) {
        Ok(()) => return Some(doomed),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => warn!(path = %path.display(), %error, "log of a deleted topic cannot be renamed"),
    }
    None
}
