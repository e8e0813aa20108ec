//! Why an export stopped, and what to do about it.

use broker_model::{Offset, PartitionIndex};
use broker_records::BatchError;
use tiering_manifest::{ChangeError, DecodeError, KeyError, Writer};
use tiering_store::{StoreError, StoreErrorKind};

use crate::source::SourceError;

/// An export stopped. What was committed stays committed; what was intended is done by the next run.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The records could not be read.
    #[error("export of partition {partition} at offset {offset}: {error}")]
    Source {
        /// The partition.
        partition: PartitionIndex,
        /// Where the read began.
        offset: Offset,
        /// What the source says.
        error: SourceError,
    },
    /// A batch cannot be decoded.
    #[error("export of partition {partition}: the batch at offset {offset} is damaged: {error}")]
    Batch {
        /// The partition.
        partition: PartitionIndex,
        /// The first offset of the batch, or where the read began.
        offset: Offset,
        /// What is wrong.
        error: BatchError,
    },
    /// The rows could not be encoded. A fault of this program.
    #[error("export could not be encoded: {0}")]
    Encode(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The table root cannot be read.
    #[error("the table root cannot be read: {0}")]
    Root(#[from] DecodeError),
    /// The table root belongs to another topic, or to a range that was asked differently.
    #[error("the table root at {key} is not of this export: {detail}")]
    Stranger {
        /// The key of the root.
        key: String,
        /// What differs.
        detail: &'static str,
    },
    /// Another writer holds the table root.
    #[error("the table root belongs to another writer now{}", .holder.map(|holder| format!(": {holder}")).unwrap_or_default())]
    Fenced {
        /// Who holds it, where that is known.
        holder: Option<Writer>,
    },
    /// A change of the root was refused. A list is full, or a fault of this program.
    #[error("the table root cannot be changed: {0}")]
    Change(ChangeError),
    /// The topic's name or the export's id is not legal.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// The runtime is going down.
    #[error("the program is shutting down")]
    ShuttingDown,
}

/// What to do about an [`ExportError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportErrorKind {
    /// Run again later.
    Retry,
    /// This writer has lost its right: stop, a new writer must be made.
    Fenced,
    /// The topic is gone: stop exporting it.
    Gone,
    /// A human must look; running again will not help.
    Broken,
}

impl From<ChangeError> for ExportError {
    fn from(error: ChangeError) -> ExportError {
        match error {
            ChangeError::Fenced { holder, .. } => ExportError::Fenced { holder: Some(holder) },
            other => ExportError::Change(other),
        }
    }
}

impl ExportError {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ExportErrorKind {
        match self {
            ExportError::Source { error: SourceError::Unavailable(_), .. } | ExportError::ShuttingDown => {
                ExportErrorKind::Retry
            }
            ExportError::Source { error: SourceError::Unknown, .. } | ExportError::Change(ChangeError::Deleted) => {
                ExportErrorKind::Gone
            }
            ExportError::Store(error) if error.kind().is_retriable() => ExportErrorKind::Retry,
            ExportError::Store(error) if error.kind() == StoreErrorKind::Conflict => ExportErrorKind::Retry,
            ExportError::Fenced { .. } => ExportErrorKind::Fenced,
            _ => ExportErrorKind::Broken,
        }
    }
}
