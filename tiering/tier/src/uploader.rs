//! Runs the archives: each in a task of its own, which takes steps until there is nothing to do, sleeps until it is woken
//! or something falls due, and backs off when the store fails. At most so many steps run at the same time.
//!
//! Supervision: a task that panics halts its archive and says so; it never dies in silence. An upload that lags shows in
//! [`UploaderStats::oldest_unshipped`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use broker_model::{Timestamp, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

use crate::{ArchiveHandle, ArchiveStats, Clock, LocalLog, PartitionArchive, ShipErrorKind, Step};

/// How archives are run.
#[derive(Clone, Debug)]
pub struct UploaderConfig {
    /// Archives that take a step at the same time.
    pub concurrency: usize,
    /// An idle archive looks again after this time, without being woken.
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
            idle: Duration::from_secs(10),
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
    turns: Semaphore,
    paused: AtomicBool,
    resumed: Notify,
    random: AtomicU64,
}

impl Shared {
    fn jitter(&self, pause: Duration) -> Duration {
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let half = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX) / 2;
        Duration::from_millis(half + (z ^ (z >> 31)) % (half + 1))
    }

    async fn not_paused(&self) {
        loop {
            let resumed = self.resumed.notified();
            if !self.paused.load(Ordering::Acquire) {
                return;
            }
            resumed.await;
        }
    }
}

struct Running {
    handle: ArchiveHandle,
    task: JoinHandle<()>,
}

/// Runs archives. See the module.
pub struct Uploader {
    shared: Arc<Shared>,
    running: Mutex<BTreeMap<TopicPartition, Running>>,
}

impl Uploader {
    /// An uploader without archives.
    #[must_use]
    pub fn new(config: UploaderConfig, clock: Clock) -> Uploader {
        let shared = Shared {
            turns: Semaphore::new(config.concurrency.max(1)),
            random: AtomicU64::new(config.seed),
            paused: AtomicBool::new(false),
            resumed: Notify::new(),
            config,
            clock,
        };
        Uploader { shared: Arc::new(shared), running: Mutex::new(BTreeMap::new()) }
    }

    /// Runs this archive from now on, on the current runtime. One of the same partition that ran before is stopped; the
    /// fence keeps the two apart.
    pub fn add<L: LocalLog>(&self, archive: PartitionArchive<L>) {
        let handle = archive.handle().clone();
        let shared = Arc::clone(&self.shared);
        let watched = handle.clone();
        let task = tokio::spawn(async move {
            let mut steps = tokio::task::JoinSet::new();
            steps.spawn(run(shared, archive));
            if let Some(Err(error)) = steps.join_next().await
                && error.is_panic()
            {
                watched.halt("its task panicked: this is a bug");
            }
        });
        let before = self.running.lock().insert(handle.partition(), Running { handle, task });
        if let Some(before) = before {
            before.task.abort();
        }
    }

    /// Stops the archive of this partition. A request that is under way is dropped, which the protocol allows.
    pub async fn remove(&self, partition: &TopicPartition) {
        let running = self.running.lock().remove(partition);
        if let Some(running) = running {
            running.task.abort();
            // An aborted task ends with an error that says so.
            let _ = running.task.await;
        }
    }

    /// Stops all archives.
    pub async fn stop(&self) {
        let partitions: Vec<TopicPartition> = self.running.lock().keys().copied().collect();
        for partition in partitions {
            self.remove(&partition).await;
        }
    }

    /// No archive takes another step until [`Uploader::resume`].
    pub fn pause(&self) {
        self.shared.paused.store(true, Ordering::Release);
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.shared.paused.store(false, Ordering::Release);
        self.shared.resumed.notify_waiters();
    }

    /// True between [`Uploader::pause`] and [`Uploader::resume`].
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.shared.paused.load(Ordering::Acquire)
    }

    /// The handle of a partition's archive.
    #[must_use]
    pub fn handle(&self, partition: &TopicPartition) -> Option<ArchiveHandle> {
        self.running.lock().get(partition).map(|running| running.handle.clone())
    }

    /// The handles of all archives, by partition.
    #[must_use]
    pub fn handles(&self) -> Vec<ArchiveHandle> {
        self.running.lock().values().map(|running| running.handle.clone()).collect()
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

async fn run<L: LocalLog>(shared: Arc<Shared>, mut archive: PartitionArchive<L>) {
    let handle = archive.handle().clone();
    let mut backoff = shared.config.backoff_min;
    loop {
        shared.not_paused().await;
        let result = {
            let _turn = shared.turns.acquire().await.expect("the semaphore is never closed");
            archive.step().await
        };
        let pause = match result {
            Ok(Step::Worked) => {
                backoff = shared.config.backoff_min;
                tokio::task::yield_now().await;
                continue;
            }
            Ok(Step::Purged) => return,
            Ok(Step::Idle) => {
                backoff = shared.config.backoff_min;
                until_due(&shared, &handle)
            }
            Err(error) if error.kind() == ShipErrorKind::Halted => return,
            Err(error) => {
                let pause = shared.jitter(backoff);
                backoff = (backoff * 2).min(shared.config.backoff_max);
                tracing::warn!(partition = %handle.partition(), error = %error, ?pause, "shipping failed, will try again");
                // Nothing that happens meanwhile makes a failing store better.
                tokio::time::sleep(pause).await;
                continue;
            }
        };
        tokio::select! {
            () = handle.woken() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// How long an idle archive may sleep: until the oldest unshipped byte is as old as it may become, or a while.
fn until_due(shared: &Shared, handle: &ArchiveHandle) -> Duration {
    let (rules, stats) = (handle.rules(), handle.stats());
    let due = rules.rpo_ms.zip(stats.oldest_unshipped).map(|(rpo_ms, oldest)| oldest.plus_ms(rpo_ms));
    let left = due.map(|due| u64::try_from(due.0.saturating_sub((shared.clock)().0)).unwrap_or(0));
    let idle = shared.jitter(shared.config.idle);
    // Late data that cannot be cut yet must not become a busy loop.
    left.map_or(idle, |left| Duration::from_millis(left.max(100)).min(idle))
}

#[cfg(test)]
mod tests;
