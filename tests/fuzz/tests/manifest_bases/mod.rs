//! Valid files of the bucket, random in size and numbers.

use std::collections::BTreeMap;

use broker_model::{LeaderEpoch, Offset, PartitionIndex, ProducerId, Timestamp, TopicId};
use bytes::Bytes;
use tests_fuzz::Random;
use tiering_manifest::{
    AbortedTxn, Block, BlockCodec, BlockTable, BucketFile, Entry, EpochStart, Footer, Generation, Group, Info, Key,
    NewObject, ObjectId, ObjectKind, ObjectName, PartitionPrefix, Root, StorageClass, StoredGroup, TableRoot,
    TopicFile, Writer, crc32c,
};

/// Where the blocks of the objects here end, in bytes.
pub(crate) const BLOCKS_END: u64 = 1 << 20;

const TOPIC: TopicId = TopicId([7; 16]);
const PARTITION: PartitionIndex = PartitionIndex(3);
const WHY: &str = "the change is a legal one";

fn writer(epoch: i32) -> Writer {
    Writer { generation: Generation(1), epoch: LeaderEpoch(epoch), nonce: 0x1234_5678_9abc_def0 }
}

fn entry(id: u64, base: Offset) -> Entry {
    let name = ObjectName::new(ObjectKind::Data, ObjectId(id), &writer(1));
    Entry {
        store: 0,
        key: name.to_string(),
        position: 0,
        length: 4_000,
        index_position: 4_100,
        index_length: 300,
        base,
        end: base.plus(100),
        min_timestamp: Timestamp(1_000),
        max_timestamp: Timestamp(2_000),
        append_time: Timestamp(2_500),
        class: StorageClass::STANDARD,
    }
}

/// A group of up to five entries, with ids from `first_id` on.
pub(crate) fn group(random: &mut Random, first_id: u64) -> Group {
    let count = 1 + random.below(5) as u64;
    let entries = (0..count).map(|index| entry(first_id + index, Offset(100 * index as i64))).collect();
    Group { topic: TOPIC, partition: PARTITION, entries }
}

/// A root, in half of the cases with a group, in half with a second writer.
pub(crate) fn root(random: &mut Random) -> Root {
    let deadline = Timestamp(10_000);
    let count = 1 + random.below(6);
    let draft = Root::create(TOPIC, PARTITION, writer(1), Offset::ZERO);
    let draft = draft.register(ObjectKind::Data, count + 2, deadline).expect(WHY);
    let objects: Vec<NewObject> =
        (0..count as u64).map(|id| NewObject { id: ObjectId(id), entry: entry(id, Offset(100 * id as i64)) }).collect();
    let entries: Vec<Entry> = objects.iter().map(|object| object.entry.clone()).collect();
    let mut draft = draft.commit(objects).expect(WHY);
    if random.one_in(2) {
        let group = Group { topic: TOPIC, partition: PARTITION, entries };
        let file = group.encode();
        draft = draft.register(ObjectKind::Group, 1, deadline).expect(WHY);
        let id = ObjectId(count as u64 + 2);
        let stored = StoredGroup { id, length: file.len() as u32, crc: crc32c(&file) };
        draft = draft.group_up(&group, stored, Timestamp(20_000)).expect(WHY);
    } else if random.one_in(2) {
        draft = draft.advance_start(Offset(100), None, Timestamp(20_000)).expect(WHY);
    }
    let root = draft.finish().expect(WHY);
    if random.one_in(2) {
        return root;
    }
    let draft = root.take_over(&writer(2)).expect(WHY);
    let draft = draft.occupy(&[ObjectId(count as u64)], Timestamp(30_000)).expect(WHY);
    draft.register(ObjectKind::Data, 1, deadline).expect(WHY).finish().expect(WHY)
}

/// A table root with up to four intents.
pub(crate) fn table(random: &mut Random) -> TableRoot {
    let mut draft = TableRoot::create(TOPIC, writer(1));
    for index in 0..random.below(5) {
        let partition = PartitionIndex(index as i32 % 2);
        let end = Offset(100 * (index as i64 + 1));
        draft = draft.intend(partition, Offset::ZERO, end, Timestamp(10_000)).expect(WHY);
    }
    draft.finish().expect(WHY)
}

pub(crate) fn bucket_file() -> BucketFile {
    BucketFile { cluster_id: "cluster-1".to_owned(), name: "flights".to_owned(), generation: Generation(2) }
}

pub(crate) fn topic_file() -> TopicFile {
    let configs = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
    TopicFile { name: "flights".to_owned(), id: TOPIC, partitions: 6, configs }
}

/// A footer of an object with up to eight blocks that end at [`BLOCKS_END`].
pub(crate) fn footer(random: &mut Random) -> Footer {
    let count = 1 + random.below(8) as u64;
    let length = 1_000;
    let blocks = (0..count).map(|index| Block {
        base: Offset(100 * index as i64),
        last: Offset(100 * index as i64 + 99),
        max_timestamp: Timestamp(1_000 + index as i64),
        position: BLOCKS_END - (count - index) * length,
        stored_length: length as u32,
        raw_length: length as u32,
        crc: 1,
        codec: BlockCodec::None,
        key_id: 0,
    });
    let aborted = |index: usize| AbortedTxn {
        producer: ProducerId(index as i64),
        first: Offset(index as i64),
        last: Offset(index as i64 + 5),
        last_stable: Offset(index as i64),
    };
    Footer {
        info: Info {
            topic: TOPIC,
            partition: PARTITION,
            base: Offset::ZERO,
            end: Offset(100 * count as i64),
            min_timestamp: Timestamp(1_000),
            max_timestamp: Timestamp(2_000),
            append_time: Timestamp(3_000),
            writer: writer(1),
        },
        blocks: BlockTable::new(blocks.collect()).expect(WHY),
        epochs: (0..random.below(3))
            .map(|index| EpochStart { epoch: LeaderEpoch(index as i32), start: Offset(index as i64) })
            .collect(),
        aborted: (0..random.below(3)).map(aborted).collect(),
        producers: Bytes::from(random.bytes(20)),
    }
}

/// A key of any kind.
pub(crate) fn key(random: &mut Random) -> String {
    let name = "flights".to_owned();
    let prefix = PartitionPrefix::new(&name, TOPIC, PARTITION).expect(WHY);
    let object = |kind| ObjectName::new(kind, ObjectId(12), &writer(4));
    let key = match random.below(7) {
        0 => Key::Bucket,
        1 => Key::Topic(name, TOPIC),
        2 => Key::Root(prefix),
        3 => Key::Object(prefix, object(random.pick(&[ObjectKind::Data, ObjectKind::Group]))),
        4 => Key::TableRoot(name, TOPIC),
        5 => Key::TableObject(name, TOPIC, object(random.pick(&[ObjectKind::Table, ObjectKind::DeadLetters]))),
        _ => Key::Shared("x".to_owned()),
    };
    key.to_string()
}
