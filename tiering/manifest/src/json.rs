//! The JSON of roots, groups and descriptions: one versioned shape per file, and the conversions to and from the types of
//! the domain. Nothing else derives `Serialize`. A later format gets shapes beside these and converts here.
//!
//! Fields that this version does not know are ignored; whatever must not be ignored raises `format`. Rows have exactly
//! the columns of FORMAT.md.

use std::collections::BTreeMap;
use std::io;

use broker_model::limits::ROOT_BYTES_MAX;
use broker_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::ser::{CompactFormatter, Formatter};

use crate::bucket::{BucketFile, TopicFile};
use crate::entry::{Condemned, Doom, Entry, GroupRef, Occupied, Registered, StorageClass};
use crate::error::DecodeError;
use crate::group::Group;
use crate::keys::{ObjectKind, ObjectName, is_topic_name};
use crate::limits::{GROUP_RAW_BYTES_MAX, SMALL_FILE_BYTES_MAX};
use crate::root::{Root, State};
use crate::writer::{Generation, ObjectId, Writer};

/// The newest format of every JSON file.
pub(crate) const FORMAT: u32 = 1;

#[derive(Deserialize)]
struct Probe {
    format: u32,
}

#[derive(Serialize, Deserialize)]
struct BucketV1 {
    format: u32,
    cluster_id: String,
    name: String,
    generation: u32,
}

#[derive(Serialize, Deserialize)]
struct TopicV1 {
    format: u32,
    name: String,
    id: String,
    partitions: u32,
    configs: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct WriterV1 {
    generation: u32,
    epoch: i32,
    nonce: String,
}

/// key, count, skip, base, end, max timestamp, retention time, bytes, file length, file CRC32C
type GroupRow = (String, u32, u32, i64, i64, i64, i64, u64, u32, u32);
/// store, key, position, length, index position, index length, base, end, min timestamp, max timestamp, append time, class
type EntryRow = (u16, String, u64, u64, u64, u32, i64, i64, i64, i64, i64, u8);
/// id, kind, generation, epoch, nonce, deadline
type RegisteredRow = (u64, String, u32, i32, String, i64);
/// key, until
pub(crate) type OccupiedRow = (String, i64);
/// key, delete after, what, first, last
type CondemnedRow = (String, i64, String, u32, u32);

#[derive(Serialize, Deserialize)]
struct RootV1 {
    format: u32,
    sequence: u64,
    writer: WriterV1,
    topic_id: String,
    partition: i32,
    state: String,
    start: i64,
    log_start: i64,
    end: i64,
    next_id: u64,
    groups: Vec<GroupRow>,
    entries: Vec<EntryRow>,
    registered: Vec<RegisteredRow>,
    occupied: Vec<OccupiedRow>,
    condemned: Vec<CondemnedRow>,
}

#[derive(Serialize, Deserialize)]
struct GroupV1 {
    format: u32,
    topic_id: String,
    partition: i32,
    entries: Vec<EntryRow>,
}

/// Reads one versioned JSON file: size first, then the version, then the shape.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], bytes_max: usize) -> Result<T, DecodeError> {
    if bytes.len() > bytes_max {
        return Err(DecodeError::TooLarge { bytes: bytes.len(), bytes_max });
    }
    let json = |error: serde_json::Error| DecodeError::Json(error.to_string());
    let probe: Probe = serde_json::from_slice(bytes).map_err(json)?;
    if probe.format > FORMAT {
        return Err(DecodeError::Newer { found: probe.format, known: FORMAT });
    }
    if probe.format == 0 {
        return Err(DecodeError::Field { field: "format" });
    }
    serde_json::from_slice(bytes).map_err(json)
}

/// Writes a file for people: a line for each field, and for each row of a field.
pub(crate) fn print(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Lines::default());
    value.serialize(&mut serializer).expect("shapes of this module serialise into memory");
    bytes.push(b'\n');
    bytes
}

pub(crate) fn encode_bucket(file: &BucketFile) -> Vec<u8> {
    print(&BucketV1 {
        format: FORMAT,
        cluster_id: file.cluster_id.clone(),
        name: file.name.clone(),
        generation: file.generation.0,
    })
}

pub(crate) fn decode_bucket(bytes: &[u8]) -> Result<BucketFile, DecodeError> {
    let file: BucketV1 = parse(bytes, SMALL_FILE_BYTES_MAX)?;
    Ok(BucketFile { cluster_id: file.cluster_id, name: file.name, generation: Generation(file.generation) })
}

pub(crate) fn encode_topic(file: &TopicFile) -> Vec<u8> {
    print(&TopicV1 {
        format: FORMAT,
        name: file.name.clone(),
        id: file.id.to_string(),
        partitions: file.partitions,
        configs: file.configs.clone(),
    })
}

pub(crate) fn decode_topic(bytes: &[u8]) -> Result<TopicFile, DecodeError> {
    let file: TopicV1 = parse(bytes, SMALL_FILE_BYTES_MAX)?;
    if !is_topic_name(&file.name) {
        return Err(DecodeError::Field { field: "name" });
    }
    let id = topic_id(&file.id)?;
    Ok(TopicFile { name: file.name, id, partitions: file.partitions, configs: file.configs })
}

pub(crate) fn encode_root(root: &Root) -> Vec<u8> {
    print(&RootV1 {
        format: FORMAT,
        sequence: root.sequence,
        writer: writer_row(&root.writer),
        topic_id: root.topic.to_string(),
        partition: root.partition.0,
        state: state_word(root.state),
        start: root.start.0,
        log_start: root.log_start.0,
        end: root.end.0,
        next_id: root.next_id.0,
        groups: root.groups.iter().map(group_row).collect(),
        entries: root.entries.iter().map(entry_row).collect(),
        registered: root.registered.iter().map(registered_row).collect(),
        occupied: root.occupied.iter().map(occupied_row).collect(),
        condemned: root.condemned.iter().map(condemned_row).collect(),
    })
}

pub(crate) fn decode_root(bytes: &[u8]) -> Result<Root, DecodeError> {
    let file: RootV1 = parse(bytes, ROOT_BYTES_MAX)?;
    Ok(Root {
        sequence: file.sequence,
        writer: writer(file.writer)?,
        topic: topic_id(&file.topic_id)?,
        partition: partition(file.partition)?,
        state: state(&file.state)?,
        start: Offset(file.start),
        log_start: Offset(file.log_start),
        end: Offset(file.end),
        next_id: ObjectId(file.next_id),
        groups: file.groups.into_iter().map(group_ref).collect::<Result<_, _>>()?,
        entries: file.entries.into_iter().map(entry).collect(),
        registered: file.registered.into_iter().map(registered).collect::<Result<_, _>>()?,
        occupied: file.occupied.into_iter().map(occupied).collect::<Result<_, _>>()?,
        condemned: file.condemned.into_iter().map(condemned).collect::<Result<_, _>>()?,
    })
}

pub(crate) fn encode_group(group: &Group) -> Vec<u8> {
    print(&GroupV1 {
        format: FORMAT,
        topic_id: group.topic.to_string(),
        partition: group.partition.0,
        entries: group.entries.iter().map(entry_row).collect(),
    })
}

pub(crate) fn decode_group(bytes: &[u8]) -> Result<Group, DecodeError> {
    let file: GroupV1 = parse(bytes, GROUP_RAW_BYTES_MAX)?;
    Ok(Group {
        topic: topic_id(&file.topic_id)?,
        partition: partition(file.partition)?,
        entries: file.entries.into_iter().map(entry).collect(),
    })
}

/// Bytes of one entry's row in the file, with its indentation, comma and line end.
pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    serde_json::to_string(&entry_row(entry)).expect("a row serialises into memory").len() + 6
}

pub(crate) fn topic_id(text: &str) -> Result<TopicId, DecodeError> {
    text.parse().map_err(|_| DecodeError::Field { field: "topic_id" })
}

pub(crate) fn partition(number: i32) -> Result<PartitionIndex, DecodeError> {
    if number < 0 { Err(DecodeError::Field { field: "partition" }) } else { Ok(PartitionIndex(number)) }
}

pub(crate) fn state(word: &str) -> Result<State, DecodeError> {
    match word {
        "active" => Ok(State::Active),
        "deleted" => Ok(State::Deleted),
        _ => Err(DecodeError::Field { field: "state" }),
    }
}

pub(crate) fn state_word(state: State) -> String {
    match state {
        State::Active => "active".to_owned(),
        State::Deleted => "deleted".to_owned(),
    }
}

pub(crate) fn writer_row(writer: &Writer) -> WriterV1 {
    WriterV1 { generation: writer.generation.0, epoch: writer.epoch.0, nonce: nonce_text(writer.nonce) }
}

pub(crate) fn writer(row: WriterV1) -> Result<Writer, DecodeError> {
    writer_of(row.generation, row.epoch, &row.nonce)
}

pub(crate) fn writer_of(generation: u32, epoch: i32, nonce_hex: &str) -> Result<Writer, DecodeError> {
    if epoch < 0 {
        return Err(DecodeError::Field { field: "epoch" });
    }
    Ok(Writer { generation: Generation(generation), epoch: LeaderEpoch(epoch), nonce: nonce(nonce_hex)? })
}

pub(crate) fn nonce_text(nonce: u64) -> String {
    format!("{nonce:016x}")
}

fn nonce(text: &str) -> Result<u64, DecodeError> {
    let legal = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !legal {
        return Err(DecodeError::Field { field: "nonce" });
    }
    u64::from_str_radix(text, 16).map_err(|_| DecodeError::Field { field: "nonce" })
}

fn name(key: &str, field: &'static str) -> Result<ObjectName, DecodeError> {
    key.parse().map_err(|_| DecodeError::Field { field })
}

fn group_row(group: &GroupRef) -> GroupRow {
    (
        group.name.to_string(),
        group.count,
        group.skip,
        group.base.0,
        group.end.0,
        group.max_timestamp.0,
        group.retention_time.0,
        group.bytes,
        group.file_length,
        group.file_crc,
    )
}

fn group_ref(row: GroupRow) -> Result<GroupRef, DecodeError> {
    let (key, count, skip, base, end, max_timestamp, retention_time, bytes, file_length, file_crc) = row;
    Ok(GroupRef {
        name: name(&key, "groups")?,
        count,
        skip,
        base: Offset(base),
        end: Offset(end),
        max_timestamp: Timestamp(max_timestamp),
        retention_time: Timestamp(retention_time),
        bytes,
        file_length,
        file_crc,
    })
}

fn entry_row(entry: &Entry) -> EntryRow {
    (
        entry.store,
        entry.key.clone(),
        entry.position,
        entry.length,
        entry.index_position,
        entry.index_length,
        entry.base.0,
        entry.end.0,
        entry.min_timestamp.0,
        entry.max_timestamp.0,
        entry.append_time.0,
        entry.class.0,
    )
}

fn entry(row: EntryRow) -> Entry {
    let (store, key, position, length, index_position, index_length, base, end, min, max, append_time, class) = row;
    Entry {
        store,
        key,
        position,
        length,
        index_position,
        index_length,
        base: Offset(base),
        end: Offset(end),
        min_timestamp: Timestamp(min),
        max_timestamp: Timestamp(max),
        append_time: Timestamp(append_time),
        class: StorageClass(class),
    }
}

fn registered_row(row: &Registered) -> RegisteredRow {
    let Writer { generation, epoch, nonce } = row.writer;
    (row.id.0, row.kind.word().to_owned(), generation.0, epoch.0, nonce_text(nonce), row.deadline.0)
}

fn registered(row: RegisteredRow) -> Result<Registered, DecodeError> {
    let (id, kind, generation, epoch, nonce, deadline) = row;
    Ok(Registered {
        id: ObjectId(id),
        kind: ObjectKind::from_word(&kind).ok_or(DecodeError::Field { field: "registered" })?,
        writer: writer_of(generation, epoch, &nonce)?,
        deadline: Timestamp(deadline),
    })
}

pub(crate) fn occupied_row(row: &Occupied) -> OccupiedRow {
    (row.name.to_string(), row.until.0)
}

pub(crate) fn occupied((key, until): OccupiedRow) -> Result<Occupied, DecodeError> {
    Ok(Occupied { name: name(&key, "occupied")?, until: Timestamp(until) })
}

fn condemned_row(row: &Condemned) -> CondemnedRow {
    let (word, first, last) = match row.doom {
        Doom::File => ("file", 0, 0),
        Doom::Members { first, last } => ("members", first, last),
        Doom::FileAndMembers { first, last } => ("all", first, last),
    };
    (row.key.clone(), row.delete_after.0, word.to_owned(), first, last)
}

fn condemned(row: CondemnedRow) -> Result<Condemned, DecodeError> {
    let (key, delete_after, word, first, last) = row;
    let doom = match word.as_str() {
        "file" if (first, last) == (0, 0) => Doom::File,
        "members" => Doom::Members { first, last },
        "all" => Doom::FileAndMembers { first, last },
        _ => return Err(DecodeError::Field { field: "condemned" }),
    };
    Ok(Condemned { key, doom, delete_after: Timestamp(delete_after) })
}

/// Breaks lines in the outermost object and in the lists that it holds; deeper values stay on their line.
#[derive(Default)]
struct Lines {
    depth: usize,
    has_value: bool,
}

impl Lines {
    const DEEPEST: usize = 2;

    fn open<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.has_value = false;
        writer.write_all(bracket)
    }

    fn close<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.has_value && self.depth < Self::DEEPEST {
            self.line(writer)?;
        }
        self.has_value = true;
        writer.write_all(bracket)
    }

    fn item<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        if self.depth <= Self::DEEPEST { self.line(writer) } else { Ok(()) }
    }

    fn line<W: ?Sized + io::Write>(&self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| writer.write_all(b"  "))
    }
}

impl Formatter for Lines {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"]")
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.item(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"}")
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.item(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        CompactFormatter.begin_object_value(writer)?;
        writer.write_all(b" ")
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }
}
