//! How a partition's log is opened, and what must be known before it may lead.
//!
//! The log opens on first use, once. After a power cut it may have lost what its archive holds already; then the archive
//! wins, and the partition does not lead until the bucket was asked (section "Replicas and the tier" of the design).

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker_log::{DiskFiles, Log, LogConfig, LogReader, OpenHints};
use broker_model::config::TimestampType;
use broker_model::{ErrorCode, Timestamp, TopicPartition};
use broker_partition::{EpochStart, LeaderEpochs};
use parking_lot::Mutex;
use tiering_tier::TierTail;
use tracing::{error, info, warn};

use super::flusher::Flusher;
use super::partition::Partition;
use super::produce::durability;
use crate::clock;

/// What a partition needs to know of its log directory to open its log.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Where the logs lie.
    fn root(&self) -> PathBuf;
    /// What the last process left: whether it ended cleanly, what it synced, where the partition began.
    fn hints(&self, topic: &str, partition: TopicPartition, now: Timestamp) -> OpenHints;
    /// The threads that sync the logs of this directory.
    fn flusher(&self) -> &Flusher;
    /// The partition is deleted: what the last process left of it holds no more.
    fn forget(&self, topic: &str, partition: TopicPartition);
}

/// A log that is open.
pub(super) struct Open {
    pub(super) writer: Arc<Mutex<Log<DiskFiles>>>,
    pub(super) reader: LogReader<DiskFiles>,
}

impl Partition {
    /// Its log, opened if it is not yet.
    pub(super) fn open(&self) -> Result<&Open, ErrorCode> {
        if self.is_deleted.load(Ordering::Acquire) {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        if self.waits_for_archive() {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        self.opened.get_or_init(|| self.open_log()).as_ref().map_err(|error| *error)
    }

    /// True while this log must not lead: the machine restarted without a clean stop, so the log may have lost what its
    /// archive holds.
    #[must_use]
    pub fn waits_for_archive(&self) -> bool {
        self.waits_for_archive.load(Ordering::Acquire)
    }

    /// The log leads as it is.
    pub fn lead(&self) {
        self.waits_for_archive.store(false, Ordering::Release);
        self.waiters.disturb();
    }

    /// What the archive ends with; `None` where there is none. A log that ends before it drops what it has and begins at
    /// the archive's end, with the producers and epochs of then. Afterwards the partition leads.
    ///
    /// # Errors
    /// The log cannot be opened or reset.
    pub fn archive_is(&self, tail: Option<TierTail>) -> Result<(), ErrorCode> {
        let opened = self.opened.get_or_init(|| self.open_log()).as_ref().map_err(|error| *error)?;
        if let Some(tail) = tail.filter(|tail| tail.end > opened.reader.end()) {
            warn!(partition = %self, log_end = %opened.reader.end(), archive_end = %tail.end, "log begins anew at its archive's end");
            let entries = tail.epochs.iter().map(|entry| EpochStart { epoch: entry.epoch, start: entry.start });
            let producers = Some(&*tail.producers).filter(|snapshot| !snapshot.is_empty());
            let mut log = opened.writer.lock();
            let reset = log.reset_to(tail.end, LeaderEpochs::from_entries(entries), producers, clock::now());
            reset.and_then(|()| log.begin_epoch(self.epoch)).map_err(|error| {
                error!(partition = %self, %error, "log cannot begin anew");
                ErrorCode::KafkaStorageError
            })?;
        }
        self.lead();
        Ok(())
    }

    fn open_log(&self) -> Result<Open, ErrorCode> {
        let hints = self.disk.hints(&self.topic, self.id, clock::now());
        let path = self.disk.root().join(self.directory());
        let opened = Log::open(DiskFiles, path, self.log_config(), &hints);
        let (mut log, report) = opened.map_err(|error| {
            error!(partition = %self, %error, "log cannot be opened");
            ErrorCode::KafkaStorageError
        })?;
        if report.batches_scanned > 0 {
            info!(partition = %self, ?report, "log recovered");
        }
        // A coordinator in this partition may have led it under later epochs than the broker's.
        let epoch = log.epochs().latest().map_or(self.epoch, |latest| latest.max(self.epoch));
        log.begin_epoch(epoch).map_err(|error| {
            error!(partition = %self, %error, "leader epoch cannot be begun");
            ErrorCode::KafkaStorageError
        })?;
        let reader = log.reader();
        for (from, to) in reader.damaged() {
            error!(partition = %self, %from, %to, "log is damaged here: reads of these offsets fail");
        }
        Ok(Open { writer: Arc::new(Mutex::new(log)), reader })
    }

    pub(super) fn log_config(&self) -> LogConfig {
        let config = self.config.load();
        let size = |value: i32| u64::try_from(value).unwrap_or(0);
        LogConfig {
            segment_bytes: size(config.segment_bytes),
            segment_ms: config.segment_ms,
            segment_index_bytes: size(config.segment_index_bytes),
            index_interval_bytes: size(config.index_interval_bytes),
            durability: durability(&config),
            append_time: match config.timestamp_type {
                TimestampType::CreateTime => broker_log::AppendTime::Producer,
                TimestampType::LogAppendTime => broker_log::AppendTime::Broker,
            },
            producer_expiration_ms: self.producer_expiration_ms,
            ..LogConfig::default()
        }
    }
}

/// True where the log may end before its archive: it was not closed, and the machine restarted since.
pub(super) fn may_be_short(disk: &dyn Disk, topic: &str, id: TopicPartition) -> bool {
    let hints = disk.hints(topic, id, clock::now());
    let is_unsure = !hints.clean && !hints.same_boot;
    is_unsure && disk.root().join(format!("{topic}-{}", id.partition)).exists()
}
