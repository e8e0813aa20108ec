//! What leaves the local disk: by `retention.*` where a topic is not tiered, by `local.retention.*` where it is.
//!
//! TIER-2: of a tiered topic a segment goes only when the root that covers it is durable in the bucket. The decision is
//! made without IO in `tiering-plan`; here are its facts, and the deletion.

use broker_model::{ErrorCode, Offset, Timestamp};
use tiering_plan::{LocalFacts, LocalSegment, local_start};
use tracing::{info, warn};

use super::open::Open;
use super::partition::Partition;

impl Partition {
    /// Applies retention to the local log. A partition that was never opened by this process is opened for it.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub fn retain(&self, now: Timestamp) -> Result<(), ErrorCode> {
        let config = self.config();
        if !config.cleanup.delete {
            return Ok(());
        }
        let open = self.open()?;
        if let Some(start) = self.cold.tiered_start(self.id).filter(|_| config.tiered) {
            self.advance_log_start(start)?;
        }
        let high_watermark = open.reader.high_watermark();
        let (durable_end, retention_ms, retention_bytes) = if config.tiered {
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
        if config.tiered && !self.cold.covers(self.id, start, log_start) {
            return Ok(());
        }
        self.delete_below(open, (start.min(high_watermark), now), config.tiered);
        Ok(())
    }

    fn delete_below(&self, open: &Open, (start, now): (Offset, Timestamp), is_tiered: bool) {
        let mut log = open.writer.lock();
        let deleted = (|| {
            if start >= open.reader.end() {
                log.roll(now)?;
            }
            if !is_tiered {
                log.advance_log_start(start)?;
            }
            log.delete_segments_below(start)
        })();
        match deleted {
            Ok(_) => info!(partition = %self, %start, "local segments deleted"),
            Err(error) => warn!(partition = %self, %error, "local segments cannot be deleted"),
        }
    }

    /// Forgets producers that were silent too long, and closes files that nobody needs open.
    pub fn tidy(&self, now: Timestamp) {
        if self.is_open()
            && let Ok(open) = self.open()
        {
            open.writer.lock().expire_producers(now);
            open.reader.release_idle();
        }
    }

    /// The partition begins at `start` now: retention in the bucket, or a DeleteRecords, moved it.
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
        Ok(())
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
