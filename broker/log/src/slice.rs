//! Finding the stretch of a segment that answers a fetch.
//!
//! A slice begins with the batch that contains the offset and ends on a batch border: before damage, at the bound of
//! what may be seen, or where the bytes end that were asked for. Heads are read, records are not; at the end of the log,
//! and where a reader goes on after its last slice, not even heads.

use std::sync::Arc;

use broker_model::Offset;

use crate::error::ReadError;
use crate::files::Files;
use crate::reader::{FirstBatch, LogReader, LogSlice};
use crate::segment::{Segment, Spot};

impl<F: Files> LogReader<F> {
    /// The bytes that answer a fetch at `from`: whole batches below `up_to` (the high watermark, or the last stable
    /// offset), of one segment, at most `bytes_max` bytes unless `first` says that one batch is to come anyway.
    /// `None` where there is nothing (yet).
    ///
    /// # Errors
    /// `BelowStart` or `BeyondEnd` for an offset that is not here, `Damaged` where its batch is damaged; of the kind
    /// `NotResident` where heads or indexes are not in memory and the thread
    /// [must not wait](crate::without_waiting) for them.
    pub fn slice(
        &self,
        from: Offset,
        bytes_max: u32,
        up_to: Offset,
        first: FirstBatch,
    ) -> Result<Option<LogSlice<F::Handle>>, ReadError> {
        self.check_online()?;
        let end = self.end();
        if from > end {
            return Err(ReadError::BeyondEnd { end });
        }
        let segment = self.shared.segment_of(from)?;
        if from >= up_to.min(end) {
            return Ok(None);
        }
        let slice = slice_of(&segment, (from, up_to), bytes_max, first);
        let Some((start, stop)) = slice.map_err(|error| self.of_gone(&segment, error))? else { return Ok(None) };
        let bytes = u32::try_from(stop.position - start.position).expect("a segment is smaller than 4 GiB");
        let file = self.open_log(&segment)?;
        segment.remember(stop);
        Ok(Some(LogSlice { file, position: start.position, bytes, base: start.base, next: stop.base }))
    }

    /// A read that failed because retention took the segment meanwhile failed for that.
    fn of_gone(&self, segment: &Segment<F>, error: ReadError) -> ReadError {
        if segment.is_gone() { ReadError::BelowStart { local_start: self.local_start() } } else { error }
    }
}

/// Where a slice begins and where it ends; `None` for nothing.
fn slice_of<F: Files>(
    segment: &Arc<Segment<F>>,
    (from, up_to): (Offset, Offset),
    bytes_max: u32,
    first: FirstBatch,
) -> Result<Option<(Spot, Spot)>, ReadError> {
    let start = segment.locate(from)?;
    let (position, base) = limit(segment, start, up_to)?;
    let limit = Spot { base, position };
    if limit.position <= start.position {
        return Ok(None);
    }
    let target = start.position + u64::from(bytes_max);
    let stop = if limit.position <= target { limit } else { segment.border(start, target)? };
    if stop.position > start.position {
        return Ok(Some((start, stop)));
    }
    if first == FirstBatch::OnlyIfItFits {
        return Ok(None);
    }
    let batch = segment.locate_batch(start.base)?;
    Ok(Some((start, Spot { base: batch.head.next_offset(), position: batch.end() })))
}

/// Up to where the segment may be read from `start` on: the position, and the offset there.
pub(crate) fn limit<F: Files>(
    segment: &Arc<Segment<F>>,
    start: Spot,
    up_to: Offset,
) -> Result<(u64, Offset), ReadError> {
    let end = segment.limit(start.position);
    if up_to >= end.1 {
        return Ok(end);
    }
    let last = segment.locate(up_to)?;
    Ok((last.position, last.base))
}
