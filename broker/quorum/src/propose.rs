//! The one seam beneath the decision machines: a log that takes batches by `propose` and tells what became of them.
//!
//! Contract, the same for every implementation, checked by one conformance suite:
//! - **Atomic.** A batch is in the log whole or not at all, also across a crash.
//! - **Fenced.** A batch is taken only if `epoch` leads *and* the log ends at `expected_end`. The epoch alone would let in
//!   a step whose predecessor was refused; the end alone, one whose predecessor another leader replaced.
//! - **Ordered.** The proposals of one epoch are judged and reported in the order of their growing tickets, each once:
//!   by [`Event::Committed`], by [`Event::Refused`] or, where nobody can tell, by [`Event::Lost`], which ends them all.
//! - **Durable.** Committed means what the log's flush rule promises; what is committed is found by every later `lead`.
//! - **Trimming.** After `trim(start)` a later `lead` replays from some offset at or below `start`, on the empty state or on
//!   a snapshot as of that offset or later, never on an older snapshot: deletions that it has not seen may be gone. So
//!   what is trimmed must be worthless already: the state must follow from what stands at `start` and behind it.
//!
//! No policy here: sizes, retries and compaction belong to the [`Driver`](crate::Driver).

use broker_model::machine::{Record, Refusal};
use broker_model::{LeaderEpoch, Offset, Timestamp};

/// Numbers the proposals of one log object, growing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A batch and the state that it was decided on.
#[derive(Clone, Copy, Debug)]
pub struct Proposal<'a> {
    /// The log's end in that state: the first record of the batch will stand there.
    pub expected_end: Offset,
    /// The epoch in which the proposer leads.
    pub epoch: LeaderEpoch,
    /// The time that the records carry.
    pub now: Timestamp,
    /// One or more records.
    pub batch: &'a [Record],
}

/// What the log tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The batch stands at this offset.
    Committed(Ticket, Offset),
    /// Nothing of the batch was written, nor ever will be.
    Refused(Ticket, Refusal),
    /// Leadership is lost, or nobody can tell what became of a batch: this and all behind it is unknown. Only `lead`
    /// under a new epoch finds out.
    Lost(LostReason),
    /// The log was replaced by this snapshot (made by [`crate::snapshot`]); this node does not lead.
    Install(Vec<u8>),
}

/// Why the log's future is not ours any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostReason {
    /// Another leads, or wrote.
    Deposed,
    /// An append of which nobody can tell: a failed write or flush.
    Indeterminate,
}

/// What `lead` replays, in this order: at most one snapshot, then records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replay {
    /// The state as of the offset that stands within.
    Snapshot(Vec<u8>),
    /// A record behind the snapshot, if there is one.
    Record(Offset, Record),
}

/// The log cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A newer epoch leads.
    #[error("epoch {0} is not the newest")]
    Deposed(LeaderEpoch),
    /// The disk, or what lies on it. A human must look.
    #[error("the log cannot be read or written: {0}")]
    Storage(String),
}

/// A log beneath a machine. See the module for the contract.
pub trait Propose {
    /// Fences every older epoch, then replays all that is committed. Returns the log's end.
    ///
    /// # Errors
    /// [`LogError::Deposed`] if a newer epoch is known; [`LogError::Storage`] if the log is damaged.
    fn lead(&mut self, epoch: LeaderEpoch, replay: &mut dyn FnMut(Replay)) -> Result<Offset, LogError>;

    /// Asks for a batch to be appended. The verdict comes by [`Propose::poll`].
    fn propose(&mut self, proposal: Proposal<'_>) -> Ticket;

    /// The next thing the log tells, if there is one now.
    fn poll(&mut self) -> Option<Event>;

    /// Gives up what lies below `start`, which must be an offset that is committed. Whole batches at or above stay.
    ///
    /// # Errors
    /// [`LogError::Deposed`], or [`LogError::Storage`], after which nothing is lost but space.
    fn trim(&mut self, epoch: LeaderEpoch, start: Offset) -> Result<(), LogError>;

    /// Bytes that a `lead` would have to read now.
    fn bytes(&self) -> u64;
}
