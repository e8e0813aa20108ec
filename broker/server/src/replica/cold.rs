//! What only the bucket holds of a partition.
//!
//! The seam is small: the server's tier wiring implements [`ColdReader`]. Where a topic is not tiered, nothing is cold.

use async_trait::async_trait;
use broker_model::{ErrorCode, LeaderEpoch, Offset, Timestamp, TopicPartition};
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

    /// The first archived record with this timestamp or a later one.
    async fn offset_for_time(
        &self,
        partition: TopicPartition,
        from: Timestamp,
    ) -> Result<Option<ColdOffset>, ErrorCode>;

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

    /// The first record at or after a time that lies only in the bucket; `None` where there is none.
    ///
    /// # Errors
    /// See [`ColdReader`].
    pub async fn cold_offset_for_time(&self, from: Timestamp) -> Result<Option<ColdOffset>, ErrorCode> {
        let ends = self.open_ends()?;
        if ends.log_start >= ends.local_start {
            return Ok(None);
        }
        let found = self.cold.offset_for_time(self.id, from).await?;
        Ok(found.filter(|(offset, ..)| (ends.log_start..ends.local_start).contains(offset)))
    }

    /// The first offset that is not in the bucket; `None` where the partition is not archived.
    #[must_use]
    pub fn tiered_end(&self) -> Option<Offset> {
        self.cold.tiered_end(self.id)
    }
}
