//! Why a step did not end.

use tiering_manifest::{ChangeError, DecodeError};
use tiering_store::{StoreError, StoreErrorKind};

use crate::LocalLogError;

/// A step failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ShipError {
    /// A request failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The local log cannot give what is to be shipped.
    #[error(transparent)]
    Local(#[from] LocalLogError),
    /// The change of the root is refused.
    #[error("the root cannot be changed: {0}")]
    Change(#[from] ChangeError),
    /// What is stored cannot be read.
    #[error("{key} cannot be read: {source}")]
    Decode {
        /// The key.
        key: String,
        /// Why.
        source: DecodeError,
    },
    /// Shipping of this partition has stopped for good.
    #[error("shipping has halted: {reason}")]
    Halted {
        /// Why.
        reason: String,
    },
}

/// What to do about a [`ShipError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShipErrorKind {
    /// Take a step later.
    Retry,
    /// Take no step any more: a human must look.
    Halted,
}

impl ShipError {
    /// What to do.
    #[must_use]
    pub fn kind(&self) -> ShipErrorKind {
        match self {
            ShipError::Store(error) => match error.kind() {
                StoreErrorKind::Unreachable
                | StoreErrorKind::Indeterminate
                | StoreErrorKind::Conflict
                // Rights and credentials are mended while the process runs.
                | StoreErrorKind::Refused => ShipErrorKind::Retry,
                StoreErrorKind::NotFound
                | StoreErrorKind::Corrupt
                | StoreErrorKind::Unsafe
                | StoreErrorKind::Invalid => ShipErrorKind::Halted,
            },
            ShipError::Local(_) => ShipErrorKind::Retry,
            // A full list empties itself as the collector goes on.
            ShipError::Change(ChangeError::Full(_)) => ShipErrorKind::Retry,
            ShipError::Change(_) | ShipError::Decode { .. } | ShipError::Halted { .. } => ShipErrorKind::Halted,
        }
    }
}
