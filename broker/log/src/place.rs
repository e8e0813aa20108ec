//! What the logs of one directory share: the file system, its health, and the files that are open.
//!
//! A directory fails as a whole: after a failed sync, or a write that the disk could not do, nobody knows what else it
//! lost, so every log that shares the [`Health`] answers `Offline` from then on. A full disk is no failure.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::disk::DiskFiles;
use crate::files::Files;
use crate::open_files::OpenFiles;

/// Descriptors that the logs keep open where nobody says otherwise.
const OPEN_FILES_DEFAULT: usize = 1024;

/// Whether the disk of a directory works. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health {
    failure: Arc<OnceLock<String>>,
}

impl Health {
    /// True after a failure. It stays so until the process ends.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.failure.get().is_some()
    }

    /// The disk failed. Only the first failure counts. Who watches the directory tells of it.
    pub fn fail(&self, why: &io::Error) {
        if self.failure.set(why.to_string()).is_ok() {
            tracing::debug!(error = %why, "the disk failed: all logs of its directory go offline");
        }
    }

    /// How it failed.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.failure.get().cloned()
    }
}

/// Where logs lie: one for each log directory. Clones share everything.
pub struct LogPlace<F: Files = DiskFiles> {
    /// The file system.
    pub files: F,
    /// The directory's health.
    pub health: Health,
    /// The files that are open; several directories may share them.
    pub open_files: OpenFiles<F>,
}

impl<F: Files> LogPlace<F> {
    /// A place of its own, healthy, that keeps at most 1024 files open.
    #[must_use]
    pub fn new(files: F) -> LogPlace<F> {
        LogPlace { files, health: Health::default(), open_files: OpenFiles::new(OPEN_FILES_DEFAULT) }
    }
}

impl<F: Files> Clone for LogPlace<F> {
    fn clone(&self) -> Self {
        LogPlace { files: self.files.clone(), health: self.health.clone(), open_files: self.open_files.clone() }
    }
}

/// The directory of one log, and where it lies.
pub(crate) struct Home<F: Files> {
    pub(crate) place: LogPlace<F>,
    pub(crate) dir: PathBuf,
}
