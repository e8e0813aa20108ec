//! Offsets by time (ListOffsets): the first record at or after a time, and the record with the largest timestamp.
//!
//! Exact to the record: time index and batch heads find the one batch, which is then decoded. Covers the local log;
//! what is in the tier has an index of its own.

use broker_model::limits::DECOMPRESSED_BATCH_BYTES_MAX;
use broker_model::{LeaderEpoch, Offset, Timestamp};
use broker_records::decode;

use crate::error::ReadError;
use crate::files::Files;
use crate::index::TimeEntry;
use crate::reader::LogReader;
use crate::segment::Segment;
use crate::walk::{Placed, Step};

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeHit {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// The epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
}

impl<F: Files> LogReader<F> {
    /// The first local record whose timestamp is not before `at`, and whose offset is not before the log start. The
    /// caller compares it with the high watermark.
    ///
    /// # Errors
    /// `Damaged` where damage makes the answer unsure.
    pub fn offset_for_time(&self, at: Timestamp) -> Result<Option<TimeHit>, ReadError> {
        self.check_online()?;
        let segments = self.shared.segments.read().clone();
        for segment in segments {
            if segment.max_time()?.is_none_or(|max| max.timestamp < at) {
                continue;
            }
            if let Some(hit) = self.hit_in(&segment, at)? {
                return Ok(Some(hit));
            }
        }
        Ok(None)
    }

    /// The first local record with the largest timestamp.
    ///
    /// # Errors
    /// `Damaged` where its batch is damaged.
    pub fn max_timestamp(&self) -> Result<Option<TimeHit>, ReadError> {
        self.check_online()?;
        let segments = self.shared.segments.read().clone();
        let mut best = None;
        for segment in segments {
            if let Some(max) = segment.max_time()?
                && best.as_ref().is_none_or(|(_, known): &(_, TimeEntry)| known.timestamp < max.timestamp)
            {
                best = Some((segment, max));
            }
        }
        let Some((segment, max)) = best else { return Ok(None) };
        let placed = segment.locate_batch(max.offset)?;
        record_at(&segment, &placed, max.timestamp, Offset::ZERO)
    }

    fn hit_in(&self, segment: &Segment<F>, at: Timestamp) -> Result<Option<TimeHit>, ReadError> {
        let log_start = self.log_start();
        let length = segment.max_time()?.map_or(at.0, |max| max.timestamp.0);
        let share = if length > at.0 { 0.5 } else { 1.0 };
        let before = segment.find_entry(share, |entry: &TimeEntry| entry.timestamp < at)?;
        // Up to and with an entry's offset all timestamps are smaller. The one before the last is taken: then a single
        // entry that is wrong, whichever it is, only makes the walk longer.
        let start = match (before.previous, before.last) {
            (Some(previous), Some(last)) if previous.timestamp <= last.timestamp && previous.offset <= last.offset => {
                let inside = (segment.base..segment.state().end).contains(&previous.offset);
                if inside { segment.locate(previous.offset)?.position } else { 0 }
            }
            _ => 0,
        };
        let mut walk = segment.walk(start)?;
        loop {
            match walk.step()? {
                Step::Batch(placed) if placed.head.max_timestamp < at || placed.head.last_offset() < log_start => (),
                Step::Batch(placed) => {
                    if let Some(hit) = record_at(segment, &placed, at, log_start)? {
                        return Ok(Some(hit));
                    }
                }
                Step::Damage(damage) => return Err(ReadError::Damaged { from: damage.from, to: damage.to }),
                Step::Broken(gap) => {
                    let whole = (segment.base, segment.state().end);
                    let marked = segment.mark_broken(gap)?.map(|damage| (damage.from, damage.to));
                    let (from, to) = marked.unwrap_or(whole);
                    return Err(ReadError::Damaged { from, to });
                }
                Step::End => return Ok(None),
            }
        }
    }
}

/// The first record of a batch that is not before `at` and not below `log_start`.
fn record_at<F: Files>(
    segment: &Segment<F>,
    placed: &Placed,
    at: Timestamp,
    log_start: Offset,
) -> Result<Option<TimeHit>, ReadError> {
    let head = &placed.head;
    let damaged = || ReadError::Damaged { from: head.base_offset, to: head.next_offset() };
    let mut bytes = vec![0; head.total_bytes()];
    segment.files().read(&*segment.log()?, placed.position, &mut bytes)?;
    let batch = decode(&bytes, DECOMPRESSED_BATCH_BYTES_MAX).map_err(|_| damaged())?;
    for record in batch.records() {
        let record = record.map_err(|_| damaged())?;
        if record.timestamp >= at && record.offset >= log_start {
            let (offset, timestamp) = (record.offset, record.timestamp);
            return Ok(Some(TimeHit { offset, timestamp, leader_epoch: head.leader_epoch }));
        }
    }
    Ok(None)
}
