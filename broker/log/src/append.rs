//! Appending batches: sequence checks, offsets, one write, indexes, ends.
//!
//! The order is: decide, give offsets, write, then let readers see. All batches of a call that fit the segment leave
//! in one pwritev(2) for every 32, each as its head, which is made anew, and its body, which is never copied. What a failed write
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

/// Batches that one pwritev(2) takes.
const BATCHES_PER_WRITE: usize = 32;

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

/// Batches that have their places but are not written yet. A log has one, so that an append asks for no memory.
#[derive(Debug, Default)]
pub(crate) struct Run {
    start: u64,
    position: u64,
    next: Offset,
    placed: Vec<Placed>,
    /// For each of `placed`: its head as bytes, and which of the call's batches it is.
    heads: Vec<([u8; BATCH_HEAD_BYTES], usize)>,
}

impl Run {
    fn begin(&mut self, state: &State) {
        (self.start, self.position, self.next) = (state.bytes, state.bytes, state.end);
        self.placed.clear();
        self.heads.clear();
    }
}

impl<F: Files> Log<F> {
    /// Appends batches, in order, and says what became of each. As [`append_into`](Self::append_into), into a new
    /// vector.
    ///
    /// # Errors
    /// As [`append_into`](Self::append_into).
    pub fn append(&mut self, batches: &[PreparedBatch<'_>], now: Timestamp) -> Result<Vec<Appended>, AppendError> {
        let mut outcomes = Vec::with_capacity(batches.len());
        self.append_into(batches, now, &mut outcomes)?;
        Ok(outcomes)
    }

    /// Appends batches, in order, and says what became of each in `outcomes`, which is cleared first. Duplicates and
    /// refusals do not stop the others. Asks for no memory once its buffers have grown to the largest call.
    ///
    /// # Errors
    /// When writing fails. `outcomes` then holds what became of the first batches of the call, which were stored before
    /// a roll or turned away; the others were not stored. `Full` leaves the log usable.
    pub fn append_into(
        &mut self,
        batches: &[PreparedBatch<'_>],
        now: Timestamp,
        outcomes: &mut Vec<Appended>,
    ) -> Result<(), AppendError> {
        outcomes.clear();
        self.writable()?;
        if batches.iter().any(|batch| batch.head.total_bytes() != BATCH_HEAD_BYTES + batch.body.len()) {
            return Err(AppendError::Invalid("a batch's head and body do not belong together"));
        }
        let mut run = std::mem::take(&mut self.run);
        let appended = self.append_run(batches, now, (&mut run, &mut *outcomes));
        self.run = run;
        appended.map_err(|(settled, error)| {
            outcomes.truncate(settled);
            error
        })
    }

    /// The error comes with the number of outcomes that are final.
    fn append_run(
        &mut self,
        batches: &[PreparedBatch<'_>],
        now: Timestamp,
        (run, outcomes): (&mut Run, &mut Vec<Appended>),
    ) -> Result<(), (usize, AppendError)> {
        self.undo.clear();
        run.begin(&self.shared.active().state());
        let mut settled = 0;
        for (at, batch) in batches.iter().enumerate() {
            if let Some(outcome) = self.turned_away(&batch.head, now) {
                outcomes.push(outcome);
                continue;
            }
            if self.must_roll(run, &batch.head, now) {
                self.write(batches, run, now).map_err(|error| (settled, error))?;
                settled = outcomes.len();
                self.roll(now).map_err(|error| (settled, error))?;
                run.begin(&self.shared.active().state());
            }
            outcomes.push(self.place((at, batch), now, run));
        }
        self.write(batches, run, now).map_err(|error| (settled, error))
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

    fn must_roll(&self, run: &Run, head: &BatchHead, now: Timestamp) -> bool {
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
    fn place(&mut self, (at, batch): (usize, &PreparedBatch<'_>), now: Timestamp, run: &mut Run) -> Appended {
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
        run.heads.push((head.encode(), at));
        run.position += head.total_bytes() as u64;
        run.next = head.next_offset();
        Appended::Stored { base_offset: head.base_offset, timestamp }
    }

    fn write(&mut self, batches: &[PreparedBatch<'_>], run: &mut Run, now: Timestamp) -> Result<(), AppendError> {
        let Some(first) = run.placed.first() else { return Ok(()) };
        let active = self.shared.active();
        let written = active.log().and_then(|log| write_run(&self.shared.files, &log, run, batches));
        if let Err(error) = written {
            return Err(self.undo_write(run.start, error));
        }
        if self.epochs.assign(self.epoch, first.head.base_offset)
            && let Err(error) = self.write_epochs(Persist::Lazily)
        {
            tracing::warn!(dir = %self.shared.dir.display(), %error, "could not write the leader epochs");
        }
        active.appended(&run.placed, now, &mut self.entries);
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

/// Writes a run: heads and bodies by turns, without copying, so many at a time as the stack holds pointers for.
fn write_run<F: Files>(files: &F, log: &F::Handle, run: &Run, batches: &[PreparedBatch<'_>]) -> std::io::Result<()> {
    let mut position = run.start;
    for heads in run.heads.chunks(BATCHES_PER_WRITE) {
        let mut slices = [IoSlice::new(&[]); 2 * BATCHES_PER_WRITE];
        let mut bytes = 0;
        for ((head, at), [first, second]) in heads.iter().zip(slices.as_chunks_mut().0) {
            let body = batches.get(*at).map(|batch| batch.body).unwrap_or_default();
            (*first, *second) = (IoSlice::new(head), IoSlice::new(body));
            bytes += (head.len() + body.len()) as u64;
        }
        let (slices, _) = slices.split_at_mut(2 * heads.len());
        files.write(log, position, slices)?;
        position += bytes;
    }
    Ok(())
}
