//! What can be wrong with a file of the bucket, and why a change of a root is refused. `kind()` says what to do.

use crate::invariants::Violation;
use crate::writer::{ObjectId, Writer};

/// A file of the bucket cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The file is larger than any that this version writes.
    #[error("{bytes} bytes, at most {bytes_max} are read")]
    TooLarge {
        /// Bytes of the file.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// A later version of the program wrote the file.
    #[error("format {found} is newer than format {known}, which this version knows: use a newer version of strata")]
    Newer {
        /// The file's format version.
        found: u32,
        /// The newest that this version reads.
        known: u32,
    },
    /// The text is not the JSON that the format asks for.
    #[error("not valid: {0}")]
    Json(String),
    /// A field has a value that it cannot have.
    #[error("field {field} is not valid")]
    Field {
        /// The field's name in the file.
        field: &'static str,
    },
    /// The compressed frame cannot be opened.
    #[error("the compressed frame is damaged")]
    Compressed,
    /// The content breaks an invariant.
    #[error("{0}")]
    Check(#[from] Violation),
}

/// What a reader does about a [`DecodeError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeErrorKind {
    /// The bytes are not what was written: read again, then report; a human must look.
    Damaged,
    /// The file is right but too new: upgrade.
    Newer,
}

impl DecodeError {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> DecodeErrorKind {
        match self {
            DecodeError::Newer { .. } => DecodeErrorKind::Newer,
            _ => DecodeErrorKind::Damaged,
        }
    }
}

/// A change of a root is refused. The root is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The root belongs to another writer.
    #[error("the root belongs to writer {holder}, not to {asker}")]
    Fenced {
        /// Who holds the root.
        holder: Writer,
        /// Who asked.
        asker: Writer,
    },
    /// The partition is deleted: nothing is added to it.
    #[error("the partition is deleted")]
    Deleted,
    /// The id is not registered, or was registered by another than the change allows.
    #[error("id {0} is not registered for this")]
    NotRegistered(ObjectId),
    /// The object does not continue where the root ends.
    #[error("the next range begins at {expected}, not at {found}")]
    NotContiguous {
        /// The root's end offset.
        expected: i64,
        /// The base offset of the range.
        found: i64,
    },
    /// The entries would pass `ROOT_ENTRIES_BYTES_MAX`: write a group first.
    #[error("the root's entries are full: write a group first")]
    GroupFirst,
    /// A list of the root is at its bound.
    #[error("the list of {0} is full")]
    Full(&'static str),
    /// The group is not made of the entries that it stands for.
    #[error("the group does not match the root: {0}")]
    WrongGroup(&'static str),
    /// The row is not listed.
    #[error("{0} is not listed")]
    NotListed(String),
    /// The argument cannot be.
    #[error("not valid: {0}")]
    Argument(&'static str),
    /// The new root would break an invariant.
    #[error("{0}")]
    Check(#[from] Violation),
}

/// What a caller does about a [`ChangeError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeErrorKind {
    /// This writer lost its right: stop writing.
    Halt,
    /// Make room (group, collect), then try again.
    MakeRoom,
    /// Load the root and decide anew; the change was made for another root.
    Stale,
    /// A bug of this program: report, do not write.
    Bug,
}

impl ChangeError {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ChangeErrorKind {
        match self {
            ChangeError::Fenced { .. } => ChangeErrorKind::Halt,
            ChangeError::GroupFirst | ChangeError::Full(_) => ChangeErrorKind::MakeRoom,
            ChangeError::Deleted
            | ChangeError::NotRegistered(_)
            | ChangeError::NotContiguous { .. }
            | ChangeError::WrongGroup(_)
            | ChangeError::NotListed(_) => ChangeErrorKind::Stale,
            ChangeError::Argument(_) | ChangeError::Check(_) => ChangeErrorKind::Bug,
        }
    }
}
