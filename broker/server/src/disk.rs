//! The log directory of this process: its lock and identity, what the last process left, and the checkpoints.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arc_swap::ArcSwap;
use broker_log::{CheckpointRow, DirError, DirState, DiskFiles, Identity, OpenHints, PartitionHints, boot_id};
use broker_model::{NodeId, PartitionIndex, Timestamp, TopicId, TopicPartition};
use parking_lot::{Mutex, RwLock};
use tracing::warn;

use crate::replica::{Disk, Flusher, Partition};
use crate::topics::TopicTable;

/// The log directory, locked for this process.
///
/// Opening a log asks only for what the last process left, which is read once at the start: it never waits for a
/// checkpoint that is being written.
pub struct LogDir {
    root: PathBuf,
    /// Of the partitions that lie here, what the last process left.
    left: RwLock<BTreeMap<(String, PartitionIndex), PartitionHints>>,
    /// Of a partition that does not lie here.
    nothing: PartitionHints,
    state: Mutex<Option<DirState<DiskFiles>>>,
    flusher: Flusher,
}

impl std::fmt::Debug for LogDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogDir").field("root", &self.root).finish_non_exhaustive()
    }
}

impl LogDir {
    /// Takes the directory into use. A new one gets a new cluster id, one that is not new keeps its own.
    ///
    /// # Errors
    /// Another process uses it, or it belongs to another node.
    pub fn open(root: &Path, node: NodeId) -> Result<(LogDir, Identity), DirError> {
        let expected = Identity {
            cluster_id: known_cluster(root).unwrap_or_else(fresh_id),
            node_id: node.0,
            directory_id: fresh_id(),
        };
        let boot = boot_id().unwrap_or_default();
        let state = DirState::open(DiskFiles, root.to_path_buf(), &expected, &boot)?;
        let identity = state.identity().clone();
        let fail = |source| DirError::Io { path: root.to_path_buf(), source };
        let found = state.partitions().map_err(fail)?;
        let left = found.into_iter().map(|(topic, index, _)| {
            let hints = state.hints(&topic, index);
            ((topic, index), hints)
        });
        let (clean, same_boot) = (state.was_clean(), state.hints("", PartitionIndex(0)).same_boot);
        let dir = LogDir {
            root: root.to_path_buf(),
            left: RwLock::new(left.collect()),
            nothing: PartitionHints { clean, same_boot, ..PartitionHints::default() },
            state: Mutex::new(Some(state)),
            flusher: Flusher::default(),
        };
        Ok((dir, identity))
    }

    /// What the last process left for the log in this directory.
    #[must_use]
    pub fn hints_for(&self, name: (&str, TopicPartition), now: Timestamp) -> OpenHints {
        let (topic, id) = name;
        let known = self.left_of(topic, id.partition);
        OpenHints {
            topic: id.topic,
            clean: known.clean,
            same_boot: known.same_boot,
            recovery_point: known.recovery_point,
            log_start: known.log_start,
            now,
        }
    }

    fn left_of(&self, topic: &str, partition: PartitionIndex) -> PartitionHints {
        self.left.read().get(&(topic.to_owned(), partition)).copied().unwrap_or(self.nothing)
    }

    /// Writes what the next process must know of each partition.
    pub fn checkpoint(&self, topics: &ArcSwap<TopicTable>) {
        let mut state = self.state.lock();
        let Some(state) = state.as_mut() else { return };
        let topics = topics.load();
        let partitions = topics.iter().flat_map(|topic| topic.partitions());
        let rows: Vec<CheckpointRow> = partitions.map(|partition| self.row(partition)).collect();
        if let Err(error) = state.write_checkpoints(&rows) {
            warn!(%error, "checkpoints cannot be written");
        }
    }

    /// A partition whose log was never opened keeps the line that the last process wrote.
    fn row(&self, partition: &Partition) -> CheckpointRow {
        let (topic, index) = (partition.topic.to_string(), partition.id.partition);
        if partition.is_open() {
            let ends = partition.ends();
            return CheckpointRow {
                topic,
                partition: index,
                recovery_point: ends.flushed_end,
                log_start: ends.log_start,
                high_watermark: ends.high_watermark,
            };
        }
        let known = self.left_of(&topic, index);
        CheckpointRow {
            topic,
            partition: index,
            recovery_point: known.recovery_point,
            log_start: known.log_start,
            high_watermark: known.high_watermark,
        }
    }

    /// Closes all logs and leaves the directory clean, so that the next start reads no data.
    pub fn close(&self, topics: &ArcSwap<TopicTable>, now: Timestamp) {
        let all_closed =
            topics.load().iter().flat_map(|topic| topic.partitions()).all(|partition| partition.close(now));
        self.checkpoint(topics);
        let state = self.state.lock().take();
        if let Some(state) = state.filter(|_| all_closed)
            && let Err(error) = state.close_clean()
        {
            warn!(%error, "directory cannot be marked clean");
        }
    }
}

impl Disk for LogDir {
    fn root(&self) -> PathBuf {
        self.root.clone()
    }

    fn hints(&self, topic: &str, partition: TopicPartition, now: Timestamp) -> OpenHints {
        self.hints_for((topic, partition), now)
    }

    fn flusher(&self) -> &Flusher {
        &self.flusher
    }

    fn forget(&self, topic: &str, partition: TopicPartition) {
        // Its line leaves the checkpoints with the next one; a new log begins from nothing in any case.
        self.left.write().remove(&(topic.to_owned(), partition.partition));
    }
}

fn known_cluster(root: &Path) -> Option<String> {
    let text = std::fs::read_to_string(root.join("meta.properties")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("cluster.id=")).map(str::to_owned)
}

/// A random id in Kafka's text form.
fn fresh_id() -> String {
    TopicId(uuid::Uuid::new_v4().into_bytes()).to_string()
}
