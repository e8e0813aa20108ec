//! The in-memory reference of [`Propose`]: it judges when it is told to, refuses what it is told to, and lets others write.
//!
//! Tests and the simulator hold the verdicts back ([`MemoryLog::delayed`], then [`MemoryLog::judge`]), put a refusal in
//! their way ([`MemoryLog::refuse_next`]), lose one ([`MemoryLog::lose_next`]), write as another leader
//! ([`MemoryLog::foreign`]) and compact ([`MemoryLog::compact`]). What a crash leaves is [`MemoryLog::crash`].

use std::collections::{BTreeSet, VecDeque};

use broker_model::machine::{Record, Refusal};
use broker_model::{LeaderEpoch, Offset};

use crate::propose::{Event, LogError, LostReason, Proposal, Propose, Replay, Ticket};

struct Queued {
    ticket: Ticket,
    expected_end: Offset,
    epoch: LeaderEpoch,
    batch: Vec<Record>,
}

/// A log in memory. See the module.
#[derive(Default)]
pub struct MemoryLog {
    epoch: LeaderEpoch,
    start: Offset,
    end: Offset,
    snapshot: Option<(Offset, Vec<u8>)>,
    items: Vec<(Offset, Record)>,
    queue: VecDeque<Queued>,
    events: VecDeque<Event>,
    next_ticket: u64,
    is_delayed: bool,
    refuse_next: Option<Refusal>,
    lose_next: Option<Written>,
    /// A batch became indeterminate: until the next `lead` nothing is taken and nothing told.
    is_lost: bool,
}

/// Whether a batch of which nobody can tell is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is.
    Yes,
    /// It is not.
    No,
}

impl MemoryLog {
    /// A log that judges at once.
    #[must_use]
    pub fn new() -> MemoryLog {
        MemoryLog::default()
    }

    /// A log that judges one proposal for each [`MemoryLog::judge`].
    #[must_use]
    pub fn delayed() -> MemoryLog {
        MemoryLog { is_delayed: true, ..MemoryLog::default() }
    }

    /// Judges the oldest proposal that waits. False if none does.
    pub fn judge(&mut self) -> bool {
        let Some(Queued { ticket, expected_end, epoch, batch }) = self.queue.pop_front() else { return false };
        let event = if epoch != self.epoch {
            Event::Refused(ticket, Refusal::NotLeader)
        } else if expected_end != self.end {
            Event::Refused(ticket, Refusal::Conflict)
        } else if let Some(why) = self.refuse_next.take() {
            Event::Refused(ticket, why)
        } else if let Some(written) = self.lose_next.take() {
            if written == Written::Yes {
                self.append(&batch);
            }
            self.queue.clear();
            self.is_lost = true;
            Event::Lost(LostReason::Indeterminate)
        } else {
            Event::Committed(ticket, self.append(&batch))
        };
        self.events.push_back(event);
        true
    }

    /// The next proposal that could be taken is refused.
    pub fn refuse_next(&mut self, why: Refusal) {
        self.refuse_next = Some(why);
    }

    /// The next proposal that could be taken becomes indeterminate.
    pub fn lose_next(&mut self, written: Written) {
        self.lose_next = Some(written);
    }

    /// Another leader, with a newer epoch, writes.
    pub fn foreign(&mut self, batch: &[Record]) {
        self.epoch = LeaderEpoch(self.epoch.0 + 1);
        self.append(batch);
    }

    /// The newest epoch that led.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Where the next record would stand.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.end
    }

    /// The first offset that is kept.
    #[must_use]
    pub fn start(&self) -> Offset {
        self.start
    }

    /// The records that are kept, in order.
    #[must_use]
    pub fn items(&self) -> &[(Offset, Record)] {
        &self.items
    }

    /// Whoever led does no longer: what was not judged is gone, what was not told is not told any more.
    pub fn crash(&mut self) {
        self.queue.clear();
        self.events.clear();
        self.refuse_next = None;
        self.lose_next = None;
    }

    /// Keeps a snapshot as of `end` from now on, unless it is older than what is kept. Records below stay until compaction
    /// or trimming.
    pub fn keep_snapshot(&mut self, end: Offset, bytes: Vec<u8>) {
        assert!(end <= self.end, "a snapshot cannot know what is not committed");
        if end < self.oldest_start() {
            return; // Tombstones that it has not seen may be gone.
        }
        self.snapshot = Some((end, bytes));
    }

    /// From here a replay may begin: where the snapshot ends, or where the log starts.
    fn oldest_start(&self) -> Offset {
        self.snapshot.as_ref().map_or(self.start, |(end, _)| *end)
    }

    /// What a compactor does: of a key it keeps the record with the highest offset. Tombstones go once the snapshot
    /// has seen them: who starts from an older one would miss the deletion.
    pub fn compact(&mut self) {
        let seen_below = self.oldest_start();
        let mut settled = BTreeSet::new();
        let mut kept: Vec<(Offset, Record)> = Vec::new();
        for (at, record) in std::mem::take(&mut self.items).into_iter().rev() {
            let is_last = settled.insert(record.key.clone());
            if is_last && (record.value.is_some() || at >= seen_below) {
                kept.push((at, record));
            }
        }
        kept.reverse();
        self.items = kept;
    }

    fn append(&mut self, batch: &[Record]) -> Offset {
        let at = self.end;
        for record in batch {
            self.items.push((self.end, record.clone()));
            self.end = self.end.next();
        }
        at
    }
}

impl Propose for MemoryLog {
    fn lead(&mut self, epoch: LeaderEpoch, replay: &mut dyn FnMut(Replay)) -> Result<Offset, LogError> {
        if epoch < self.epoch {
            return Err(LogError::Deposed(epoch));
        }
        self.crash();
        self.is_lost = false;
        self.epoch = epoch;
        let mut from = Offset::ZERO;
        if let Some((end, bytes)) = &self.snapshot {
            replay(Replay::Snapshot(bytes.clone()));
            from = *end;
        }
        for (at, record) in self.items.iter().filter(|(at, _)| *at >= from) {
            replay(Replay::Record(*at, record.clone()));
        }
        Ok(self.end)
    }

    fn propose(&mut self, proposal: Proposal<'_>) -> Ticket {
        let Proposal { expected_end, epoch, batch, .. } = proposal;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        if self.is_lost {
            return ticket;
        }
        self.queue.push_back(Queued { ticket, expected_end, epoch, batch: batch.to_vec() });
        while !self.is_delayed && self.judge() {}
        ticket
    }

    fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn trim(&mut self, epoch: LeaderEpoch, start: Offset) -> Result<(), LogError> {
        if epoch != self.epoch {
            return Err(LogError::Deposed(epoch));
        }
        assert!(start <= self.end, "only what is committed can be the start");
        // As a log of segments does: some of what lies below the start is still there, and is replayed.
        let kept_from = Offset(self.start.0.midpoint(start.0));
        self.items.retain(|(at, _)| *at >= kept_from);
        self.start = self.start.max(start);
        // What stands at the start says all; an older state beneath it would bring back what was deleted since.
        self.snapshot.take_if(|(end, _)| *end < start);
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.items.iter().map(|(_, record)| record.bytes() as u64).sum()
    }
}
