//! Idempotence (KIP-98, KIP-360): what a partition remembers of its producers.
//!
//! Per producer id the last five batches are kept: a retry of one of them is answered with its first offset and
//! timestamp, and is not stored again. Invariants: `decide` changes nothing; `apply` is told only of batches that
//! were stored, and recovery tells it of the same ones; at most `PRODUCERS_PER_PARTITION_MAX` producers are known, of
//! which the longest silent go first.
//!
//! An unknown producer id may begin at any sequence number, because its state may have expired. Silence is measured
//! by the time of the append, not by the records' timestamps as Kafka does: a producer of old data keeps its
//! protection.

use std::collections::BTreeMap;

use broker_model::limits::{PRODUCER_BATCHES_MAX, PRODUCERS_PER_PARTITION_MAX};
use broker_model::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use broker_records::BatchHead;

/// Why a batch of an idempotent producer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// The sequence number is not the one that follows.
    #[error("sequence {got} of producer {producer} does not follow {last}")]
    OutOfOrderSequence {
        /// The producer.
        producer: ProducerId,
        /// The last sequence number stored, -1 for none.
        last: Sequence,
        /// The first sequence number of the batch.
        got: Sequence,
    },
    /// The epoch is older than the one known: another instance took over.
    #[error("epoch {got} of producer {producer} is older than {known}")]
    InvalidProducerEpoch {
        /// The producer.
        producer: ProducerId,
        /// The epoch known.
        known: ProducerEpoch,
        /// The epoch of the batch.
        got: ProducerEpoch,
    },
    /// A batch outside of the transaction that the producer has open here.
    #[error("producer {producer} has a transaction open and sent a batch outside of it")]
    InvalidTransactionState {
        /// The producer.
        producer: ProducerId,
    },
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Store it.
    Append,
    /// It is stored already: answer with what the first attempt got.
    Duplicate {
        /// The offset of its first record.
        base_offset: Offset,
        /// Its largest timestamp, which is the append time where the topic has that.
        timestamp: Timestamp,
    },
    /// Refuse it.
    Reject(SequenceError),
}

/// A batch that was stored, as far as duplicates need it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredBatch {
    /// The sequence number of its last record.
    pub last_sequence: Sequence,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// Last offset less first offset.
    pub offset_delta: i32,
    /// Its largest timestamp.
    pub timestamp: Timestamp,
}

impl StoredBatch {
    fn first_sequence(&self) -> Sequence {
        let first = i64::from(self.last_sequence.0) - i64::from(self.offset_delta);
        if first < 0 { Sequence((first + i64::from(i32::MAX) + 1) as i32) } else { Sequence(first as i32) }
    }

    fn base_offset(&self) -> Offset {
        self.last_offset.plus(-i64::from(self.offset_delta))
    }
}

/// What is known of one producer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerState {
    pub(crate) epoch: ProducerEpoch,
    pub(crate) coordinator_epoch: i32,
    pub(crate) transaction_start: Option<Offset>,
    pub(crate) last_seen: Timestamp,
    /// The last batches, oldest first; the first `batch_count` hold.
    batches: [StoredBatch; PRODUCER_BATCHES_MAX],
    batch_count: usize,
}

impl ProducerState {
    pub(crate) fn new(epoch: ProducerEpoch, now: Timestamp) -> ProducerState {
        let batches = [StoredBatch::default(); PRODUCER_BATCHES_MAX];
        ProducerState { epoch, coordinator_epoch: -1, transaction_start: None, last_seen: now, batches, batch_count: 0 }
    }

    /// The last batches, oldest first.
    #[must_use]
    pub fn batches(&self) -> &[StoredBatch] {
        self.batches.get(..self.batch_count).expect("the count is at most the capacity")
    }

    /// The producer's epoch.
    #[must_use]
    pub fn epoch(&self) -> ProducerEpoch {
        self.epoch
    }

    /// The last sequence number stored, -1 for none.
    #[must_use]
    pub fn last_sequence(&self) -> Sequence {
        self.batches().last().map_or(Sequence(-1), |batch| batch.last_sequence)
    }

    pub(crate) fn push(&mut self, batch: StoredBatch) {
        if self.batch_count == PRODUCER_BATCHES_MAX {
            self.batches.rotate_left(1);
            self.batch_count -= 1;
        }
        if let Some(slot) = self.batches.get_mut(self.batch_count) {
            *slot = batch;
            self.batch_count += 1;
        }
    }

    pub(crate) fn begin_epoch(&mut self, epoch: ProducerEpoch) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.batches = [StoredBatch::default(); PRODUCER_BATCHES_MAX];
            self.batch_count = 0;
        }
    }

    fn is_expired(&self, now: Timestamp, expiration_ms: i64) -> bool {
        self.transaction_start.is_none() && now.0.saturating_sub(self.last_seen.0) >= expiration_ms
    }
}

/// The producers that a partition remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerStates {
    /// Boxed, because a node of the map has room for eleven: most partitions know one or two.
    pub(crate) producers: BTreeMap<ProducerId, Box<ProducerState>>,
    expiration_ms: i64,
}

impl ProducerStates {
    /// Nobody is known. A producer that is silent for `expiration_ms` is forgotten (`producer.id.expiration.ms`).
    #[must_use]
    pub fn new(expiration_ms: i64) -> ProducerStates {
        ProducerStates { producers: BTreeMap::new(), expiration_ms }
    }

    /// How many producers are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// True where none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// What is known of a producer.
    #[must_use]
    pub fn get(&self, producer: ProducerId) -> Option<&ProducerState> {
        self.producers.get(&producer).map(|state| &**state)
    }

    /// What to do with a batch that a client sent. Changes nothing.
    #[must_use]
    pub fn decide(&self, head: &BatchHead, now: Timestamp) -> Decision {
        let known = self.producers.get(&head.producer_id).filter(|state| !state.is_expired(now, self.expiration_ms));
        let Some(state) = known else { return Decision::Append };
        if !head.has_producer() || head.is_control() {
            return Decision::Append;
        }
        if head.producer_epoch < state.epoch {
            return Decision::Reject(SequenceError::InvalidProducerEpoch {
                producer: head.producer_id,
                known: state.epoch,
                got: head.producer_epoch,
            });
        }
        if head.producer_epoch == state.epoch
            && let Some(batch) = duplicate_of(state, head)
        {
            return Decision::Duplicate { base_offset: batch.base_offset(), timestamp: batch.timestamp };
        }
        let last = if head.producer_epoch == state.epoch { state.last_sequence() } else { Sequence(-1) };
        let expected = if last.0 < 0 { Sequence(0) } else { last.plus(1) };
        if head.base_sequence != expected {
            return Decision::Reject(SequenceError::OutOfOrderSequence {
                producer: head.producer_id,
                last,
                got: head.base_sequence,
            });
        }
        if state.transaction_start.is_some() && !head.is_transactional() {
            return Decision::Reject(SequenceError::InvalidTransactionState { producer: head.producer_id });
        }
        Decision::Append
    }

    /// The batch was stored at `base_offset`. The same call replays it in recovery.
    pub fn apply(&mut self, head: &BatchHead, base_offset: Offset, now: Timestamp) {
        if !head.has_producer() {
            return;
        }
        if !self.producers.contains_key(&head.producer_id) {
            self.make_room();
        }
        let fresh = ProducerState::new(head.producer_epoch, now);
        let state = self.producers.entry(head.producer_id).or_insert_with(|| Box::new(fresh));
        if state.is_expired(now, self.expiration_ms) {
            **state = fresh;
        }
        state.last_seen = state.last_seen.max(now);
        state.begin_epoch(head.producer_epoch);
        if head.is_control() {
            state.transaction_start = None;
            return;
        }
        if head.is_transactional() && state.transaction_start.is_none() {
            state.transaction_start = Some(base_offset);
        }
        state.push(StoredBatch {
            last_sequence: head.last_sequence(),
            last_offset: base_offset.plus(i64::from(head.last_offset_delta)),
            offset_delta: head.last_offset_delta,
            timestamp: head.max_timestamp,
        });
    }

    /// Puts back what [`get`](Self::get) gave before an `apply` whose write failed.
    pub fn restore(&mut self, producer: ProducerId, before: Option<ProducerState>) {
        match before {
            Some(state) => self.producers.insert(producer, Box::new(state)),
            None => self.producers.remove(&producer),
        };
    }

    /// Forgets producers that were silent too long; an open transaction keeps its producer. Returns how many.
    pub fn expire(&mut self, now: Timestamp) -> usize {
        let before = self.producers.len();
        let expiration_ms = self.expiration_ms;
        self.producers.retain(|_, state| !state.is_expired(now, expiration_ms));
        before - self.producers.len()
    }

    /// The first offset of the oldest open transaction.
    #[must_use]
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        self.producers.values().filter_map(|state| state.transaction_start).min()
    }

    /// Makes room for one more by forgetting the longest silent sixteenth, so that the search is paid rarely.
    fn make_room(&mut self) {
        if self.producers.len() < PRODUCERS_PER_PARTITION_MAX {
            return;
        }
        let in_no_transaction = self.producers.iter().filter(|(_, state)| state.transaction_start.is_none());
        let mut oldest: Vec<_> = in_no_transaction.map(|(id, state)| (state.last_seen, *id)).collect();
        oldest.sort_unstable();
        for (_, id) in oldest.into_iter().take(PRODUCERS_PER_PARTITION_MAX / 16) {
            self.producers.remove(&id);
        }
    }
}

fn duplicate_of(state: &ProducerState, head: &BatchHead) -> Option<StoredBatch> {
    let same = |batch: &&StoredBatch| {
        batch.first_sequence() == head.base_sequence && batch.last_sequence == head.last_sequence()
    };
    state.batches().iter().find(same).copied()
}
