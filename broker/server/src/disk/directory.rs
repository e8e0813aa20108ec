//! One log directory: its lock and identity, what the last process left, its health, and its checkpoints.
//!
//! Opening a log asks only for what the last process left, which is read once at the start: it never waits for a
//! checkpoint that is being written. A checkpoint is written only where a line changed. A directory that failed writes
//! nothing more and is not marked clean: after the disk is repaired, its logs are recovered.
//!
//! A directory that could not be opened at the start is one too, failed from the start on, so that what lies there has a
//! place.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use broker_log::{
    CheckpointTexts, DirError, DirState, DiskFiles, Health, Identity, Line, Lines, LogPlace, OpenFiles, OpenHints,
    boot_id,
};
use broker_model::{NodeId, PartitionIndex, Timestamp, TopicId, TopicPartition};
use parking_lot::{Mutex, RwLock};
use rustix::io::Errno;
use tracing::{debug, error, warn};

use super::reserve::{self, Room};
use crate::replica::{Disk, Flusher, Partition};

/// The topic of the metadata log, which is no partition that clients see.
const METADATA: &str = "__cluster_metadata";
/// Logs of one directory that are closed at the same time.
const CLOSING_THREADS: usize = 8;

/// One log directory. See the module.
pub struct Directory {
    root: PathBuf,
    /// `None` where it could not be opened.
    identity: Option<Identity>,
    place: LogPlace<DiskFiles>,
    flusher: Flusher,
    was: Was,
    /// Of each partition that lay here at the start or was open at a checkpoint.
    lines: RwLock<Marks>,
    /// Partitions that may have lain on a disk that is gone.
    suspects: Mutex<HashSet<TopicPartition>>,
    /// `None` where it could not be opened, and once it is closed.
    state: Mutex<Option<DirState<DiskFiles>>>,
    is_told: AtomicBool,
    /// A write found no room, and nobody looked since whether there is some again.
    is_full: AtomicBool,
}

/// How the directory was found.
#[derive(Clone, Copy, Debug, Default)]
struct Was {
    is_new: bool,
    is_clean: bool,
    is_same_boot: bool,
    has_metadata: bool,
}

/// The content of the checkpoints.
#[derive(Debug, Default)]
struct Marks {
    lines: Lines,
    /// The files say something else.
    is_stale: bool,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("root", &self.root).field("was", &self.was).finish_non_exhaustive()
    }
}

impl Directory {
    /// Takes a directory into use; it is made where it is not there.
    ///
    /// # Errors
    /// Another process uses it, it belongs to another cluster or node, or the system fails.
    pub(super) fn open(
        root: &Path,
        (cluster, node): (&str, NodeId),
        files: &OpenFiles<DiskFiles>,
    ) -> Result<Directory, DirError> {
        let is_new = known_cluster(root).is_ok_and(|known| known.is_none());
        let expected = Identity { cluster_id: cluster.to_owned(), node_id: node.0, directory_id: fresh_id() };
        let boot = boot_id().unwrap_or_default();
        let (state, found) = DirState::open(DiskFiles, root.to_path_buf(), &expected, &boot)?;
        remove_in_background(found.leftovers);
        let mut lines = found.lines;
        let has_metadata = lines.remove(METADATA).is_some();
        let directory = Directory {
            root: root.to_path_buf(),
            identity: Some(state.identity().clone()),
            place: LogPlace { files: DiskFiles, health: Health::default(), open_files: files.clone() },
            flusher: Flusher::default(),
            was: Was { is_new, is_clean: state.was_clean(), is_same_boot: state.is_same_boot(), has_metadata },
            lines: RwLock::new(Marks { lines, is_stale: false }),
            suspects: Mutex::default(),
            state: Mutex::new(Some(state)),
            is_told: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
        };
        directory.make_room();
        Ok(directory)
    }

    /// A directory that cannot be used.
    pub(super) fn offline(root: &Path, why: &io::Error, files: &OpenFiles<DiskFiles>) -> Directory {
        let health = Health::default();
        health.fail(why);
        Directory {
            root: root.to_path_buf(),
            identity: None,
            place: LogPlace { files: DiskFiles, health, open_files: files.clone() },
            flusher: Flusher::default(),
            was: Was::default(),
            lines: RwLock::default(),
            suspects: Mutex::default(),
            state: Mutex::default(),
            is_told: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
        }
    }

    /// Whose it is; `None` where it could not be opened.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// True once it failed, which is final for this process.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.place.health.is_offline()
    }

    /// True while writes find no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// True where there is room again, the first time that this is asked.
    pub(super) fn has_room_again(&self) -> bool {
        let has_room = || reserve::free_bytes(&self.root).is_some_and(|free| free >= 2 * reserve::RESERVE_BYTES);
        let is_over = self.is_full() && has_room() && self.is_full.swap(false, Ordering::Relaxed);
        if is_over {
            self.keep_room();
        }
        is_over
    }

    /// Keeps room back for a start on a full disk, unless that is done.
    pub(super) fn keep_room(&self) {
        if !self.is_offline()
            && let Err(error) = reserve::keep(&self.root)
        {
            debug!(directory = %self.root.display(), %error, "no room is kept back");
        }
    }

    /// On a full disk gives back what was kept, for what a start must write.
    fn make_room(&self) {
        if reserve::free_bytes(&self.root).is_some_and(|free| free < reserve::RESERVE_BYTES) {
            self.no_room();
            if let Err(error) = reserve::release(&self.root) {
                warn!(directory = %self.root.display(), %error, "room that was kept back cannot be given back");
            }
        }
    }

    /// True where the last process left it clean: no log needs to be checked.
    #[must_use]
    pub fn was_clean(&self) -> bool {
        self.was.is_clean
    }

    /// True where it was made, or used for the first time, at this start.
    pub(super) fn is_new(&self) -> bool {
        self.was.is_new
    }

    /// True where the metadata log lies here.
    pub(super) fn has_metadata(&self) -> bool {
        self.was.has_metadata
    }

    /// True where this partition has its place here.
    #[must_use]
    pub fn has(&self, partition: &Partition) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(partition.disk()), std::ptr::from_ref(self))
    }

    /// The partitions that lay here at the start.
    pub(super) fn each_found(&self, mut found: impl FnMut(&str, PartitionIndex)) {
        for (topic, partitions) in &self.lines.read().lines {
            partitions.keys().for_each(|index| found(topic, *index));
        }
    }

    /// True where it lay here at the start, or was open at a checkpoint.
    pub(super) fn was_found(&self, topic: &str, index: PartitionIndex) -> bool {
        self.line(topic, index).is_some()
    }

    /// True where the directory of this name is this topic's, as its `partition.metadata` says.
    pub(super) fn holds(&self, topic: &str, id: TopicPartition) -> bool {
        let path = self.root.join(format!("{topic}-{}", id.partition)).join("partition.metadata");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let found = text.lines().find_map(|line| line.strip_prefix("topic_id:"));
        found.and_then(|found| found.trim().parse().ok()).is_some_and(|found: TopicId| found == id.topic)
    }

    /// This partition's archive is to be asked before it leads.
    pub(super) fn suspect(&self, id: TopicPartition) {
        self.suspects.lock().insert(id);
    }

    /// The reason, the first time that this is asked after it failed.
    pub(super) fn newly_failed(&self) -> Option<String> {
        if !self.is_offline() || self.is_told.swap(true, Ordering::AcqRel) {
            return None;
        }
        Some(self.reason())
    }

    /// Why it failed.
    #[must_use]
    pub fn reason(&self) -> String {
        self.place.health.reason().unwrap_or_default()
    }

    /// Writes what the next process must know of these partitions, if it is not written already.
    pub(super) fn checkpoint<'a>(&self, partitions: impl Iterator<Item = &'a Arc<Partition>>) {
        let state = self.state.lock();
        let Some(state) = state.as_ref().filter(|_| !self.is_offline()) else { return };
        if let Err(error) = self.write_lines(state, partitions)
            && !self.is_full()
        {
            warn!(directory = %self.root.display(), %error, "checkpoints cannot be written");
        }
    }

    /// Notes these partitions, and writes the checkpoints where that changed anything. Who holds the state waits for nobody
    /// else: what another noted before is written by then.
    fn write_lines<'a>(
        &self,
        state: &DirState<DiskFiles>,
        partitions: impl Iterator<Item = &'a Arc<Partition>>,
    ) -> io::Result<()> {
        let texts = {
            let mut marks = self.lines.write();
            partitions.filter(|partition| partition.is_open()).for_each(|partition| marks.note(partition));
            if !std::mem::take(&mut marks.is_stale) {
                return Ok(());
            }
            CheckpointTexts::of(&marks.lines)
        };
        state.write_checkpoints(&texts).inspect_err(|error| {
            self.lines.write().is_stale = true;
            self.write_failed(error);
        })
    }

    /// How large its file system is, and how much room it has; `None` where the system does not tell.
    #[must_use]
    pub fn room(&self) -> Option<Room> {
        reserve::room(&self.root)
    }

    /// Closes the logs of these partitions, and leaves the directory clean if nothing in it is left to recover.
    pub(super) fn close(&self, partitions: &[&Arc<Partition>], now: Timestamp) {
        if self.is_offline() {
            self.state.lock().take();
            return;
        }
        let chunk = partitions.len().div_ceil(CLOSING_THREADS).max(1);
        let unclosed: usize = std::thread::scope(|scope| {
            let close = |some: &[&Arc<Partition>]| some.iter().filter(|one| !self.close_one(one, now)).count();
            let threads: Vec<_> = partitions.chunks(chunk).map(|some| scope.spawn(move || close(some))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(1)).sum()
        });
        self.checkpoint(partitions.iter().copied());
        let state = self.state.lock().take();
        if let Some(state) = state.filter(|_| unclosed == 0 && !self.is_offline())
            && let Err(error) = state.close_clean()
        {
            warn!(directory = %self.root.display(), %error, "directory cannot be marked clean");
        }
    }

    /// True where nothing of this partition is left to recover.
    fn close_one(&self, partition: &Partition, now: Timestamp) -> bool {
        let closed = partition.close(now);
        closed
            && (self.was.is_clean || partition.is_open() || !self.was_found(&partition.topic, partition.id.partition))
    }

    fn line(&self, topic: &str, index: PartitionIndex) -> Option<Line> {
        self.lines.read().lines.get(topic).and_then(|partitions| partitions.get(&index)).copied()
    }

    /// An error that says that the disk fails takes the directory offline. Others, as a full disk, do not.
    fn judge(&self, error: &io::Error) {
        let failures = [Errno::IO, Errno::ROFS, Errno::NODEV, Errno::NXIO, Errno::UCLEAN, Errno::STALE];
        if Errno::from_io_error(error).is_some_and(|errno| failures.contains(&errno)) {
            self.place.health.fail(error);
        }
    }
}

impl Disk for Directory {
    fn root(&self) -> &Path {
        &self.root
    }

    fn place(&self) -> &LogPlace<DiskFiles> {
        &self.place
    }

    fn flusher(&self) -> &Flusher {
        &self.flusher
    }

    fn hints(&self, topic: &str, partition: TopicPartition, now: Timestamp) -> OpenHints {
        let line = self.line(topic, partition.partition).unwrap_or_default();
        OpenHints {
            topic: partition.topic,
            clean: self.was.is_clean,
            same_boot: self.was.is_same_boot,
            recovery_point: line.recovery_point,
            log_start: line.log_start,
            now,
        }
    }

    fn record(&self, partitions: &[Arc<Partition>]) -> io::Result<()> {
        let state = self.state.lock();
        let state = state.as_ref().filter(|_| !self.is_offline());
        let state = state.ok_or_else(|| io::Error::other("the directory is not in use"))?;
        self.write_lines(state, partitions.iter().filter(|partition| self.has(partition)))
    }

    fn may_be_short(&self, topic: &str, id: TopicPartition) -> bool {
        let is_unsure = !self.was.is_clean && !self.was.is_same_boot;
        is_unsure && self.was_found(topic, id.partition) || self.suspects.lock().contains(&id)
    }

    fn forget(&self, topic: &str, partition: TopicPartition) {
        // Its line leaves the checkpoints with the next one; a new log begins from nothing in any case.
        self.lines.write().forget(topic, partition.partition);
        self.suspects.lock().remove(&partition);
    }

    fn write_failed(&self, error: &io::Error) {
        self.judge(error);
        if error.kind() == io::ErrorKind::StorageFull {
            self.no_room();
        }
    }

    fn no_room(&self) {
        if !self.is_full.swap(true, Ordering::Relaxed) {
            warn!(
                directory = %self.root.display(),
                "log directory is full: nothing is written there until there is room, reads go on"
            );
        }
    }
}

impl Marks {
    fn note(&mut self, partition: &Partition) {
        let ends = partition.ends();
        let line =
            Line { recovery_point: ends.flushed_end, log_start: ends.log_start, high_watermark: ends.high_watermark };
        if !self.lines.contains_key(&*partition.topic) {
            self.lines.insert(partition.topic.to_string(), Default::default());
        }
        let topic = self.lines.get_mut(&*partition.topic).expect("it was put there");
        self.is_stale |= topic.insert(partition.id.partition, line) != Some(line);
    }

    fn forget(&mut self, topic: &str, index: PartitionIndex) {
        let Some(partitions) = self.lines.get_mut(topic) else { return };
        self.is_stale |= partitions.remove(&index).is_some();
        if partitions.is_empty() {
            self.lines.remove(topic);
        }
    }
}

/// Removes directories that nothing refers to any more. What remains of them is removed at the next start.
pub(crate) fn remove_in_background(doomed: Vec<PathBuf>) {
    if doomed.is_empty() {
        return;
    }
    let removing = std::thread::Builder::new().name("remove".to_owned()).spawn(move || {
        for path in doomed {
            if let Err(error) = std::fs::remove_dir_all(&path) {
                warn!(path = %path.display(), %error, "log of a deleted topic cannot be removed");
            }
        }
    });
    if let Err(error) = removing {
        error!(%error, "no thread to remove deleted logs: they are removed at the next start");
    }
}

/// The cluster in a directory's `meta.properties`; `None` where there is none yet.
pub(super) fn known_cluster(root: &Path) -> io::Result<Option<String>> {
    let text = match std::fs::read_to_string(root.join("meta.properties")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    Ok(text.lines().find_map(|line| line.strip_prefix("cluster.id=")).map(|id| id.trim().to_owned()))
}

/// A random id in Kafka's text form.
pub(super) fn fresh_id() -> String {
    TopicId(uuid::Uuid::new_v4().into_bytes()).to_string()
}
