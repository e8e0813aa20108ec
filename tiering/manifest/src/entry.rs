//! The rows of a root: what is committed ([`Entry`], [`GroupRef`]), what may be written ([`Registered`]), what nobody may
//! write any more ([`Occupied`]), and what waits to be deleted ([`Condemned`]). Together they name every object of the
//! partition (TIER-5). Keys are relative to the partition's directory.

use broker_model::{Offset, Timestamp};

use crate::keys::{ObjectKind, ObjectName};
use crate::writer::{ObjectId, Writer};

/// Where the store keeps an object. Only a hint about cost and latency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StorageClass(pub u8);

impl StorageClass {
    /// The store's default class.
    pub const STANDARD: StorageClass = StorageClass(0);
}

/// One committed offset range, and the object that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The store that holds the object: 0 is this bucket, others are reserved.
    pub store: u16,
    /// The object's key, relative to the partition's directory.
    pub key: String,
    /// Where the range's batches begin in the object, in bytes.
    pub position: u64,
    /// Bytes of the range's blocks as stored, without the footer.
    pub length: u64,
    /// Where the index (aborted transactions and block table) begins in the object, in bytes.
    pub index_position: u64,
    /// Bytes of the index.
    pub index_length: u32,
    /// The first offset of the range.
    pub base: Offset,
    /// The offset after the last of the range.
    pub end: Offset,
    /// A time that no record of the range is before, or -1 where that is not known.
    pub min_timestamp: Timestamp,
    /// The largest timestamp of a record, or -1 where no record has one.
    pub max_timestamp: Timestamp,
    /// When the last batch of the range was appended, by the broker's clock.
    pub append_time: Timestamp,
    /// The object's storage class.
    pub class: StorageClass,
}

impl Entry {
    /// The time from which retention counts: min(max record timestamp, append time), so that a timestamp in the future
    /// cannot hold data for ever. A range without timestamps counts from its append time.
    #[must_use]
    pub fn retention_time(&self) -> Timestamp {
        retention_time(self.max_timestamp, self.append_time)
    }
}

pub(crate) fn retention_time(max_timestamp: Timestamp, append_time: Timestamp) -> Timestamp {
    if max_timestamp.0 < 0 { append_time } else { max_timestamp.min(append_time) }
}

/// A group of entries, and what must be known of it without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRef {
    /// The group file's name.
    pub name: ObjectName,
    /// Entries in the file.
    pub count: u32,
    /// Entries at its beginning that are no longer part of the manifest.
    pub skip: u32,
    /// The first offset of the live entries.
    pub base: Offset,
    /// The offset after the last entry.
    pub end: Offset,
    /// The largest `max_timestamp` of the live entries.
    pub max_timestamp: Timestamp,
    /// The largest retention time of the live entries.
    pub retention_time: Timestamp,
    /// Sum of the live entries' lengths, in bytes.
    pub bytes: u64,
    /// Bytes of the group file as stored.
    pub file_length: u32,
    /// CRC32C of the group file as stored.
    pub file_crc: u32,
}

/// An id that a writer may use for one object, until the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The id.
    pub id: ObjectId,
    /// What it is for.
    pub kind: ObjectKind,
    /// Who registered it; its generation and epoch are in the name.
    pub writer: Writer,
    /// No PUT is signed after this time.
    pub deadline: Timestamp,
}

impl Registered {
    /// The name of the object with this id.
    #[must_use]
    pub fn name(&self) -> ObjectName {
        ObjectName::new(self.kind, self.id, &self.writer)
    }
}

/// A key that is taken, by an empty object or by a late one, so that no PUT of a dead writer can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupied {
    /// The object's name.
    pub name: ObjectName,
    /// The object is deleted, and the row dropped, after this time.
    pub until: Timestamp,
}

/// What goes when a condemned row is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doom {
    /// The named object alone. A group that was rewritten goes without its members.
    File,
    /// The members `first..last` of the named group, which itself stays.
    Members {
        /// Index of the first member.
        first: u32,
        /// Index after the last member.
        last: u32,
    },
    /// The members `first..last` of the named group, and then the group.
    FileAndMembers {
        /// Index of the first member.
        first: u32,
        /// Index after the last member.
        last: u32,
    },
}

/// Something that the manifest no longer refers to, and that is deleted after a grace period. The row is dropped only
/// when the delete is confirmed, so that an object is named for as long as it may exist.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condemned {
    /// The key of the object or group, relative to the partition's directory.
    pub key: String,
    /// What goes.
    pub doom: Doom,
    /// Not before this time.
    pub delete_after: Timestamp,
}
