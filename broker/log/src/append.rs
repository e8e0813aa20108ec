//! Appending batches: sequence checks, offsets, one write, indexes, ends.
//!
//! The order is: decide, give offsets, write, then let readers see. All batches of a call that fit the segment leave
//! in one pwritev(2) for every 32, each as its head, which is made anew, and its body, which is never copied. What a failed write
//! began is undone: producers as before, the file cut back.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker_model::{Offset, Timestamp};
use broker_partition::{Decision, SequenceError};
use broker_records::{BATCH_HEAD_BYTES, BatchHead};

use crate::config::AppendTime;
use crate::error::AppendError;
use crate::files::{Change, Files, Persist};
use crate::index::{NewEntries, OFFSET_ENTRY_BYTES, Progress, TIME_ENTRY_BYTES};
use crate::log::Log;
use crate::names;
use crate::segment::{Segment, State};
use crate::walk::Placed;

/// Batches that one pwritev(2) takes.
const BATCHES_PER_WRITE: usize = 32;
/// Batches for which a log keeps memory while it is idle.
const BATCHES_KEPT: usize = 4;

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

/// Batches that have their places but are not written yet. A log keeps its vectors, so that an append asks for no
/// memory.
struct Run<F: Files> {
    /// The segment that they are for.
    segment: Arc<Segment<F>>,
    /// The segment's length before them.
    start: u64,
    /// What the segment's state is with them.
    state: State,
    buffers: Buffers,
}

/// See [`Run`].
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    placed: Vec<Placed>,
    /// What they add to the indexes.
    entries: NewEntries,
    /// For each of `placed`: its head as bytes, and which of the call's batches it is.
    heads: Vec<([u8; BATCH_HEAD_BYTES], usize)>,
}

impl Buffers {
    fn clear(&mut self) {
        self.placed.clear();
        self.entries.clear();
        self.heads.clear();
    }

    /// Gives memory back that only a large append needed.
    pub(crate) fn shrink(&mut self) {
        self.clear();
        self.placed.shrink_to(BATCHES_KEPT);
        self.heads.shrink_to(BATCHES_KEPT);
        self.entries = NewEntries::default();
    }
}

impl<F: Files> Run<F> {
    fn new(segment: Arc<Segment<F>>, buffers: Buffers) -> Run<F> {
        let state = segment.state();
        let mut run = Run { segment, start: state.bytes, state, buffers };
        run.buffers.clear();
        run
    }

    fn go_on_in(&mut self, segment: Arc<Segment<F>>) {
        self.state = segment.state();
        (self.segment, self.start) = (segment, self.state.bytes);
        self.buffers.clear();
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
        let mut run = Run::new(self.shared.active(), std::mem::take(&mut self.buffers));
        let appended = self.append_run(batches, now, (&mut run, &mut *outcomes));
        self.buffers = run.buffers;
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
        (run, outcomes): (&mut Run<F>, &mut Vec<Appended>),
    ) -> Result<(), (usize, AppendError)> {
        self.undo.clear();
        let mut settled = 0;
        for (at, batch) in batches.iter().enumerate() {
            if let Some(outcome) = self.turned_away(&batch.head, now) {
                outcomes.push(outcome);
                continue;
            }
            if self.must_roll(run, &batch.head, now) {
                self.write(batches, run).map_err(|error| (settled, error))?;
                settled = outcomes.len();
                self.roll(now).map_err(|error| (settled, error))?;
                run.go_on_in(self.shared.active());
            }
            outcomes.push(self.place((at, batch), now, run));
        }
        self.write(batches, run).map_err(|error| (settled, error))
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

    fn must_roll(&self, run: &Run<F>, head: &BatchHead, now: Timestamp) -> bool {
        let state = &run.state;
        if state.bytes == 0 {
            return false;
        }
        let last_offset = state.end.plus(i64::from(head.last_offset_delta));
        let age_ms = match state.first_timestamp {
            Some(first) if first.0 >= 0 && head.max_timestamp.0 >= 0 => head.max_timestamp.0.saturating_sub(first.0),
            _ => now.0.saturating_sub(state.created.0),
        };
        state.bytes + head.total_bytes() as u64 > self.segment_bytes()
            || last_offset.0 - run.segment.base.0 > i64::from(i32::MAX)
            || age_ms > self.config.segment_ms.saturating_sub(self.jitter_ms(run.segment.base))
            || state.progress.is_some_and(|progress| self.indexes_are_full(&progress))
    }

    /// Kafka keeps room for the last entry of the time index.
    fn indexes_are_full(&self, progress: &Progress) -> bool {
        let bytes = self.config.segment_index_bytes;
        u64::from(progress.offset_entries) >= bytes / OFFSET_ENTRY_BYTES as u64
            || u64::from(progress.time_entries) + 1 >= bytes / TIME_ENTRY_BYTES as u64
    }

    /// By how much earlier this segment is rolled: the same at any time, another for other logs and segments.
    fn jitter_ms(&self, base: Offset) -> i64 {
        let most = self.config.segment_jitter_ms.min(self.config.segment_ms);
        if most <= 0 {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        (self.shared.dir(), base).hash(&mut hasher);
        (hasher.finish() >> 1) as i64 % most
    }

    /// Gives a batch its place, and tells the producer state, tentatively.
    fn place(&mut self, (at, batch): (usize, &PreparedBatch<'_>), now: Timestamp, run: &mut Run<F>) -> Appended {
        let mut head = batch.head;
        head.base_offset = run.state.end;
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
        let Run { state, buffers, .. } = run;
        if let Some(progress) = &mut state.progress {
            progress.step(&head, state.bytes, &mut buffers.entries);
        }
        buffers.placed.push(Placed { head, position: state.bytes });
        buffers.heads.push((head.encode(), at));
        state.first_timestamp = state.first_timestamp.or(Some(head.max_timestamp));
        state.last_append = now;
        state.bytes += head.total_bytes() as u64;
        state.end = head.next_offset();
        Appended::Stored { base_offset: head.base_offset, timestamp }
    }

    fn write(&mut self, batches: &[PreparedBatch<'_>], run: &mut Run<F>) -> Result<(), AppendError> {
        let Some(first) = run.buffers.placed.first() else { return Ok(()) };
        let written = run.segment.log().and_then(|log| write_run(self.shared.files(), &log, run, batches));
        if let Err(error) = written {
            return Err(self.undo_write(run, error));
        }
        if self.epochs.assign(self.epoch, first.head.base_offset)
            && let Err(error) = self.write_epochs(Persist::Lazily)
        {
            tracing::warn!(dir = %self.shared.dir().display(), %error, "could not write the leader epochs");
        }
        run.segment.appended(run.state, &run.buffers.placed, &run.buffers.entries);
        self.shared.ends.write().appended(run.state.end);
        self.undo.clear();
        Ok(())
    }

    /// A write failed: producers and file are put back.
    fn undo_write(&mut self, run: &Run<F>, error: std::io::Error) -> AppendError {
        for (producer, before) in self.undo.drain(..).rev() {
            self.producers.restore(producer, before);
        }
        let path = run.segment.path(names::LOG);
        run.segment.was_cut.store(true, Ordering::Release);
        if let Err(error) = self.shared.files().change(Change::Resize(&path, run.start)) {
            self.shared.failed(&error);
        }
        self.failed(error)
    }
}

/// Writes a run: heads and bodies by turns, without copying, so many at a time as the stack holds pointers for.
fn write_run<F: Files>(files: &F, log: &F::Handle, run: &Run<F>, batches: &[PreparedBatch<'_>]) -> std::io::Result<()> {
    let mut position = run.start;
    for heads in run.buffers.heads.chunks(BATCHES_PER_WRITE) {
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
