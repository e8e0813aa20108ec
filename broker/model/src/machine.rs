//! The one shape of a decision: what a coordinator is, so that one driver can run each of them over one log.
//!
//! A [`Machine`] has durable state (`Hard`), which is what its log says, and state that may be forgotten (`Soft`).
//! Rules that every machine keeps:
//! - `step` decides and changes nothing durable. One step is one atomic batch of records, or nothing. Of the soft
//!   state it changes only what does no harm if the batch is refused; the rest waits for [`Input::Appended`].
//! - Records are keyed upserts and tombstones with absolute values. Of the records of a key the one with the highest
//!   offset holds, so `apply(compact(log)) == apply(log)`.
//! - `apply` is the only mutator of durable state: live, speculative and in recovery. A key of a kind that this version
//!   does not know is skipped, so that an older program can read a newer log.
//! - A log is consistent only at the ends of whole batches: `check` runs there, not between.
//! - No clock, no randomness, no IO: `now` and fresh ids are inputs.
//!
//! It deliberately does not do: logs, epochs, parking of outputs. That is the driver's, in `broker-quorum`.
//! Markers of transactions get an `apply_marker` beside `apply` when the coordinator of transactions comes.

use std::fmt::Debug;

use crate::{Offset, Timestamp};

/// Names a caller who waits for an output. The caller chooses it, unique among those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// One record of a machine's log. `value: None` is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Kind and identity, encoded by the machine's crate.
    pub key: Vec<u8>,
    /// The absolute value that the key has from now on.
    pub value: Option<Vec<u8>>,
}

impl Record {
    /// An upsert.
    #[must_use]
    pub fn put(key: Vec<u8>, value: Vec<u8>) -> Record {
        Record { key, value: Some(value) }
    }

    /// A deletion.
    #[must_use]
    pub fn tombstone(key: Vec<u8>) -> Record {
        Record { key, value: None }
    }

    /// Bytes of key and value together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// Why a batch is not in the log. Nothing of it was written; the caller may try again as the variant says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refusal {
    /// The batch is larger than the log takes. Trying again is useless.
    #[error("the batch is too large for the log")]
    TooLarge,
    /// This node does not lead the log (any more), or nobody can tell what became of the batch. Find the leader, ask again.
    #[error("this node does not lead the log")]
    NotLeader,
    /// The decision was made on a state that did not come to be. Ask again here.
    #[error("the decision was overtaken")]
    Conflict,
    /// The log cannot write now (disk full, offline). Ask again later.
    #[error("the log cannot write now")]
    Unavailable,
}

/// What a machine is told. `R` is its own type of request.
#[derive(Clone, Debug, PartialEq)]
pub enum Input<R> {
    /// A caller asks.
    Request(CallId, R),
    /// `next_deadline` has come.
    Tick,
    /// This batch is committed: soft state that depends on it changes now.
    Appended(Vec<(Offset, Record)>),
    /// This batch is not in the log and never will be.
    Refused(Refusal, Vec<(Offset, Record)>),
}

/// What a machine decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Effects<O> {
    /// One atomic batch; empty when nothing durable changes.
    pub batch: Vec<Record>,
    /// Replies that hold once the batch, and all before it, are committed.
    pub outputs: Vec<(CallId, O)>,
}

impl<O> Effects<O> {
    /// Nothing to write, nothing to say.
    #[must_use]
    pub fn none() -> Self {
        Effects { batch: Vec::new(), outputs: Vec::new() }
    }

    /// One reply, nothing to write.
    #[must_use]
    pub fn reply(call: CallId, output: O) -> Self {
        Effects { batch: Vec::new(), outputs: vec![(call, output)] }
    }
}

/// An invariant that does not hold: its id and its sentence. Seen in production it means damage or a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{id}: {what}")]
pub struct Violation {
    /// The id under which it is declared.
    pub id: &'static str,
    /// What should hold.
    pub what: &'static str,
}

/// A record of a known kind that cannot be decoded: damage, or a version that this program does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of kind {kind} cannot be read: {what}")]
pub struct RecordError {
    /// The kind that the key names.
    pub kind: i16,
    /// What is wrong.
    pub what: &'static str,
}

/// A decision machine. The value itself holds its settings, nothing that changes by deciding.
pub trait Machine {
    /// What the log says. The default is the state of an empty log.
    type Hard: Clone + Debug + Default + PartialEq;
    /// What may be forgotten: deadlines, members that are joining, callers who wait.
    type Soft;
    /// What callers ask.
    type Request;
    /// What callers hear.
    type Output;

    /// Decides on `hard`, which holds all that was decided before, also what is not yet committed.
    fn step(
        &self,
        hard: &Self::Hard,
        soft: &mut Self::Soft,
        now: Timestamp,
        input: Input<Self::Request>,
    ) -> Effects<Self::Output>;

    /// The only way durable state changes.
    ///
    /// # Errors
    /// A record of a known kind that cannot be decoded. Records that `step` made never are.
    fn apply(&self, hard: &mut Self::Hard, at: Offset, record: &Record) -> Result<(), RecordError>;

    /// The soft state after a start or a change of leader.
    fn recover(&self, hard: &Self::Hard, now: Timestamp) -> Self::Soft;

    /// When `step` wants [`Input::Tick`]; `None` if never. After a tick at `now` it is later than `now`.
    fn next_deadline(&self, hard: &Self::Hard, soft: &Self::Soft) -> Option<Timestamp>;

    /// Holds after each whole batch and each whole replay.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    fn check(&self, hard: &Self::Hard) -> Result<(), Violation>;

    /// The shortest log that leads to this state, in the order in which it is to be applied. It is the content of
    /// snapshots and what compaction writes.
    fn records(&self, hard: &Self::Hard) -> Vec<Record>;

    /// The callers who wait within the soft state, when it is thrown away.
    fn callers(&self, soft: Self::Soft) -> Vec<CallId>;
}
