//! The tier at work: what ships closed ranges to the bucket, keeps the manifest, collects what nobody refers to, and
//! reads all of it back.
//!
//! - [`PartitionArchive`] is one led partition: it owns the root, and every change of the root is one of its steps.
//!   [`Uploader`] runs many of them, with backoff, a bound on concurrency, and supervision.
//! - [`TierReader`] gives whole batches by offset through a [`BlockCache`], for partitions of this process (it shares the
//!   archive's root) and for any bucket.
//! - [`verify()`] walks a bucket and says what breaks a promise; [`bucket`] has the two files that describe.
//!
//! Invariants are in [`invariants`]. What decides is in `tiering/plan`, the format in `tiering/manifest`: here is only the
//! order of requests. It knows no Kafka requests; a log is what [`LocalLog`] asks of it.
//!
//! Start reading at [`PartitionArchive::step`], then [`TierReader::read`].

pub mod archive;
mod body;
pub mod bucket;
mod cache;
pub mod invariants;
mod local_log;
mod reader;
#[cfg(test)]
mod testing;
mod uploader;
pub mod verify;

use std::sync::Arc;

use broker_model::Timestamp;

pub use archive::{
    ArchiveConfig, ArchiveHandle, ArchiveStats, Hooks, PartitionArchive, Point, Rest, ShipError, ShipErrorKind, Step,
};
pub use cache::{BlockCache, BlockKey, CacheConfig, CacheError, CacheStats};
pub use local_log::{LocalBounds, LocalLog, LocalLogError, MemLog};
pub use reader::{ColdBounds, ColdError, ColdErrorKind, ColdRead, ReaderConfig, TierReader, TierTail, TimeHit};
pub use uploader::{Uploader, UploaderConfig, UploaderStats};
pub use verify::{PartitionReport, VerifyDepth, VerifyReport, verify};

/// The clock of whoever assembles the parts. Simulations give a virtual one.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
