//! Keys of the records in `__consumer_offsets`.
//!
//! A key begins with the type of its record; the value, where it is not a tombstone, with its version. The types of
//! other coordinators (consumer, share and streams groups) are told by number and left alone.

use bytes::Bytes;

use crate::decode::{DecodeError, Decoder};
use crate::messages::{GroupMetadataKey, OffsetCommitKey};

/// The type that offset commits had first; its key is laid out alike.
const LEGACY_OFFSET_COMMIT: i16 = 0;

/// What a record of the group coordinator's log is about.
#[derive(Clone, Debug, PartialEq)]
pub enum CoordinatorKey {
    /// A committed offset; the value is an [`crate::messages::OffsetCommitValue`].
    OffsetCommit(OffsetCommitKey),
    /// A classic group; the value is a [`crate::messages::GroupMetadataValue`].
    GroupMetadata(GroupMetadataKey),
    /// A record type that is not known here.
    Unknown(i16),
}

impl CoordinatorKey {
    /// Reads a record's key.
    pub fn decode(key: Bytes) -> Result<CoordinatorKey, DecodeError> {
        let mut input = Decoder::new(key);
        let record_type = input.i16()?;
        match record_type {
            LEGACY_OFFSET_COMMIT | OffsetCommitKey::RECORD_TYPE => {
                OffsetCommitKey::decode(&mut input, OffsetCommitKey::VERSION_LAST).map(CoordinatorKey::OffsetCommit)
            }
            GroupMetadataKey::RECORD_TYPE => {
                GroupMetadataKey::decode(&mut input, GroupMetadataKey::VERSION_LAST).map(CoordinatorKey::GroupMetadata)
            }
            other => Ok(CoordinatorKey::Unknown(other)),
        }
    }
}
