//! The way of batches into a log: appends of one partition are combined, and nobody waits for another's write.
//!
//! Who finds nobody writing writes at once, on its own thread. Who finds somebody writing leaves its batch in the queue and
//! goes on; the writer takes all that came meanwhile and writes it with one call. After a few rounds the rest goes to another
//! thread, so that the writer's own client gets its reply. While the directory stalls (see [`super::flusher`]), all writing
//! is done on threads that may wait.
//!
//! Order: batches get their offsets in the order in which they were handed in. Between a write and the log's state there is
//! no await.

use std::sync::Arc;

use broker_log::{Appended as Outcome, PreparedBatch};
use broker_model::{ErrorCode, Timestamp};
use broker_records::{BATCH_HEAD_BYTES, BatchHead};
use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::open::Open;
use super::partition::Partition;
use super::produce::{Appended, ProduceError};
use super::waiters::{Bell, Caller};
use crate::clock;

/// Rounds that a writer writes for others before it hands on.
const ROUNDS: usize = 4;
/// Batches that are written with one call.
const BATCHES_MAX: usize = 64;

/// What a queued append becomes.
#[derive(Debug)]
pub struct Promise {
    outcome: Mutex<Option<Result<Appended, ProduceError>>>,
    bell: Arc<Bell>,
}

impl Promise {
    /// The outcome, once it is there. It is given once.
    #[must_use]
    pub fn take(&self) -> Option<Result<Appended, ProduceError>> {
        self.outcome.lock().take()
    }
}

/// An append that was handed in.
#[derive(Debug)]
pub enum Submitted {
    /// It is written.
    Done(Appended),
    /// Somebody writes it soon, and rings.
    Queued(Arc<Promise>),
}

/// A validated batch.
#[derive(Debug)]
struct Batch {
    head: BatchHead,
    records: Bytes,
}

impl Batch {
    fn prepared(&self) -> PreparedBatch<'_> {
        PreparedBatch { head: self.head, body: self.records.get(BATCH_HEAD_BYTES..).unwrap_or_default() }
    }
}

/// A batch in the queue. Its promise is always kept: a job that is dropped unwritten (a panic) keeps it with an error.
#[derive(Debug)]
struct Job {
    batch: Batch,
    promise: Option<Arc<Promise>>,
}

impl Job {
    fn end(&mut self, outcome: Result<Appended, ProduceError>) {
        if let Some(promise) = self.promise.take() {
            *promise.outcome.lock() = Some(outcome);
            promise.bell.ring();
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.end(Err(ErrorCode::UnknownServerError.into()));
    }
}

/// The batches of one partition that wait for the one who writes.
#[derive(Debug, Default)]
pub(super) struct AppendQueue {
    state: Mutex<State>,
    /// Reused by whoever writes.
    outcomes: Mutex<Vec<Outcome>>,
}

#[derive(Debug, Default)]
struct State {
    has_writer: bool,
    jobs: Vec<Job>,
}

impl Partition {
    /// Hands in a validated batch.
    pub(super) fn submit(
        self: &Arc<Self>,
        open: &Open,
        (head, records): (BatchHead, &Bytes),
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Submitted, ProduceError> {
        let batch = Batch { head, records: records.clone() };
        let is_stalling = self.disk.flusher().is_stalling(now);
        let mut state = self.queue.state.lock();
        if state.has_writer || is_stalling {
            let promise = Arc::new(Promise { outcome: Mutex::new(None), bell: caller.bell.clone() });
            state.jobs.push(Job { batch, promise: Some(promise.clone()) });
            if !state.has_writer {
                state.has_writer = true;
                self.write_elsewhere();
            }
            return Ok(Submitted::Queued(promise));
        }
        state.has_writer = true;
        drop(state);
        let writer = Writer { partition: self };
        let written = self.write_one(open, &batch, now);
        writer.write_rest(ROUNDS);
        if self.wants_sync(open) {
            self.disk.flusher().sync_or_ask(self);
        }
        written.map(Submitted::Done)
    }

    fn write_elsewhere(self: &Arc<Self>) {
        let partition = self.clone();
        tokio::task::spawn_blocking(move || Writer { partition: &partition }.write_rest(usize::MAX));
    }

    fn write_one(self: &Arc<Self>, open: &Open, batch: &Batch, now: Timestamp) -> Result<Appended, ProduceError> {
        let mut outcomes = self.queue.outcomes.lock();
        let written = open.writer.lock().append_into(&[batch.prepared()], now, &mut outcomes);
        self.disk.flusher().wrote(now, clock::now());
        written.map_err(|error| self.append_failed(&error))?;
        let outcome = outcomes.first().copied().expect("one batch was given");
        self.appended(open, &batch.head, outcome, now)
    }

    /// Writes some of the queue; each gets its outcome.
    fn write_jobs(self: &Arc<Self>, open: &Open, jobs: &mut [Job]) {
        let now = clock::now();
        let mut outcomes = self.queue.outcomes.lock();
        let written = {
            let batches: SmallVec<[PreparedBatch<'_>; 16]> = jobs.iter().map(|job| job.batch.prepared()).collect();
            open.writer.lock().append_into(&batches, now, &mut outcomes)
        };
        self.disk.flusher().wrote(now, clock::now());
        // What was written before an error has its outcome, all that follows has none.
        let mut outcomes = outcomes.iter();
        let failed = written.map_err(|error| self.append_failed(&error)).err();
        for job in jobs {
            let outcome = match (outcomes.next(), &failed) {
                (Some(outcome), _) => self.appended(open, &job.batch.head, *outcome, now),
                (None, Some(error)) => Err(error.clone()),
                (None, None) => Err(ErrorCode::UnknownServerError.into()),
            };
            job.end(outcome);
        }
        if self.wants_sync(open) {
            self.ask_for_sync();
        }
    }
}

/// The one who writes. Should it panic, those who wait for it hear of an error, and another may write.
struct Writer<'a> {
    partition: &'a Arc<Partition>,
}

impl Writer<'_> {
    /// Writes what came meanwhile, for so many rounds; then somebody else does.
    fn write_rest(self, rounds: usize) {
        let partition = self.partition;
        for _ in 0..rounds {
            let mut jobs: SmallVec<[Job; 16]> = SmallVec::new();
            {
                let mut state = partition.queue.state.lock();
                if state.jobs.is_empty() {
                    state.has_writer = false;
                    // An idle partition keeps no memory for a queue that was long once.
                    if state.jobs.capacity() > BATCHES_MAX {
                        state.jobs = Vec::new();
                    }
                    std::mem::forget(self);
                    return;
                }
                let count = state.jobs.len().min(BATCHES_MAX);
                jobs.extend(state.jobs.drain(..count));
            }
            match partition.open() {
                Ok(open) => partition.write_jobs(open, &mut jobs),
                Err(error) => jobs.iter_mut().for_each(|job| job.end(Err(error.into()))),
            }
        }
        partition.write_elsewhere();
        std::mem::forget(self);
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        let abandoned = {
            let mut state = self.partition.queue.state.lock();
            state.has_writer = false;
            std::mem::take(&mut state.jobs)
        };
        // Outside of the lock: each rings a bell.
        drop(abandoned);
    }
}
