//! After a stop that was not clean: logs that nobody asks for are checked in the background, those written last first.
//!
//! Each directory has its own threads, which give way to everybody else. A client that comes first opens its log itself and
//! waits for nobody. The order is by the time of the last write, so that what was busy is ready first. A clean start opens
//! nothing.
//!
//! Not here: what recovering a log means (`broker-log`), and when a log opens on first use (`replica::open`).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use broker_model::ErrorCode;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Directory, DirsError, LogDirs, partitions_in};
use crate::replica::{Disk, Partition};
use crate::topics::TopicTable;

/// How often is looked at what happened.
const LOOK: Duration = Duration::from_millis(500);
/// Progress is told after so many looks: each 3 seconds.
const LOOKS_BETWEEN_REPORTS: u32 = 6;
/// How much the threads give way (`nice`).
const GIVE_WAY: i32 = 5;

/// How far it is.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    total: AtomicUsize,
    left: AtomicUsize,
}

/// The logs of one directory.
struct Work {
    directory: Arc<Directory>,
    waiting: Mutex<std::vec::IntoIter<Arc<Partition>>>,
    recovery: Arc<Recovery>,
    stop: CancellationToken,
}

impl LogDirs {
    /// Logs that are still to be recovered.
    #[must_use]
    pub fn left_to_recover(&self) -> usize {
        self.recovery.left.load(Ordering::Relaxed)
    }

    /// Begins to recover what lies in directories that were not shut down cleanly, with so many threads for each.
    pub fn recover(&self, topics: &TopicTable, threads: usize, stop: &CancellationToken) {
        for directory in self.logs.iter().filter(|directory| !directory.is_offline() && !directory.was_clean()) {
            let found = |partition: &&Arc<Partition>| directory.was_found(&partition.topic, partition.id.partition);
            let partitions: Vec<_> = partitions_in(topics, directory).filter(found).cloned().collect();
            if partitions.is_empty() {
                continue;
            }
            self.recovery.total.fetch_add(partitions.len(), Ordering::Relaxed);
            self.recovery.left.fetch_add(partitions.len(), Ordering::Relaxed);
            let work = Work {
                directory: directory.clone(),
                waiting: Mutex::new(Vec::new().into_iter()),
                recovery: self.recovery.clone(),
                stop: stop.clone(),
            };
            spawn(move || work.run(partitions, threads));
        }
    }

    /// Tells what fails and how far recovery is. Returns when the broker cannot go on.
    pub async fn watch(&self) -> DirsError {
        let (mut looks, mut told) = (tokio::time::interval(LOOK), 0);
        for look in 1_u32.. {
            looks.tick().await;
            if let Some(fatal) = self.failed() {
                return fatal;
            }
            let left = self.left_to_recover();
            if left != told && (look.is_multiple_of(LOOKS_BETWEEN_REPORTS) || left == 0) {
                let total = self.recovery.total.load(Ordering::Relaxed);
                match left {
                    0 => info!(total, "logs are recovered"),
                    left => info!(left, total, "recovering logs"),
                }
                told = left;
            }
        }
        std::future::pending().await
    }

    fn failed(&self) -> Option<DirsError> {
        for directory in &self.logs {
            if let Some(reason) = directory.newly_failed() {
                error!(
                    directory = %directory.root().display(), %reason,
                    "log directory is offline with all its partitions: repair or replace its disk and restart, or take it \
                     out of log.dirs"
                );
            }
            if directory.has_room_again() {
                info!(directory = %directory.root().display(), "log directory has room again");
            }
        }
        if self.metadata.is_offline() {
            return Some(DirsError::MetadataFailed {
                root: self.metadata.root().to_owned(),
                reason: self.metadata.reason(),
            });
        }
        let roots: Vec<_> = self.logs.iter().map(|directory| directory.root().display().to_string()).collect();
        (self.offline_count() == self.logs.len()).then(|| DirsError::AllOffline(roots.join(", ")))
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) {
    if let Err(error) = std::thread::Builder::new().name("recover".to_owned()).spawn(work) {
        error!(%error, "no thread to recover logs: they are recovered when they are used");
    }
}

impl Work {
    fn run(self, mut partitions: Vec<Arc<Partition>>, threads: usize) {
        give_way();
        let root = self.directory.root();
        partitions.sort_by_cached_key(|partition| std::cmp::Reverse(last_write(&root.join(partition.directory()))));
        *self.waiting.lock() = partitions.into_iter();
        let work = Arc::new(self);
        for _ in 1..threads {
            let work = work.clone();
            spawn(move || {
                give_way();
                work.drain();
            });
        }
        work.drain();
    }

    fn drain(&self) {
        while !self.stop.is_cancelled() && !self.directory.is_offline() {
            let Some(partition) = self.waiting.lock().next() else { return };
            // What cannot be opened stays to be recovered: it is tried again when it is used.
            if !matches!(partition.recover(), Err(ErrorCode::KafkaStorageError)) {
                self.recovery.left.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

fn give_way() {
    if let Err(error) = rustix::process::setpriority_process(None, GIVE_WAY) {
        warn!(%error, "recovery cannot give way to requests");
    }
}

/// When the newest segment was written last; `None` where there is none.
fn last_write(partition: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(partition).ok()?.filter_map(Result::ok);
    let is_log = |entry: &std::fs::DirEntry| entry.path().extension().is_some_and(|extension| extension == "log");
    let newest = entries.filter(is_log).max_by_key(std::fs::DirEntry::file_name)?;
    newest.metadata().ok()?.modified().ok()
}
