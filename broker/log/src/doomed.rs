//! Removing the files of segments that are out of the log.
//!
//! Taking a segment out of the log is a matter of memory. Its files are renamed (`.deleted`) and, after
//! `file.delete.delay.ms`, unlinked by [`LogReader::remove_expired_files`], which the owner calls now and then: no
//! append waits for the removal of a large file. After a crash in between, segments whose files still have their names
//! are in the log again, and retention takes them again.

use std::io;
use std::sync::atomic::Ordering;

use broker_model::{Offset, Timestamp};

use crate::files::{Change, Files, remove_if_there};
use crate::names;
use crate::reader::LogReader;
use crate::shared::Shared;

/// A segment that is out of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doomed {
    pub(crate) base: Offset,
    /// When its files go; `None` while they have their names.
    pub(crate) due: Option<Timestamp>,
}

impl<F: Files> LogReader<F> {
    /// Renames the files of segments that left the log, and removes those that left it `file.delete.delay.ms` ago.
    /// Returns how many segments' files were removed. Takes no lock that appends or reads take.
    ///
    /// # Errors
    /// When the system fails; what could not be removed is tried again by the next call.
    pub fn remove_expired_files(&self, now: Timestamp) -> io::Result<usize> {
        let shared = &self.shared;
        if shared.is_offline() {
            return Ok(0);
        }
        let _one_at_a_time = shared.sweep.lock();
        shared.rename_doomed(now)?;
        let due = |doomed: &Doomed| doomed.due.is_some_and(|due| due <= now);
        let expired: Vec<Doomed> = shared.doomed.lock().iter().copied().filter(due).collect();
        for doomed in &expired {
            shared.remove_deleted(doomed.base)?;
            shared.doomed.lock().retain(|other| other != doomed);
        }
        Ok(expired.len())
    }
}

impl<F: Files> Shared<F> {
    /// Gives the files of doomed segments the names under which they count for nothing.
    pub(crate) fn rename_doomed(&self, now: Timestamp) -> io::Result<()> {
        let due = now.plus_ms(self.delete_delay_ms.load(Ordering::Relaxed));
        let named: Vec<Offset> =
            self.doomed.lock().iter().filter(|doomed| doomed.due.is_none()).map(|doomed| doomed.base).collect();
        for base in named {
            self.rename_files(base)?;
            for doomed in self.doomed.lock().iter_mut().filter(|doomed| doomed.base == base && doomed.due.is_none()) {
                doomed.due = Some(due);
            }
        }
        Ok(())
    }

    pub(crate) fn rename_files(&self, base: Offset) -> io::Result<()> {
        for kind in names::SEGMENT_KINDS {
            let path = names::segment_file(self.dir(), base, kind);
            match self.files().change(Change::Rename(&path, &path.with_added_extension(names::DELETED))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => (),
            }
        }
        Ok(())
    }

    pub(crate) fn remove_deleted(&self, base: Offset) -> io::Result<()> {
        for kind in names::SEGMENT_KINDS {
            let path = names::segment_file(self.dir(), base, kind).with_added_extension(names::DELETED);
            remove_if_there(self.files(), &path)?;
        }
        Ok(())
    }
}
