//! What the tier asks of a partition's log on the leader.
//!
//! Contract: offsets below `stable_end` never change and never go while they are at or above the archive's durable end
//! (TIER-2 is kept by whoever deletes segments). Whoever appends tells the archive's handle after the new end can be seen
//! ([`ArchiveHandle::log_moved`](crate::ArchiveHandle::log_moved)); an archive does not look by itself. Calls may block on the disk, so the uploader belongs on a runtime for
//! cold work. An error means "not now": nothing is shipped, and the same is asked again later. What is read twice gives
//! the same bytes. [`MemLog`] is the in-memory reference.

use bytes::Bytes;
use parking_lot::Mutex;

use broker_model::{Offset, Timestamp};
use tiering_manifest::{AbortedTxn, EpochStart};
use tiering_plan::Piece;

/// Where the log begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalBounds {
    /// The first offset that a consumer may read.
    pub log_start: Offset,
    /// The first offset that is on the local disk; not below `log_start` by more than a batch.
    pub local_start: Offset,
    /// The offset after the last record that may be shipped: the last stable offset, on a batch border.
    pub stable_end: Offset,
    /// The end of the last closed segment.
    pub closed_end: Offset,
    /// The log end.
    pub end: Offset,
}

/// The local log cannot give what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("local log: {0}")]
pub struct LocalLogError(pub String);

/// A partition's log on the leader. See the module for the contract.
pub trait LocalLog: Send + Sync + 'static {
    /// Makes the log ready to be asked.
    ///
    /// # Errors
    /// It cannot be opened now. Until it can, nothing else is asked of it.
    fn ready(&self) -> Result<(), LocalLogError> {
        Ok(())
    }

    /// Where the log begins and ends now.
    fn bounds(&self) -> LocalBounds;

    /// The same, where it is known without opening the log: what an idle partition is looked at with. Of a log that is not
    /// open, everything counts as closed and stable.
    fn bounds_at_rest(&self) -> Option<LocalBounds> {
        Some(self.bounds())
    }

    /// Runs of whole batches, beginning with the batch that contains `from` and ending at or before `to`, each of about a
    /// mebibyte or one batch; together no more than `bytes_max` (but at least one).
    ///
    /// # Errors
    /// See the contract.
    fn pieces(&self, from: Offset, to: Offset, bytes_max: u64) -> Result<Vec<Piece>, LocalLogError>;

    /// The whole batches from the one that contains `from` to `to`, which is a batch border: mapped files, not copies.
    ///
    /// # Errors
    /// See the contract.
    fn map(&self, from: Offset, to: Offset) -> Result<Vec<Bytes>, LocalLogError>;

    /// The leader epochs of the log, oldest first.
    fn epochs(&self) -> Vec<EpochStart>;

    /// The state of producers at this offset as Kafka's snapshot file; empty where it is not known.
    fn producer_snapshot(&self, at: Offset) -> Bytes;

    /// A time at or after the append of the record before `end`.
    fn append_time(&self, end: Offset) -> Timestamp;

    /// Bytes from `from` to the log's end, and when the first of them was appended.
    fn unshipped(&self, from: Offset) -> (u64, Option<Timestamp>);

    /// The aborted transactions that overlap the range.
    fn aborted(&self, from: Offset, to: Offset) -> Vec<AbortedTxn> {
        let _ = (from, to);
        Vec::new()
    }
}

#[derive(Debug, Default)]
struct MemState {
    /// Batches with their base offset, the offset after them, and their append time.
    batches: Vec<(Offset, Offset, Timestamp, Bytes)>,
    log_start: Offset,
    closed_end: Offset,
    epochs: Vec<EpochStart>,
}

/// A log in memory. Everything that was appended is stable.
#[derive(Debug, Default)]
pub struct MemLog {
    state: Mutex<MemState>,
}

impl MemLog {
    /// An empty log.
    #[must_use]
    pub fn new() -> MemLog {
        MemLog::default()
    }

    /// Appends one encoded batch, whose head says its offsets.
    ///
    /// # Panics
    /// The bytes are no batch.
    pub fn append(&self, batch: Bytes, now: Timestamp) {
        let head = broker_records::BatchHead::parse(&batch).expect("the caller appends batches");
        let mut state = self.state.lock();
        if state.epochs.last().is_none_or(|last| last.epoch < head.leader_epoch) {
            state.epochs.push(EpochStart { epoch: head.leader_epoch, start: head.base_offset });
        }
        state.batches.push((head.base_offset, head.next_offset(), now, batch));
    }

    /// Closes the active segment: everything that is there should be shipped.
    pub fn roll(&self) {
        let end = self.bounds().end;
        self.state.lock().closed_end = end;
    }

    /// Moves the log start offset.
    pub fn advance_log_start(&self, to: Offset) {
        let mut state = self.state.lock();
        state.log_start = state.log_start.max(to);
    }

    /// Deletes local batches that end at or below `below`.
    pub fn delete_below(&self, below: Offset) {
        self.state.lock().batches.retain(|(_, end, _, _)| *end > below);
    }

    /// All bytes of the batches that are still there, in order.
    #[must_use]
    pub fn content(&self) -> Vec<Bytes> {
        self.state.lock().batches.iter().map(|(_, _, _, batch)| batch.clone()).collect()
    }
}

impl LocalLog for MemLog {
    fn bounds(&self) -> LocalBounds {
        let state = self.state.lock();
        let end = state.batches.last().map_or(state.closed_end, |(_, end, _, _)| *end);
        let local_start = state.batches.first().map_or(end, |(base, _, _, _)| *base);
        LocalBounds { log_start: state.log_start, local_start, stable_end: end, closed_end: state.closed_end, end }
    }

    fn pieces(&self, from: Offset, to: Offset, bytes_max: u64) -> Result<Vec<Piece>, LocalLogError> {
        let state = self.state.lock();
        let mut left = bytes_max;
        let mut pieces = Vec::new();
        for (_, end, _, batch) in state.batches.iter().filter(|(_, end, _, _)| *end > from && *end <= to) {
            let bytes = batch.len() as u64;
            if bytes > left && !pieces.is_empty() {
                break;
            }
            left = left.saturating_sub(bytes);
            pieces.push(Piece { end: *end, bytes });
        }
        Ok(pieces)
    }

    fn map(&self, from: Offset, to: Offset) -> Result<Vec<Bytes>, LocalLogError> {
        let state = self.state.lock();
        if state.batches.first().is_none_or(|(base, _, _, _)| *base > from) {
            return Err(LocalLogError(format!("offset {from} is not local")));
        }
        let wanted = state.batches.iter().filter(|(base, end, _, _)| *end > from && *base < to);
        Ok(wanted.map(|(_, _, _, batch)| batch.clone()).collect())
    }

    fn epochs(&self) -> Vec<EpochStart> {
        self.state.lock().epochs.clone()
    }

    fn producer_snapshot(&self, _at: Offset) -> Bytes {
        Bytes::new()
    }

    fn append_time(&self, end: Offset) -> Timestamp {
        let state = self.state.lock();
        let found = state.batches.iter().find(|(base, after, _, _)| *base < end && end <= *after);
        found.map_or(Timestamp::NONE, |(_, _, time, _)| *time)
    }

    fn unshipped(&self, from: Offset) -> (u64, Option<Timestamp>) {
        let state = self.state.lock();
        let mut beyond = state.batches.iter().filter(|(_, end, _, _)| *end > from).peekable();
        let oldest = beyond.peek().map(|(_, _, time, _)| *time);
        (beyond.map(|(_, _, _, batch)| batch.len() as u64).sum(), oldest)
    }
}
