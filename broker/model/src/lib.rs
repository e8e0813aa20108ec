//! Words that every layer shares: ids, offsets, epochs, error codes, limits and the registry of configs as data.
//!
//! Nothing here does anything: no IO, no clock, no policy. A type stands here when two crates must mean the same by it.
//! Quantities are newtypes, so that an offset cannot be passed where a position is meant; units stand in the name.
//!
//! Start reading at [`ids`]; [`error`] has Kafka's error codes, [`limits`] every bound with its reason.

pub mod config;
pub mod error;
pub mod ids;
pub mod limits;
pub mod machine;
pub mod nearest;

pub use error::ErrorCode;
pub use ids::{
    LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId,
    TopicPartition,
};
pub use nearest::nearest;
