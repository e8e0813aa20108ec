//! What leaves the local disk: by `retention.*` where a topic is not tiered, by `local.retention.*` where it is.
//!
//! TIER-2: of a tiered topic a segment goes only when the root that covers it is durable in the bucket. The decision is
//! made without IO in `tiering-plan`; here are its facts, and the deletion.
//!
//! A log that nobody used is opened only when its files say that something of it may have to go.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use broker_model::config::TopicConfig;
use broker_model::{ErrorCode, Offset, Timestamp};
use tiering_plan::{LocalFacts, LocalSegment, local_start};
use tracing::{info, warn};

use super::open::Open;
use super::partition::Partition;

impl Partition {
    /// Applies retention to the local log. A log that is not open is opened for it only where something may have to go.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub fn retain(&self, now: Timestamp) -> Result<(), ErrorCode> {
        let config = self.config();
        if !config.cleanup.delete {
            return Ok(());
        }
        if !self.is_open() && (!self.is_served() || !self.may_be_due(&config, now)) {
            return Ok(());
        }
        let open = self.open()?;
        if let Some(start) = self.cold.tiered_start(self.id).filter(|_| config.tiered) {
            self.advance_log_start(start)?;
        }
        let high_watermark = open.reader.high_watermark();
        // What is not to be shipped goes as if there were no bucket, and the start of what is there moves with it.
        let ships = config.tiered && !config.copy_disabled;
        let (durable_end, retention_ms, retention_bytes) = if ships {
            let durable = self.tiered_end().unwrap_or(Offset::ZERO);
            (durable, config.local_retention_ms, config.local_retention_bytes)
        } else {
            (high_watermark, config.retention_ms, config.retention_bytes)
        };
        let mut segments = segments(open);
        let retention_bytes = retention_bytes.map(|bytes| u64::try_from(bytes).unwrap_or(0));
        let log_start = open.reader.log_start();
        let facts = |segments| LocalFacts { segments, durable_end, log_start, retention_ms, retention_bytes };
        if let Some(active) = segments.last_mut() {
            // An active segment that would go if it were closed is closed first.
            active.closed = active.bytes > 0;
        }
        let Some(start) = local_start(&facts(&segments), now) else { return Ok(()) };
        if ships && !self.cold.covers(self.id, start, log_start) {
            return Ok(());
        }
        self.delete_below(open, (start.min(high_watermark), now), ships);
        Ok(())
    }

    /// Whether something of a log that is not open may have to go, from what its files say. True where they cannot tell.
    fn may_be_due(&self, config: &TopicConfig, now: Timestamp) -> bool {
        let Some(found) = Found::of(&self.disk.root().join(self.directory())) else { return false };
        let ships = config.tiered && !config.copy_disabled;
        let (retention_ms, retention_bytes) = if ships {
            (config.local_retention_ms, config.local_retention_bytes)
        } else {
            (config.retention_ms, config.retention_bytes)
        };
        if ships && self.tiered_end().is_none_or(|end| end <= found.oldest_base) {
            return false;
        }
        let by_size = retention_bytes.is_some_and(|bytes| found.bytes > u64::try_from(bytes).unwrap_or(0));
        by_size || retention_ms.is_some_and(|ms| found.oldest_time().is_none_or(|time| time.plus_ms(ms) <= now))
    }

    fn delete_below(&self, open: &Open, (start, now): (Offset, Timestamp), ships: bool) {
        let mut log = open.writer.lock();
        let deleted = (|| {
            if start >= open.reader.end() {
                log.roll(now)?;
            }
            if !ships {
                log.advance_log_start(start)?;
            }
            log.delete_segments_below(start)
        })();
        match deleted {
            Ok(_) => {
                info!(partition = %self, %start, "local segments deleted");
                self.append_times.lock().tell();
            }
            Err(error) => warn!(partition = %self, %error, "local segments cannot be deleted"),
        }
    }

    /// Forgets producers that were silent too long, and lets go of files that nobody needs, open or at all.
    pub fn tidy(&self, now: Timestamp) {
        if let Some(open) = self.opened() {
            open.writer.lock().expire_producers(now);
            open.reader.release_idle();
            self.remove_expired_files(open, now);
        }
    }

    /// Syncs what a roll left over, and removes files that were deleted `file.delete.delay.ms` ago. A log at rest costs a look.
    pub fn keep_up(self: &Arc<Self>, now: Timestamp) {
        let Some(open) = self.opened() else { return };
        let (flushed_end, end) = (open.reader.flushed_end(), open.reader.end());
        let is_left_over = |segment: &broker_log::SegmentBounds| segment.closed && segment.end > flushed_end;
        if flushed_end < end && open.reader.segment_bounds().iter().any(is_left_over) {
            self.ask_for_sync();
        }
        self.remove_expired_files(open, now);
    }

    fn remove_expired_files(&self, open: &Open, now: Timestamp) {
        if let Err(error) = open.reader.remove_expired_files(now) {
            warn!(partition = %self, %error, "files of deleted segments cannot be removed, will try again");
        }
    }

    /// Deletes what lies before an offset; -1 stands for the high watermark. Gives the offset at which the partition
    /// begins now at the latest. It is seen at once, but lasts only when [`Disk::record`](super::Disk::record) or the
    /// archive says so too. Waits for the disk.
    ///
    /// # Errors
    /// As Kafka: POLICY_VIOLATION where `cleanup.policy` only compacts, OFFSET_OUT_OF_RANGE beyond the high watermark,
    /// KAFKA_STORAGE_ERROR where the log cannot be used.
    pub fn delete_records_before(&self, offset: i64) -> Result<Offset, ErrorCode> {
        const HIGH_WATERMARK: i64 = -1;
        let ends = self.open_ends()?;
        let cleanup = self.config().cleanup;
        if cleanup.compact && !cleanup.delete {
            return Err(ErrorCode::PolicyViolation);
        }
        let start = if offset == HIGH_WATERMARK { ends.high_watermark } else { Offset(offset) };
        if start < Offset::ZERO || start > ends.high_watermark {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        let open = self.open()?;
        if start > open.reader.log_start()
            && let Err(error) = open.writer.lock().advance_log_start(start)
        {
            warn!(partition = %self, %error, "log start cannot be advanced");
            return Err(ErrorCode::KafkaStorageError);
        }
        self.append_times.lock().tell();
        Ok(start)
    }

    /// Bytes of the local log; of one that is not open, those of its files.
    #[must_use]
    pub fn local_bytes(&self) -> u64 {
        match self.opened() {
            Some(open) => open.reader.size_bytes(),
            None => Found::of(&self.disk.root().join(self.directory())).map_or(0, |found| found.bytes),
        }
    }

    /// The partition begins at `start` now: retention in the bucket moved it.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub fn advance_log_start(&self, start: Offset) -> Result<(), ErrorCode> {
        let open = self.open()?;
        if start > open.reader.log_start()
            && let Err(error) = open.writer.lock().advance_log_start(start.min(open.reader.high_watermark()))
        {
            warn!(partition = %self, %error, "log start cannot be advanced");
        }
        self.append_times.lock().tell();
        Ok(())
    }
}

/// What the files of a log say of it, without opening it.
struct Found {
    oldest: PathBuf,
    oldest_base: Offset,
    bytes: u64,
}

impl Found {
    /// `None` where there are no records.
    fn of(directory: &Path) -> Option<Found> {
        let (mut oldest, mut bytes) = (None, 0);
        for entry in fs::read_dir(directory).ok()?.flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|kind| kind != "log") {
                continue;
            }
            bytes += entry.metadata().map_or(0, |file| file.len());
            let base = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).map(Offset);
            oldest = oldest.into_iter().chain(base.zip(Some(path))).min();
        }
        let (oldest_base, oldest) = oldest.filter(|_| bytes > 0)?;
        Some(Found { oldest, oldest_base, bytes })
    }

    /// The time from which the oldest segment's age counts: its largest timestamp, or when it was written, whichever is
    /// earlier. `None` where that cannot be told.
    fn oldest_time(&self) -> Option<Timestamp> {
        const ENTRY_BYTES: i64 = 12;
        let written = fs::metadata(&self.oldest).ok()?.modified().ok()?;
        let written = i64::try_from(written.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()?;
        // The last entry of a closed time index has the segment's largest timestamp.
        let mut index = fs::File::open(self.oldest.with_extension("timeindex")).ok()?;
        index.seek(SeekFrom::End(-ENTRY_BYTES)).ok()?;
        let mut timestamp = [0; 8];
        index.read_exact(&mut timestamp).ok()?;
        Some(Timestamp(i64::from_be_bytes(timestamp).min(written)))
    }
}

fn segments(open: &Open) -> Vec<LocalSegment> {
    let info = |segment: broker_log::SegmentInfo| LocalSegment {
        end: segment.end,
        bytes: segment.bytes,
        max_timestamp: segment.max_timestamp,
        append_time: segment.last_append,
        closed: segment.closed,
    };
    open.reader.segments().into_iter().map(info).collect()
}
