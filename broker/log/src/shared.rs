//! What the writer of a log and its readers share.
//!
//! The list of segments and the ends, each behind a lock that is held for a moment only. Invariant: a segment's state
//! is changed before the ends tell of it, so that whoever reads the ends first finds everything below them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use broker_model::Offset;
use broker_partition::Ends;
use parking_lot::{Mutex, RwLock};

use crate::error::{FlushError, ReadError};
use crate::files::{Files, sync_dir};
use crate::segment::Segment;

pub(crate) struct Shared<F: Files> {
    pub(crate) files: F,
    pub(crate) dir: PathBuf,
    pub(crate) ends: RwLock<Ends>,
    /// Oldest first, never empty; the last is appended to.
    pub(crate) segments: RwLock<Vec<Arc<Segment<F>>>>,
    /// Held by the one who syncs; the others wait for it and find their data synced.
    pub(crate) flush: Mutex<()>,
    /// Names were made in the directory (or the directory itself) since it was synced.
    pub(crate) names_unsynced: AtomicBool,
    pub(crate) offline: AtomicBool,
}

impl<F: Files> Shared<F> {
    pub(crate) fn is_offline(&self) -> bool {
        self.offline.load(Ordering::Acquire)
    }

    pub(crate) fn go_offline(&self, why: &std::io::Error) {
        if !self.offline.swap(true, Ordering::AcqRel) {
            tracing::error!(dir = %self.dir.display(), error = %why, "the disk failed: the log goes offline");
        }
    }

    pub(crate) fn active(&self) -> Arc<Segment<F>> {
        Arc::clone(self.segments.read().last().expect("a log has a segment"))
    }

    pub(crate) fn local_start(&self) -> Offset {
        self.segments.read().first().expect("a log has a segment").base
    }

    /// The segment that holds `offset`.
    pub(crate) fn segment_of(&self, offset: Offset) -> Result<Arc<Segment<F>>, ReadError> {
        let segments = self.segments.read();
        let after = segments.partition_point(|segment| segment.base <= offset);
        let found = after.checked_sub(1).and_then(|at| segments.get(at));
        found.cloned().ok_or_else(|| {
            let local_start = segments.first().expect("a log has a segment").base;
            ReadError::BelowStart { local_start }
        })
    }

    pub(crate) fn flush(&self) -> Result<Offset, FlushError> {
        let wanted = self.ends.read().end();
        let _one_at_a_time = self.flush.lock();
        if self.is_offline() {
            return Err(FlushError::Offline);
        }
        let ends = *self.ends.read();
        if ends.flushed_end() >= wanted && !self.names_unsynced.load(Ordering::Acquire) {
            return Ok(ends.flushed_end());
        }
        if let Err(error) = self.sync_from(ends.flushed_end()) {
            self.go_offline(&error);
            return Err(FlushError::Failed(error));
        }
        let mut now = self.ends.write();
        now.flushed(ends.end());
        Ok(now.flushed_end())
    }

    fn sync_from(&self, flushed_end: Offset) -> std::io::Result<()> {
        let names_unsynced = self.names_unsynced.swap(false, Ordering::AcqRel);
        let segments: Vec<_> = self.segments.read().clone();
        for segment in segments.iter().filter(|segment| segment.state().end > flushed_end) {
            segment.sync()?;
        }
        for segment in &segments {
            segment.sync_indexes()?;
        }
        if names_unsynced {
            sync_dir(&self.files, &self.dir)?;
            if let Some(parent) = self.dir.parent() {
                sync_dir(&self.files, parent)?;
            }
        }
        Ok(())
    }
}
