//! The tier as the source of exports.

use async_trait::async_trait;
use broker_model::{Offset, TopicPartition};
use broker_records::BatchHead;
use tiering_tier::{ColdError, ColdErrorKind, TierReader};

use crate::source::{Aborted, ColdBounds, RangeSlice, RangeSource, SourceError};

#[async_trait]
impl RangeSource for TierReader {
    async fn bounds(&self, partition: TopicPartition) -> Result<Option<ColdBounds>, SourceError> {
        match TierReader::bounds(self, &partition).await {
            Ok(bounds) => Ok(Some(ColdBounds { start: bounds.log_start, end: bounds.end })),
            // Nothing was shipped, or the root was not read yet: nothing is due.
            Err(error) if error.kind() == ColdErrorKind::Unknown => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    async fn read(&self, partition: TopicPartition, from: Offset, bytes_max: usize) -> Result<RangeSlice, SourceError> {
        let read = TierReader::read(self, &partition, from, bytes_max).await.map_err(|error| failed(&error))?;
        let mut slice = RangeSlice { batches: read.batches, next: read.next, aborted: Vec::new() };
        let transactional = |batch| BatchHead::parse(batch).is_ok_and(|head| head.is_transactional());
        if slice.batches.iter().any(|batch| transactional(batch)) {
            let aborted = self.aborted(&partition, from, slice.next).await.map_err(|error| failed(&error))?;
            let known = aborted.iter();
            slice.aborted =
                known.map(|txn| Aborted { producer: txn.producer, first: txn.first, last: txn.last }).collect();
        }
        Ok(slice)
    }
}

fn failed(error: &ColdError) -> SourceError {
    match error {
        ColdError::BelowStart { log_start } => SourceError::Deleted { log_start: *log_start },
        _ if error.kind() == ColdErrorKind::Lost => SourceError::Damaged(error.to_string()),
        // Also an end that moved back with an older root: the next run reads it again.
        _ => SourceError::Unavailable(error.to_string()),
    }
}
