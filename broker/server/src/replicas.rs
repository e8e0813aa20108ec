//! From the metadata image to the partitions that this broker serves.
//!
//! [`Replicas::reconcile`] runs whenever the image changed, before anybody hears of the change: new topics get their
//! partitions, changed configs reach theirs, deleted topics are retired and their directories removed. What a topic has
//! in the bucket is purged elsewhere (the tier's wiring), from the purge records that the image keeps.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use broker_metadata::{ClusterImage, TopicImage};
use broker_model::config::{ConfigValues, TopicConfig};
use broker_model::{TopicId, TopicPartition};
use tracing::{error, warn};

use crate::replica::{ColdReader, Disk, Partition};
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
    /// The log directory.
    pub disk: Arc<dyn Disk>,
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
        gone.iter().for_each(|topic| self.retire(topic));
        gone.iter().map(|topic| topic.name.to_string()).collect()
    }

    fn topic(&self, image: &ClusterImage, topic: &TopicImage, old: Option<&Arc<Topic>>) -> Option<Arc<Topic>> {
        let unchanged =
            |old: &&Arc<Topic>| *old.overrides == *topic.configs && old.partitions().len() == topic.partitions.len();
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
            let places = (self.disk.clone(), self.cold.clone());
            Arc::new(Partition::new(identity, config.clone(), self.producer_expiration_ms, places))
        });
        let partitions = partitions.collect();
        Some(Arc::new(Topic::new((topic.name.clone(), topic.id), (topic.configs.clone(), config), partitions)))
    }

    fn retire(&self, topic: &Topic) {
        for partition in topic.partitions() {
            partition.retire();
            self.disk.forget(&topic.name, partition.id);
            remove_directory(self.disk.root().join(partition.directory()), topic.id);
        }
    }
}

/// Renames a directory out of the way, as Kafka does, and removes it. What remains of it is removed at the next start.
fn remove_directory(path: PathBuf, id: TopicId) {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{id}-delete"));
    let doomed = PathBuf::from(name);
    match std::fs::rename(&path, &doomed) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => return warn!(path = %path.display(), %error, "log of a deleted topic cannot be renamed"),
    }
    if let Err(error) = std::fs::remove_dir_all(&doomed) {
        warn!(path = %doomed.display(), %error, "log of a deleted topic cannot be removed");
    }
}
