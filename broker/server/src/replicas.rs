//! From the metadata image to the partitions that this broker serves.
//!
//! [`Replicas::reconcile`] runs whenever the image changed, before anybody hears of the change: new topics get their
//! partitions, changed configs (also the broker's own) reach theirs, deleted topics are retired and their directories removed. A topic that did not
//! change keeps its objects. What a topic has
//! in the bucket is purged elsewhere (the tier's wiring), from the purge records that the image keeps.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use broker_metadata::{ClusterImage, TopicImage};
use broker_model::config::TopicConfig;
use broker_model::{TopicId, TopicPartition};
use tracing::{error, warn};

use crate::disk::{LogDirs, remove_in_background};
use crate::replica::{ColdReader, Partition};
use crate::topics::{Topic, TopicTable, class_of};
use crate::values::Values;

/// The maker of partitions.
#[derive(Debug)]
pub struct Replicas {
    /// The topics now.
    pub topics: Arc<ArcSwap<TopicTable>>,
    /// All broker configs.
    pub values: Arc<Values>,
    /// The log directories.
    pub dirs: Arc<LogDirs>,
    /// What only the bucket holds.
    pub cold: Arc<dyn ColdReader>,
}

impl Replicas {
    /// Brings the table to the image. Returns the names of topics that are gone.
    pub fn reconcile(&self, image: &ClusterImage) -> Vec<String> {
        let old = self.topics.load_full();
        let defaults_changed = self.values.follow(image);
        let topics = image.topics().map(|topic| {
            let old = old.by_id(topic.id);
            match old.filter(|old| !defaults_changed && is_unchanged(old, topic)) {
                Some(old) => old.clone(),
                None => self.topic(image, topic, old),
            }
        });
        self.topics.store(Arc::new(TopicTable::new(topics)));
        let gone: Vec<_> = old.iter().filter(|topic| image.topic_by_id(topic.id).is_none()).collect();
        remove_in_background(gone.iter().flat_map(|topic| self.retire(topic)).collect());
        gone.iter().map(|topic| topic.name.to_string()).collect()
    }

    fn topic(&self, image: &ClusterImage, topic: &TopicImage, old: Option<&Arc<Topic>>) -> Arc<Topic> {
        let (config, left_out) = TopicConfig::resolve_stored(&topic.configs, &self.values.now(), class_of(&topic.name));
        for error in left_out {
            error!(topic = %topic.name, %error, "a config cannot be read: the default holds");
        }
        let same = old.filter(|old| *old.config == config);
        if let Some(old) = same.filter(|old| is_unchanged(old, topic)) {
            return old.clone();
        }
        let config = same.map_or_else(|| Arc::new(config), |old| old.config.clone());
        let partitions = topic.partitions.iter().map(|(index, placement)| {
            if let Some(kept) = old.and_then(|old| old.partition(*index)) {
                if same.is_none() {
                    kept.set_config(config.clone());
                }
                return kept.clone();
            }
            let id = TopicPartition { topic: topic.id, partition: *index };
            let identity = (id, topic.name.clone(), image.leader_epoch(placement));
            let places = (self.dirs.place(&topic.name, id), self.cold.clone());
            Arc::new(Partition::new(identity, config.clone(), places))
        });
        let partitions: Vec<_> = partitions.collect();
        if let Some(old) = old.filter(|old| old.config.tiered && !config.tiered) {
            leave_tier(old.partitions().cloned().collect());
        }
        Arc::new(Topic::new((topic.name.clone(), topic.id), (topic.configs.clone(), config), partitions))
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

/// True where the topic's own configs and its partitions are those that are served. The image shares what did not change,
/// so that this is mostly a comparison of pointers.
fn is_unchanged(old: &Topic, topic: &TopicImage) -> bool {
    let same = Arc::ptr_eq(&old.overrides, &topic.configs) || *old.overrides == *topic.configs;
    same && old.partitions().len() == topic.partitions.len()
}

/// What only the bucket has of these is gone from now on: they begin where local disk does, and wait for no archive.
fn leave_tier(partitions: Vec<Arc<Partition>>) {
    tokio::task::spawn_blocking(move || {
        for partition in partitions {
            partition.lead();
            let begun = partition.open_ends().and_then(|ends| partition.advance_log_start(ends.local_start));
            if let Err(error) = begun {
                warn!(%partition, ?error, "log does not begin where local disk does");
            }
        }
    });
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
