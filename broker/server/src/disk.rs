//! The log directory of this process: its lock and identity, what the last process left, and the checkpoints.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use broker_log::{CheckpointRow, DirError, DirState, DiskFiles, Identity, OpenHints, boot_id};
use broker_model::{NodeId, Timestamp, TopicId, TopicPartition};
use parking_lot::Mutex;
use tracing::warn;

use crate::replica::{Disk, Partition};
use crate::topics::TopicTable;

/// The log directory, locked for this process.
pub struct LogDir {
    root: PathBuf,
    state: Mutex<Option<DirState<DiskFiles>>>,
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
        Ok((LogDir { root: root.to_path_buf(), state: Mutex::new(Some(state)) }, identity))
    }

    /// What the last process left for the log in this directory.
    #[must_use]
    pub fn hints_for(&self, name: (&str, TopicPartition), now: Timestamp) -> OpenHints {
        let (topic, id) = name;
        let state = self.state.lock();
        let known = state.as_ref().map(|state| state.hints(topic, id.partition)).unwrap_or_default();
        OpenHints {
            topic: id.topic,
            clean: known.clean,
            same_boot: known.same_boot,
            recovery_point: known.recovery_point,
            log_start: known.log_start,
            now,
        }
    }

    /// Writes what the next process must know of each partition.
    pub fn checkpoint(&self, topics: &ArcSwap<TopicTable>) {
        let mut state = self.state.lock();
        let Some(state) = state.as_mut() else { return };
        let topics = topics.load();
        let partitions = topics.iter().flat_map(|topic| topic.partitions());
        let rows: Vec<CheckpointRow> = partitions.map(|partition| row(state, partition)).collect();
        if let Err(error) = state.write_checkpoints(&rows) {
            warn!(%error, "checkpoints cannot be written");
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

    fn forget(&self, topic: &str, partition: TopicPartition) {
        if let Some(state) = self.state.lock().as_mut()
            && let Err(error) = state.forget(topic, partition.partition)
        {
            warn!(%error, %partition, "checkpoints of a deleted partition cannot be removed");
        }
    }
}

/// A partition whose log was never opened keeps the line that the last process wrote.
fn row(state: &DirState<DiskFiles>, partition: &Arc<Partition>) -> CheckpointRow {
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
    let known = state.hints(&topic, index);
    CheckpointRow {
        topic,
        partition: index,
        recovery_point: known.recovery_point,
        log_start: known.log_start,
        high_watermark: known.high_watermark,
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
