//! What a store's failure means for the caller. Stores say the same in different words (404 or 412 on an absent key, 409
//! that wants a retry, 403 for a wrong key and for a clock that is off); here they become one of eight kinds.

use std::fmt;

/// What the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// The store does not answer or is overloaded: nothing changed, try again later.
    Unreachable,
    /// The store refuses the credentials or the right: a human must look.
    Refused,
    /// There is no such object.
    NotFound,
    /// A condition did not hold: the key exists, or holds another version.
    Conflict,
    /// A write may have taken effect, may do so later, or never: only the same write may be tried again.
    Indeterminate,
    /// What came back is not what was asked for.
    Corrupt,
    /// The store lacks, or breaks, a promise that the tier stands on.
    Unsafe,
    /// The request itself is wrong. A fault of this program or of its settings.
    Invalid,
}

impl StoreErrorKind {
    /// True where the same request may succeed later without anybody's help.
    #[must_use]
    pub const fn is_retriable(self) -> bool {
        matches!(self, StoreErrorKind::Unreachable | StoreErrorKind::Indeterminate)
    }
}

/// A failed request. Cheap to clone, so that all readers that waited for one fill can have it.
#[derive(Clone, Debug, thiserror::Error)]
pub struct StoreError {
    kind: StoreErrorKind,
    operation: &'static str,
    key: String,
    detail: std::sync::Arc<str>,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store: {} of {:?} failed ({:?}): {}", self.operation, self.key, self.kind, self.detail)
    }
}

impl StoreError {
    /// An error of this kind.
    #[must_use]
    pub fn new(kind: StoreErrorKind, operation: &'static str, key: &str, detail: &str) -> StoreError {
        StoreError { kind, operation, key: key.to_owned(), detail: detail.into() }
    }

    /// What the caller can do.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// The key, relative to the store's root.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn read(operation: &'static str, key: &str, error: &object_store::Error) -> StoreError {
        StoreError::new(classify(error, StoreErrorKind::Unreachable), operation, key, &error.to_string())
    }

    pub(crate) fn write(operation: &'static str, key: &str, error: &object_store::Error) -> StoreError {
        StoreError::new(classify(error, StoreErrorKind::Indeterminate), operation, key, &error.to_string())
    }
}

/// The kind of an error; `unclear` is what a failure means of which one cannot say whether it had an effect.
pub(crate) fn classify(error: &object_store::Error, unclear: StoreErrorKind) -> StoreErrorKind {
    use object_store::Error;
    match error {
        Error::NotFound { .. } => StoreErrorKind::NotFound,
        Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. } => {
            StoreErrorKind::Conflict
        }
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => StoreErrorKind::Refused,
        Error::NotSupported { .. } | Error::NotImplemented { .. } => StoreErrorKind::Unsafe,
        Error::InvalidPath { .. } | Error::UnknownConfigurationKey { .. } => StoreErrorKind::Invalid,
        _ => unclear,
    }
}
