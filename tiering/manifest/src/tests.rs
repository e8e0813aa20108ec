//! Tests of the whole crate: names, roots, footers, golden files, damaged bytes. Builders that several use stand here.

mod damage;
mod footer;
mod golden;
mod keys;
mod lessons;
mod roots;
mod table;

use broker_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

use crate::*;

const GRACE: Timestamp = Timestamp(10_000);
const DEADLINE: Timestamp = Timestamp(5_000);

fn topic() -> TopicId {
    TopicId([0x5a; 16])
}

fn writer(epoch: i32) -> Writer {
    Writer {
        generation: Generation(0),
        epoch: LeaderEpoch(epoch),
        nonce: 0xfeed_0000 + u64::from(epoch.unsigned_abs()),
    }
}

fn entry(name: &ObjectName, base: i64, end: i64) -> Entry {
    Entry {
        store: 0,
        key: name.to_string(),
        position: 0,
        length: 1_000,
        index_position: 1_000,
        index_length: 100,
        base: Offset(base),
        end: Offset(end),
        min_timestamp: Timestamp::NONE,
        max_timestamp: Timestamp(end * 10),
        append_time: Timestamp(end * 10),
        class: StorageClass::STANDARD,
    }
}

/// A root by `writer(1)` with `count` entries of ten offsets each, and one id for a group.
fn root_with(count: i64) -> Root {
    let draft = Root::create(topic(), PartitionIndex(0), writer(1), Offset::ZERO);
    let mut root = draft.register(ObjectKind::Group, 1, DEADLINE).unwrap().finish().unwrap();
    for _ in 0..count {
        root = with_one_more(&root);
    }
    root
}

/// Registers one id and commits ten offsets under it.
fn with_one_more(root: &Root) -> Root {
    let draft = root.draft(&root.writer).unwrap().register(ObjectKind::Data, 1, DEADLINE).unwrap();
    let row = *draft.root().registered.last().unwrap();
    let entry = entry(&row.name(), root.end.0, root.end.0 + 10);
    draft.commit(vec![NewObject { id: row.id, entry }]).unwrap().finish().unwrap()
}

/// Groups the oldest `count` entries under the first free group id; with the last group's entries before them if given.
fn grouped(root: &Root, count: usize, before: &[Entry]) -> (Root, Group) {
    let id = root.usable(ObjectKind::Group).next().unwrap().id;
    let entries = before.iter().chain(&root.entries[..count]).cloned().collect();
    let group = Group { topic: root.topic, partition: root.partition, entries };
    let bytes = group.encode();
    let stored = StoredGroup { id, length: u32::try_from(bytes.len()).unwrap(), crc: crc32c(&bytes) };
    let draft = root.draft(&root.writer).unwrap().group_up(&group, stored, GRACE).unwrap();
    let root = draft.register(ObjectKind::Group, 1, DEADLINE).unwrap().finish().unwrap();
    assert_eq!(Group::open(&bytes, root.groups.last().unwrap()).unwrap(), group);
    (root, group)
}
