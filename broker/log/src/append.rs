//! Appending batches: sequence checks, offsets, one write, indexes, ends.
//!
//! The order is: decide, give offsets, write, then let readers see. All batches of a call that fit the segment leave
//! in one pwritev(2), each as its head, which is made anew, and its body, which is never copied. What a failed write
//! began is undone: producers as before, the file cut back.

use std::io::IoSlice;

use broker_model::{Offset, Timestamp};
use broker_partition::{Decision, SequenceError};
use broker_records::{BATCH_HEAD_BYTES, BatchHead};

use crate::config::AppendTime;
use crate::error::AppendError;
use crate::files::{Change, Files, Persist};
use crate::index::TIME_ENTRY_BYTES;
use crate::log::Log;
use crate::names;
use crate::segment::State;
use crate::walk::Placed;

/// A batch that was validated: the head to be stored, and all bytes that follow the head.
#[derive(Clone, Copy, Debug)]
pub struct PreparedBatch<'a> {
    /// The head, as `broker_records::validate` gave it. Base offset, leader epoch and append time are set here.
    pub head: BatchHead,
    /// The bytes after the first 61.
    pub body: &'a [u8],
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It was written.
    Stored {
        /// The offset of its first record.
        base_offset: Offset,
        /// The append time, or -1 where the producer's timestamps hold.
        timestamp: Timestamp,
    },
    /// It had been written before; this is what it got then.
    Duplicate {
        /// The offset of its first record.
        base_offset: Offset,
        /// The append time, or -1 where the producer's timestamps hold.
        timestamp: Timestamp,
    },
    /// It was not written.
    Refused(Refusal),
}

/// Why a batch was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its sequence number or producer epoch is wrong.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// It does not fit a segment (`segment.bytes`).
    #[error("the batch has {bytes} bytes, a segment {segment_bytes}")]
    LargerThanSegment {
        /// Bytes of the batch.
        bytes: u64,
        /// `segment.bytes`.
        segment_bytes: u64,
    },
}

/// Batches that have their places but are not written yet.
struct Run<'a> {
    start: u64,
    position: u64,
    next: Offset,
    placed: Vec<Placed>,
    parts: Vec<([u8; BATCH_HEAD_BYTES], &'a [u8])>,
}

impl Run<'_> {
    fn new(state: &State) -> Self {
        Run { start: state.bytes, position: state.bytes, next: state.end, placed: Vec::new(), parts: Vec::new() }
    }
}

impl<F: Files> Log<F> {
    /// Appends batches, in order, and says what became of each. Duplicates and refusals do not stop the others.
    ///
    /// # Errors
    /// When writing fails; whether batches before a roll in the same call were written is then not known. `Full`
    /// leaves the log usable.
    pub fn append(&mut self, batches: &[PreparedBatch<'_>], now: Timestamp) -> Result<Vec<Appended>, AppendError> {
        self.writable()?;
        if batches.iter().any(|batch| batch.head.total_bytes() != BATCH_HEAD_BYTES + batch.body.len()) {
            return Err(AppendError::Invalid("a batch's head and body do not belong together"));
        }
        self.undo.clear();
        let mut outcomes = Vec::with_capacity(batches.len());
        let mut run = Run::new(&self.shared.active().state());
        for batch in batches {
            if let Some(outcome) = self.turned_away(&batch.head, now) {
                outcomes.push(outcome);
                continue;
            }
            if self.must_roll(&run, &batch.head, now) {
                self.write(&mut run, now)?;
                self.roll(now)?;
                run = Run::new(&self.shared.active().state());
            }
            outcomes.push(self.place(batch, now, &mut run));
        }
        self.write(&mut run, now)?;
        Ok(outcomes)
    }

    /// What a batch is answered that is not to be stored.
    fn turned_away(&self, head: &BatchHead, now: Timestamp) -> Option<Appended> {
        let (bytes, segment_bytes) = (head.total_bytes() as u64, self.segment_bytes());
        if bytes > segment_bytes {
            return Some(Appended::Refused(Refusal::LargerThanSegment { bytes, segment_bytes }));
        }
        match self.producers.decide(head, now) {
            Decision::Append => None,
            Decision::Reject(error) => Some(Appended::Refused(Refusal::Sequence(error))),
            Decision::Duplicate { base_offset, timestamp } => {
                let timestamp = match self.config.append_time {
                    AppendTime::Producer => Timestamp::NONE,
                    AppendTime::Broker => timestamp,
                };
                Some(Appended::Duplicate { base_offset, timestamp })
            }
        }
    }

    fn segment_bytes(&self) -> u64 {
        // Kafka's positions are 32 bits, signed.
        self.config.segment_bytes.min(i32::MAX as u64)
    }

    fn must_roll(&self, run: &Run<'_>, head: &BatchHead, now: Timestamp) -> bool {
        if run.position == 0 {
            return false;
        }
        let active = self.shared.active();
        let state = active.state();
        let last_offset = run.next.plus(i64::from(head.last_offset_delta));
        let first = state.first_timestamp.or(run.placed.first().map(|placed| placed.head.max_timestamp));
        let age_ms = match first {
            Some(first) if first.0 >= 0 && head.max_timestamp.0 >= 0 => head.max_timestamp.0.saturating_sub(first.0),
            _ => now.0 - state.created.0,
        };
        // At most one entry per interval is written, so this bounds the entries of both indexes.
        let entries = run.position / active.interval.max(1);
        run.position + head.total_bytes() as u64 > self.segment_bytes()
            || last_offset.0 - active.base.0 > i64::from(i32::MAX)
            || age_ms > self.config.segment_ms
            || entries >= self.config.segment_index_bytes / TIME_ENTRY_BYTES
    }

    /// Gives a batch its place, and tells the producer state, tentatively.
    fn place<'a>(&mut self, batch: &PreparedBatch<'a>, now: Timestamp, run: &mut Run<'a>) -> Appended {
        let mut head = batch.head;
        head.base_offset = run.next;
        head.leader_epoch = self.epoch;
        let mut timestamp = Timestamp::NONE;
        if self.config.append_time == AppendTime::Broker {
            head.stamp_append_time(now, batch.body);
            timestamp = now;
        }
        if head.has_producer() {
            self.undo.push((head.producer_id, self.producers.get(head.producer_id).copied()));
            self.producers.apply(&head, head.base_offset, now);
        }
        run.placed.push(Placed { head, position: run.position });
        run.parts.push((head.encode(), batch.body));
        run.position += head.total_bytes() as u64;
        run.next = head.next_offset();
        Appended::Stored { base_offset: head.base_offset, timestamp }
    }

    fn write(&mut self, run: &mut Run<'_>, now: Timestamp) -> Result<(), AppendError> {
        if run.placed.is_empty() {
            return Ok(());
        }
        let active = self.shared.active();
        let mut slices = Vec::with_capacity(run.parts.len() * 2);
        for (head, body) in &run.parts {
            slices.extend([IoSlice::new(head), IoSlice::new(body)]);
        }
        let written = active.log().and_then(|log| self.shared.files.write(&log, run.start, &mut slices));
        if let Err(error) = written {
            return Err(self.undo_write(run.start, error));
        }
        if self.epochs.assign(self.epoch, run.placed.first().expect("not empty").head.base_offset)
            && let Err(error) = self.write_epochs(Persist::Lazily)
        {
            tracing::warn!(dir = %self.shared.dir.display(), %error, "could not write the leader epochs");
        }
        active.appended(&run.placed, now);
        self.shared.ends.write().appended(run.next);
        self.undo.clear();
        Ok(())
    }

    /// A write failed: producers and file are put back.
    fn undo_write(&mut self, start: u64, error: std::io::Error) -> AppendError {
        for (producer, before) in self.undo.drain(..).rev() {
            self.producers.restore(producer, before);
        }
        let path = names::segment_file(&self.shared.dir, self.shared.active().base, names::LOG);
        if let Err(error) = self.shared.files.change(Change::Resize(&path, start)) {
            self.shared.go_offline(&error);
        }
        self.failed(error)
    }
}
