//! The root of a topic's table: which files hold which offset ranges, and which ranges are being written. Swapped like a
//! manifest, with the same writer fence.
//!
//! The range of a file is fixed by its **intent**, before the file is written. Whoever carries the intent out reads the
//! same records from the tier, so doing it twice is doing it once: only one file of a range is ever committed, in the
//! order of offsets, and `next` of the partition moves with it (OUT-1). When a writer dies, its successor occupies the
//! names of the dead intent and gives the same range a new id.
//!
//! One id names up to two objects: the data file and the dead letters of the range.

use std::collections::BTreeMap;

use broker_model::{Offset, PartitionIndex, Timestamp, TopicId};

use crate::entry::Occupied;
use crate::error::{ChangeError, DecodeError};
use crate::invariants::Violation;
use crate::keys::{ObjectKind, ObjectName};
use crate::limits::{LATE_PUT_MS, OCCUPIED_MAX, TABLE_FILES_MAX, TABLE_INTENTS_MAX};
use crate::root::State;
use crate::table_json;
use crate::writer::{ObjectId, Writer};

/// How far a partition is in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablePartition {
    /// The first offset that the table ever covered.
    pub start: Offset,
    /// The first offset that no committed file covers.
    pub next: Offset,
}

/// A committed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableFile {
    /// Its name; the kind says whether it holds rows or dead letters.
    pub name: ObjectName,
    /// The partition whose records it holds.
    pub partition: PartitionIndex,
    /// The first offset of its intent's range.
    pub base: Offset,
    /// The offset after the last of its intent's range.
    pub end: Offset,
    /// Rows in the file.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// The smallest timestamp of a row, or -1.
    pub min_timestamp: Timestamp,
    /// The largest timestamp of a row, or -1.
    pub max_timestamp: Timestamp,
}

/// A range that a writer will export under one id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The id.
    pub id: ObjectId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The first offset.
    pub base: Offset,
    /// The offset after the last.
    pub end: Offset,
    /// Who will write.
    pub writer: Writer,
    /// No PUT is signed after this time.
    pub deadline: Timestamp,
}

impl Intent {
    /// The two names that the id stands for: the data file and the dead letters.
    #[must_use]
    pub fn names(&self) -> [ObjectName; 2] {
        [ObjectKind::Table, ObjectKind::DeadLetters].map(|kind| ObjectName::new(kind, self.id, &self.writer))
    }
}

/// The root of a topic's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRoot {
    /// Counts swaps, from 1.
    pub sequence: u64,
    /// Who swapped it in.
    pub writer: Writer,
    /// The topic.
    pub topic: TopicId,
    /// Whether the table lives.
    pub state: State,
    /// The next id.
    pub next_id: ObjectId,
    /// How far each partition is.
    pub partitions: BTreeMap<PartitionIndex, TablePartition>,
    /// Committed files.
    pub files: Vec<TableFile>,
    /// Ranges that are being written.
    pub intents: Vec<Intent>,
    /// Names that are taken from dead writers, or that an intent did not need.
    pub occupied: Vec<Occupied>,
}

impl TableRoot {
    /// The first root of a table, to be created if absent.
    pub fn create(topic: TopicId, writer: Writer) -> TableDraft {
        TableDraft {
            root: TableRoot {
                sequence: 1,
                writer,
                topic,
                state: State::Active,
                next_id: ObjectId(0),
                partitions: BTreeMap::new(),
                files: Vec::new(),
                intents: Vec::new(),
                occupied: Vec::new(),
            },
        }
    }

    /// Begins a change by the writer that holds the root.
    ///
    /// # Errors
    /// [`ChangeError::Fenced`] where another holds it.
    pub fn draft(&self, writer: &Writer) -> Result<TableDraft, ChangeError> {
        if self.writer != *writer {
            return Err(ChangeError::Fenced { holder: self.writer, asker: *writer });
        }
        self.take_over(writer)
    }

    /// Begins the change with which a newer writer takes the root.
    ///
    /// # Errors
    /// [`ChangeError::Fenced`] where the holder is as new or newer.
    pub fn take_over(&self, writer: &Writer) -> Result<TableDraft, ChangeError> {
        if self.writer != *writer && !writer.supersedes(&self.writer) {
            return Err(ChangeError::Fenced { holder: self.writer, asker: *writer });
        }
        let mut root = self.clone();
        root.sequence += 1;
        root.writer = *writer;
        Ok(TableDraft { root })
    }

    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        table_json::encode(self)
    }

    /// Reads the file, and checks it.
    ///
    /// # Errors
    /// The bytes are damaged, of a newer format, or break an invariant.
    pub fn decode(bytes: &[u8]) -> Result<TableRoot, DecodeError> {
        let root = table_json::decode(bytes)?;
        root.check()?;
        Ok(root)
    }

    /// Intents of other, dead writers.
    pub fn foreign(&self) -> impl Iterator<Item = &Intent> {
        self.intents.iter().filter(|intent| intent.writer != self.writer)
    }

    /// Every key that the root names, relative to the table's directory.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let files = self.files.iter().map(|file| file.name);
        let intents = self.intents.iter().flat_map(Intent::names);
        let occupied = self.occupied.iter().map(|row| row.name);
        files.chain(intents).chain(occupied).map(|name| name.to_string()).collect()
    }

    /// OUT-1: each partition's data files and intents lie between its start and, for files, its next offset, in order and
    /// without overlap; intents continue from next. TIER-4: no name twice, no id that was not given out.
    ///
    /// # Errors
    /// The first violation.
    pub fn check(&self) -> Result<(), Violation> {
        let out = |detail: String| Err(Violation { id: "OUT-1", detail });
        let mut at: BTreeMap<PartitionIndex, Offset> =
            self.partitions.iter().map(|(partition, known)| (*partition, known.start)).collect();
        for file in self.files.iter().filter(|file| file.name.kind == ObjectKind::Table) {
            let next = self.partitions.get(&file.partition).map(|known| known.next);
            match at.get_mut(&file.partition) {
                Some(at) if *at <= file.base && file.base < file.end && Some(file.end) <= next => *at = file.end,
                _ => return out(format!("file {} overlaps, or lies outside", file.name)),
            }
        }
        for (partition, known) in &self.partitions {
            let mut next = known.next;
            if known.start > next || known.start < Offset::ZERO {
                return out(format!("partition {partition} ends before it starts"));
            }
            for intent in self.intents.iter().filter(|intent| intent.partition == *partition) {
                if intent.base != next || intent.end <= intent.base {
                    return out(format!("intent {} does not continue at {next}", intent.id));
                }
                next = intent.end;
            }
        }
        if let Some(intent) = self.intents.iter().find(|intent| !self.partitions.contains_key(&intent.partition)) {
            return out(format!("intent {} is of an unknown partition", intent.id));
        }
        self.check_names()
    }

    fn check_names(&self) -> Result<(), Violation> {
        let mut seen = std::collections::BTreeSet::new();
        let files = self.files.iter().map(|file| file.name);
        let intents = self.intents.iter().flat_map(Intent::names);
        let occupied = self.occupied.iter().map(|row| row.name);
        for name in files.chain(intents).chain(occupied) {
            let of_table = matches!(name.kind, ObjectKind::Table | ObjectKind::DeadLetters);
            if !of_table || name.id >= self.next_id || !seen.insert(name) {
                return Err(Violation { id: "TIER-4", detail: format!("{name} is named twice, or by no id") });
            }
        }
        let lists = [
            ("files", self.files.len(), TABLE_FILES_MAX),
            ("intents", self.intents.len(), TABLE_INTENTS_MAX),
            ("occupied keys", self.occupied.len(), OCCUPIED_MAX),
        ];
        match lists.into_iter().find(|(_, found, bound)| found > bound) {
            Some((name, found, bound)) => {
                Err(Violation { id: "SIZES", detail: format!("{found} {name}, at most {bound}") })
            }
            None => Ok(()),
        }
    }
}

/// A change of a table root in the making; one swap and one sequence number, however many changes it takes.
#[derive(Clone, Debug)]
#[must_use = "a draft changes nothing until its root is swapped in"]
pub struct TableDraft {
    root: TableRoot,
}

impl TableDraft {
    /// The root as changed so far.
    #[must_use]
    pub fn root(&self) -> &TableRoot {
        &self.root
    }

    /// The root to swap in.
    ///
    /// # Errors
    /// The changes break an invariant: a bug.
    pub fn finish(self) -> Result<TableRoot, ChangeError> {
        self.root.check()?;
        Ok(self.root)
    }

    /// Fixes the next range of a partition, up to `end`. A partition that is new to the table begins at `start_if_new`.
    ///
    /// # Errors
    /// The range would be empty, the table is deleted, or the list is full.
    pub fn intend(
        mut self,
        partition: PartitionIndex,
        start_if_new: Offset,
        end: Offset,
        deadline: Timestamp,
    ) -> Result<TableDraft, ChangeError> {
        if self.root.state == State::Deleted {
            return Err(ChangeError::Deleted);
        }
        if self.root.intents.len() >= TABLE_INTENTS_MAX {
            return Err(ChangeError::Full("intents"));
        }
        let fresh = TablePartition { start: start_if_new, next: start_if_new };
        let known = *self.root.partitions.entry(partition).or_insert(fresh);
        let last = self.root.intents.iter().rev().find(|intent| intent.partition == partition);
        let base = last.map_or(known.next, |intent| intent.end);
        if end <= base {
            return Err(ChangeError::Argument("an intent has at least one offset"));
        }
        let (id, writer) = (self.next_id(), self.root.writer);
        self.root.intents.push(Intent { id, partition, base, end, writer, deadline });
        Ok(self)
    }

    /// Commits what was written for an intent: at most one data file and one of dead letters. A range without a record
    /// (all control batches, or compacted away) has neither. Names of the id that were never put need no occupying: only
    /// this writer could put them.
    ///
    /// # Errors
    /// The intent is not this writer's, is not the next of its partition, or a file is not of its range.
    pub fn commit(mut self, id: ObjectId, files: &[TableFile]) -> Result<TableDraft, ChangeError> {
        let writer = self.root.writer;
        let own = |intent: &Intent| intent.id == id && intent.writer == writer;
        let at = self.root.intents.iter().position(own).ok_or(ChangeError::NotRegistered(id))?;
        let intent = self.root.intents.remove(at);
        let known = self.root.partitions.get_mut(&intent.partition).ok_or(ChangeError::NotRegistered(id))?;
        if known.next != intent.base {
            return Err(ChangeError::NotContiguous { expected: known.next.0, found: intent.base.0 });
        }
        for (index, file) in files.iter().enumerate() {
            let of_range = (file.partition, file.base, file.end) == (intent.partition, intent.base, intent.end);
            let twice = files.iter().skip(index + 1).any(|other| other.name == file.name);
            if !of_range || twice || !intent.names().contains(&file.name) {
                return Err(ChangeError::Argument("a file has the range and the name of its intent"));
            }
        }
        if self.root.files.len() + files.len() > TABLE_FILES_MAX {
            return Err(ChangeError::Full("files"));
        }
        known.next = intent.end;
        self.root.files.extend_from_slice(files);
        Ok(self)
    }

    /// Gives the range of an intent a new id of this writer, after the caller occupied both names of the old one. Used for
    /// the intents of a dead writer, and for one's own after a PUT in doubt.
    ///
    /// # Errors
    /// The intent is not listed, or the list of occupied keys is full.
    pub fn renew(mut self, id: ObjectId, now: Timestamp, deadline: Timestamp) -> Result<TableDraft, ChangeError> {
        if self.root.occupied.len() + 2 > OCCUPIED_MAX {
            return Err(ChangeError::Full("occupied keys"));
        }
        let (fresh, writer) = (self.next_id(), self.root.writer);
        let intent = self.root.intents.iter_mut().find(|intent| intent.id == id);
        let intent = intent.ok_or(ChangeError::NotRegistered(id))?;
        let until = intent.deadline.max(now).plus_ms(LATE_PUT_MS);
        let names = intent.names();
        (intent.id, intent.writer, intent.deadline) = (fresh, writer, deadline);
        self.root.occupied.extend(names.map(|name| Occupied { name, until }));
        Ok(self)
    }

    /// Drops occupied rows whose time is past and whose object the caller has deleted.
    ///
    /// # Errors
    /// A row is not listed, or its time is not past.
    pub fn vacate(mut self, rows: &[Occupied], now: Timestamp) -> Result<TableDraft, ChangeError> {
        for row in rows {
            let at = self.root.occupied.iter().position(|listed| listed == row && listed.until <= now);
            self.root.occupied.remove(at.ok_or_else(|| ChangeError::NotListed(row.name.to_string()))?);
        }
        Ok(self)
    }

    fn next_id(&mut self) -> ObjectId {
        let id = self.root.next_id;
        self.root.next_id = ObjectId(id.0 + 1);
        id
    }
}
