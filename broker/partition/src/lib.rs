//! What a partition knows beside its bytes: producers' sequences, leader epochs, and where its log ends.
//!
//! Plain methods on heads of batches: no IO, no clock, nothing that waits. Invariants: durable state changes only in
//! `apply` and its like, and recovery replays the same methods; a decision changes nothing; what is kept per
//! partition is bounded.
//!
//! Deliberately absent: replicas and the ISR (they come with the cluster), files, Kafka's requests and error codes.
//!
//! Start reading at [`producers::ProducerStates`], then [`epochs::LeaderEpochs`] and [`ends::Ends`].

pub mod ends;
pub mod epochs;
pub mod producers;
pub mod snapshot;

#[cfg(test)]
mod tests;

pub use ends::{Durability, Ends};
pub use epochs::{EpochEnd, EpochStart, LeaderEpochs};
pub use producers::{Decision, ProducerState, ProducerStates, SequenceError};
pub use snapshot::SnapshotError;
