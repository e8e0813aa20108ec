//! Produce, and what looks at a log: ListOffsets, DeleteRecords, OffsetForLeaderEpoch; producer ids.

use broker_records::Codec;
use broker_wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use broker_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use broker_wire::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use broker_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use broker_wire::messages::{
    DeleteRecordsRequest, InitProducerIdRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest, ProduceRequest,
};
use broker_wire::{ApiKey, RequestBody, Str};

use super::batch::{self, Draft, Flaw};
use super::{Plan, grouped};
use crate::step::View;

/// A partition's part of a produce request.
#[derive(Clone, Debug)]
struct Part {
    topic: u8,
    partition: i32,
    draft: Draft,
}

/// A batch that should be taken.
pub(super) fn produce_well(plan: &mut Plan<'_>) {
    let (topic, draft) = (0, batch::well(&mut plan.dice));
    let partition = plan.dice.below(plan.partitions(0).max(1) as usize) as i32;
    let acks = plan.dice.of(&[1, -1]);
    send(plan, "produce/well", acks, vec![Part { topic, partition, draft }]);
}

/// Any produce request.
pub(super) fn produce(plan: &mut Plan<'_>) {
    match plan.dice.below(20) {
        0..4 => produce_well(plan),
        4..8 => idempotent(plan),
        8..12 => flawed(plan),
        12..14 => several(plan),
        14 => times(plan),
        15 => {
            let acks = plan.dice.of(&[0, 0, 2, -2, i16::MAX]);
            let part = part(plan);
            send(plan, "produce/acks", acks, vec![part]);
        }
        16 | 17 => init_producer(plan),
        18 => send(plan, "produce/nothing", 1, Vec::new()),
        _ => {
            let mut part = part(plan);
            part.draft.value_bytes = plan.dice.of(&[1_048_000, 1_048_500, 1_048_588, 1_100_000]);
            part.draft.records = 1;
            part.draft.codec = Codec::None;
            send(plan, "produce/large", 1, vec![part]);
        }
    }
}

fn part(plan: &mut Plan<'_>) -> Part {
    let topic = plan.topic();
    let partition = plan.partition(topic);
    Part { topic, partition, draft: batch::well(&mut plan.dice) }
}

fn idempotent(plan: &mut Plan<'_>) {
    let mut part = part(plan);
    let slot = plan.dice.weighted(&[(8, 0), (2, 1), (1, 2)]);
    let count = part.draft.records as i32;
    let next = plan.world.sequences.entry((slot, part.topic, part.partition)).or_insert(0);
    let (kind, sequence) = match plan.dice.below(12) {
        0 => ("produce/idempotent-again", (*next - count).max(0)),
        1 => ("produce/idempotent-gap", *next + 3),
        2 => ("produce/idempotent-old", 0),
        3 => ("produce/idempotent-no-sequence", -1),
        4 => ("produce/idempotent-any", plan.dice.of(&[i32::MAX, i32::MAX - 1, 1])),
        _ => {
            let sequence = *next;
            *next += count;
            ("produce/idempotent", sequence)
        }
    };
    let epoch = plan.dice.weighted(&[(12, 0), (1, 1), (1, -1), (1, 5)]);
    part.draft.producer = Some((slot, epoch, sequence));
    if plan.dice.percent(5) {
        part.draft.flaw = Flaw::Twice;
    }
    let acks = plan.dice.of(&[-1, -1, -1, 1]);
    send(plan, kind, acks, vec![part]);
}

fn flawed(plan: &mut Plan<'_>) {
    let mut part = part(plan);
    let flaw = batch::flaw(&mut plan.dice);
    let kind = match flaw {
        Flaw::None => "produce/well",
        Flaw::Crc => "produce/flaw-crc",
        Flaw::Cut => "produce/flaw-cut",
        Flaw::Stub(_) => "produce/flaw-stub",
        Flaw::Tail => "produce/flaw-tail",
        Flaw::Magic(_) => "produce/flaw-magic",
        Flaw::OldMagic(_) => "produce/flaw-old-format",
        Flaw::Twice => "produce/flaw-two-batches",
        Flaw::Count(_) => "produce/flaw-count",
        Flaw::LastDelta(_) => "produce/flaw-last-delta",
        Flaw::Attributes(_) => "produce/flaw-attributes",
        Flaw::BaseOffset(_) => "produce/flaw-base-offset",
        Flaw::LeaderEpoch(_) => "produce/flaw-leader-epoch",
        Flaw::Length(_) => "produce/flaw-length",
        Flaw::Record(_) => "produce/flaw-record",
        Flaw::MaxTimestamp(_) => "produce/flaw-max-timestamp",
        Flaw::NoRecords => "produce/flaw-no-records",
    };
    part.draft.flaw = flaw;
    if matches!(flaw, Flaw::MaxTimestamp(_)) {
        // Strata takes a compressed batch at its head's word, Kafka corrects it.
        part.draft.codec = Codec::None;
    }
    // What is within a compressed batch only Kafka looks at: the answer tells, and the sequence ends there.
    let hides = matches!(flaw, Flaw::Record(_) | Flaw::MaxTimestamp(_) | Flaw::Tail);
    let acks = if hides { 1 } else { plan.dice.of(&[1, -1, -1, 0]) };
    send(plan, kind, acks, vec![part]);
}

fn several(plan: &mut Plan<'_>) {
    let count = 2 + plan.dice.below(3);
    let mut parts: Vec<Part> = (0..count).map(|_| part(plan)).collect();
    let kind = if plan.dice.percent(70) {
        let mut seen = Vec::new();
        parts.retain(|part| {
            let place = (part.topic, part.partition);
            let is_new = !seen.contains(&place);
            seen.push(place);
            is_new
        });
        "produce/several"
    } else {
        "produce/several-with-duplicates"
    };
    send(plan, kind, 1, parts);
}

fn times(plan: &mut Plan<'_>) {
    let mut part = part(plan);
    part.draft.time = plan.dice.of(&[7_200_000, 3_500_000, 86_400_000, -1_000_000_001, -1_000_000_002, -900_000_000]);
    send(plan, "produce/times", 1, vec![part]);
}

fn send(plan: &mut Plan<'_>, kind: &'static str, acks: i16, parts: Vec<Part>) {
    for part in &parts {
        let draft = &part.draft;
        if matches!(draft.flaw, Flaw::None | Flaw::BaseOffset(_) | Flaw::LeaderEpoch(_))
            && (-1..=1).contains(&acks)
            && let Some(ends) = plan.ends_mut(part.topic, part.partition)
        {
            ends.end += draft.records as i64;
        }
    }
    let make = move |view: &View<'_>| {
        let mut topic_data: Vec<TopicProduceData> = Vec::new();
        for part in &parts {
            let name = view.topic(part.topic);
            let producer = part.draft.producer.map(|(slot, _, _)| view.producer(slot));
            let records = Some(part.draft.make(view.now, producer).into());
            let data = PartitionProduceData { index: part.partition, records };
            match topic_data.iter_mut().find(|topic| topic.name == name) {
                Some(topic) => topic.partition_data.push(data),
                None => topic_data.push(TopicProduceData {
                    name,
                    topic_id: view.topic_id_or(part.topic),
                    partition_data: vec![data],
                }),
            }
        }
        RequestBody::Produce(ProduceRequest { transactional_id: None, acks, timeout_ms: 5_000, topic_data })
    };
    if let Some(step) = plan.add(kind, ApiKey::Produce, make) {
        step.is_answered = acks != 0;
    }
}

fn init_producer(plan: &mut Plan<'_>) {
    let slot = plan.dice.below(2) as u8;
    match plan.dice.below(4) {
        0 => plan.init_producer(slot),
        1 => {
            let made = plan.add("init-producer/bump", ApiKey::InitProducerId, move |view| {
                let (producer_id, producer_epoch) = view.producer(slot);
                let plain = InitProducerIdRequest::default();
                RequestBody::InitProducerId(InitProducerIdRequest { producer_id, producer_epoch, ..plain })
            });
            if let Some(step) = made {
                step.slot = slot;
            }
        }
        _ => {
            let transactional_id = plan.dice.percent(20).then(|| Str::from_static(""));
            let producer_id = plan.dice.of(&[-1, -2, 0, 123_456_789_012]);
            let producer_epoch = plan.dice.of(&[-1, -2, 0, 7, i16::MAX]);
            let transaction_timeout_ms = plan.dice.of(&[-1, 0, 60_000, i32::MAX]);
            let made = plan.add("init-producer/odd", ApiKey::InitProducerId, move |_| {
                RequestBody::InitProducerId(InitProducerIdRequest {
                    transactional_id: transactional_id.clone(),
                    transaction_timeout_ms,
                    producer_id,
                    producer_epoch,
                    ..Default::default()
                })
            });
            if let Some(step) = made {
                step.slot = 2;
            }
        }
    }
}

/// Requests that look at a log or move its start.
pub(super) fn look(plan: &mut Plan<'_>) {
    match plan.dice.below(10) {
        0..6 => list_offsets(plan),
        6..8 => delete_records(plan),
        _ => leader_epochs(plan),
    }
}

/// Places with a value each; a third of them has duplicates, if at all.
fn places(plan: &mut Plan<'_>, mut value: impl FnMut(&mut Plan<'_>, u8, i32) -> i64) -> Vec<(u8, i32, i64)> {
    let count = plan.dice.weighted(&[(8, 1), (3, 2), (1, 4), (1, 0)]);
    let mut found: Vec<(u8, i32, i64)> = Vec::new();
    for _ in 0..count {
        let topic = plan.topic();
        let partition = plan.partition(topic);
        let is_known = found.iter().any(|(t, p, _)| (*t, *p) == (topic, partition));
        if !is_known || plan.dice.percent(30) {
            found.push((topic, partition, value(plan, topic, partition)));
        }
    }
    found
}

fn list_offsets(plan: &mut Plan<'_>) {
    let found = places(plan, |plan, _, _| {
        plan.dice.weighted(&[
            (4, -1),
            (4, -2),
            (3, -3),
            (1, -4),
            (1, -5),
            (1, -6),
            (1, -7),
            (1, i64::MIN),
            (1, 0),
            (1, i64::MAX),
            // Around the run's beginning: below 2^40 it is relative.
            (3, 1),
            (2, 2),
            (2, 2_000),
            (1, 500_000),
        ])
    });
    let kind = if found.len() > 1 { "list-offsets/several" } else { "list-offsets/one" };
    let replica_id = plan.dice.weighted(&[(20, -1), (1, -2), (1, 1), (1, 7)]);
    let isolation_level = plan.dice.weighted(&[(10, 0), (5, 1)]);
    let epoch = plan.leader_epoch();
    plan.add(kind, ApiKey::ListOffsets, move |view| {
        let partition = |(_, partition_index, time): &(u8, i32, i64)| {
            let timestamp = if (1..1 << 40).contains(time) { view.now + time - 2 } else { *time };
            ListOffsetsPartition { partition_index: *partition_index, current_leader_epoch: epoch, timestamp }
        };
        let topics = grouped(&found, |place| place.0).into_iter().map(|(topic, places)| ListOffsetsTopic {
            name: view.topic(topic),
            partitions: places.iter().map(partition).collect(),
        });
        RequestBody::ListOffsets(ListOffsetsRequest {
            replica_id,
            isolation_level,
            topics: topics.collect(),
            timeout_ms: 5_000,
        })
    });
}

fn delete_records(plan: &mut Plan<'_>) {
    let found = places(plan, |plan, topic, partition| {
        let offset = plan.offset(topic, partition);
        if let Some(ends) = plan.ends_mut(topic, partition) {
            ends.start = match offset {
                -1 => ends.end,
                offset if offset <= ends.end => ends.start.max(offset),
                _ => ends.start,
            };
        }
        offset
    });
    plan.add("delete-records", ApiKey::DeleteRecords, move |view| {
        let partition = |(_, partition_index, offset): &(u8, i32, i64)| DeleteRecordsPartition {
            partition_index: *partition_index,
            offset: *offset,
        };
        let topics = grouped(&found, |place| place.0).into_iter().map(|(topic, places)| DeleteRecordsTopic {
            name: view.topic(topic),
            partitions: places.iter().map(partition).collect(),
        });
        RequestBody::DeleteRecords(DeleteRecordsRequest { topics: topics.collect(), timeout_ms: 5_000 })
    });
}

fn leader_epochs(plan: &mut Plan<'_>) {
    let current = plan.leader_epoch();
    let found = places(plan, |plan, _, _| plan.dice.of(&[0, 0, 1, 5, -1, -2]));
    let replica_id = plan.dice.weighted(&[(8, -1), (2, -2), (1, 3)]);
    plan.add("leader-epochs", ApiKey::OffsetForLeaderEpoch, move |view| {
        let partition = |(_, partition, epoch): &(u8, i32, i64)| OffsetForLeaderPartition {
            partition: *partition,
            current_leader_epoch: current,
            leader_epoch: *epoch as i32,
        };
        let topics = grouped(&found, |place| place.0).into_iter().map(|(topic, places)| OffsetForLeaderTopic {
            topic: view.topic(topic),
            partitions: places.iter().map(partition).collect(),
        });
        RequestBody::OffsetForLeaderEpoch(OffsetForLeaderEpochRequest { replica_id, topics: topics.collect() })
    });
}
