//! Joins a machine and a log: steps decide on the speculative image, outputs leave in order once committed.
//!
//! - Two images: `committed`, and `speculative` = committed + the batches in flight. Steps decide on the second.
//! - Every output, also of a read or a rejection, waits for the last batch that was in flight when it was decided, and
//!   leaves in order. Otherwise a client sees what a crash takes back.
//! - Refused: nothing was written. This step and all behind it fall; the machine gets an ordinary input, the callers an
//!   error, nothing is reloaded. Lost: all callers hear [`Refusal::NotLeader`], and only [`Driver::reload`] under a new
//!   epoch goes on. That is the one recovery path, the same as at the start.
//! - The log's dirt is bounded by [`Driver::compact_if_dirty`].
//!
//! How to own one: call [`Driver::handle`] for each request, [`Driver::tick`] when [`Driver::next_deadline`] has come,
//! [`Driver::pump`] when the log has news, and after each of them send what [`Driver::drain`] gives. When
//! [`Driver::is_leading`] turns false, take a new epoch and [`Driver::reload`].

use std::collections::VecDeque;

use broker_model::machine::{CallId, Effects, Input, Machine, Record, RecordError, Refusal, Violation};
use broker_model::{LeaderEpoch, Offset, Timestamp};

use crate::propose::{Event, LogError, LostReason, Proposal, Propose, Replay, Ticket};
use crate::snapshot::{self, Image, SnapshotError};

/// The largest batch, in bytes of keys and values. What is larger is refused with [`Refusal::TooLarge`].
pub const BATCH_BYTES_MAX: usize = 16 << 20;
/// Keys and values of one batch of a compaction, unless one record alone is larger.
pub const COMPACTION_BATCH_BYTES: usize = 1 << 20;
/// Bytes of log beyond the state itself, after which the state is written anew and the log start advances.
pub const DIRT_BYTES_MAX: u64 = 64 << 20;

const _: () = assert!(COMPACTION_BATCH_BYTES < BATCH_BYTES_MAX);
const _: () = assert!((BATCH_BYTES_MAX as u64) < DIRT_BYTES_MAX);

/// The machine's state could not be had from its log. The caller may try again with a newer epoch after
/// [`LogError::Deposed`]; anything else a human must look at.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The snapshot cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The whole log breaks an invariant.
    #[error(transparent)]
    Violation(#[from] Violation),
}

/// An output, or why there is none.
pub type Reply<O> = Result<O, Refusal>;

struct InFlight<O> {
    ticket: Ticket,
    items: Vec<(Offset, Record)>,
    purpose: Purpose,
    own: Vec<(CallId, O)>,
    /// Of later steps without a batch, decided as if this one were committed.
    behind: Vec<(CallId, Reply<O>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// The machine decided it, and hears what became of it.
    Step,
    /// A part of the state, written anew. With the last part the log may be trimmed to the first.
    Compaction { trim_to: Option<Offset> },
}

struct Leading<M: Machine> {
    epoch: LeaderEpoch,
    soft: M::Soft,
    committed: Image<M::Hard>,
    speculative: Image<M::Hard>,
    in_flight: VecDeque<InFlight<M::Output>>,
}

/// One machine over one log. See the module for how to own it.
pub struct Driver<M: Machine, L: Propose> {
    machine: M,
    log: L,
    leading: Option<Leading<M>>,
    outbox: Vec<(CallId, Reply<M::Output>)>,
    /// The log's size after the last compaction, or where one failed: dirt is counted from here.
    clean_bytes: u64,
    is_compacting: bool,
}

impl<M: Machine, L: Propose> Driver<M, L> {
    /// Leads the log under `epoch` and brings the machine to its state.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(machine: M, log: L, epoch: LeaderEpoch, now: Timestamp) -> Result<Self, LoadError> {
        let mut driver =
            Driver { machine, log, leading: None, outbox: Vec::new(), clean_bytes: 0, is_compacting: false };
        driver.reload(epoch, now)?;
        Ok(driver)
    }

    /// Drops the machine's state (callers who wait hear [`Refusal::NotLeader`]) and finds what the log kept.
    ///
    /// # Errors
    /// See [`LoadError`]. The driver then does not lead, and can be reloaded again.
    pub fn reload(&mut self, epoch: LeaderEpoch, now: Timestamp) -> Result<(), LoadError> {
        self.fail_all();
        self.clean_bytes = 0;
        let (machine, mut image, mut failed) = (&self.machine, Image::<M::Hard>::default(), None);
        let end = self.log.lead(epoch, &mut |replay| {
            if failed.is_none() {
                failed = replay_one(machine, &mut image, replay).err();
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        image.end = end;
        self.machine.check(&image.hard)?;
        let soft = self.machine.recover(&image.hard, now);
        let (committed, speculative) = (image.clone(), image);
        self.leading = Some(Leading { epoch, soft, committed, speculative, in_flight: VecDeque::new() });
        Ok(())
    }

    /// Decides one input. Replies come by [`Driver::drain`], maybe at once.
    pub fn handle(&mut self, now: Timestamp, input: Input<M::Request>) {
        self.step(now, input);
        self.pump(now);
    }

    /// Gives the machine its tick, if one is due.
    pub fn tick(&mut self, now: Timestamp) {
        if self.next_deadline().is_some_and(|due| due <= now) {
            self.handle(now, Input::Tick);
        }
    }

    /// Takes the log's news. Needed only for logs that decide later than `propose`.
    pub fn pump(&mut self, now: Timestamp) {
        while let Some(event) = self.log.poll() {
            match event {
                Event::Committed(ticket, at) => self.on_committed(now, ticket, at),
                Event::Refused(ticket, why) => self.on_refused(now, ticket, why),
                Event::Lost(reason) => self.on_lost(reason),
                Event::Install(_) => self.on_lost(LostReason::Deposed),
            }
        }
    }

    /// The replies that may leave, in order.
    pub fn drain(&mut self) -> Vec<(CallId, Reply<M::Output>)> {
        std::mem::take(&mut self.outbox)
    }

    /// When the machine wants [`Driver::tick`].
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let leading = self.leading.as_ref()?;
        self.machine.next_deadline(&leading.speculative.hard, &leading.soft)
    }

    /// False after leadership was lost or an append became indeterminate.
    pub fn is_leading(&self) -> bool {
        self.leading.is_some()
    }

    /// What is committed, for publishing; `None` while this node does not lead.
    pub fn committed(&self) -> Option<&Image<M::Hard>> {
        self.leading.as_ref().map(|leading| &leading.committed)
    }

    /// What steps decide on: `committed` and the batches in flight. For simulators; what is told to anybody else must be
    /// committed.
    pub fn speculative(&self) -> Option<&Image<M::Hard>> {
        self.leading.as_ref().map(|leading| &leading.speculative)
    }

    /// The machine with its settings.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The log beneath.
    pub fn log(&self) -> &L {
        &self.log
    }

    /// The log beneath, for its owner and for tests.
    pub fn log_mut(&mut self) -> &mut L {
        &mut self.log
    }

    /// The committed state as a snapshot; `None` while this node does not lead.
    pub fn snapshot(&self) -> Option<Vec<u8>> {
        self.committed().map(|image| snapshot::encode(&self.machine, image))
    }

    /// Past `dirt_bytes_max` ([`DIRT_BYTES_MAX`]) of dirt writes the whole state as records and, when they are
    /// committed, advances the log start to the first of them. A crash in between is harmless: the records say what
    /// already holds. Call it now and then, when the machine is idle.
    pub fn compact_if_dirty(&mut self, now: Timestamp, dirt_bytes_max: u64) {
        if self.log.bytes().saturating_sub(self.clean_bytes) <= dirt_bytes_max || self.is_compacting {
            return;
        }
        let Some(leading) = &self.leading else { return };
        let records = self.machine.records(&leading.speculative.hard);
        let start = leading.speculative.end;
        let mut chunks = chunked(records).peekable();
        if chunks.peek().is_none() {
            return;
        }
        self.is_compacting = true;
        while let Some(chunk) = chunks.next() {
            let trim_to = chunks.peek().is_none().then_some(start);
            self.append(now, chunk, Vec::new(), Purpose::Compaction { trim_to });
        }
        self.pump(now);
    }

    fn step(&mut self, now: Timestamp, input: Input<M::Request>) {
        let Some(leading) = &mut self.leading else {
            if let Input::Request(call, _) = input {
                self.outbox.push((call, Err(Refusal::NotLeader)));
            }
            return;
        };
        let hears_refusal = !matches!(input, Input::Refused(..));
        let Effects { batch, outputs } = self.machine.step(&leading.speculative.hard, &mut leading.soft, now, input);
        if batch.is_empty() {
            let outputs = outputs.into_iter().map(|(call, output)| (call, Ok(output)));
            release(&mut leading.in_flight, &mut self.outbox, outputs);
        } else if batch.iter().map(Record::bytes).sum::<usize>() > BATCH_BYTES_MAX {
            let outputs = outputs.into_iter().map(|(call, _)| (call, Err(Refusal::TooLarge)));
            release(&mut leading.in_flight, &mut self.outbox, outputs);
            let items = numbered(leading.speculative.end, batch);
            assert!(hears_refusal, "a machine answers a refusal with a smaller batch");
            self.step(now, Input::Refused(Refusal::TooLarge, items));
        } else {
            self.append(now, batch, outputs, Purpose::Step);
        }
    }

    fn append(&mut self, now: Timestamp, batch: Vec<Record>, own: Vec<(CallId, M::Output)>, purpose: Purpose) {
        let leading = self.leading.as_mut().expect("only who leads decides");
        let expected_end = leading.speculative.end;
        let proposal = Proposal { expected_end, epoch: leading.epoch, now, batch: &batch };
        let ticket = self.log.propose(proposal);
        let items = numbered(expected_end, batch);
        apply_all(&self.machine, &mut leading.speculative, &items);
        leading.in_flight.push_back(InFlight { ticket, items, purpose, own, behind: Vec::new() });
    }

    fn on_committed(&mut self, now: Timestamp, ticket: Ticket, at: Offset) {
        let Some(leading) = &mut self.leading else { return };
        if leading.in_flight.front().is_none_or(|first| ticket < first.ticket) {
            return; // Of an epoch before this one.
        }
        let first = leading.in_flight.pop_front().expect("it was seen");
        assert_eq!((ticket, at), (first.ticket, leading.committed.end), "the log reports in order");
        apply_all(&self.machine, &mut leading.committed, &first.items);
        self.outbox.extend(first.own.into_iter().map(|(call, output)| (call, Ok(output))));
        self.outbox.extend(first.behind);
        match first.purpose {
            Purpose::Step => self.step(now, Input::Appended(first.items)),
            Purpose::Compaction { trim_to: None } => {}
            Purpose::Compaction { trim_to: Some(start) } => self.finish_compaction(start),
        }
    }

    fn finish_compaction(&mut self, start: Offset) {
        let epoch = self.leading.as_ref().expect("the caller leads").epoch;
        let before = self.log.bytes();
        if let Err(error) = self.log.trim(epoch, start) {
            tracing::warn!(%error, %start, "log start did not advance; the space stays used until the next try");
        }
        self.is_compacting = false;
        self.clean_bytes = self.log.bytes();
        tracing::debug!(%start, before, after = self.clean_bytes, "state written anew");
    }

    fn on_refused(&mut self, now: Timestamp, ticket: Ticket, why: Refusal) {
        let Some(leading) = &mut self.leading else { return };
        if leading.in_flight.front().is_none_or(|first| ticket < first.ticket) {
            return; // It fell with an earlier one.
        }
        assert_eq!(Some(ticket), leading.in_flight.front().map(|first| first.ticket), "the log reports in order");
        if why == Refusal::Conflict || why == Refusal::NotLeader {
            // Nothing of ours stands before it, so another wrote: what is committed is not what we know.
            return self.on_lost(LostReason::Deposed);
        }
        leading.speculative = leading.committed.clone();
        for fallen in std::mem::take(&mut leading.in_flight) {
            let own = if fallen.ticket == ticket { why } else { Refusal::Conflict };
            self.outbox.extend(fallen.own.into_iter().map(|(call, _)| (call, Err(own))));
            self.outbox.extend(fallen.behind.into_iter().map(|(call, _)| (call, Err(Refusal::Conflict))));
            match fallen.purpose {
                Purpose::Step => self.step(now, Input::Refused(own, fallen.items)),
                Purpose::Compaction { .. } => {
                    // Tried again only after more dirt.
                    self.is_compacting = false;
                    self.clean_bytes = self.log.bytes();
                }
            }
        }
    }

    fn on_lost(&mut self, reason: LostReason) {
        if self.leading.is_some() {
            tracing::warn!(?reason, "coordinator state dropped; it comes back from its log");
        }
        self.fail_all();
    }

    /// Ends the machine: all who wait, in flight or within it, hear [`Refusal::NotLeader`].
    pub fn fail_all(&mut self) {
        self.is_compacting = false;
        let Some(leading) = self.leading.take() else { return };
        let mut calls = Vec::new();
        for fallen in leading.in_flight {
            calls.extend(fallen.own.into_iter().map(|(call, _)| call));
            calls.extend(fallen.behind.into_iter().map(|(call, _)| call));
        }
        calls.extend(self.machine.callers(leading.soft));
        self.outbox.extend(calls.into_iter().map(|call| (call, Err(Refusal::NotLeader))));
    }
}

/// Lets outputs go at once or, while something is in flight, behind the last of it.
fn release<O>(
    in_flight: &mut VecDeque<InFlight<O>>,
    outbox: &mut Vec<(CallId, Reply<O>)>,
    outputs: impl Iterator<Item = (CallId, Reply<O>)>,
) {
    match in_flight.back_mut() {
        Some(last) => last.behind.extend(outputs),
        None => outbox.extend(outputs),
    }
}

fn replay_one<M: Machine>(machine: &M, image: &mut Image<M::Hard>, replay: Replay) -> Result<(), LoadError> {
    match replay {
        Replay::Snapshot(bytes) => *image = snapshot::decode(machine, &bytes)?,
        Replay::Record(at, record) => {
            machine.apply(&mut image.hard, at, &record)?;
            image.end = at.next();
        }
    }
    Ok(())
}

fn apply_all<M: Machine>(machine: &M, image: &mut Image<M::Hard>, items: &[(Offset, Record)]) {
    for (at, record) in items {
        machine.apply(&mut image.hard, *at, record).expect("a machine can read what it wrote");
        image.end = at.next();
    }
    // The whole state each time is too dear for production, where each load checks it.
    if cfg!(debug_assertions) {
        machine.check(&image.hard).expect("a step keeps the invariants");
    }
}

fn numbered(from: Offset, batch: Vec<Record>) -> Vec<(Offset, Record)> {
    (from.0..).map(Offset).zip(batch).collect()
}

/// The records in order, in batches of about [`COMPACTION_BATCH_BYTES`].
fn chunked(records: Vec<Record>) -> impl Iterator<Item = Vec<Record>> {
    let mut records = records.into_iter().peekable();
    std::iter::from_fn(move || {
        let (mut chunk, mut bytes) = (vec![records.next()?], 0);
        bytes += chunk.first().map_or(0, Record::bytes);
        while let Some(next) = records.next_if(|next| bytes + next.bytes() <= COMPACTION_BATCH_BYTES) {
            bytes += next.bytes();
            chunk.push(next);
        }
        Some(chunk)
    })
}
