//! The in-memory reference of [`RangeSource`]: batches in lists, with faults for tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use broker_model::{Offset, TopicPartition};
use broker_records::BatchHead;
use bytes::Bytes;

use crate::source::{Aborted, ColdBounds, RangeSlice, RangeSource, SourceError};

/// Partitions in memory.
#[derive(Default)]
pub struct MemoryRanges {
    partitions: Mutex<BTreeMap<TopicPartition, Partition>>,
}

#[derive(Default)]
struct Partition {
    start: Offset,
    end: Offset,
    batches: Vec<(BatchHead, Bytes)>,
    aborted: Vec<Aborted>,
    fault: Option<(Offset, SourceError)>,
}

impl MemoryRanges {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> MemoryRanges {
        MemoryRanges::default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Partition>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ships a batch.
    pub fn append(&self, place: TopicPartition, head: BatchHead, batch: Bytes) {
        let mut partitions = self.lock();
        let partition = partitions.entry(place).or_default();
        partition.end = head.next_offset();
        partition.batches.push((head, batch));
    }

    /// Says that a transaction was aborted.
    pub fn abort(&self, place: TopicPartition, aborted: Aborted) {
        self.lock().entry(place).or_default().aborted.push(aborted);
    }

    /// Deletes everything below.
    pub fn delete_below(&self, place: TopicPartition, start: Offset) {
        self.lock().entry(place).or_default().start = start;
    }

    /// Reads at or beyond this offset fail; `None` heals.
    pub fn fail_from(&self, place: TopicPartition, fault: Option<(Offset, SourceError)>) {
        self.lock().entry(place).or_default().fault = fault;
    }
}

#[async_trait]
impl RangeSource for MemoryRanges {
    async fn bounds(&self, place: TopicPartition) -> Result<Option<ColdBounds>, SourceError> {
        let partitions = self.lock();
        let bounds = partitions.get(&place).map(|known| ColdBounds { start: known.start, end: known.end });
        Ok(bounds.filter(|bounds| bounds.end > bounds.start))
    }

    async fn read(&self, place: TopicPartition, from: Offset, bytes_max: usize) -> Result<RangeSlice, SourceError> {
        let partitions = self.lock();
        let partition = partitions.get(&place).ok_or(SourceError::Unknown)?;
        if let Some((_, error)) = partition.fault.as_ref().filter(|(at, _)| from >= *at) {
            return Err(error.clone());
        }
        if from < partition.start {
            return Err(SourceError::Deleted { log_start: partition.start });
        }
        if from >= partition.end {
            return Err(SourceError::Damaged(format!("offset {from} is not in the bucket")));
        }
        let mut slice = RangeSlice { batches: Vec::new(), next: partition.end, aborted: partition.aborted.clone() };
        let mut bytes = 0;
        for (head, batch) in partition.batches.iter().filter(|(head, _)| head.last_offset() >= from) {
            if bytes > 0 && bytes + batch.len() > bytes_max {
                slice.next = head.base_offset;
                break;
            }
            bytes += batch.len();
            slice.batches.push(batch.clone());
        }
        Ok(slice)
    }
}
