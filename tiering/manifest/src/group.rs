//! A group: an immutable file of consecutive entries, zstd-compressed JSON. The root names it with length and CRC32C, so
//! that a damaged file is found before it is opened.

use broker_model::limits::GROUP_ENTRIES;
use broker_model::{Offset, PartitionIndex, TopicId};

use crate::entry::{Entry, GroupRef, retention_time};
use crate::error::DecodeError;
use crate::invariants;
use crate::keys::ObjectName;
use crate::limits::GROUP_RAW_BYTES_MAX;
use crate::{crc32c, json};

const LEVEL: i32 = 9;

/// The content of a group file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The entries, contiguous, at least one.
    pub entries: Vec<Entry>,
}

impl Group {
    /// The file's bytes.
    ///
    /// # Panics
    /// Never: compression into memory has no error of its own.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        zstd::bulk::compress(&json::encode_group(self), LEVEL).expect("compression into memory does not fail")
    }

    /// Reads the file that `group` names: checks its length, its checksum, and that it holds what the root says.
    ///
    /// # Errors
    /// The bytes are damaged, of a newer format, or not those of this reference.
    pub fn open(bytes: &[u8], group: &GroupRef) -> Result<Group, DecodeError> {
        if bytes.len() != group.file_length as usize || crc32c(bytes) != group.file_crc {
            return Err(DecodeError::Compressed);
        }
        let content = Group::decode(bytes)?;
        invariants::group_matches(group, &content)?;
        Ok(content)
    }

    /// Reads a file without a reference to hold it against.
    ///
    /// # Errors
    /// The bytes are damaged, or of a newer format.
    pub fn decode(bytes: &[u8]) -> Result<Group, DecodeError> {
        let raw = zstd::bulk::decompress(bytes, GROUP_RAW_BYTES_MAX).map_err(|_| DecodeError::Compressed)?;
        let group = json::decode_group(&raw)?;
        if group.entries.is_empty() || group.entries.len() > GROUP_ENTRIES {
            return Err(DecodeError::Field { field: "entries" });
        }
        invariants::entries_contiguous(&group.entries)?;
        Ok(group)
    }

    /// The first offset.
    #[must_use]
    pub fn base(&self) -> Option<Offset> {
        self.entries.first().map(|entry| entry.base)
    }

    /// The reference to this group's file as stored, with `skip` entries at its beginning not live. None where nothing
    /// would be live.
    #[must_use]
    pub fn reference(&self, name: ObjectName, stored: &[u8], skip: u32) -> Option<GroupRef> {
        let file_length = u32::try_from(stored.len()).ok()?;
        self.reference_to(name, (file_length, crc32c(stored)), skip)
    }

    pub(crate) fn reference_to(&self, name: ObjectName, file: (u32, u32), skip: u32) -> Option<GroupRef> {
        let live = self.entries.get(skip as usize..)?;
        let (first, last) = (live.first()?, live.last()?);
        let max_timestamp = live.iter().map(|entry| entry.max_timestamp).max()?;
        let retention = live.iter().map(|entry| retention_time(entry.max_timestamp, entry.append_time)).max()?;
        Some(GroupRef {
            name,
            count: u32::try_from(self.entries.len()).ok()?,
            skip,
            base: first.base,
            end: last.end,
            max_timestamp,
            retention_time: retention,
            bytes: live.iter().map(|entry| entry.length).fold(0, u64::saturating_add),
            file_length: file.0,
            file_crc: file.1,
        })
    }
}
