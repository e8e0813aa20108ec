//! The root of a partition's manifest: the one mutable object, swapped by compare-and-swap on its ETag.
//!
//! The root names, with its groups, every object of the partition, and says which offsets are in the tier: from `start` to
//! `end` without a gap (TIER-1). `log_start` is the first offset that a consumer may read; ranges wholly below it leave
//! the root, so it lies at or after `start`.
//!
//! A root changes only through a [`Draft`]. After a swap whose reply was lost, [`Root::outcome`] tells from what is stored
//! now whether it took effect; [`Root::succeeds`] is the writer fence. Until it is known whether a swap took effect, its
//! writer may only send the identical bytes again.

use broker_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

use crate::draft::Draft;
use crate::entry::{Condemned, Doom, Entry, GroupRef, Occupied, Registered};
use crate::error::{ChangeError, DecodeError};
use crate::invariants;
use crate::keys::ObjectKind;
use crate::writer::{ObjectId, Writer};
use crate::{Violation, json};

/// Whether the partition lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Objects may be committed.
    Active,
    /// The topic is deleted: everything is condemned, and nothing is added.
    Deleted,
}

/// A partition's root. The fields may be read freely; they are changed by a [`Draft`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Counts swaps, from 1.
    pub sequence: u64,
    /// Who swapped it in.
    pub writer: Writer,
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// Whether the partition lives.
    pub state: State,
    /// The first offset of the first range, or `end` where there is none.
    pub start: Offset,
    /// The first offset that a consumer may read.
    pub log_start: Offset,
    /// The first offset that is only local.
    pub end: Offset,
    /// The next id to register.
    pub next_id: ObjectId,
    /// Groups of entries, oldest first.
    pub groups: Vec<GroupRef>,
    /// Entries that are not in a group yet, oldest first.
    pub entries: Vec<Entry>,
    /// Ids that may be used.
    pub registered: Vec<Registered>,
    /// Keys that are taken from dead writers.
    pub occupied: Vec<Occupied>,
    /// What waits to be deleted.
    pub condemned: Vec<Condemned>,
}

/// How a root that was read relates to an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Succession {
    /// It is the same root.
    Same,
    /// The same writer swapped it in, later.
    Own,
    /// A newer writer took over.
    Newer,
}

/// Two roots of one partition that cannot follow one another: stop writing, a human must look.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the stored root (writer {stored}, sequence {stored_sequence}) does not follow the known one \
     (writer {known}, sequence {known_sequence})"
)]
pub struct Conflict {
    /// The writer of the root that was read.
    pub stored: Writer,
    /// The sequence of the root that was read.
    pub stored_sequence: u64,
    /// The writer of the root that was known.
    pub known: Writer,
    /// The sequence of the root that was known.
    pub known_sequence: u64,
}

/// What became of a swap whose reply was lost or was a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwapOutcome {
    /// The swap took effect: the stored root is the one that was sent.
    Applied,
    /// It did not, and the writer still has its right. Where the ETag is unchanged, send the identical bytes again; where
    /// it changed (only possible while taking over), draft anew from the stored root.
    NotApplied,
    /// Another writer holds the root, or the stored root is none that can be explained: halt.
    Lost,
}

impl Root {
    /// The first root of a partition, to be created if absent. The tier begins at `start`, the first offset that is local.
    pub fn create(topic: TopicId, partition: PartitionIndex, writer: Writer, start: Offset) -> Draft {
        Draft::of(Root {
            sequence: 1,
            writer,
            topic,
            partition,
            state: State::Active,
            start,
            log_start: start,
            end: start,
            next_id: ObjectId(0),
            groups: Vec::new(),
            entries: Vec::new(),
            registered: Vec::new(),
            occupied: Vec::new(),
            condemned: Vec::new(),
        })
    }

    /// Begins a change by the writer that holds the root.
    ///
    /// # Errors
    /// [`ChangeError::Fenced`] where another holds it.
    pub fn draft(&self, writer: &Writer) -> Result<Draft, ChangeError> {
        if self.writer != *writer {
            return Err(ChangeError::Fenced { holder: self.writer, asker: *writer });
        }
        Ok(self.next())
    }

    /// Begins the change with which a newer writer takes the root. Also right for the writer that holds it already.
    ///
    /// # Errors
    /// [`ChangeError::Fenced`] where the holder is as new or newer, by generation and epoch.
    pub fn take_over(&self, writer: &Writer) -> Result<Draft, ChangeError> {
        if self.writer != *writer && !writer.supersedes(&self.writer) {
            return Err(ChangeError::Fenced { holder: self.writer, asker: *writer });
        }
        let mut draft = self.next();
        draft.root.writer = *writer;
        Ok(draft)
    }

    fn next(&self) -> Draft {
        let mut root = self.clone();
        root.sequence += 1;
        Draft::of(root)
    }

    /// The writer fence: a root that was read is the known one, a later one of the same writer, or one of a newer writer.
    ///
    /// # Errors
    /// It is none of these, or of another partition.
    pub fn succeeds(&self, known: &Root) -> Result<Succession, Conflict> {
        let same_partition = (self.topic, self.partition) == (known.topic, known.partition);
        if same_partition {
            if self == known {
                return Ok(Succession::Same);
            }
            if self.writer == known.writer && self.sequence > known.sequence {
                return Ok(Succession::Own);
            }
            if self.writer.supersedes(&known.writer) {
                return Ok(Succession::Newer);
            }
        }
        Err(Conflict {
            stored: self.writer,
            stored_sequence: self.sequence,
            known: known.writer,
            known_sequence: known.sequence,
        })
    }

    /// What became of the swap that sent `self`, judged from the root that is stored now.
    #[must_use]
    pub fn outcome(&self, stored: &Root) -> SwapOutcome {
        if self == stored {
            return SwapOutcome::Applied;
        }
        let one_before = stored.writer == self.writer && stored.sequence.checked_add(1) == Some(self.sequence);
        if one_before || self.writer.supersedes(&stored.writer) {
            return SwapOutcome::NotApplied;
        }
        SwapOutcome::Lost
    }

    /// Checks every invariant that the root alone can show.
    ///
    /// # Errors
    /// The first violation found.
    pub fn check(&self) -> Result<(), Violation> {
        invariants::check(self)
    }

    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        json::encode_root(self)
    }

    /// Reads the file, and checks it.
    ///
    /// # Errors
    /// The bytes are damaged, of a newer format, or break an invariant.
    pub fn decode(bytes: &[u8]) -> Result<Root, DecodeError> {
        let root = json::decode_root(bytes)?;
        root.check()?;
        Ok(root)
    }

    /// The ids of this kind that the root's writer may use.
    pub fn usable(&self, kind: ObjectKind) -> impl Iterator<Item = &Registered> {
        self.registered.iter().filter(move |row| row.kind == kind && row.writer == self.writer)
    }

    /// The ids that other, dead writers registered.
    pub fn foreign(&self) -> impl Iterator<Item = &Registered> {
        self.registered.iter().filter(|row| row.writer != self.writer)
    }

    /// Serialised bytes of the entries that are not in a group: at most `ROOT_ENTRIES_BYTES_MAX`.
    #[must_use]
    pub fn entries_bytes(&self) -> usize {
        self.entries.iter().map(json::entry_bytes).sum()
    }

    /// Stored bytes of all committed ranges. Registered ids count nothing: only what is committed is in the tier.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let grouped = self.groups.iter().map(|group| group.bytes).fold(0, u64::saturating_add);
        self.entries.iter().map(|entry| entry.length).fold(grouped, u64::saturating_add)
    }

    /// Condemned rows whose time has come. A group file waits for the rows that still need it to name its members.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = &Condemned> {
        self.condemned.iter().enumerate().filter_map(move |(index, row)| {
            let needed = !matches!(row.doom, Doom::Members { .. })
                && self.condemned.iter().enumerate().any(|(other, needs)| {
                    other != index && needs.key == row.key && matches!(needs.doom, Doom::Members { .. })
                });
            (row.delete_after <= now && !needed).then_some(row)
        })
    }

    /// Occupied keys that no late PUT can reach any more.
    pub fn occupied_past(&self, now: Timestamp) -> impl Iterator<Item = &Occupied> {
        self.occupied.iter().filter(move |row| row.until <= now)
    }

    /// True when the partition is deleted and names no object: the root itself may be deleted.
    #[must_use]
    pub fn is_purged(&self) -> bool {
        self.state == State::Deleted
            && self.registered.is_empty()
            && self.occupied.is_empty()
            && self.condemned.is_empty()
    }

    /// Every key that the root itself names, relative to the partition's directory. Members of groups (live ones, and
    /// condemned ones) are named by the group files.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.groups.iter().map(|group| group.name.to_string()).collect();
        names.extend(self.entries.iter().map(|entry| entry.key.clone()));
        names.extend(self.registered.iter().map(|row| row.name().to_string()));
        names.extend(self.occupied.iter().map(|row| row.name.to_string()));
        names.extend(self.condemned.iter().map(|row| row.key.clone()));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The leader epoch that a new leader of this partition must exceed to take the root.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.writer.epoch
    }
}
