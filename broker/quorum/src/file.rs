//! The single-node log: [`Propose`] over one partition's files.
//!
//! One step is one record batch (format v2, not compressed), so it is whole or not there at all, also across a crash: a
//! batch has a CRC, and a torn tail is cut when the log is opened. Where [`Flush::BeforeCommit`] holds (metadata; topics
//! with `flush.messages=1`) a batch is synced before it is told to be committed, and `lead` syncs before it believes.
//!
//! The log decides at once: a verdict is there when `propose` returns. A full disk refuses; any other failure of a write
//! or sync makes the append indeterminate and, as the log beneath goes offline, final.
//!
//! A damaged batch makes the load fail where nothing may be missing (metadata), and is left out, loudly, where an older
//! value of its keys is better than none (groups: a committed offset then goes back): see [`Damage`].
//!
//! Not here: the checkpoint of the log's start, which belongs to the log directory. If it is lost, more is replayed than
//! must be, which is harmless (see the contract).

use std::collections::VecDeque;
use std::sync::Arc;

use broker_log::{Appended, DiskFiles, Files, Log, PreparedBatch};
use broker_model::machine::{Record, Refusal};
use broker_model::{LeaderEpoch, Offset, Timestamp};
use broker_records::{BATCH_HEAD_BYTES, BatchBuilder, BatchError, BatchHead, Codec};
use parking_lot::Mutex;

use crate::driver::BATCH_BYTES_MAX;
use crate::propose::{Event, LogError, LostReason, Proposal, Propose, Replay, Ticket};

/// A batch that decodes to more is damaged: records cost at most some 30 bytes each beyond keys and values.
const DECODED_BYTES_MAX: usize = 4 * BATCH_BYTES_MAX;

/// What must have happened before a batch counts as committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// It was written: it survives the process.
    Never,
    /// It was synced: it survives the machine.
    BeforeCommit,
}

/// What is done with records that cannot be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The log cannot be loaded.
    Refuse,
    /// They are left out: older records of their keys hold.
    LeaveOut,
}

/// A log that this process alone keeps. See the module.
pub struct FileLog<F: Files = DiskFiles> {
    log: Arc<Mutex<Log<F>>>,
    flush: Flush,
    damage: Damage,
    epoch: LeaderEpoch,
    events: VecDeque<Event>,
    next_ticket: u64,
    standing: Standing,
    now: Timestamp,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Leads,
    /// `lead` was not called yet, or [`Event::Lost`] was told: nothing is taken.
    Lost,
}

impl<F: Files> FileLog<F> {
    /// A log over these files, which others may read meanwhile. Call `lead` first.
    pub fn new(log: Arc<Mutex<Log<F>>>, flush: Flush) -> FileLog<F> {
        let (events, standing, damage) = (VecDeque::new(), Standing::Lost, Damage::Refuse);
        FileLog { log, flush, damage, epoch: LeaderEpoch(-1), events, next_ticket: 0, standing, now: Timestamp(0) }
    }

    /// The same, with another rule for records that cannot be read.
    #[must_use]
    pub fn with_damage(self, damage: Damage) -> FileLog<F> {
        FileLog { damage, ..self }
    }

    /// An epoch beyond all that ever led.
    pub fn next_epoch(&self) -> LeaderEpoch {
        let latest = self.log.lock().epochs().latest();
        LeaderEpoch(latest.map_or(0, |latest| latest.0 + 1))
    }

    /// The files beneath.
    pub fn shared(&self) -> &Arc<Mutex<Log<F>>> {
        &self.log
    }

    fn judge(&self, proposal: Proposal<'_>) -> Verdict {
        let mut log = self.log.lock();
        if proposal.epoch != self.epoch || log.epochs().latest() != Some(self.epoch) {
            return Verdict::Refused(Refusal::NotLeader);
        }
        if log.end() != proposal.expected_end {
            return Verdict::Refused(Refusal::Conflict);
        }
        let bytes = build(&proposal);
        let Ok(head) = BatchHead::parse(&bytes) else { return Verdict::Refused(Refusal::TooLarge) };
        let body = bytes.get(BATCH_HEAD_BYTES..).unwrap_or_default();
        match log.append(&[PreparedBatch { head, body }], proposal.now) {
            Ok(appended) => match appended.first() {
                Some(Appended::Stored { base_offset, .. }) => self.commit(&log, *base_offset),
                Some(Appended::Refused(_)) => Verdict::Refused(Refusal::TooLarge),
                Some(Appended::Duplicate { .. }) | None => Verdict::Lost,
            },
            Err(error) if error.kind() == broker_log::error::ErrorKind::Full => {
                tracing::warn!(%error, "a coordinator's batch is refused");
                Verdict::Refused(Refusal::Unavailable)
            }
            Err(error) => {
                tracing::error!(%error, "nobody can tell what became of a coordinator's batch");
                Verdict::Lost
            }
        }
    }

    fn commit(&self, log: &Log<F>, at: Offset) -> Verdict {
        match self.flush {
            Flush::Never => Verdict::Committed(at),
            Flush::BeforeCommit => match log.flush() {
                Ok(_) => Verdict::Committed(at),
                Err(error) => {
                    tracing::error!(%error, "nobody can tell what became of a coordinator's batch");
                    Verdict::Lost
                }
            },
        }
    }
}

enum Verdict {
    Committed(Offset),
    Refused(Refusal),
    Lost,
}

impl<F: Files> Propose for FileLog<F> {
    fn lead(&mut self, epoch: LeaderEpoch, replay: &mut dyn FnMut(Replay)) -> Result<Offset, LogError> {
        self.events.clear();
        self.standing = Standing::Lost;
        let mut log = self.log.lock();
        if log.epochs().latest().is_some_and(|latest| latest > epoch) {
            return Err(LogError::Deposed(epoch));
        }
        log.begin_epoch(epoch).map_err(storage)?;
        if self.flush == Flush::BeforeCommit {
            log.flush().map_err(storage)?;
        }
        let end = log.end();
        for (from, to) in readable(&log, self.damage) {
            for part in log.map(from, to).map_err(storage)? {
                replay_batches(&part, from, self.damage, replay)?;
            }
        }
        self.epoch = epoch;
        self.standing = Standing::Leads;
        Ok(end)
    }

    fn propose(&mut self, proposal: Proposal<'_>) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.now = proposal.now;
        if self.standing == Standing::Lost {
            return ticket; // What was told ends this one too.
        }
        let event = match self.judge(proposal) {
            Verdict::Committed(at) => Event::Committed(ticket, at),
            Verdict::Refused(why) => Event::Refused(ticket, why),
            Verdict::Lost => {
                self.standing = Standing::Lost;
                Event::Lost(LostReason::Indeterminate)
            }
        };
        self.events.push_back(event);
        ticket
    }

    fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Also closes the segment, so that what lies in it goes with the next trim.
    fn trim(&mut self, epoch: LeaderEpoch, start: Offset) -> Result<(), LogError> {
        let mut log = self.log.lock();
        if epoch != self.epoch || log.epochs().latest() != Some(epoch) {
            return Err(LogError::Deposed(epoch));
        }
        // The state at the start must be safe before what it replaces is gone.
        log.flush().map_err(storage)?;
        log.roll(self.now).map_err(storage)?;
        log.advance_log_start(start).map_err(storage)
    }

    fn bytes(&self) -> u64 {
        self.log.lock().size_bytes()
    }
}

fn build(proposal: &Proposal<'_>) -> bytes::Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    for Record { key, value } in proposal.batch {
        builder.push(proposal.now, Some(key), value.as_deref(), &[]);
    }
    builder.finish(proposal.expected_end, proposal.epoch)
}

/// The ranges of offsets to replay: the whole log, or what lies around its damage.
fn readable<F: Files>(log: &Log<F>, damage: Damage) -> Vec<(Offset, Offset)> {
    let (mut from, end) = (log.log_start().max(log.local_start()), log.end());
    let mut ranges = Vec::new();
    if damage == Damage::LeaveOut {
        for (damaged_from, damaged_to) in log.damaged() {
            tracing::error!(from = damaged_from.0, to = damaged_to.0, "damaged records of a coordinator are left out");
            if from < damaged_from {
                ranges.push((from, damaged_from));
            }
            from = from.max(damaged_to);
        }
    }
    if from < end {
        ranges.push((from, end));
    }
    ranges
}

fn replay_batches(part: &[u8], from: Offset, damage: Damage, replay: &mut dyn FnMut(Replay)) -> Result<(), LogError> {
    for batch in broker_records::batches(part) {
        let replayed = batch.and_then(|(head, bytes)| replay_batch(&head, bytes, from, replay));
        match (replayed, damage) {
            (Ok(()), _) => {}
            (Err(error), Damage::Refuse) => return Err(storage(error)),
            (Err(error), Damage::LeaveOut) => {
                tracing::error!(%error, "a damaged batch of a coordinator is left out: older records hold");
            }
        }
    }
    Ok(())
}

/// Nothing is replayed of a batch that does not decode.
fn replay_batch(
    head: &BatchHead,
    bytes: &[u8],
    from: Offset,
    replay: &mut dyn FnMut(Replay),
) -> Result<(), BatchError> {
    if head.is_control() {
        return Ok(());
    }
    let decoded = broker_records::decode(bytes, DECODED_BYTES_MAX)?;
    let records = decoded.records().collect::<Result<Vec<_>, _>>()?;
    for record in records.into_iter().filter(|record| record.offset >= from) {
        let (key, value) = (record.key.unwrap_or_default().to_vec(), record.value.map(<[u8]>::to_vec));
        replay(Replay::Record(record.offset, Record { key, value }));
    }
    Ok(())
}

fn storage(error: impl std::error::Error) -> LogError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    LogError::Storage(text)
}
