//! What can go wrong with a log, and what the caller does about it.
//!
//! One enum per operation; [`ErrorKind`] is what a caller branches on. After an error of kind `Offline` the log answers
//! nothing more: the directory that it lies in should not be used.

use std::io;
use std::path::PathBuf;

use broker_model::{Offset, TopicId};
use thiserror::Error;

/// What the caller does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The disk is full, or the process has no descriptors: nothing changed, and the log goes on when there is room.
    Full,
    /// The log is offline: a sync failed, or the disk does. Final.
    Offline,
    /// The data asked for is damaged; the rest serves.
    Damaged,
    /// The offset is not in the local log.
    OutOfRange,
    /// The caller asked for what cannot be.
    Invalid,
    /// To be repeated on a thread that may wait for the disk.
    NotResident,
}

/// A log could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The system failed.
    #[error("opening the log at {path}")]
    Io {
        /// The log's directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory holds another topic's log.
    #[error("the directory holds topic {found}, not {expected}")]
    OtherTopic {
        /// The topic in `partition.metadata`.
        found: TopicId,
        /// The topic asked for.
        expected: TopicId,
    },
}

/// A change of the log failed.
#[derive(Debug, Error)]
pub enum AppendError {
    /// No room on the disk. What was begun is undone.
    #[error("no space left")]
    Full(#[source] io::Error),
    /// The disk fails.
    #[error("the log goes offline")]
    Failed(#[source] io::Error),
    /// The system had no descriptors or memory for it just now. Nothing changed.
    #[error("the system is short of resources")]
    NotNow(#[source] io::Error),
    /// It failed before.
    #[error("the log is offline")]
    Offline,
    /// The change is not possible.
    #[error("{0}")]
    Invalid(&'static str),
    /// Reading, which the change needed, failed.
    #[error("reading for a change")]
    Read(#[from] ReadError),
}

impl From<io::Error> for AppendError {
    fn from(error: io::Error) -> AppendError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => AppendError::Full(error),
            _ if is_passing(&error) => AppendError::NotNow(error),
            _ => AppendError::Failed(error),
        }
    }
}

impl AppendError {
    /// What the caller does.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            AppendError::Full(_) | AppendError::NotNow(_) => ErrorKind::Full,
            AppendError::Failed(_) | AppendError::Offline => ErrorKind::Offline,
            AppendError::Invalid(_) => ErrorKind::Invalid,
            AppendError::Read(error) => error.kind(),
        }
    }
}

/// A sync failed, which is final.
#[derive(Debug, Error)]
pub enum FlushError {
    /// The sync failed now.
    #[error("syncing the log failed, it goes offline")]
    Failed(#[source] io::Error),
    /// The system had no descriptors or memory for it just now. Nothing is lost; to be tried again.
    #[error("the system is short of resources")]
    NotNow(#[source] io::Error),
    /// It failed before.
    #[error("the log is offline")]
    Offline,
}

impl FlushError {
    /// What the caller does.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            FlushError::NotNow(_) => ErrorKind::Full,
            FlushError::Failed(_) | FlushError::Offline => ErrorKind::Offline,
        }
    }
}

/// A read failed.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The offset lies before the local log; it may be in the tier.
    #[error("the local log begins at {local_start}")]
    BelowStart {
        /// The first local offset.
        local_start: Offset,
    },
    /// The offset lies beyond the end.
    #[error("the log ends at {end}")]
    BeyondEnd {
        /// The end.
        end: Offset,
    },
    /// These offsets are damaged on disk. Never to be answered with an empty reply or a gap.
    #[error("offsets {from} to {to} are damaged")]
    Damaged {
        /// The first damaged offset.
        from: Offset,
        /// The first offset after the damage.
        to: Offset,
    },
    /// The log is offline.
    #[error("the log is offline")]
    Offline,
    /// The system failed, or would have to wait for the disk ([`without_waiting`](crate::without_waiting)).
    #[error("reading the log")]
    Io(#[from] io::Error),
}

impl ReadError {
    /// What the caller does.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            ReadError::BelowStart { .. } | ReadError::BeyondEnd { .. } => ErrorKind::OutOfRange,
            ReadError::Damaged { .. } => ErrorKind::Damaged,
            ReadError::Io(error) if error.kind() == io::ErrorKind::WouldBlock => ErrorKind::NotResident,
            ReadError::Offline | ReadError::Io(_) => ErrorKind::Offline,
        }
    }
}

/// True for errors that say nothing of the disk, and may be gone at the next attempt.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let passing = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN, Errno::INTR];
    errno(error).is_some_and(|code| passing.contains(&code))
}

/// True for errors after which the whole disk cannot be trusted.
pub(crate) fn is_of_the_disk(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let of_the_disk = [Errno::IO, Errno::ROFS, Errno::NXIO, Errno::NODEV, Errno::UCLEAN, Errno::STALE];
    errno(error).is_some_and(|code| of_the_disk.contains(&code))
}

fn errno(error: &io::Error) -> Option<rustix::io::Errno> {
    error.raw_os_error().map(rustix::io::Errno::from_raw_os_error)
}
