//! The two seams of a replay: the hot end of a partition and its cold part.
//!
//! Both hand out whole record batches, exactly as they lie in the log or in the bucket. Both are read only, may be called
//! by many tasks at once, and promise nothing between two calls but what is written here: bounds only grow, and a record
//! below a high watermark that was once answered never changes (retention may delete it, and then the answer is an error).
//!
//! No policy lives here: which of the two is asked, what is filtered and how an error is told is the replay's business.
//!
//! [`crate::memory`] is the reference, [`crate::conformance`] the suite that every implementation runs.

use async_trait::async_trait;
use broker_model::{Offset, PartitionIndex, ProducerId, Timestamp, TopicId, TopicPartition};
use bytes::Bytes;

/// What a listing says of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// The name.
    pub name: String,
    /// The identity: a topic that is deleted and created again has another.
    pub id: TopicId,
    /// How many partitions it has: they are numbered from 0.
    pub partitions: i32,
}

/// Where a partition begins and ends. `log_start <= local_start <= high_watermark`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset that retention left.
    pub log_start: Offset,
    /// The first offset that the local disk holds: below it only the bucket has the records.
    pub local_start: Offset,
    /// The first offset that a reader must not see yet. A source of a partition with open transactions gives the last
    /// stable offset when that is lower.
    pub high_watermark: Offset,
}

/// The offsets that the bucket holds of a partition: contiguous, from `start` to `end` (exclusive).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColdBounds {
    /// The first offset in the bucket.
    pub start: Offset,
    /// The first offset that is not in the bucket.
    pub end: Offset,
}

/// A window of record timestamps: `from` inclusive, `to` exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWindow {
    /// The earliest timestamp inside.
    pub from: Timestamp,
    /// The earliest timestamp that is no longer inside.
    pub to: Timestamp,
}

impl TimeWindow {
    /// The window that holds every timestamp.
    pub const ALL: TimeWindow = TimeWindow { from: Timestamp(i64::MIN), to: Timestamp(i64::MAX) };

    /// True when the timestamp lies inside.
    #[must_use]
    pub fn holds(&self, at: Timestamp) -> bool {
        self.from <= at && (at < self.to || self.to == Timestamp(i64::MAX))
    }
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

/// An answer to a read.
#[derive(Clone, Debug, Default)]
pub struct Slice {
    /// Whole batches, ascending; each element holds one batch or several in a row. The first may begin below the offset
    /// that was asked.
    pub batches: Vec<Bytes>,
    /// Where to read on. It lies beyond the offset that was asked, also when there are no batches (a range that compaction
    /// emptied).
    pub next: Offset,
    /// Aborted transactions that overlap the batches.
    pub aborted: Vec<Aborted>,
}

/// Why a source could not answer. The variant tells the caller what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The topic or partition does not exist (any more). Give up.
    #[error("the topic or partition does not exist")]
    Unknown,
    /// The local disk no longer has the offset: ask the cold source.
    #[error("the local disk holds this partition from offset {local_start} on")]
    NotLocal {
        /// The first offset that is local now.
        local_start: Offset,
    },
    /// Retention has deleted the offset. Give up, and say so.
    #[error("retention has deleted everything below offset {log_start}")]
    Deleted {
        /// The first offset that is left.
        log_start: Offset,
    },
    /// It cannot be read now (a store that does not answer, a leader that moved). Try again later.
    #[error("it cannot be read at the moment: {0}")]
    Unavailable(String),
    /// The data is there and damaged, or it is lost for good. A human must look.
    #[error("the data is damaged: {0}")]
    Damaged(String),
}

/// The newest records of each partition, as the broker holds them.
///
/// Contract. *Visibility*: nothing at or above the high watermark is handed out. *Order*: batches ascend, without a gap
/// other than what compaction made. *Errors*: an error never becomes an empty answer; after an error the same call may be
/// made again. *Blocking*: methods may wait for a disk, but not for records to arrive.
#[async_trait]
pub trait HotSource: Send + Sync + 'static {
    /// All topics that may be replayed, by name.
    fn topics(&self) -> Vec<TopicInfo>;

    /// The topic of this name.
    fn topic(&self, name: &str) -> Option<TopicInfo>;

    /// Where the partition begins and ends now.
    async fn bounds(&self, partition: TopicPartition) -> Result<Bounds, SourceError>;

    /// Whole batches of local data from the batch that holds `from` on, below `up_to`: about `bytes_max` bytes, and at
    /// least one batch (the first may be larger than `bytes_max`). Precondition: `from < up_to`, and `up_to` is at most a
    /// high watermark that was answered before. [`SourceError::NotLocal`] when `from` is below the local start.
    async fn read_hot(
        &self,
        partition: TopicPartition,
        from: Offset,
        up_to: Offset,
        bytes_max: usize,
    ) -> Result<Slice, SourceError>;

    /// An offset at or above `from` such that no local record between the two has a timestamp inside the window. It reads
    /// indexes only; a source that knows nothing answers `from`. When no local record at or above `from` is inside it
    /// may answer any offset up to the high watermark.
    async fn seek(&self, _partition: TopicPartition, from: Offset, _window: TimeWindow) -> Result<Offset, SourceError> {
        Ok(from)
    }
}

/// The part of each partition that lies in the bucket.
///
/// The contract is that of [`HotSource`], with the end of the bucket in the place of the high watermark: what was
/// committed to the bucket was below it.
#[async_trait]
pub trait ColdSource: Send + Sync + 'static {
    /// What the bucket holds of the partition; `None` when it holds nothing and never did.
    async fn cold_bounds(&self, partition: TopicPartition) -> Result<Option<ColdBounds>, SourceError>;

    /// Whole batches from the batch that holds `from` on: about `bytes_max` bytes, at least one batch.
    async fn read_cold(&self, partition: TopicPartition, from: Offset, bytes_max: usize) -> Result<Slice, SourceError>;

    /// As [`HotSource::seek`], for what lies in the bucket. It is asked again after each read without a match, so a source
    /// that knows the times of its objects keeps a replay from reading what lies behind the window.
    async fn seek_cold(
        &self,
        _partition: TopicPartition,
        from: Offset,
        _window: TimeWindow,
    ) -> Result<Offset, SourceError> {
        Ok(from)
    }
}

/// A partition of a topic by its number.
#[must_use]
pub fn partition_of(topic: &TopicInfo, partition: PartitionIndex) -> TopicPartition {
    TopicPartition { topic: topic.id, partition }
}
