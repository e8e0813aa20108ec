//! The log beneath the decision machines: the seam `propose`, the driver above it, the single-node log below it.
//!
//! A coordinator is a [`Machine`](broker_model::machine::Machine) that decides, a [`Propose`] that keeps, and a
//! [`Driver`] that joins them. One step is one batch; outputs leave in order once their batch is committed; there is one
//! recovery path, the same at a start, after lost leadership and after an append of which nobody can tell.
//!
//! - [`driver`]: two images, parked outputs, refusals, reload, compaction of the log's dirt.
//! - [`propose`]: the seam and its contract. [`memory`] is its reference, [`mod@file`] the single-node log.
//! - [`snapshot`]: a whole state as bytes.
//!
//! Not here: what is decided (the machines' crates), threads and timers (the server's actors), the Raft library, whose
//! storage will stand behind the same seam.

pub mod driver;
pub mod file;
pub mod memory;
pub mod propose;
pub mod snapshot;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;

pub use driver::{DIRT_BYTES_MAX, Driver, LoadError, Reply};
pub use file::{FileLog, Flush};
pub use memory::MemoryLog;
pub use propose::{Event, LogError, LostReason, Proposal, Propose, Replay, Ticket};
pub use snapshot::{Image, SnapshotError};
