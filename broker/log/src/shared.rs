//! What the writer of a log and its readers share, and the sync that they share.
//!
//! The list of segments and the ends, each behind a lock that is held for a moment only; no lock that an append or a
//! read takes is held during a sync. Invariant: a segment's state is changed before the ends tell of it, so that
//! whoever reads the ends first finds everything below them.
//!
//! What a roll leaves over (indexes to be synced, the producers' snapshot, room to be reserved) is done by the next
//! flush, so that a roll costs an append no more than the making of one file.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};

use broker_model::Offset;
use broker_partition::Ends;
use parking_lot::{Mutex, RwLock};

use crate::doomed::Doomed;
use crate::error::{FlushError, ReadError, is_passing};
use crate::files::{Change, Files, OpenMode, Persist, remove_if_there, replace_file};
use crate::names;
use crate::place::Home;
use crate::segment::Segment;

/// Which directories hold names that were not synced.
pub(crate) const NAMES_IN_DIR: u8 = 1;
/// Also the name of the directory itself.
pub(crate) const NAMES_IN_PARENT: u8 = 2;

pub(crate) struct Shared<F: Files> {
    pub(crate) home: Arc<Home<F>>,
    pub(crate) ends: RwLock<Ends>,
    /// Oldest first, never empty; the last is appended to.
    pub(crate) segments: RwLock<Vec<Arc<Segment<F>>>>,
    /// Held by the one who syncs; the others wait for it and find their data synced.
    pub(crate) flush: Mutex<()>,
    pub(crate) unsynced_names: AtomicU8,
    pub(crate) chores: Mutex<Chores<F>>,
    /// Segments that are out of the log, whose files are to go.
    pub(crate) doomed: Mutex<Vec<Doomed>>,
    /// Held by the one who removes files.
    pub(crate) sweep: Mutex<()>,
    pub(crate) delete_delay_ms: AtomicI64,
    /// This log was closed, deleted, or failed alone.
    pub(crate) closed: AtomicBool,
}

/// What is left to do after a roll.
pub(crate) struct Chores<F: Files> {
    /// Segments that were closed.
    pub(crate) closed: Vec<Arc<Segment<F>>>,
    /// Producer state as of an offset, in Kafka's format.
    pub(crate) snapshot: Option<(Offset, Vec<u8>)>,
    /// A snapshot that lies within a segment: the next one replaces it.
    pub(crate) replaced: Option<Offset>,
    /// A segment for which room up to a length is to be reserved.
    pub(crate) reserve: Option<(Arc<Segment<F>>, u64)>,
}

impl<F: Files> Default for Chores<F> {
    fn default() -> Self {
        Chores { closed: Vec::new(), snapshot: None, replaced: None, reserve: None }
    }
}

/// Why a sync did not happen.
enum SyncError {
    /// The sync failed: what it was to make durable may be lost.
    Failed(io::Error),
    /// It was not begun: there was nothing to begin with.
    NotBegun(io::Error),
}

impl<F: Files> Shared<F> {
    pub(crate) fn files(&self) -> &F {
        &self.home.place.files
    }

    pub(crate) fn dir(&self) -> &std::path::Path {
        &self.home.dir
    }

    pub(crate) fn is_offline(&self) -> bool {
        self.closed.load(Ordering::Acquire) || self.home.place.health.is_offline()
    }

    /// The log cannot go on; where it is the disk's fault, nor can the others of the directory.
    pub(crate) fn failed(&self, why: &io::Error) {
        if crate::error::is_of_the_disk(why) {
            self.home.place.health.fail(why);
        }
        if !self.closed.swap(true, Ordering::AcqRel) {
            tracing::error!(dir = %self.dir().display(), error = %why, "the log goes offline");
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
        if let Some(last) = segments.last().filter(|segment| segment.base <= offset) {
            return Ok(Arc::clone(last));
        }
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
        let is_clean = self.unsynced_names.load(Ordering::Acquire) == 0 && self.chores.lock().closed.is_empty();
        if ends.flushed_end() >= wanted && is_clean {
            self.do_chores();
            return Ok(ends.flushed_end());
        }
        match self.sync_from(ends.flushed_end()) {
            Ok(()) => {}
            Err(SyncError::Failed(error)) => {
                // The kernel may have dropped what it could not write, whatever later syncs say.
                self.home.place.health.fail(&error);
                return Err(FlushError::Failed(error));
            }
            Err(SyncError::NotBegun(error)) if is_passing(&error) => return Err(FlushError::NotNow(error)),
            Err(SyncError::NotBegun(error)) => {
                self.failed(&error);
                return Err(FlushError::Failed(error));
            }
        }
        let flushed_end = {
            let mut now = self.ends.write();
            now.flushed(ends.end());
            now.flushed_end()
        };
        self.do_chores();
        Ok(flushed_end)
    }

    fn sync_from(&self, flushed_end: Offset) -> Result<(), SyncError> {
        let names = self.unsynced_names.swap(0, Ordering::AcqRel);
        let synced = self.sync_files(flushed_end).and_then(|()| self.sync_names(names));
        if synced.is_err() {
            self.unsynced_names.fetch_or(names, Ordering::AcqRel);
        }
        synced
    }

    fn sync_files(&self, flushed_end: Offset) -> Result<(), SyncError> {
        let is_unsynced = |segment: &&Arc<Segment<F>>| segment.state().end > flushed_end;
        let closed: Vec<_> = self.chores.lock().closed.clone();
        let mut unsynced: Vec<_> = self.segments.read().iter().rev().take_while(is_unsynced).cloned().collect();
        unsynced.extend(closed.iter().filter(|segment| !is_unsynced(segment) && segment.was_cut()).cloned());
        // The oldest first, so that what a power loss leaves has no gap.
        unsynced.sort_by_key(|segment| segment.base);
        for segment in unsynced {
            let log = match segment.log() {
                // Retention took it meanwhile.
                Err(_) if segment.is_gone() => continue,
                log => log.map_err(SyncError::NotBegun)?,
            };
            segment.was_cut.store(false, Ordering::Release);
            self.files().sync(&log).map_err(SyncError::Failed)?;
        }
        // The recovery point must not pass an index that could be lost: it would not be looked at again.
        closed.iter().try_for_each(|segment| self.sync_indexes(segment))
    }

    fn sync_indexes(&self, segment: &Segment<F>) -> Result<(), SyncError> {
        let files = match segment.unsynced_indexes() {
            Err(_) if segment.is_gone() => None,
            files => files.map_err(SyncError::NotBegun)?,
        };
        files.into_iter().flatten().try_for_each(|file| self.files().sync(&file)).map_err(SyncError::Failed)
    }

    fn sync_names(&self, names: u8) -> Result<(), SyncError> {
        let parent = self.dir().parent().filter(|_| names & NAMES_IN_PARENT != 0);
        let dir = (names != 0).then(|| self.dir());
        for dir in dir.into_iter().chain(parent) {
            let handle = self.files().open(dir, OpenMode::Directory).map_err(SyncError::NotBegun)?;
            self.files().sync(&handle).map_err(SyncError::Failed)?;
        }
        Ok(())
    }

    /// Does what a roll left over. Nothing of it is needed for the log to be right.
    fn do_chores(&self) {
        let (closed, snapshot, replaced, reserve) = {
            let mut chores = self.chores.lock();
            let replaced = if chores.snapshot.is_some() { chores.replaced.take() } else { None };
            (std::mem::take(&mut chores.closed), chores.snapshot.take(), replaced, chores.reserve.take())
        };
        for segment in closed.iter().filter(|segment| segment.has_room.swap(false, Ordering::AcqRel)) {
            let done = self.files().change(Change::Resize(&segment.path(names::LOG), segment.state().bytes));
            self.warn_if(done, "could not give back reserved room");
        }
        if let Some((segment, bytes)) = reserve
            && !segment.state().closed
        {
            segment.has_room.store(true, Ordering::Release);
            let done = self.files().change(Change::Reserve(&segment.path(names::LOG), bytes));
            self.warn_if(done, "could not reserve room");
        }
        let Some((at, bytes)) = snapshot else { return };
        let path = names::segment_file(self.dir(), at, names::SNAPSHOT);
        let done = replace_file(self.files(), &path, &bytes, Persist::Lazily);
        if done.is_ok() && self.segments.read().binary_search_by_key(&at, |segment| segment.base).is_err() {
            self.chores.lock().replaced = Some(at);
        }
        self.warn_if(done, "could not write the producer snapshot");
        if let Some(old) = replaced.filter(|old| *old != at) {
            let done = remove_if_there(self.files(), &names::segment_file(self.dir(), old, names::SNAPSHOT));
            self.warn_if(done, "could not remove an old producer snapshot");
        }
    }

    fn warn_if(&self, done: io::Result<()>, what: &'static str) {
        if let Err(error) = done {
            tracing::warn!(dir = %self.dir().display(), %error, "{what}");
        }
    }
}
