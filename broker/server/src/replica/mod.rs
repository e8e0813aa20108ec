//! The partitions that this broker leads: their logs, who waits for them, and how they are opened and deleted.
//!
//! Start reading at [`Partition`]; `produce.rs` is the way in, `cold.rs` the way to what only the bucket holds.

mod append_times;
mod archive;
mod cold;
mod ends;
mod open;
mod partition;
mod produce;
mod retention;
pub mod waiters;

pub use archive::ShippedLog;
pub use cold::{ColdOffset, ColdReader};
pub use ends::{Ends, Want};
pub use open::Disk;
pub use partition::Partition;
pub use produce::{Appended, ProduceError};
