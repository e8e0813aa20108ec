//! How the rest of the process sees an archive: the root that is durable, numbers, and a few wishes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};

use broker_model::{Offset, Timestamp, TopicPartition};
use parking_lot::RwLock;
use tiering_manifest::{PartitionPrefix, Root};
use tiering_plan::Rules;
use tokio::sync::Notify;

use super::{ArchiveConfig, ShipError, ShipErrorKind};
use crate::invariants;

/// Called when an archive is to take a step.
pub(crate) type Alarm = Box<dyn Fn(TopicPartition) + Send + Sync>;

/// Numbers of one archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveStats {
    /// Bytes of objects that were committed, since the process began.
    pub shipped_bytes: u64,
    /// Objects that were committed.
    pub shipped_objects: u64,
    /// Swaps of the root.
    pub swaps: u64,
    /// Steps that failed.
    pub errors: u64,
    /// Local bytes beyond the root's end.
    pub backlog_bytes: u64,
    /// When the first of them was appended.
    pub oldest_unshipped: Option<Timestamp>,
    /// Bytes that the root names.
    pub tiered_bytes: u64,
    /// Why the archive halted, where it has.
    pub halted: Option<String>,
    /// The last error, until a step succeeds.
    pub last_error: Option<String>,
}

struct Shared {
    prefix: PartitionPrefix,
    root: RwLock<Option<Arc<Root>>>,
    rules: RwLock<Rules>,
    stats: RwLock<ArchiveStats>,
    deletion_wanted: AtomicBool,
    held: AtomicBool,
    shipped_bytes: AtomicU64,
    /// The alarm rang, and no step began since.
    woken: AtomicBool,
    /// The archive sleeps: the next move of the log rings.
    listens: AtomicBool,
    alarm: OnceLock<Alarm>,
    /// Rung when a root is durable, and when a step fails.
    turned: Notify,
}

/// A view of an archive. Cheap to clone; it outlives the archive.
#[derive(Clone)]
pub struct ArchiveHandle(Arc<Shared>);

impl std::fmt::Debug for ArchiveHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArchiveHandle").field("partition", &self.partition()).finish_non_exhaustive()
    }
}

impl ArchiveHandle {
    pub(super) fn new(config: &ArchiveConfig, root: Option<Arc<Root>>) -> ArchiveHandle {
        ArchiveHandle(Arc::new(Shared {
            prefix: config.prefix.clone(),
            root: RwLock::new(root),
            rules: RwLock::new(config.rules),
            stats: RwLock::default(),
            deletion_wanted: AtomicBool::new(false),
            held: AtomicBool::new(false),
            shipped_bytes: AtomicU64::new(0),
            woken: AtomicBool::new(false),
            listens: AtomicBool::new(false),
            alarm: OnceLock::new(),
            turned: Notify::new(),
        }))
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> TopicPartition {
        TopicPartition { topic: self.0.prefix.topic(), partition: self.0.prefix.partition() }
    }

    /// The partition's directory in the bucket.
    #[must_use]
    pub fn prefix(&self) -> &PartitionPrefix {
        &self.0.prefix
    }

    /// The newest root that the bucket confirmed, in this process or as an earlier one noted it.
    #[must_use]
    pub fn root(&self) -> Option<Arc<Root>> {
        self.0.root.read().clone()
    }

    /// The end of that root: below it local data may be deleted (TIER-2). None while no root is known.
    #[must_use]
    pub fn durable_end(&self) -> Option<Offset> {
        self.0.root.read().as_ref().map(|root| root.end)
    }

    /// The first offset that the tier holds, and a consumer may read. None while no root is known.
    #[must_use]
    pub fn start(&self) -> Option<Offset> {
        self.0.root.read().as_ref().map(|root| root.log_start)
    }

    /// Waits until a durable root begins at `start` or beyond. The archive takes a step at once; its log says where the
    /// partition begins by now. False where that cannot be expected soon: the store fails, or the archive halted.
    pub async fn reaches_start(&self, start: Offset) -> bool {
        let has_it = || self.start().is_some_and(|known| known >= start);
        let is_well = || self.0.stats.read().last_error.is_none();
        if has_it() {
            return true;
        }
        // What failed before says nothing of now, but a step that fails is not tried again at once.
        if !is_well() {
            return false;
        }
        self.notify();
        loop {
            let turned = self.0.turned.notified();
            tokio::pin!(turned);
            turned.as_mut().enable();
            if has_it() || !is_well() {
                return has_it();
            }
            turned.await;
        }
    }

    /// True once this incarnation has taken the root from the bucket.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.0.held.load(Ordering::Acquire)
    }

    /// Why the archive halted, where it has.
    #[must_use]
    pub fn halted(&self) -> Option<String> {
        self.0.stats.read().halted.clone()
    }

    /// The numbers now.
    #[must_use]
    pub fn stats(&self) -> ArchiveStats {
        let mut stats = self.0.stats.read().clone();
        stats.shipped_bytes = self.0.shipped_bytes.load(Ordering::Relaxed);
        stats.tiered_bytes = self.0.root.read().as_ref().map_or(0, |root| root.bytes());
        stats
    }

    /// Settings that hold from the next step on.
    pub fn set_rules(&self, rules: Rules) {
        let before = std::mem::replace(&mut *self.0.rules.write(), rules);
        if before != rules {
            self.notify();
        }
    }

    /// The settings.
    #[must_use]
    pub fn rules(&self) -> Rules {
        *self.0.rules.read()
    }

    /// Something changed that the archive cannot see: it takes a step soon.
    pub fn notify(&self) {
        if !self.0.woken.swap(true, Ordering::AcqRel)
            && let Some(alarm) = self.0.alarm.get()
        {
            alarm(self.partition());
        }
    }

    /// The log's end moved; called after the new end can be seen. Costs a fence and a load while the archive is awake.
    pub fn log_moved(&self) {
        // Pairs with the one in `listen`: either this sees that it listens, or the archive sees the new end.
        fence(Ordering::SeqCst);
        if self.0.listens.load(Ordering::Relaxed) && self.0.listens.swap(false, Ordering::AcqRel) {
            self.notify();
        }
    }

    /// From now on the next move of the log rings. Who calls this looks at the log once more before it sleeps.
    pub(super) fn listen(&self) {
        self.0.listens.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Who is told that the archive is to take a step. Set once.
    pub(crate) fn set_alarm(&self, alarm: Alarm) {
        let is_first = self.0.alarm.set(alarm).is_ok();
        debug_assert!(is_first, "an archive is run by one uploader");
    }

    /// A step begins: what happens from now on rings again.
    pub(crate) fn begin(&self) {
        self.0.listens.store(false, Ordering::Relaxed);
        self.0.woken.store(false, Ordering::Release);
    }

    /// From the next step on, the partition is being deleted: the root is marked first, then objects go, the root last.
    pub fn delete(&self) {
        self.0.deletion_wanted.store(true, Ordering::Release);
        self.notify();
    }

    pub(super) fn deletion_wanted(&self) -> bool {
        self.0.deletion_wanted.load(Ordering::Acquire)
    }

    pub(super) fn durable(&self, root: &Arc<Root>) {
        *self.0.root.write() = Some(Arc::clone(root));
        self.0.held.store(true, Ordering::Release);
        self.0.stats.write().swaps += 1;
        self.0.turned.notify_waiters();
    }

    pub(super) fn shipped(&self, objects: usize, bytes: u64) {
        self.0.stats.write().shipped_objects += objects as u64;
        self.0.shipped_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn backlog(&self, bytes: u64, oldest: Option<Timestamp>) {
        let mut stats = self.0.stats.write();
        stats.backlog_bytes = bytes;
        stats.oldest_unshipped = oldest;
    }

    pub(super) fn recovered(&self) {
        self.0.stats.write().last_error = None;
    }

    pub(super) fn gap(&self, tier_end: Offset, local_start: Offset) {
        let text =
            format!("offsets {tier_end} to {local_start} are neither in the tier nor local: shipping stands still");
        let mut stats = self.0.stats.write();
        if stats.last_error.as_ref() != Some(&text) {
            tracing::warn!(partition = %self.partition(), %tier_end, %local_start, "gap between tier and log");
            // Counted and reported as an error there, once a gap.
            drop(self.0.root.read().as_ref().map(|root| invariants::tier_reaches_local(root, local_start)));
            stats.last_error = Some(text);
        }
    }

    pub(super) fn failed(&self, error: &ShipError) {
        let mut stats = self.0.stats.write();
        stats.errors += 1;
        stats.last_error = Some(error.to_string());
        if error.kind() == ShipErrorKind::Halted && stats.halted.is_none() {
            stats.halted = Some(match error {
                ShipError::Halted { reason } => reason.clone(),
                other => other.to_string(),
            });
            tracing::error!(partition = %self.partition(), error = %error, "shipping halted");
        }
        drop(stats);
        self.0.turned.notify_waiters();
    }

    /// Halts the archive from outside: its task died.
    pub(crate) fn halt(&self, reason: &str) {
        self.failed(&ShipError::Halted { reason: reason.to_owned() });
    }
}
