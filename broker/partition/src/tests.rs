//! Random producers against a simple model, and the cases that Kafka's clients rely on.

use std::collections::BTreeMap;

use broker_model::limits::PRODUCERS_PER_PARTITION_MAX;
use broker_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use broker_records::{BatchBuilder, BatchHead, Codec};
use proptest::prelude::*;

use crate::*;

const DAY_MS: i64 = 86_400_000;

fn batch(producer: i64, epoch: i16, sequence: i32, count: i32) -> BatchHead {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(Timestamp(50), None, None, &[]);
    let bytes = builder.finish(Offset::ZERO, LeaderEpoch(-1));
    let mut head = BatchHead::parse(&bytes).unwrap();
    head.producer_id = ProducerId(producer);
    head.producer_epoch = ProducerEpoch(epoch);
    head.base_sequence = Sequence(sequence);
    (head.record_count, head.last_offset_delta) = (count, count - 1);
    head
}

fn rejected(decision: Decision) -> &'static str {
    match decision {
        Decision::Reject(SequenceError::OutOfOrderSequence { .. }) => "order",
        Decision::Reject(SequenceError::InvalidProducerEpoch { .. }) => "epoch",
        Decision::Reject(SequenceError::InvalidTransactionState { .. }) => "transaction",
        Decision::Append => "append",
        Decision::Duplicate { .. } => "duplicate",
    }
}

#[test]
fn sequences_follow_one_another_and_wrap() {
    let mut states = ProducerStates::new(DAY_MS);
    let now = Timestamp(1_000);
    let first = batch(1, 0, i32::MAX - 1, 3);
    assert_eq!(states.decide(&first, now), Decision::Append, "an unknown producer begins anywhere");
    states.apply(&first, Offset(10), now);
    assert_eq!(rejected(states.decide(&batch(1, 0, i32::MAX, 1), now)), "order");
    assert_eq!(states.decide(&batch(1, 0, 1, 2), now), Decision::Append, "MAX-1, MAX, 0, then 1");
    let duplicate = Decision::Duplicate { base_offset: Offset(10), timestamp: Timestamp(50) };
    assert_eq!(states.decide(&first, now), duplicate, "recognised across the wrap");
}

#[test]
fn epochs_fence_and_begin_at_zero() {
    let mut states = ProducerStates::new(DAY_MS);
    let now = Timestamp(0);
    states.apply(&batch(1, 3, 0, 5), Offset(0), now);
    assert_eq!(rejected(states.decide(&batch(1, 2, 5, 1), now)), "epoch");
    assert_eq!(rejected(states.decide(&batch(1, 4, 5, 1), now)), "order");
    assert_eq!(states.decide(&batch(1, 4, 0, 1), now), Decision::Append);
    states.apply(&batch(1, 4, 0, 1), Offset(5), now);
    assert_eq!(rejected(states.decide(&batch(1, 3, 5, 1), now)), "epoch");
    let read = ProducerStates::from_snapshot(&states.to_snapshot(), now, DAY_MS).unwrap();
    assert_eq!(read, states, "nothing of the older epoch is left");
}

#[test]
fn a_batch_outside_of_the_open_transaction_is_refused() {
    let mut states = ProducerStates::new(DAY_MS);
    let mut inside = batch(1, 0, 0, 1);
    inside.attributes |= 1 << 4;
    states.apply(&inside, Offset(7), Timestamp(0));
    assert_eq!(states.first_unstable_offset(), Some(Offset(7)));
    assert_eq!(rejected(states.decide(&batch(1, 0, 1, 1), Timestamp(0))), "transaction");
    assert_eq!(states.expire(Timestamp(9 * DAY_MS)), 0, "an open transaction keeps its producer");
    let mut marker = batch(1, 0, -1, 1);
    marker.attributes |= 1 << 4 | 1 << 5;
    states.apply(&marker, Offset(8), Timestamp(0));
    assert_eq!(states.first_unstable_offset(), None);
    assert_eq!(states.decide(&batch(1, 0, 1, 1), Timestamp(0)), Decision::Append);
}

#[test]
fn silence_makes_a_producer_unknown() {
    let mut states = ProducerStates::new(DAY_MS);
    states.apply(&batch(1, 5, 0, 1), Offset(0), Timestamp(0));
    assert_eq!(rejected(states.decide(&batch(1, 5, 7, 1), Timestamp(DAY_MS - 1))), "order");
    assert_eq!(states.decide(&batch(1, 5, 7, 1), Timestamp(DAY_MS)), Decision::Append);
    assert_eq!(states.expire(Timestamp(DAY_MS)), 1);
    assert!(states.is_empty());
}

#[test]
fn the_longest_silent_go_when_there_are_too_many() {
    let mut states = ProducerStates::new(DAY_MS);
    for id in 0..=PRODUCERS_PER_PARTITION_MAX as i64 {
        states.apply(&batch(id, 0, 0, 1), Offset(id), Timestamp(id));
    }
    assert!(states.len() <= PRODUCERS_PER_PARTITION_MAX);
    assert!(states.get(ProducerId(0)).is_none());
    assert!(states.get(ProducerId(PRODUCERS_PER_PARTITION_MAX as i64)).is_some());
}

#[test]
fn epoch_ends_answer_as_kafka_does() {
    let mut epochs = LeaderEpochs::default();
    assert_eq!(epochs.end_offset_for(LeaderEpoch(0), Offset(9)), None);
    assert!(epochs.assign(LeaderEpoch(2), Offset(0)));
    assert!(epochs.assign(LeaderEpoch(5), Offset(100)));
    assert!(!epochs.assign(LeaderEpoch(4), Offset(200)));
    let end = |epoch| epochs.end_offset_for(LeaderEpoch(epoch), Offset(150)).map(|e| (e.epoch.0, e.end.0));
    assert_eq!(
        [end(-1), end(1), end(2), end(3), end(5), end(6)],
        [None, Some((1, 0)), Some((2, 100)), Some((2, 100)), Some((5, 150)), None]
    );
    assert_eq!(epochs.epoch_of(Offset(99)), Some(LeaderEpoch(2)));
    assert_eq!(epochs.epoch_of(Offset(100)), Some(LeaderEpoch(5)));
    let mut start = epochs.clone();
    start.truncate_from_start(Offset(120));
    assert_eq!(start.entries(), [EpochStart { epoch: LeaderEpoch(5), start: Offset(120) }]);
    epochs.truncate_from_end(Offset(100));
    assert_eq!(epochs.latest(), Some(LeaderEpoch(2)));
    assert!(epochs.assign(LeaderEpoch(7), Offset(0)), "an epoch that wrote nothing is replaced");
    assert_eq!(epochs.entries().len(), 1);
}

#[test]
fn the_high_watermark_waits_for_the_disk_where_it_must() {
    let mut ends = Ends::opened(Durability::Disk, Offset(3), Offset(5), Offset(5));
    ends.appended(Offset(9));
    assert_eq!((ends.high_watermark(), ends.flushed_end(), ends.end()), (Offset(5), Offset(5), Offset(9)));
    ends.flushed(Offset(8));
    ends.flushed(Offset(6));
    assert_eq!(ends.high_watermark(), Offset(8));
    ends.log_start_advanced(Offset(99));
    assert_eq!((ends.log_start(), ends.high_watermark()), (Offset(9), Offset(9)));
    ends.truncated(Offset(4));
    assert_eq!((ends.log_start(), ends.high_watermark(), ends.end()), (Offset(4), Offset(4), Offset(4)));
    let mut cached = Ends::opened(Durability::PageCache, Offset(0), Offset(0), Offset(5));
    cached.appended(Offset(7));
    assert_eq!((cached.high_watermark(), cached.flushed_end()), (Offset(7), Offset(0)));
}

/// The model: everything that a producer ever stored, and nothing forgotten.
#[derive(Default)]
struct Model(BTreeMap<i64, Vec<(i16, i32, i32, i64)>>);

impl Model {
    fn decide(&self, head: &BatchHead) -> (&'static str, Option<i64>) {
        let Some(stored) = self.0.get(&head.producer_id.0) else { return ("append", None) };
        let (epoch, sequence, count, _) = *stored.last().unwrap();
        let of_epoch = stored.iter().rev().take_while(|row| row.0 == epoch).take(5);
        match head.producer_epoch.0.cmp(&epoch) {
            std::cmp::Ordering::Less => ("epoch", None),
            std::cmp::Ordering::Greater if head.base_sequence.0 == 0 => ("append", None),
            std::cmp::Ordering::Greater => ("order", None),
            std::cmp::Ordering::Equal => {
                let same = of_epoch.into_iter().find(|row| (row.1, row.2) == (head.base_sequence.0, head.record_count));
                match same {
                    Some(row) => ("duplicate", Some(row.3)),
                    None if head.base_sequence == Sequence(sequence).plus(count) => ("append", None),
                    None => ("order", None),
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn decisions_are_those_of_a_model_that_forgets_nothing(
        ops in proptest::collection::vec((0..3i64, 0..3i16, -6..2i32, 1..4i32), 1..80), start in 0..3usize,
    ) {
        let mut states = ProducerStates::new(DAY_MS);
        let (mut model, mut next) = (Model::default(), 0i64);
        let start = [0, 7, i32::MAX - 4][start];
        for (producer, epoch, jump, count) in ops {
            let last = model.0.get(&producer).and_then(|rows| rows.last().copied());
            let sequence = match last {
                Some((known, sequence, stored, _)) if known == epoch => {
                    let expected = i64::from(Sequence(sequence).plus(stored).0);
                    (expected + i64::from(jump.min(0))).clamp(0, i64::from(i32::MAX)) as i32
                }
                Some(_) => 0,
                None => start,
            };
            let head = batch(producer, epoch, sequence, count);
            let decision = states.decide(&head, Timestamp(5));
            let (kind, offset) = model.decide(&head);
            prop_assert_eq!(rejected(decision), kind);
            match decision {
                Decision::Append => {
                    states.apply(&head, Offset(next), Timestamp(5));
                    model.0.entry(producer).or_default().push((epoch, sequence, count, next));
                    next += i64::from(count);
                }
                Decision::Duplicate { base_offset, .. } => prop_assert_eq!(Some(base_offset.0), offset),
                Decision::Reject(_) => (),
            }
            let bytes = states.to_snapshot();
            prop_assert_eq!(&ProducerStates::from_snapshot(&bytes, Timestamp(5), DAY_MS).unwrap(), &states);
        }
    }

    #[test]
    fn damaged_snapshots_are_refused(at in any::<usize>(), bits in 1..=255u8, cut in any::<usize>()) {
        let mut states = ProducerStates::new(DAY_MS);
        states.apply(&batch(1, 0, 0, 1), Offset(0), Timestamp(0));
        let good = states.to_snapshot();
        let mut bad = good.clone();
        bad[at % good.len()] ^= bits;
        prop_assert!(ProducerStates::from_snapshot(&bad, Timestamp(0), DAY_MS).is_err());
        prop_assert!(ProducerStates::from_snapshot(&good[..cut % good.len()], Timestamp(0), DAY_MS).is_err());
    }
}
