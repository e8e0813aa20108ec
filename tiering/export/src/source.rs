//! The seam to the tier: whole batches of what lies in the bucket.
//!
//! Contract. The bounds of a partition only grow. A read hands out whole batches, ascending, and moves on; an error never
//! becomes an empty answer, and the same read may be tried again. Calls may run at the same time.
//! [`crate::memory`] is the reference.

use async_trait::async_trait;
use broker_model::{Offset, ProducerId, TopicPartition};
use bytes::Bytes;

/// The offsets that the bucket holds of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColdBounds {
    /// The first offset in the bucket.
    pub start: Offset,
    /// The first offset that is not in the bucket.
    pub end: Offset,
}

/// An aborted transaction (KIP-98): transactional batches of this producer within these offsets are not data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted {
    /// The producer that aborted.
    pub producer: ProducerId,
    /// The first offset of the transaction in this partition.
    pub first: Offset,
    /// The last offset of the transaction: its marker.
    pub last: Offset,
}

/// What a read brings.
#[derive(Clone, Debug, Default)]
pub struct RangeSlice {
    /// Whole batches, ascending; each element holds one or several. The first may begin below the offset that was asked.
    pub batches: Vec<Bytes>,
    /// Where to read on; beyond the offset that was asked.
    pub next: Offset,
    /// Aborted transactions that overlap the batches.
    pub aborted: Vec<Aborted>,
}

/// Why a read failed. The variant says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The partition does not exist any more: give up.
    #[error("the partition does not exist")]
    Unknown,
    /// Retention deleted the offset: go on at what is left.
    #[error("retention has deleted everything below offset {log_start}")]
    Deleted {
        /// The first offset that is left.
        log_start: Offset,
    },
    /// Try again later.
    #[error("it cannot be read at the moment: {0}")]
    Unavailable(String),
    /// A human must look.
    #[error("the data is damaged: {0}")]
    Damaged(String),
}

/// Shipped records, by partition.
#[async_trait]
pub trait RangeSource: Send + Sync + 'static {
    /// What lies in the bucket; `None` when nothing does.
    async fn bounds(&self, partition: TopicPartition) -> Result<Option<ColdBounds>, SourceError>;

    /// Whole batches from the batch that holds `from` on: about `bytes_max` bytes, at least one batch. Precondition: `from`
    /// is below an end that [`RangeSource::bounds`] answered.
    async fn read(&self, partition: TopicPartition, from: Offset, bytes_max: usize) -> Result<RangeSlice, SourceError>;
}
