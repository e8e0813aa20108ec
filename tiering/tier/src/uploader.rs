//! Runs the archives: each takes steps until there is nothing to do, and sleeps until it is woken or something falls due.
//! One that fails waits, longer each time. At most so many steps run at the same time, and those that wait take turns.
//!
//! An archive that sleeps is an entry in a table and, where time can bring it work, one in a queue of deadlines: it has no
//! task and no timer of its own, so that ten thousand idle partitions cost nothing. One scheduler wakes those that are due,
//! and a step runs in a task that ends with it.
//!
//! Supervision: a step that panics halts its archive and says so; none dies in silence. An upload that lags shows in
//! [`UploaderStats::oldest_unshipped`].
//!
//! Start reading at `schedule.rs`.

mod schedule;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use broker_model::{Timestamp, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

use crate::{ArchiveHandle, ArchiveStats, Clock, LocalLog, PartitionArchive};
use schedule::{Message, Scheduler, Slot};

/// How archives are run.
#[derive(Clone, Debug)]
pub struct UploaderConfig {
    /// Archives that take a step at the same time.
    pub concurrency: usize,
    /// An archive whose log moves, and that cannot ship yet, looks again after this time.
    pub look: Duration,
    /// An idle archive looks again after this time at the latest, without being woken. Nothing depends on it.
    pub idle: Duration,
    /// The first pause after a failure; it doubles.
    pub backoff_min: Duration,
    /// The longest pause after a failure.
    pub backoff_max: Duration,
    /// Seeds the jitter of pauses.
    pub seed: u64,
}

impl Default for UploaderConfig {
    fn default() -> UploaderConfig {
        UploaderConfig {
            concurrency: 4,
            look: Duration::from_secs(1),
            idle: Duration::from_secs(6 * 3600),
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(15),
            seed: 0,
        }
    }
}

/// Numbers over all archives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploaderStats {
    /// Archives that run.
    pub partitions: u64,
    /// Bytes that were committed since the process began.
    pub shipped_bytes: u64,
    /// Objects that were committed.
    pub shipped_objects: u64,
    /// Swaps of roots.
    pub swaps: u64,
    /// Steps that failed.
    pub errors: u64,
    /// Local bytes that are not in the tier.
    pub backlog_bytes: u64,
    /// When the oldest of them was appended.
    pub oldest_unshipped: Option<Timestamp>,
    /// Bytes in the tier.
    pub tiered_bytes: u64,
    /// Archives that halted.
    pub halted: u64,
}

struct Shared {
    config: UploaderConfig,
    clock: Clock,
    turns: Arc<Semaphore>,
    paused: AtomicBool,
    random: AtomicU64,
    table: Mutex<BTreeMap<TopicPartition, Slot>>,
    inbox: mpsc::UnboundedSender<Message>,
    /// A failure was told, and nothing has worked since.
    troubled: AtomicBool,
}

impl Shared {
    fn jitter(&self, pause: Duration) -> Duration {
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let half = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX) / 2;
        Duration::from_millis(half + (z ^ (z >> 31)) % (half + 1))
    }

    /// A scheduler that is gone needs no message.
    fn tell(&self, message: Message) {
        drop(self.inbox.send(message));
    }
}

/// Runs archives. See the module.
pub struct Uploader {
    shared: Arc<Shared>,
    /// Until the first archive comes, which says on which runtime all run.
    unstarted: Mutex<Option<Scheduler>>,
    scheduler: Mutex<Option<AbortHandle>>,
}

impl Uploader {
    /// An uploader without archives.
    #[must_use]
    pub fn new(config: UploaderConfig, clock: Clock) -> Uploader {
        let (inbox, messages) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            turns: Arc::new(Semaphore::new(config.concurrency.max(1))),
            random: AtomicU64::new(config.seed),
            paused: AtomicBool::new(false),
            table: Mutex::default(),
            troubled: AtomicBool::new(false),
            inbox,
            config,
            clock,
        });
        let scheduler = Scheduler::new(Arc::clone(&shared), messages);
        Uploader { shared, unstarted: Mutex::new(Some(scheduler)), scheduler: Mutex::new(None) }
    }

    /// Runs this archive from now on, on the runtime of the first one. One of the same partition that ran before is stopped;
    /// the fence keeps the two apart.
    pub fn add<L: LocalLog>(&self, archive: PartitionArchive<L>) {
        if let Some(scheduler) = self.unstarted.lock().take() {
            *self.scheduler.lock() = Some(tokio::spawn(scheduler.run()).abort_handle());
        }
        let handle = archive.handle().clone();
        let partition = handle.partition();
        let inbox = self.shared.inbox.clone();
        handle.set_alarm(Box::new(move |partition| drop(inbox.send(Message::Wake(partition)))));
        let serial = self.shared.random.fetch_add(1, Ordering::Relaxed);
        let before = self.shared.table.lock().insert(partition, Slot::new(handle, serial, Box::new(archive)));
        if let Some(before) = before {
            before.abort();
        }
        self.shared.tell(Message::Wake(partition));
    }

    /// Stops the archive of this partition. A request that is under way is dropped, which the protocol allows.
    pub async fn remove(&self, partition: &TopicPartition) {
        let removed = self.shared.table.lock().remove(partition);
        if let Some(removed) = removed {
            removed.end().await;
            // Its turn is free.
            self.shared.tell(Message::Look);
        }
    }

    /// Stops all archives.
    pub async fn stop(&self) {
        let all = std::mem::take(&mut *self.shared.table.lock());
        all.values().for_each(Slot::abort);
        for slot in all.into_values() {
            slot.end().await;
        }
    }

    /// No archive takes another step until [`Uploader::resume`].
    pub fn pause(&self) {
        self.shared.paused.store(true, Ordering::Release);
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.shared.paused.store(false, Ordering::Release);
        self.shared.tell(Message::Look);
    }

    /// True between [`Uploader::pause`] and [`Uploader::resume`].
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.shared.paused.load(Ordering::Acquire)
    }

    /// The handle of a partition's archive.
    #[must_use]
    pub fn handle(&self, partition: &TopicPartition) -> Option<ArchiveHandle> {
        self.shared.table.lock().get(partition).map(|slot| slot.handle.clone())
    }

    /// The handles of all archives, by partition.
    #[must_use]
    pub fn handles(&self) -> Vec<ArchiveHandle> {
        self.shared.table.lock().values().map(|slot| slot.handle.clone()).collect()
    }

    /// The numbers over all archives.
    #[must_use]
    pub fn stats(&self) -> UploaderStats {
        let mut total = UploaderStats::default();
        for handle in self.handles() {
            let ArchiveStats {
                shipped_bytes,
                shipped_objects,
                swaps,
                errors,
                backlog_bytes,
                oldest_unshipped,
                tiered_bytes,
                halted,
                last_error: _,
            } = handle.stats();
            total.partitions += 1;
            total.shipped_bytes += shipped_bytes;
            total.shipped_objects += shipped_objects;
            total.swaps += swaps;
            total.errors += errors;
            total.backlog_bytes += backlog_bytes;
            total.tiered_bytes += tiered_bytes;
            total.halted += u64::from(halted.is_some());
            total.oldest_unshipped = match (total.oldest_unshipped, oldest_unshipped) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        total
    }
}

impl Drop for Uploader {
    fn drop(&mut self) {
        if let Some(scheduler) = self.scheduler.lock().take() {
            scheduler.abort();
        }
        self.shared.table.lock().values().for_each(Slot::abort);
    }
}

#[cfg(test)]
mod tests;
