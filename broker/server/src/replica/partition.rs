//! A partition that this broker leads.
//!
//! The log opens on first use, so that a start does not wait for ten thousand recoveries; whoever comes first opens it, and
//! the others wait for that one. Reading takes no lock that an append's write holds. With one replica the high watermark
//! follows the log's end, or its flushed end when `flush.messages=1`.
//!
//! Offsets below [`Ends::local_start`] lie in the bucket only; see [`super::cold`].

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use broker_log::{DiskFiles, ErrorKind, FirstBatch, Log, LogReader, ReadError, SegmentInfo, TimeHit, without_waiting};
use broker_model::config::TopicConfig;
use broker_model::{ErrorCode, LeaderEpoch, Offset, Timestamp, TopicPartition};
use broker_partition::LeaderEpochs;
use bytes::Bytes;
use gateway_http::SourceError;
use parking_lot::Mutex;
use tracing::warn;

use super::append_times::AppendTimes;
use super::cold::ColdReader;
use super::ends::{Ends, Want, ends_of};
use super::flusher::SyncState;
use super::open::{Disk, Open, OpenFailure};
use super::queue::AppendQueue;
use super::waiters::Waiters;
use crate::net::reply::FileSlice;

/// What can be told of a stretch without waiting for the disk.
#[derive(Debug)]
pub enum AtHand {
    /// Where it lies.
    Slice(FileSlice),
    /// There is nothing that fits.
    Nothing,
    /// Heads or indexes have to be read from the disk first.
    OnDisk,
}

/// One partition.
pub struct Partition {
    /// Its identity.
    pub id: TopicPartition,
    /// Its topic's name.
    pub topic: Arc<str>,
    /// Those who wait until it moves.
    pub waiters: Waiters,
    pub(super) epoch: LeaderEpoch,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) config: ArcSwap<TopicConfig>,
    pub(super) opened: OnceLock<Open>,
    /// Held while the log is opened.
    pub(super) failure: Mutex<Option<OpenFailure>>,
    pub(super) is_deleted: AtomicBool,
    pub(super) waits_for_archive: AtomicBool,
    pub(super) append_times: Mutex<AppendTimes>,
    pub(super) cold: Arc<dyn ColdReader>,
    pub(super) queue: AppendQueue,
    pub(super) sync_state: SyncState,
    /// With `flush.messages=1`: what was written and nobody sees yet.
    pub(super) unsynced_bytes: AtomicU64,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").field("id", &self.id).field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.id.partition)
    }
}

impl Partition {
    /// A partition whose log is not open yet.
    #[must_use]
    pub fn new(
        (id, topic, epoch): (TopicPartition, Arc<str>, LeaderEpoch),
        config: Arc<TopicConfig>,
        (disk, cold): (Arc<dyn Disk>, Arc<dyn ColdReader>),
    ) -> Partition {
        let waits = config.tiered && disk.may_be_short(&topic, id);
        Partition {
            waits_for_archive: AtomicBool::new(waits),
            id,
            topic,
            waiters: Waiters::default(),
            epoch,
            disk,
            config: ArcSwap::new(config),
            opened: OnceLock::new(),
            failure: Mutex::default(),
            is_deleted: AtomicBool::new(false),
            append_times: Mutex::default(),
            cold,
            queue: AppendQueue::default(),
            sync_state: SyncState::default(),
            unsynced_bytes: AtomicU64::new(0),
        }
    }

    /// The epoch in which this process leads it.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The topic's effective configuration now.
    #[must_use]
    pub fn config(&self) -> Arc<TopicConfig> {
        self.config.load_full()
    }

    /// The topic's configuration changed.
    pub fn set_config(&self, config: Arc<TopicConfig>) {
        self.config.store(config);
        if let Some(open) = self.opened.get() {
            open.writer.lock().set_config(self.log_config());
        }
    }

    /// The name of its directory, as Kafka's.
    #[must_use]
    pub fn directory(&self) -> String {
        format!("{}-{}", self.topic, self.id.partition)
    }

    /// True once the log is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.opened.get().is_some()
    }

    /// True until its topic is deleted.
    #[must_use]
    pub fn is_served(&self) -> bool {
        !self.is_deleted.load(Ordering::Acquire)
    }

    /// True after its disk failed, or its log could not be opened.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        let log_failed = self.opened.get().map_or_else(|| self.failed_for_good(), |open| open.reader.is_offline());
        log_failed || self.disk.place().health.is_offline()
    }

    /// The writer of the log, for a coordinator that lives in this partition.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub fn shared_log(&self) -> Result<Arc<Mutex<Log<DiskFiles>>>, ErrorCode> {
        Ok(self.open()?.writer.clone())
    }

    /// The reader of the log.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub fn reader(&self) -> Result<&LogReader<DiskFiles>, ErrorCode> {
        Ok(&self.open()?.reader)
    }

    /// Somebody else appended to the log: who waits for it is woken.
    pub fn refresh(&self) {
        self.waiters.disturb();
    }

    /// The log, if it is open.
    pub(super) fn opened(&self) -> Option<&Open> {
        self.opened.get()
    }

    /// The ends as far as they are known without opening the log.
    #[must_use]
    pub fn ends(&self) -> Ends {
        match self.opened.get() {
            Some(open) => ends_of(&open.reader),
            None => Ends::UNKNOWN,
        }
    }

    /// The ends, after opening the log if need be.
    ///
    /// # Errors
    /// The log cannot be opened, or its disk failed.
    pub fn open_ends(&self) -> Result<Ends, ErrorCode> {
        let open = self.open()?;
        if open.reader.is_offline() { Err(ErrorCode::KafkaStorageError) } else { Ok(ends_of(&open.reader)) }
    }

    /// Checks the epoch that a client believes in (KIP-320); -1 believes in none.
    ///
    /// # Errors
    /// FENCED_LEADER_EPOCH for an older one, UNKNOWN_LEADER_EPOCH for a newer one.
    pub fn check_epoch(&self, claimed: LeaderEpoch) -> Result<(), ErrorCode> {
        match claimed {
            LeaderEpoch(-1) => Ok(()),
            claimed if claimed < self.epoch => Err(ErrorCode::FencedLeaderEpoch),
            claimed if claimed > self.epoch => Err(ErrorCode::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    /// Where a reader that last read a record of `epoch` before `from` left this log's history; `None` where it did not.
    ///
    /// # Errors
    /// OFFSET_OUT_OF_RANGE for an epoch that this log never had; else the log cannot be opened.
    pub fn diverges(&self, epoch: LeaderEpoch, from: Offset) -> Result<Option<(LeaderEpoch, Offset)>, ErrorCode> {
        if epoch.0 < 0 {
            return Ok(None);
        }
        let open = self.open()?;
        let end = open.reader.end();
        if epoch == self.epoch && from <= end {
            return Ok(None);
        }
        let known = open.writer.lock().epochs().end_offset_for(epoch, end).ok_or(ErrorCode::OffsetOutOfRange)?;
        Ok((known.epoch < epoch || known.end < from).then_some((known.epoch, known.end)))
    }

    /// A stretch of a segment for sendfile: whole batches below the high watermark; `None` where there is nothing that fits.
    /// It may wait for the disk.
    ///
    /// # Errors
    /// As [`ErrorCode`] for the client: damaged, offline, out of range.
    pub fn slice(&self, from: Offset, want: Want) -> Result<Option<FileSlice>, ErrorCode> {
        Self::slice_of(self.reader()?, from, want).map_err(|error| read_error(self, &error))
    }

    /// As [`slice`](Self::slice), as long as that needs nothing from the disk.
    ///
    /// # Errors
    /// As `slice`.
    pub fn slice_at_hand(&self, from: Offset, want: Want) -> Result<AtHand, ErrorCode> {
        let reader = self.reader()?;
        match without_waiting(|| Self::slice_of(reader, from, want)) {
            Ok(slice) => Ok(slice.map_or(AtHand::Nothing, AtHand::Slice)),
            Err(error) if error.kind() == ErrorKind::NotResident => Ok(AtHand::OnDisk),
            Err(error) => Err(read_error(self, &error)),
        }
    }

    fn slice_of(reader: &LogReader<DiskFiles>, from: Offset, want: Want) -> Result<Option<FileSlice>, ReadError> {
        let first = if want.at_least_one() { FirstBatch::Whole } else { FirstBatch::OnlyIfItFits };
        let bytes = u32::try_from(want.bytes()).unwrap_or(u32::MAX >> 1);
        let slice = reader.slice(from, bytes, reader.high_watermark(), first)?;
        Ok(slice.map(|slice| FileSlice { file: slice.file, position: slice.position, bytes: slice.bytes as usize }))
    }

    /// Whole batches of the local log, mapped, from the one that holds `from` on and below `up_to`; and where to read on.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub fn read_local(&self, from: Offset, up_to: Offset, bytes: usize) -> Result<(Vec<Bytes>, Offset), SourceError> {
        let unavailable = |error: ErrorCode| SourceError::Unavailable(format!("{error:?}"));
        let reader = self.reader().map_err(unavailable)?;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX >> 1);
        let slice = reader.slice(from, bytes, up_to, FirstBatch::Whole).map_err(|error| match error {
            ReadError::BelowStart { local_start } => SourceError::NotLocal { local_start },
            ReadError::Damaged { .. } => SourceError::Damaged(error.to_string()),
            error => SourceError::Unavailable(error.to_string()),
        })?;
        let Some(slice) = slice else {
            return Err(SourceError::Unavailable("the batch is not committed".to_owned()));
        };
        let read = reader.read(&slice).map_err(|error| SourceError::Unavailable(error.to_string()))?;
        Ok((vec![read], slice.next))
    }

    /// The first committed local record with this timestamp or a later one.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn offset_for_time(&self, from: Timestamp) -> Result<Option<(Offset, Timestamp, LeaderEpoch)>, ErrorCode> {
        let reader = self.reader()?;
        let found = reader.offset_for_time(from).map_err(|error| read_error(self, &error))?;
        Ok(found.filter(|hit| hit.offset < reader.high_watermark()).map(hit_of))
    }

    /// The first local record with the largest timestamp.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn max_timestamp(&self) -> Result<Option<(Offset, Timestamp, LeaderEpoch)>, ErrorCode> {
        let found = self.reader()?.max_timestamp().map_err(|error| read_error(self, &error))?;
        Ok(found.map(hit_of))
    }

    /// The epoch of the record at `offset`, of the current one for the end.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub fn epoch_of(&self, offset: Offset) -> Result<LeaderEpoch, ErrorCode> {
        let open = self.open()?;
        let found = open.writer.lock().epochs().epoch_of(offset);
        Ok(found.unwrap_or(self.epoch))
    }

    /// The history of leader epochs.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub fn epochs(&self) -> Result<LeaderEpochs, ErrorCode> {
        Ok(self.open()?.writer.lock().epochs().clone())
    }

    /// The segments on disk, oldest first.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub fn segments(&self) -> Result<Vec<SegmentInfo>, ErrorCode> {
        Ok(self.reader()?.segments())
    }

    /// The state of producers at `at`, as the log's snapshot file has it; `None` where there is none at this offset.
    #[must_use]
    pub fn producer_snapshot(&self, at: Offset) -> Option<Bytes> {
        let path = self.disk.root().join(self.directory()).join(format!("{:020}.snapshot", at.0));
        std::fs::read(path).ok().map(Bytes::from)
    }

    /// Bytes of the segment that holds `from`, from its batch on. `all` where that cannot be told.
    #[must_use]
    pub fn bytes_from(&self, from: Offset, all: u64) -> u64 {
        let Ok(reader) = self.reader() else { return all };
        match reader.slice(from, u32::MAX, reader.end(), FirstBatch::Whole) {
            Ok(slice) => slice.map_or(0, |slice| u64::from(slice.bytes)),
            Err(_) => all,
        }
    }

    /// A time at or before the append of the record at `offset`, as far as this process knows.
    #[must_use]
    pub fn append_time_of(&self, offset: Offset) -> Option<Timestamp> {
        self.append_times.lock().of(offset)
    }

    /// Closes the log: complete on disk, and refusing appends from now on. True where nothing is left to recover.
    #[must_use]
    pub fn close(&self, now: Timestamp) -> bool {
        // Whoever opens it now is waited for.
        let failure = self.failure.lock();
        match self.opened.get() {
            None => failure.is_none(),
            Some(open) => match open.writer.lock().close(now) {
                Ok(_) => true,
                Err(error) => {
                    warn!(partition = %self, %error, "log cannot be closed");
                    false
                }
            },
        }
    }

    /// The topic is deleted: nothing is served any more. Its directory is the caller's to remove.
    pub fn retire(&self) {
        self.is_deleted.store(true, Ordering::Release);
        if let Some(open) = self.opened.get() {
            open.reader.retire();
        }
        self.waiters.disturb();
    }
}

fn hit_of(hit: TimeHit) -> (Offset, Timestamp, LeaderEpoch) {
    (hit.offset, hit.timestamp, hit.leader_epoch)
}

/// What a client hears when a read of the local log fails.
pub(super) fn read_error(partition: &Partition, error: &ReadError) -> ErrorCode {
    match error.kind() {
        ErrorKind::OutOfRange | ErrorKind::Invalid => ErrorCode::OffsetOutOfRange,
        // The directory said once that it failed, and the range was reported when it was marked: clients try again often.
        ErrorKind::Offline | ErrorKind::Damaged => ErrorCode::KafkaStorageError,
        ErrorKind::Full | ErrorKind::NotResident => {
            warn!(%partition, %error, "read failed");
            ErrorCode::KafkaStorageError
        }
    }
}
