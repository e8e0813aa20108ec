//! How a partition's log is opened, and what must be known before it may lead.
//!
//! The log opens on first use, once. What keeps it from opening for the moment (a full disk, too many open files) is tried
//! again at the next use, at most once a second; only what cannot change is final. An error that says that the disk itself
//! fails takes its whole directory offline. After a power cut it may have lost what its archive holds already; then the archive
//! wins, and the partition does not lead until the bucket was asked (section "Replicas and the tier" of the design).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker_log::{AppendError, DiskFiles, Log, LogConfig, LogPlace, LogReader, OpenError, OpenHints};
use broker_model::config::TimestampType;
use broker_model::{ErrorCode, Timestamp, TopicId, TopicPartition};
use broker_partition::{EpochStart, LeaderEpochs};
use parking_lot::Mutex;
use tiering_tier::TierTail;
use tracing::{debug, error, info, warn};

use super::flusher::Flusher;
use super::partition::Partition;
use super::produce::durability;
use crate::clock;

/// A log that could not be opened is tried again after so many milliseconds.
const RETRY_MS: i64 = 1000;
/// Bits that damage changes in an id: two characters of its text. Two random ids differ in no more once in 10^17 times.
const DAMAGED_ID_BITS_MAX: u32 = 12;

/// What a partition needs to know of its log directory.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Where the logs lie.
    fn root(&self) -> &Path;
    /// What all its logs share: the file system, whether it failed, the open files.
    fn place(&self) -> &LogPlace<DiskFiles>;
    /// What the last process left: whether it ended cleanly, what it synced, where the partition began.
    fn hints(&self, topic: &str, partition: TopicPartition, now: Timestamp) -> OpenHints;
    /// Notes durably where those of these partitions begin that lie here.
    ///
    /// # Errors
    /// The directory cannot be written, failed, or is closed.
    fn record(&self, partitions: &[Arc<Partition>]) -> io::Result<()>;
    /// The threads that sync the logs of this directory.
    fn flusher(&self) -> &Flusher;
    /// True where the log may end before its archive: it was not closed and the machine restarted since, or its disk may
    /// have been replaced.
    fn may_be_short(&self, topic: &str, partition: TopicPartition) -> bool;
    /// A log could not be opened, or something beside the logs not written: the directory judges whether its disk fails.
    fn write_failed(&self, error: &io::Error);
    /// An append found no room.
    fn no_room(&self);
    /// The partition is deleted: what the last process left of it holds no more.
    fn forget(&self, topic: &str, partition: TopicPartition);
}

/// A log that is open.
pub(super) struct Open {
    pub(super) writer: Arc<Mutex<Log<DiskFiles>>>,
    pub(super) reader: LogReader<DiskFiles>,
}

/// Why a log could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenFailure {
    /// It can open later, and is not tried again before this time.
    Until(Timestamp),
    /// It cannot while this process lives.
    Final,
}

impl Partition {
    /// The directory that it lies in.
    #[must_use]
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Its log, opened if it is not yet.
    pub(super) fn open(&self) -> Result<&Open, ErrorCode> {
        if self.is_deleted.load(Ordering::Acquire) {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        if self.waits_for_archive() {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        self.open_anyway()
    }

    /// Opens the log as the first request would, although it may not lead yet.
    ///
    /// # Errors
    /// KAFKA_STORAGE_ERROR where it cannot be opened now.
    pub fn recover(&self) -> Result<(), ErrorCode> {
        if self.is_deleted.load(Ordering::Acquire) {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        self.open_anyway().map(|_| ())
    }

    /// True where the log cannot be opened while this process lives. Waits for nobody.
    pub(super) fn failed_for_good(&self) -> bool {
        self.failure.try_lock().is_some_and(|failure| *failure == Some(OpenFailure::Final))
    }

    /// One opens, and the others wait for that one.
    fn open_anyway(&self) -> Result<&Open, ErrorCode> {
        if let Some(open) = self.opened.get() {
            return Ok(open);
        }
        let mut failure = self.failure.lock();
        if let Some(open) = self.opened.get() {
            return Ok(open);
        }
        let wait = match *failure {
            Some(OpenFailure::Final) => true,
            Some(OpenFailure::Until(next)) => clock::now() < next,
            None => false,
        };
        if wait || self.disk.place().health.is_offline() {
            return Err(ErrorCode::KafkaStorageError);
        }
        match self.open_log() {
            Ok(open) => {
                *failure = None;
                Ok(self.opened.get_or_init(|| open))
            }
            // Its directory may have gone while it opened.
            Err(error) if self.is_deleted.load(Ordering::Acquire) => {
                debug!(partition = %self, %error, "log of a deleted topic does not open");
                Err(ErrorCode::UnknownTopicOrPartition)
            }
            Err(error) => {
                *failure = Some(self.judge(&error, *failure));
                Err(ErrorCode::KafkaStorageError)
            }
        }
    }

    /// For tests: as if the time to wait after a failure were over.
    #[cfg(test)]
    pub(crate) fn retry_opening_now(&self) {
        if let Some(OpenFailure::Until(next)) = &mut *self.failure.lock() {
            *next = Timestamp(0);
        }
    }

    /// What is to be done after an error, which is told the first time.
    fn judge(&self, error: &OpenError, before: Option<OpenFailure>) -> OpenFailure {
        let failure = match error {
            OpenError::OtherTopic { .. } => OpenFailure::Final,
            OpenError::Io { source, .. } => {
                self.disk.write_failed(source);
                OpenFailure::Until(Timestamp(clock::now().0 + RETRY_MS))
            }
        };
        if before.is_none() {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            let path = self.disk.root().join(self.directory());
            match failure {
                OpenFailure::Final => error!(
                    partition = %self, %error, path = %path.display(),
                    "partition is offline: restore its partition.metadata, or move the directory away, and restart"
                ),
                OpenFailure::Until(_) => {
                    error!(partition = %self, %error, cause, "log cannot be opened, is tried again when it is used");
                }
            }
        }
        failure
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
        let opened = self.open_anyway()?;
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

    fn open_log(&self) -> Result<Open, OpenError> {
        let hints = self.disk.hints(&self.topic, self.id, clock::now());
        let path = self.disk.root().join(self.directory());
        let open = || Log::open_in(self.disk.place(), path.clone(), self.log_config(), &hints);
        let (mut log, report) = match open() {
            Err(OpenError::OtherTopic { found, .. }) if is_another(found, self.id.topic) && set_aside(&path, found) => {
                open()?
            }
            Err(error) => {
                // Where nothing came of it nothing stays: a directory goes only if it is empty.
                let _ = std::fs::remove_dir(&path);
                return Err(error);
            }
            opened => opened?,
        };
        if report.batches_scanned > 0 {
            info!(partition = %self, ?report, "log recovered");
        }
        // A coordinator in this partition may have led it under later epochs than the broker's.
        let epoch = log.epochs().latest().map_or(self.epoch, |latest| latest.max(self.epoch));
        log.begin_epoch(epoch).map_err(|error| OpenError::Io { path: path.clone(), source: cause_of(error) })?;
        if !self.config.load().tiered && log.log_start() < log.local_start() {
            // Retention deleted segments after the last checkpoint, and there is no bucket that would have them.
            let start = log.local_start();
            log.advance_log_start(start).map_err(|error| OpenError::Io { path, source: cause_of(error) })?;
        }
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
            producer_expiration_ms: config.producer_expiration_ms,
            preallocate: config.preallocate,
            segment_jitter_ms: config.segment_jitter_ms,
            file_delete_delay_ms: config.file_delete_delay_ms,
        }
    }
}

/// True where these are ids of two topics. Ids are random, so that two of them differ in about half of their bits; what
/// differs in a few is one id and a damaged `partition.metadata`.
fn is_another(found: TopicId, expected: TopicId) -> bool {
    let bits = found.0.iter().zip(expected.0).map(|(one, other)| (one ^ other).count_ones());
    bits.sum::<u32>() > DAMAGED_ID_BITS_MAX
}

/// Moves the directory of a topic that is deleted out of the way of one that has its name now. It can stand there when its
/// disk was away while the topic was deleted.
fn set_aside(path: &Path, found: TopicId) -> bool {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{found}-stray"));
    let aside = PathBuf::from(name);
    match std::fs::rename(path, &aside) {
        Ok(()) => {
            warn!(directory = %aside.display(), "log of an earlier topic of the same name is set aside: remove it if nobody misses it");
            true
        }
        Err(error) => {
            error!(directory = %path.display(), %error, "log of an earlier topic of the same name is in the way");
            false
        }
    }
}

fn cause_of(error: AppendError) -> io::Error {
    match error {
        AppendError::Full(source) | AppendError::NotNow(source) | AppendError::Failed(source) => source,
        error => io::Error::other(error),
    }
}
