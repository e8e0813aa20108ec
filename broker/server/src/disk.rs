//! The log directories of this process (`log.dirs`), and which partition lies in which.
//!
//! Each directory stands for itself: its own lock, identity, checkpoints, clean mark, and its own [`Health`]: what fails
//! there takes its own partitions offline and no others ([`Directory`]). The metadata log lies in `metadata.log.dir`, the
//! first of `log.dirs` where nothing else is said; without it, or without any directory for logs, the broker ends.
//!
//! Where a partition lies:
//! - An existing one lies where it is found. A start lists each directory once and opens no log.
//! - A new one goes to the directory that serves and has the fewest, as in Kafka.
//! - One that is found twice is served from the directory whose `partition.metadata` names its topic's id. Where both do,
//!   it is offline and said to be: Kafka does not start then, but the others are not at fault.
//! - One that the metadata knows and that lies nowhere, while a directory is offline, counts as lying there. It must not
//!   begin anew at offset 0 while its records are on a disk that may come back.
//!
//! A directory that another process uses or that belongs to another node ends the start: that is a mistake and no failure.
//! Directories that the metadata does not know are left as they are.
//!
//! [`Health`]: broker_log::Health
//!
//! Start reading at [`LogDirs::open`] and [`LogDirs::place`].

mod directory;
mod metrics;
mod recovery;
mod reserve;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use broker_log::{DirError, Identity, OpenFiles};
use broker_model::{NodeId, PartitionIndex, Timestamp, TopicPartition};
use parking_lot::Mutex;
use tracing::{error, warn};

pub use directory::Directory;
pub(crate) use directory::remove_in_background;
use recovery::Recovery;
pub use reserve::Room;

use crate::replica::{Disk, Partition};
use crate::settings::DirSettings;
use crate::topics::TopicTable;

/// Files that are open at once where neither the configuration nor the system sets a bound.
const OPEN_FILES_DEFAULT: usize = 10_000;

/// The directories cannot be used together.
#[derive(Debug, thiserror::Error)]
pub enum DirsError {
    /// One is in use, or belongs to somebody else.
    #[error(transparent)]
    Directory(DirError),
    /// The metadata directory cannot be used.
    #[error("the metadata directory {} cannot be used: repair it, or set metadata.log.dir to where the metadata log lies", root.display())]
    Metadata {
        /// The directory.
        root: PathBuf,
        /// Why.
        source: DirError,
    },
    /// None of the log directories can be used.
    #[error("none of the log directories {0} can be used: see the errors before this one")]
    AllOffline(String),
    /// The metadata directory is new, and another one is not: its metadata must be somewhere.
    #[error(
        "the metadata directory {} is new, but {} belongs to cluster {cluster}: set metadata.log.dir to the directory that \
         holds __cluster_metadata-0",
        root.display(), other.display()
    )]
    MetadataElsewhere {
        /// The metadata directory.
        root: PathBuf,
        /// The directory that is not new, or that holds the metadata log.
        other: PathBuf,
        /// The cluster that it belongs to.
        cluster: String,
    },
    /// The metadata directory failed while the broker ran.
    #[error("the metadata directory {} failed ({reason}): repair or replace its disk", root.display())]
    MetadataFailed {
        /// The directory.
        root: PathBuf,
        /// Why.
        reason: String,
    },
    /// Two directories have one identity.
    #[error("{} and {} have the same directory.id: one is a copy of the other, take it out of log.dirs", one.display(), other.display())]
    SameId {
        /// One directory.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
}

/// All log directories, locked for this process.
#[derive(Debug)]
pub struct LogDirs {
    /// For logs, in the order of `log.dirs`.
    logs: Vec<Arc<Directory>>,
    /// May be one of them.
    metadata: Arc<Directory>,
    /// Of partitions that are found twice. Always offline.
    ambiguous: Arc<Directory>,
    places: Mutex<Places>,
    recovery: Arc<Recovery>,
}

/// Numbers of directories, by topic and partition.
type Found = BTreeMap<String, BTreeMap<PartitionIndex, Vec<usize>>>;

#[derive(Debug)]
struct Places {
    /// What lay where at the start; `None` once the metadata's partitions have their places.
    found: Option<Found>,
    /// Partitions of each log directory.
    counts: Vec<usize>,
}

impl LogDirs {
    /// Takes the directories into use. New ones get the cluster id of those that are not.
    ///
    /// # Errors
    /// [`DirsError`]: what must be put right before a start.
    pub fn open(settings: &DirSettings, node: NodeId) -> Result<(LogDirs, Identity), DirsError> {
        let files = OpenFiles::new(settings.open_files_max.unwrap_or_else(open_files_max));
        let open = |root: &Path, cluster: &str| Directory::open(root, (cluster, node), &files);
        let cluster = cluster_of(settings)?;
        // The metadata directory first: a first start that is cut off here leaves no other directory with an identity.
        let metadata = Arc::new(open(&settings.metadata, &cluster).map_err(|source| metadata_error(settings, source))?);
        let mut logs = Vec::with_capacity(settings.logs.len());
        for root in &settings.logs {
            if *root == settings.metadata {
                logs.push(metadata.clone());
                continue;
            }
            logs.push(Arc::new(match open(root, &cluster) {
                Ok(directory) => directory,
                Err(DirError::Io { source, .. }) => Directory::offline(root, &source, &files),
                Err(error) => return Err(DirsError::Directory(error)),
            }));
        }
        check(&logs, &metadata, &cluster)?;
        let identity = metadata.identity().cloned().expect("a directory that could be opened has an identity");
        let twice = std::io::Error::other("the partition lies in two directories");
        let ambiguous = Arc::new(Directory::offline(Path::new(""), &twice, &files));
        let places = Mutex::new(found_in(&logs));
        Ok((LogDirs { logs, metadata, ambiguous, places, recovery: Arc::default() }, identity))
    }

    /// Keeps room back in each directory for a start on a full disk. To be called once what a start must write is written.
    pub fn keep_room(&self) {
        self.logs.iter().chain([&self.metadata]).for_each(|directory| directory.keep_room());
    }

    /// Those for logs, in the order of `log.dirs`.
    #[must_use]
    pub fn directories(&self) -> &[Arc<Directory>] {
        &self.logs
    }

    /// The one of the metadata log.
    #[must_use]
    pub fn metadata(&self) -> &Arc<Directory> {
        &self.metadata
    }

    /// Those that failed.
    #[must_use]
    pub fn offline_count(&self) -> usize {
        self.logs.iter().filter(|directory| directory.is_offline()).count()
    }

    /// The directory of a partition, which gets one if it has none.
    pub fn place(&self, topic: &str, id: TopicPartition) -> Arc<dyn Disk> {
        let mut places = self.places.lock();
        if let Some(found) = &places.found {
            let numbers = found.get(topic).and_then(|partitions| partitions.get(&id.partition));
            if let Some(numbers) = numbers {
                return self.found(topic, id, numbers);
            }
            if let Some(offline) = self.logs.iter().find(|directory| directory.is_offline()) {
                return offline.clone();
            }
        }
        let is_known = places.found.is_some();
        let counts = &mut places.counts;
        let serving = self.logs.iter().zip(counts.iter_mut()).filter(|(directory, _)| !directory.is_offline());
        let Some((directory, count)) = serving.min_by_key(|(_, count)| **count) else {
            return self.logs.first().expect("there is at least one log directory").clone();
        };
        *count += 1;
        if is_known && self.logs.iter().any(|directory| directory.is_new()) {
            // It may have lain on a disk that was replaced: its archive is asked before it leads.
            directory.suspect(id);
        }
        directory.clone()
    }

    /// The directory among several in which a partition was found.
    fn found(&self, topic: &str, id: TopicPartition, numbers: &[usize]) -> Arc<dyn Disk> {
        let directories = numbers.iter().filter_map(|number| self.logs.get(*number));
        let own: Vec<_> = match numbers {
            [_] => directories.collect(),
            _ => directories.filter(|directory| directory.holds(topic, id)).collect(),
        };
        if let [directory] = own.as_slice() {
            return Arc::clone(directory) as Arc<dyn Disk>;
        }
        let roots: Vec<_> = numbers.iter().filter_map(|number| self.logs.get(*number)).map(|dir| dir.root()).collect();
        error!(
            partition = %format_args!("{topic}-{}", id.partition), directories = ?roots,
            "partition lies in more than one log directory and is offline: move all of them but one away, and restart"
        );
        self.ambiguous.clone()
    }

    /// All partitions that the metadata knows have their places: what lies here besides is told and forgotten.
    pub fn settle(&self, topics: &TopicTable) {
        let Some(found) = self.places.lock().found.take() else { return };
        let is_known = |topic: &str, index| topics.by_name(topic).is_some_and(|topic| topic.partition(index).is_some());
        let all = found.iter().flat_map(|(topic, partitions)| partitions.keys().map(move |index| (topic, *index)));
        let strays: Vec<_> = all.filter(|(topic, index)| !is_known(topic, *index)).collect();
        if let Some((topic, index)) = strays.first() {
            let first = format!("{topic}-{index}");
            warn!(count = strays.len(), first, "directories of partitions that do not exist are left as they are");
        }
    }

    /// A partition is deleted: its directory has one less, and knows nothing of it any more.
    pub fn forget(&self, partition: &Partition) {
        partition.disk().forget(&partition.topic, partition.id);
        let number = self.logs.iter().position(|directory| directory.has(partition));
        let mut places = self.places.lock();
        if let Some(count) = number.and_then(|number| places.counts.get_mut(number)) {
            *count = count.saturating_sub(1);
        }
    }

    /// Writes what the next process must know of each partition, where that changed.
    pub fn checkpoint(&self, topics: &ArcSwap<TopicTable>) {
        let topics = topics.load();
        for directory in &self.logs {
            directory.checkpoint(partitions_in(&topics, directory));
        }
    }

    /// Closes all logs and leaves the directories clean, so that the next start reads no data. A directory that failed, or
    /// in which a log is neither recovered nor closed, is not clean.
    pub fn close(&self, topics: &ArcSwap<TopicTable>, now: Timestamp) {
        let topics = topics.load();
        std::thread::scope(|scope| {
            for directory in &self.logs {
                let partitions: Vec<_> = partitions_in(&topics, directory).collect();
                scope.spawn(move || directory.close(&partitions, now));
            }
        });
        self.metadata.close(&[], now);
    }
}

fn partitions_in<'a>(topics: &'a TopicTable, directory: &'a Directory) -> impl Iterator<Item = &'a Arc<Partition>> {
    topics.iter().flat_map(|topic| topic.partitions()).filter(|partition| directory.has(partition))
}

/// What the metadata directory says, and where all are new a fresh id.
fn cluster_of(settings: &DirSettings) -> Result<String, DirsError> {
    let root = &settings.metadata;
    let known = directory::known_cluster(root);
    let known = known.map_err(|source| metadata_error(settings, DirError::Io { path: root.clone(), source }))?;
    if let Some(known) = known {
        return Ok(known);
    }
    let known = settings.logs.iter().find_map(|root| Some((root, directory::known_cluster(root).ok()??)));
    match known {
        None => Ok(directory::fresh_id()),
        Some((other, cluster)) => {
            Err(DirsError::MetadataElsewhere { root: root.clone(), other: other.clone(), cluster })
        }
    }
}

fn metadata_error(settings: &DirSettings, source: DirError) -> DirsError {
    match source {
        source @ DirError::Io { .. } => DirsError::Metadata { root: settings.metadata.clone(), source },
        error => DirsError::Directory(error),
    }
}

/// What the directories say together.
fn check(logs: &[Arc<Directory>], metadata: &Arc<Directory>, cluster: &str) -> Result<(), DirsError> {
    if logs.iter().all(|directory| directory.is_offline()) {
        let roots: Vec<_> = logs.iter().map(|directory| directory.root().display().to_string()).collect();
        return Err(DirsError::AllOffline(roots.join(", ")));
    }
    let mut ids: BTreeMap<&str, &Arc<Directory>> = BTreeMap::new();
    for directory in logs.iter().chain([metadata]) {
        let Some(identity) = directory.identity() else { continue };
        if let Some(other) = ids.insert(&identity.directory_id, directory)
            && !Arc::ptr_eq(other, directory)
        {
            let (one, other) = (other.root().to_owned(), directory.root().to_owned());
            return Err(DirsError::SameId { one, other });
        }
    }
    if !metadata.has_metadata()
        && let Some(other) = logs.iter().find(|directory| directory.has_metadata())
    {
        let (root, other) = (metadata.root().to_owned(), other.root().to_owned());
        return Err(DirsError::MetadataElsewhere { root, other, cluster: cluster.to_owned() });
    }
    Ok(())
}

fn found_in(logs: &[Arc<Directory>]) -> Places {
    let (mut found, mut counts) = (Found::new(), Vec::with_capacity(logs.len()));
    for (number, directory) in logs.iter().enumerate() {
        let mut count = 0;
        directory.each_found(|topic, index| {
            if !found.contains_key(topic) {
                found.insert(topic.to_owned(), BTreeMap::new());
            }
            let partitions = found.get_mut(topic).expect("it was put there");
            partitions.entry(index).or_default().push(number);
            count += 1;
        });
        counts.push(count);
    }
    Places { found: Some(found), counts }
}

/// Half of what the system lets this process open: connections need the other half.
fn open_files_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let half = limit.and_then(|limit| usize::try_from(limit / 2).ok());
    half.map_or(OPEN_FILES_DEFAULT, |half| half.min(OPEN_FILES_DEFAULT))
}
