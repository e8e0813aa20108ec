//! The in-memory reference of both sources: topics as lists of batches, with a border between cold and hot.
//!
//! It is what the contract says and nothing more: no indexes, no cache, [`HotSource::seek`] by looking at heads. Faults can
//! be put at an offset, so that tests see how a reader takes them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use broker_model::{Offset, PartitionIndex, TopicId, TopicPartition};
use broker_records::BatchHead;
use bytes::Bytes;

use crate::source::{Aborted, Bounds, ColdBounds, ColdSource, HotSource, Slice, SourceError, TimeWindow, TopicInfo};

/// Topics in memory. One value serves as hot and as cold source.
#[derive(Default)]
pub struct MemorySource {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    topics: BTreeMap<String, TopicInfo>,
    partitions: BTreeMap<TopicPartition, Partition>,
    faults: BTreeMap<(TopicPartition, Offset), SourceError>,
    cold_reads: u64,
    hot_reads: u64,
}

#[derive(Default)]
struct Partition {
    batches: Vec<(BatchHead, Bytes)>,
    aborted: Vec<Aborted>,
    log_start: Offset,
    local_start: Offset,
    tiered_end: Offset,
    end: Offset,
}

impl MemorySource {
    /// No topics.
    #[must_use]
    pub fn new() -> MemorySource {
        MemorySource::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, place: TopicPartition, change: impl FnOnce(&mut Partition) -> T) -> T {
        change(self.lock().partitions.entry(place).or_default())
    }

    /// Makes a topic, or replaces it by an empty one of another id.
    pub fn create(&self, name: &str, id: TopicId, partitions: i32) {
        let mut inner = self.lock();
        inner.topics.insert(name.to_owned(), TopicInfo { name: name.to_owned(), id, partitions });
        for partition in (0..partitions).map(PartitionIndex) {
            inner.partitions.insert(TopicPartition { topic: id, partition }, Partition::default());
        }
    }

    /// Appends a batch; it may leave a gap, as compaction does. Its bytes need not be sound beyond the head.
    pub fn append(&self, place: TopicPartition, head: BatchHead, batch: Bytes) {
        self.with(place, |partition| {
            partition.end = head.next_offset();
            partition.batches.push((head, batch));
        });
    }

    /// Says that a transaction was aborted.
    pub fn abort(&self, place: TopicPartition, aborted: Aborted) {
        self.with(place, |partition| partition.aborted.push(aborted));
    }

    /// Ships everything below `tiered_end` and frees the disk below `local_start`.
    pub fn tier(&self, place: TopicPartition, tiered_end: Offset, local_start: Offset) {
        self.with(place, |partition| {
            partition.tiered_end = tiered_end;
            partition.local_start = local_start;
        });
    }

    /// Deletes everything below.
    pub fn delete_below(&self, place: TopicPartition, log_start: Offset) {
        self.with(place, |partition| {
            partition.log_start = log_start;
            partition.local_start = partition.local_start.max(log_start);
            partition.end = partition.end.max(log_start);
        });
    }

    /// Every read that begins at this offset fails, until [`MemorySource::heal`].
    pub fn fail_at(&self, place: TopicPartition, offset: Offset, error: SourceError) {
        self.lock().faults.insert((place, offset), error);
    }

    /// Removes all faults.
    pub fn heal(&self) {
        self.lock().faults.clear();
    }

    /// How many reads the cold and the hot part answered.
    #[must_use]
    pub fn reads(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.cold_reads, inner.hot_reads)
    }
}

impl Inner {
    fn partition(&self, place: TopicPartition) -> Result<&Partition, SourceError> {
        self.partitions.get(&place).ok_or(SourceError::Unknown)
    }

    fn read(&self, place: TopicPartition, from: Offset, up_to: Offset, bytes_max: usize) -> Result<Slice, SourceError> {
        if let Some(error) = self.faults.get(&(place, from)) {
            return Err(error.clone());
        }
        let partition = self.partition(place)?;
        if from < partition.log_start {
            return Err(SourceError::Deleted { log_start: partition.log_start });
        }
        let mut slice = Slice { batches: Vec::new(), next: from, aborted: partition.aborted.clone() };
        let mut bytes = 0;
        for (head, batch) in &partition.batches {
            if head.last_offset() < from {
                continue;
            }
            if head.base_offset >= up_to || (bytes > 0 && bytes + batch.len() > bytes_max) {
                break;
            }
            bytes += batch.len();
            slice.batches.push(batch.clone());
            slice.next = head.next_offset();
        }
        if slice.batches.is_empty() {
            slice.next = up_to;
        }
        Ok(slice)
    }

    fn seek(&self, place: TopicPartition, from: Offset, window: TimeWindow) -> Result<Offset, SourceError> {
        let partition = self.partition(place)?;
        let found = partition
            .batches
            .iter()
            .find(|(head, _)| head.last_offset() >= from && head.max_timestamp >= window.from)
            .map_or(partition.end, |(head, _)| head.base_offset);
        Ok(found.max(from))
    }
}

#[async_trait]
impl HotSource for MemorySource {
    fn topics(&self) -> Vec<TopicInfo> {
        self.lock().topics.values().cloned().collect()
    }

    fn topic(&self, name: &str) -> Option<TopicInfo> {
        self.lock().topics.get(name).cloned()
    }

    async fn bounds(&self, place: TopicPartition) -> Result<Bounds, SourceError> {
        let inner = self.lock();

        let partition = inner.partition(place)?;
        let Partition { log_start, local_start, end, .. } = *partition;
        Ok(Bounds { log_start, local_start: local_start.max(log_start), high_watermark: end })
    }

    async fn read_hot(
        &self,
        place: TopicPartition,
        from: Offset,
        up_to: Offset,
        bytes_max: usize,
    ) -> Result<Slice, SourceError> {
        let mut inner = self.lock();
        inner.hot_reads += 1;
        let partition = inner.partition(place)?;
        if from < partition.log_start {
            return Err(SourceError::Deleted { log_start: partition.log_start });
        }
        if from < partition.local_start {
            return Err(SourceError::NotLocal { local_start: partition.local_start });
        }
        inner.read(place, from, up_to, bytes_max)
    }

    async fn seek(&self, place: TopicPartition, from: Offset, window: TimeWindow) -> Result<Offset, SourceError> {
        self.lock().seek(place, from, window)
    }
}

#[async_trait]
impl ColdSource for MemorySource {
    async fn cold_bounds(&self, place: TopicPartition) -> Result<Option<ColdBounds>, SourceError> {
        let inner = self.lock();
        let partition = inner.partition(place)?;
        let bounds = ColdBounds { start: partition.log_start, end: partition.tiered_end };
        Ok((bounds.end > Offset::ZERO).then_some(bounds))
    }

    async fn read_cold(&self, place: TopicPartition, from: Offset, bytes_max: usize) -> Result<Slice, SourceError> {
        let mut inner = self.lock();
        inner.cold_reads += 1;
        let end = inner.partition(place)?.tiered_end;
        if from >= end {
            return Err(SourceError::Damaged(format!("offset {from} is not in the bucket, which ends at {end}")));
        }
        inner.read(place, from, end, bytes_max)
    }

    async fn seek_cold(&self, place: TopicPartition, from: Offset, window: TimeWindow) -> Result<Offset, SourceError> {
        self.lock().seek(place, from, window)
    }
}
