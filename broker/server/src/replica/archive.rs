//! A partition's log as the tier's uploader sees it.

use std::sync::Arc;

use broker_log::{DiskFiles, LogReader, SegmentBounds};
use broker_model::{Offset, Timestamp};
use bytes::Bytes;
use tiering_manifest::EpochStart;
use tiering_plan::Piece;
use tiering_tier::{ArchiveHandle, LocalBounds, LocalLog, LocalLogError};

use super::partition::Partition;
use crate::clock;

/// Bytes of a piece: what the planner cuts objects from.
const PIECE_BYTES: u64 = 1 << 20;

/// The local log of a partition, for its archive.
#[derive(Debug)]
pub struct ShippedLog(pub Arc<Partition>);

impl ShippedLog {
    fn reader(&self) -> Result<&LogReader<DiskFiles>, LocalLogError> {
        self.0.reader().map_err(|error| LocalLogError(format!("{} cannot be opened: {error:?}", self.0)))
    }

    fn segments(&self) -> Vec<SegmentBounds> {
        self.0.reader().map(LogReader::segment_bounds).unwrap_or_default()
    }
}

fn failed(error: broker_log::ReadError) -> LocalLogError {
    LocalLogError(error.to_string())
}

impl Partition {
    /// From now on this archive is told when the log moves.
    pub fn is_archived_by(&self, archive: ArchiveHandle) {
        self.append_times.lock().tells(archive);
    }

    /// Where a log that nobody opened begins and ends, `None` where only opening it can tell.
    fn unopened_ends(&self) -> Option<(Offset, Offset)> {
        let hints = self.disk.hints(&self.topic, self.id, clock::now());
        // A log that was closed was complete on disk.
        if hints.clean && hints.recovery_point > Offset::ZERO {
            return Some((hints.log_start, hints.recovery_point));
        }
        let is_new = !self.disk.root().join(self.directory()).exists();
        is_new.then_some((Offset::ZERO, Offset::ZERO))
    }
}

impl LocalLog for ShippedLog {
    fn ready(&self) -> Result<(), LocalLogError> {
        // The log of a deleted topic looks empty until its archive is taken away.
        if self.0.is_served() { self.reader().map(|_| ()) } else { Ok(()) }
    }

    fn bounds_at_rest(&self) -> Option<LocalBounds> {
        if !self.0.is_served() {
            return None;
        }
        if self.0.is_open() {
            return Some(self.bounds());
        }
        let (log_start, end) = self.0.unopened_ends()?;
        Some(LocalBounds { log_start, local_start: end, stable_end: end, closed_end: end, end })
    }

    fn bounds(&self) -> LocalBounds {
        let Ok(ends) = self.0.open_ends() else {
            // Nothing may be shipped of a log that cannot be read: it looks empty from the start on.
            let zero = Offset::ZERO;
            return LocalBounds { log_start: zero, local_start: zero, stable_end: zero, closed_end: zero, end: zero };
        };
        let closed = self.segments().into_iter().filter(|segment| segment.closed).map(|segment| segment.end).max();
        LocalBounds {
            log_start: ends.log_start,
            local_start: ends.local_start,
            stable_end: ends.high_watermark,
            closed_end: closed.unwrap_or(ends.local_start).min(ends.high_watermark),
            end: ends.end,
        }
    }

    fn pieces(&self, from: Offset, to: Offset, bytes_max: u64) -> Result<Vec<Piece>, LocalLogError> {
        let (mut pieces, mut total) = (Vec::<Piece>::new(), 0u64);
        let mut open: Option<Piece> = None;
        for found in self.reader()?.heads(from, to).map_err(failed)? {
            let head = found.map_err(failed)?.head;
            let bytes = head.total_bytes() as u64;
            let is_first = total == 0;
            if !is_first && total + bytes > bytes_max {
                break;
            }
            total += bytes;
            let piece = open.get_or_insert(Piece { end: head.next_offset(), bytes: 0 });
            (piece.end, piece.bytes) = (head.next_offset(), piece.bytes + bytes);
            if piece.bytes >= PIECE_BYTES {
                pieces.extend(open.take());
            }
        }
        pieces.extend(open);
        Ok(pieces)
    }

    fn map(&self, from: Offset, to: Offset) -> Result<Vec<Bytes>, LocalLogError> {
        self.reader()?.map(from, to).map_err(failed)
    }

    fn epochs(&self) -> Vec<EpochStart> {
        let epochs = self.0.epochs();
        let entries = epochs.iter().flat_map(|epochs| epochs.entries());
        entries.map(|entry| EpochStart { epoch: entry.epoch, start: entry.start }).collect()
    }

    fn producer_snapshot(&self, at: Offset) -> Bytes {
        self.0.producer_snapshot(at).unwrap_or_default()
    }

    fn append_time(&self, end: Offset) -> Timestamp {
        let segments = self.segments();
        let segment = segments.iter().find(|segment| segment.base < end && end <= segment.end);
        segment.map_or(Timestamp::NONE, |segment| segment.last_append)
    }

    fn unshipped(&self, from: Offset) -> (u64, Option<Timestamp>) {
        let (mut bytes, mut oldest) = (0, None);
        for segment in self.segments().into_iter().filter(|segment| segment.end > from) {
            bytes += if segment.base >= from { segment.bytes } else { self.0.bytes_from(from, segment.bytes) };
            oldest = oldest.or(Some(segment.last_append));
        }
        (bytes, self.0.append_time_of(from).or(oldest).filter(|_| bytes > 0))
    }
}
