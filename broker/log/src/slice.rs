//! Finding the stretch of a segment that answers a fetch.
//!
//! A slice begins with the batch that contains the offset and ends on a batch border: before damage, at the bound of
//! what may be seen, or where the bytes end that were asked for. Heads are read, records are not.

use std::sync::Arc;

use broker_model::Offset;

use crate::error::ReadError;
use crate::files::Files;
use crate::reader::{FirstBatch, LogReader, LogSlice};
use crate::segment::Segment;
use crate::walk::Placed;

impl<F: Files> LogReader<F> {
    /// The bytes that answer a fetch at `from`: whole batches below `up_to` (the high watermark, or the last stable
    /// offset), of one segment, at most `bytes_max` bytes unless `first` says that one batch is to come anyway.
    /// `None` where there is nothing (yet).
    ///
    /// # Errors
    /// `BelowStart` or `BeyondEnd` for an offset that is not here, `Damaged` where its batch is damaged.
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
        if from < self.local_start() {
            return Err(ReadError::BelowStart { local_start: self.local_start() });
        }
        if from >= up_to.min(end) {
            return Ok(None);
        }
        let segment = self.shared.segment_of(from)?;
        let start = segment.locate(from)?;
        let (limit, limit_offset) = limit(&segment, &start, up_to)?;
        let target = start.position + u64::from(bytes_max);
        let (mut stop, mut next) =
            if limit <= target { (limit, limit_offset) } else { segment.border(&start, target)? };
        if limit <= start.position {
            return Ok(None);
        }
        if stop <= start.position {
            if first == FirstBatch::OnlyIfItFits {
                return Ok(None);
            }
            (stop, next) = (start.end(), start.head.next_offset());
        }
        let bytes = u32::try_from(stop - start.position).expect("a segment is smaller than 4 GiB");
        let file = segment.log()?;
        Ok(Some(LogSlice { file, position: start.position, bytes, base: start.head.base_offset, next }))
    }
}

/// Up to where the segment may be read from `start` on: the position, and the offset there.
pub(crate) fn limit<F: Files>(
    segment: &Arc<Segment<F>>,
    start: &Placed,
    up_to: Offset,
) -> Result<(u64, Offset), ReadError> {
    let state = segment.state();
    let damage = segment.damage().into_iter().find(|damage| damage.position >= start.end());
    let end = match damage {
        Some(damage) => (damage.position, damage.from),
        None => (state.bytes, state.end),
    };
    if up_to >= end.1 {
        return Ok(end);
    }
    let last = segment.locate(up_to)?;
    Ok((last.position, last.head.base_offset))
}
