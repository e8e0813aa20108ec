//! The cluster's metadata: what topics, brokers and producer ids there are, and who may change that.
//!
//! [`MetadataMachine`] is a decision machine (see `broker_model::machine`): requests come in, records and replies go
//! out. Its durable state *is* the [`ClusterImage`] that the rest of the program reads, so publishing it is cloning it.
//!
//! Invariants ([`machine::MetadataMachine`] checks them): a topic has one name and the partitions 0 to n-1; the first
//! record of the log is the finalized feature level, and a log of a level that this program does not know is not read; a topic that is deleted or leaves the tier has a
//! purge record until its archive is gone; producer ids are handed out once.
//!
//! Not here: which configs are legal (the registry in `broker-model`, asked by the caller), files, the tier, the wire.
//! Start reading at [`request`], then [`machine`]; what a request decides is in the file of its name.

mod alter;
mod create;
mod decision;
pub mod image;
pub mod machine;
pub mod names;
pub mod partitions;
pub mod records;
pub mod request;

pub use image::{BrokerImage, ClusterImage, PartitionImage, Purge, TopicImage};
pub use machine::MetadataMachine;
pub use request::{
    AlterConfigs, AlterError, ArchiveChange, BeginIncarnation, ConfigChange, ConfigOwner, CreateMode, CreatePartitions,
    CreateTopics, CreatedTopic, DeletedTopic, Existing, Incarnation, MorePartitions, NewTopic, Output, ProducerIdBlock,
    Request, TopicError, TopicRef,
};

#[cfg(test)]
mod tests;
