//! What only the bucket holds of a partition.
//!
//! The seam is small: the server's tier wiring implements [`ColdReader`]. Where a topic is not tiered, nothing is cold.

use std::ops::Range;

use async_trait::async_trait;
use broker_model::{ErrorCode, LeaderEpoch, Offset, Timestamp, TopicPartition};
use broker_partition::EpochStart;
use bytes::Bytes;

use super::partition::Partition;

/// A record found by its time: offset, timestamp, leader epoch.
pub type ColdOffset = (Offset, Timestamp, LeaderEpoch);

/// The archive of all partitions, as fetches need it.
///
/// Contract (TIER-3): an answer is the records or an error, never emptiness. OFFSET_NOT_AVAILABLE means that the store does
/// not answer now and clients try again; KAFKA_STORAGE_ERROR that the data is damaged or lost. A read may take as long as
/// the store; who gives up drops the future, and the block is fetched all the same.
#[async_trait]
pub trait ColdReader: std::fmt::Debug + Send + Sync {
    /// Whole batches from the one that holds `from` on, about `bytes` of them, at least one.
    async fn read(&self, partition: TopicPartition, from: Offset, bytes: usize) -> Result<Vec<Bytes>, ErrorCode>;

    /// The first archived record within a range with this timestamp or a later one.
    async fn offset_for_time(
        &self,
        partition: TopicPartition,
        within: Range<Offset>,
        from: Timestamp,
    ) -> Result<Option<ColdOffset>, ErrorCode>;

    /// The first archived record within a range with the largest timestamp there.
    async fn max_timestamp(
        &self,
        partition: TopicPartition,
        within: Range<Offset>,
    ) -> Result<Option<ColdOffset>, ErrorCode>;

    /// The leader epochs of what is archived below an offset, oldest first.
    async fn epochs(&self, partition: TopicPartition, below: Offset) -> Result<Vec<EpochStart>, ErrorCode>;

    /// Waits until the archive's durable root begins at `start` or later. False where there is no archive, or where it
    /// cannot say so for the time being.
    async fn begins_at(&self, partition: TopicPartition, start: Offset) -> bool;

    /// TIER-2: whether local data below `start` may go. A violation is counted and nothing is deleted.
    fn covers(&self, partition: TopicPartition, start: Offset, log_start: Offset) -> bool;

    /// The first offset that retention left in the bucket; `None` where the partition is not archived.
    fn tiered_start(&self, partition: TopicPartition) -> Option<Offset>;

    /// The first offset that is not in the bucket; `None` where the partition is not archived.
    fn tiered_end(&self, partition: TopicPartition) -> Option<Offset>;
}

impl Partition {
    /// Batches from the bucket. See [`ColdReader::read`].
    ///
    /// # Errors
    /// See [`ColdReader`].
    pub async fn read_cold(&self, from: Offset, bytes: usize) -> Result<Vec<Bytes>, ErrorCode> {
        self.cold.read(self.id, from, bytes).await
    }

    /// What lies only in the bucket; `None` where nothing does.
    fn only_cold(&self) -> Result<Option<Range<Offset>>, ErrorCode> {
        let ends = self.open_ends()?;
        Ok((ends.log_start < ends.local_start).then_some(ends.log_start..ends.local_start))
    }

    /// The first record at or after a time that lies only in the bucket; `None` where there is none.
    ///
    /// # Errors
    /// See [`ColdReader`].
    pub async fn cold_offset_for_time(&self, from: Timestamp) -> Result<Option<ColdOffset>, ErrorCode> {
        match self.only_cold()? {
            Some(within) => self.cold.offset_for_time(self.id, within, from).await,
            None => Ok(None),
        }
    }

    /// The first record with the largest timestamp of those that lie only in the bucket; `None` where there is none.
    ///
    /// # Errors
    /// See [`ColdReader`].
    pub async fn cold_max_timestamp(&self) -> Result<Option<ColdOffset>, ErrorCode> {
        match self.only_cold()? {
            Some(within) => self.cold.max_timestamp(self.id, within).await,
            None => Ok(None),
        }
    }

    /// The leader epochs of what the bucket holds below an offset, oldest first.
    ///
    /// # Errors
    /// See [`ColdReader`].
    pub async fn cold_epochs(&self, below: Offset) -> Result<Vec<EpochStart>, ErrorCode> {
        self.cold.epochs(self.id, below).await
    }

    /// Waits until the bucket says that the partition begins at `start`. See [`ColdReader::begins_at`].
    pub async fn archive_begins_at(&self, start: Offset) -> bool {
        self.cold.begins_at(self.id, start).await
    }

    /// The first offset that is not in the bucket; `None` where the partition is not archived.
    #[must_use]
    pub fn tiered_end(&self) -> Option<Offset> {
        self.cold.tiered_end(self.id)
    }
}
