//! The partitions that this broker leads: their logs, who waits for them, and how they are opened and deleted.
//!
//! Start reading at [`Partition`]; `produce.rs` and `queue.rs` are the way in, `flusher.rs` syncs, `cold.rs` the way to what only the bucket holds.

mod append_times;
mod archive;
mod cold;
mod ends;
mod flusher;
mod open;
mod partition;
mod produce;
mod queue;
mod retention;
pub mod waiters;

pub use archive::ShippedLog;
pub use cold::{ColdOffset, ColdReader};
pub use ends::{Ends, Want};
pub use flusher::Flusher;
pub use open::Disk;
pub use partition::{AtHand, Partition};
pub use produce::{Appended, ProduceError};
pub use queue::{Promise, Submitted};
