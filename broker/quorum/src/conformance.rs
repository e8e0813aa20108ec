//! The contract of [`Propose`] as tests that every implementation runs.
//!
//! A [`Subject`] makes the log, crashes it and brings trouble; [`conformance!`] makes one test of each rule for it.

use std::collections::BTreeMap;

use broker_model::machine::{CallId, Effects, Input, Machine, Record, RecordError, Refusal, Violation};
use broker_model::{LeaderEpoch, Offset, Timestamp};

use crate::propose::{Event, LogError, LostReason, Proposal, Propose, Replay, Ticket};
use crate::{Driver, LoadError};

/// An implementation under test.
pub(crate) trait Subject {
    type Log: Propose;
    fn new() -> Self;
    /// The log as a process finds it that starts.
    fn open(&mut self) -> Self::Log;
    /// The machine loses power; every log that was opened is gone.
    fn crash(&mut self, seed: u64);
    /// The next batch cannot be written, and nothing of it is.
    fn refuse_next(&mut self, log: &mut Self::Log);
    /// Nobody can tell what becomes of the next batch.
    fn lose_next(&mut self, log: &mut Self::Log);
    /// Lets all verdicts come.
    fn settle(&mut self, log: &mut Self::Log);
}

pub(crate) fn put(key: u8, value: u8) -> Record {
    Record::put(vec![key], vec![value; 100])
}

fn propose<L: Propose>(log: &mut L, epoch: i32, end: i64, batch: &[Record]) -> Ticket {
    let (expected_end, epoch) = (Offset(end), LeaderEpoch(epoch));
    log.propose(Proposal { expected_end, epoch, now: Timestamp(1_000), batch })
}

fn events<S: Subject>(subject: &mut S, log: &mut S::Log) -> Vec<Event> {
    subject.settle(log);
    std::iter::from_fn(|| log.poll()).collect()
}

fn lead<L: Propose>(log: &mut L, epoch: i32) -> Result<(Offset, Vec<(Offset, Record)>), LogError> {
    let mut items = Vec::new();
    let end = log.lead(LeaderEpoch(epoch), &mut |replay| match replay {
        Replay::Record(at, record) => items.push((at, record)),
        Replay::Snapshot(_) => panic!("none was kept"),
    })?;
    Ok((end, items))
}

pub(crate) fn what_is_committed_is_found_by_every_later_lead<S: Subject>() {
    let mut subject = S::new();
    let mut log = subject.open();
    assert_eq!(lead(&mut log, 1).unwrap(), (Offset(0), vec![]));
    let first = [put(1, 1), Record::put(vec![], vec![]), Record::tombstone(vec![9])];
    let tickets = [propose(&mut log, 1, 0, &first), propose(&mut log, 1, 3, &[put(2, 2)])];
    let told = [Event::Committed(tickets[0], Offset(0)), Event::Committed(tickets[1], Offset(3))];
    assert_eq!(events(&mut subject, &mut log), told);
    let expected: Vec<_> = (0..).map(Offset).zip([&first[..], &[put(2, 2)]].concat()).collect();
    assert_eq!(lead(&mut log, 2).unwrap(), (Offset(4), expected.clone()));
    drop(log);
    let mut log = subject.open();
    assert_eq!(lead(&mut log, 3).unwrap(), (Offset(4), expected));
}

pub(crate) fn a_batch_lands_only_where_it_was_decided<S: Subject>() {
    let mut subject = S::new();
    let mut log = subject.open();
    lead(&mut log, 1).unwrap();
    let ahead = propose(&mut log, 1, 1, &[put(1, 1)]);
    let fits = propose(&mut log, 1, 0, &[put(2, 2)]);
    let behind = propose(&mut log, 1, 0, &[put(3, 3)]);
    let told = [
        Event::Refused(ahead, Refusal::Conflict),
        Event::Committed(fits, Offset(0)),
        Event::Refused(behind, Refusal::Conflict),
    ];
    assert_eq!(events(&mut subject, &mut log), told);
    assert_eq!(lead(&mut log, 2).unwrap().1, [(Offset(0), put(2, 2))]);
}

pub(crate) fn an_older_epoch_writes_nothing<S: Subject>() {
    let mut subject = S::new();
    let mut log = subject.open();
    lead(&mut log, 5).unwrap();
    assert!(matches!(lead(&mut log, 4), Err(LogError::Deposed(LeaderEpoch(4)))));
    lead(&mut log, 6).unwrap();
    let old = propose(&mut log, 5, 0, &[put(1, 1)]);
    assert_eq!(events(&mut subject, &mut log), [Event::Refused(old, Refusal::NotLeader)]);
    assert!(log.trim(LeaderEpoch(5), Offset(0)).is_err());
    assert_eq!(lead(&mut log, 7).unwrap(), (Offset(0), vec![]));
}

pub(crate) fn leading_fences_what_was_on_its_way<S: Subject>() {
    let mut subject = S::new();
    let mut log = subject.open();
    lead(&mut log, 1).unwrap();
    propose(&mut log, 1, 0, &[put(1, 1)]);
    let (end, items) = lead(&mut log, 2).unwrap();
    assert_eq!(events(&mut subject, &mut log), [], "of an epoch that is over nothing is told");
    assert_eq!(lead(&mut log, 3).unwrap(), (end, items), "it was in the log by then or never will be");
}

pub(crate) fn what_is_refused_takes_all_behind_it_along<S: Subject>() {
    let mut subject = S::new();
    let mut log = subject.open();
    lead(&mut log, 1).unwrap();
    subject.refuse_next(&mut log);
    let tickets = [propose(&mut log, 1, 0, &[put(1, 1)]), propose(&mut log, 1, 1, &[put(2, 2)])];
    let told = [Event::Refused(tickets[0], Refusal::Unavailable), Event::Refused(tickets[1], Refusal::Conflict)];
    assert_eq!(events(&mut subject, &mut log), told);
    let again = propose(&mut log, 1, 0, &[put(3, 3)]);
    assert_eq!(events(&mut subject, &mut log), [Event::Committed(again, Offset(0))]);
    assert_eq!(lead(&mut log, 2).unwrap().1, [(Offset(0), put(3, 3))]);
}

pub(crate) fn an_indeterminate_append_ends_the_epoch<S: Subject>() {
    let mut subject = S::new();
    let mut log = subject.open();
    lead(&mut log, 1).unwrap();
    let first = propose(&mut log, 1, 0, &[put(1, 1)]);
    assert_eq!(events(&mut subject, &mut log), [Event::Committed(first, Offset(0))]);
    subject.lose_next(&mut log);
    propose(&mut log, 1, 1, &[put(2, 2), put(3, 3)]);
    propose(&mut log, 1, 3, &[put(4, 4)]);
    assert_eq!(
        events(&mut subject, &mut log),
        [Event::Lost(LostReason::Indeterminate)],
        "told once, for all behind it"
    );
    drop(log);
    subject.crash(3);
    let mut log = subject.open();
    let (end, items) = lead(&mut log, 2).unwrap();
    assert_eq!(items[0], (Offset(0), put(1, 1)));
    assert!(end == Offset(1) || (end == Offset(3) && items.len() == 3), "whole or not at all");
}

pub(crate) fn a_crash_takes_back_nothing_and_tears_nothing<S: Subject>() {
    for seed in 0..200 {
        let mut subject = S::new();
        let mut log = subject.open();
        lead(&mut log, 1).unwrap();
        let (mut end, mut committed) = (0, Vec::new());
        for size in 1..6u8 {
            let batch: Vec<Record> = (0..size).map(|key| put(key, size)).collect();
            propose(&mut log, 1, end, &batch);
            assert_eq!(events(&mut subject, &mut log).len(), 1);
            committed.extend((end..).map(Offset).zip(batch));
            end += i64::from(size);
        }
        drop(log);
        subject.crash(seed);
        let mut log = subject.open();
        assert_eq!(lead(&mut log, 2).unwrap(), (Offset(end), committed), "seed {seed}");
    }
}

pub(crate) fn what_stands_at_the_start_survives_trimming<S: Subject>() {
    let mut subject = S::new();
    let mut log = subject.open();
    lead(&mut log, 1).unwrap();
    for value in 0..20 {
        propose(&mut log, 1, i64::from(value), &[put(value, value)]);
    }
    assert_eq!(events(&mut subject, &mut log).len(), 20);
    log.trim(LeaderEpoch(1), Offset(15)).unwrap();
    for value in 20..25 {
        propose(&mut log, 1, i64::from(value), &[put(value, value)]);
    }
    assert_eq!(events(&mut subject, &mut log).len(), 5);
    let before = log.bytes();
    log.trim(LeaderEpoch(1), Offset(22)).unwrap();
    assert!(log.bytes() < before, "space comes back");
    drop(log);
    subject.crash(1);
    let mut log = subject.open();
    let (end, items) = lead(&mut log, 2).unwrap();
    assert_eq!(end, Offset(25));
    let kept: Vec<_> = items.into_iter().filter(|(at, _)| *at >= Offset(22)).collect();
    assert_eq!(kept, (22..25u8).map(|value| (Offset(value.into()), put(value, value))).collect::<Vec<_>>());
}

pub(crate) fn a_driver_keeps_its_log_small_through_crashes<S: Subject>() {
    let mut subject = S::new();
    let (mut model, mut now) = (BTreeMap::new(), Timestamp(0));
    let mut largest = 0;
    for round in 1..30u8 {
        let mut driver = Driver::load(Ledger, subject.open(), LeaderEpoch(round.into()), now).unwrap();
        assert_eq!(driver.committed().unwrap().hard, model, "round {round}");
        for step in 0..40u8 {
            now = now.plus_ms(1);
            let (key, value) = (step % 7, (step % 3 != 0).then_some(round));
            driver.handle(now, Input::Request(CallId(step.into()), Write(key, value)));
            subject.settle(driver.log_mut());
            driver.pump(now);
            assert_eq!(driver.drain(), [(CallId(step.into()), Ok(()))]);
            match value {
                Some(value) => drop(model.insert(key, vec![value; 100])),
                None => drop(model.remove(&key)),
            }
            if step % 8 == 7 {
                driver.compact_if_dirty(now, 4_000);
                // In some rounds the crash comes before the verdicts.
                if step < 39 || round % 2 == 0 {
                    subject.settle(driver.log_mut());
                    driver.pump(now);
                }
            }
        }
        largest = largest.max(driver.log().bytes());
        drop(driver);
        subject.crash(round.into());
    }
    assert!(largest < 40_000, "the log grew to {largest} bytes");
}

/// The smallest machine: a map of bytes.
pub(crate) struct Ledger;

#[derive(Clone)]
pub(crate) struct Write(pub(crate) u8, pub(crate) Option<u8>);

impl Machine for Ledger {
    type Hard = BTreeMap<u8, Vec<u8>>;
    type Soft = ();
    type Request = Write;
    type Output = ();

    fn step(&self, _: &Self::Hard, _: &mut (), _: Timestamp, input: Input<Write>) -> Effects<()> {
        let Input::Request(call, Write(key, value)) = input else { return Effects::none() };
        let record = Record { key: vec![key], value: value.map(|value| vec![value; 100]) };
        Effects { batch: vec![record], outputs: vec![(call, ())] }
    }

    fn apply(&self, hard: &mut Self::Hard, _: Offset, record: &Record) -> Result<(), RecordError> {
        let key = *record.key.first().ok_or(RecordError { kind: 0, what: "no key" })?;
        match &record.value {
            Some(value) => drop(hard.insert(key, value.clone())),
            None => drop(hard.remove(&key)),
        }
        Ok(())
    }

    fn recover(&self, _: &Self::Hard, _: Timestamp) {}

    fn next_deadline(&self, _: &Self::Hard, (): &()) -> Option<Timestamp> {
        None
    }

    fn check(&self, _: &Self::Hard) -> Result<(), Violation> {
        Ok(())
    }

    fn records(&self, hard: &Self::Hard) -> Vec<Record> {
        hard.iter().map(|(key, value)| Record::put(vec![*key], value.clone())).collect()
    }

    fn callers(&self, (): ()) -> Vec<CallId> {
        Vec::new()
    }
}

pub(crate) fn a_damaged_record_stops_the_load<S: Subject>() {
    let mut subject = S::new();
    let mut log = subject.open();
    lead(&mut log, 1).unwrap();
    propose(&mut log, 1, 0, &[Record::put(vec![], vec![])]);
    assert_eq!(events(&mut subject, &mut log).len(), 1);
    let loaded = Driver::load(Ledger, log, LeaderEpoch(2), Timestamp(0));
    assert!(matches!(loaded, Err(LoadError::Record(_))));
}

macro_rules! conformance {
    ($subject:ty: $($rule:ident)*) => {
        $(#[test] fn $rule() { crate::conformance::$rule::<$subject>() })*
    };
    ($subject:ty) => {
        crate::conformance::conformance! { $subject:
            what_is_committed_is_found_by_every_later_lead
            a_batch_lands_only_where_it_was_decided
            an_older_epoch_writes_nothing
            leading_fences_what_was_on_its_way
            what_is_refused_takes_all_behind_it_along
            an_indeterminate_append_ends_the_epoch
            a_crash_takes_back_nothing_and_tears_nothing
            what_stands_at_the_start_survives_trimming
            a_driver_keeps_its_log_small_through_crashes
            a_damaged_record_stops_the_load
        }
    };
}
pub(crate) use conformance;
