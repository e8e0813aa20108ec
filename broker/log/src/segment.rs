//! One segment: its files, what is known of it, and where in it an offset lies.
//!
//! The writer and all readers share a segment. What changes (length, end) is a small copy behind a lock that is never
//! held during IO on the log file; the indexes have a lock of their own, which an append holds while it writes their
//! few bytes. Files of closed segments are opened on first use and can be let go. Invariant: below `bytes` lie whole
//! batches and marked damage, nothing else.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use broker_model::{Offset, Timestamp};
use broker_records::{BATCH_HEAD_BYTES, BatchHead};
use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::error::ReadError;
use crate::files::{Files, OpenMode};
use crate::index::{IndexFile, NewEntries, OFFSET_ENTRY_BYTES, Progress, TIME_ENTRY_BYTES, TimeEntry};
use crate::names;
use crate::walk::{Damage, Placed, Step, Walk};

/// Heads of the newest batches that a segment keeps in memory, so that readers at the end need no IO to find their
/// place.
const RECENT_BATCHES: usize = 32;

/// What changes of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    /// The length up to which it is read.
    pub(crate) bytes: u64,
    /// The offset after its last record.
    pub(crate) end: Offset,
    /// Where indexing stands; unknown for a closed segment until it is asked.
    pub(crate) progress: Option<Progress>,
    /// The largest timestamp of its first batch.
    pub(crate) first_timestamp: Option<Timestamp>,
    /// When it was made.
    pub(crate) created: Timestamp,
    /// When it was last appended to.
    pub(crate) last_append: Timestamp,
    /// Nothing is appended any more.
    pub(crate) closed: bool,
}

pub(crate) struct Indexes<F: Files> {
    pub(crate) offsets: IndexFile<F>,
    pub(crate) times: IndexFile<F>,
}

impl<F: Files> Clone for Indexes<F> {
    fn clone(&self) -> Self {
        Indexes { offsets: self.offsets.clone(), times: self.times.clone() }
    }
}

pub(crate) struct Segment<F: Files> {
    pub(crate) files: F,
    pub(crate) dir: PathBuf,
    pub(crate) base: Offset,
    pub(crate) interval: u64,
    state: RwLock<State>,
    damage: RwLock<Vec<Damage>>,
    recent: Mutex<VecDeque<(Offset, u64)>>,
    log: Mutex<Option<Arc<F::Handle>>>,
    indexes: Mutex<Option<Indexes<F>>>,
    /// The indexes were written since they were synced.
    indexes_unsynced: AtomicBool,
}

impl<F: Files> Segment<F> {
    pub(crate) fn new(files: F, dir: PathBuf, base: Offset, interval: u64, state: State) -> Segment<F> {
        Segment {
            files,
            dir,
            base,
            interval,
            state: RwLock::new(state),
            damage: RwLock::default(),
            recent: Mutex::default(),
            log: Mutex::default(),
            indexes: Mutex::default(),
            indexes_unsynced: AtomicBool::new(false),
        }
    }

    pub(crate) fn path(&self, kind: &str) -> PathBuf {
        names::segment_file(&self.dir, self.base, kind)
    }

    pub(crate) fn state(&self) -> State {
        *self.state.read()
    }

    pub(crate) fn change_state(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.write());
    }

    pub(crate) fn damage(&self) -> Vec<Damage> {
        self.damage.read().clone()
    }

    pub(crate) fn set_damage(&self, damage: Vec<Damage>) {
        *self.damage.write() = damage;
    }

    /// The open log file.
    pub(crate) fn log(&self) -> io::Result<Arc<F::Handle>> {
        let mut log = self.log.lock();
        if let Some(handle) = &*log {
            return Ok(Arc::clone(handle));
        }
        let mode = if self.state().closed { OpenMode::Read } else { OpenMode::Write };
        let handle = Arc::new(self.files.open(&self.path(names::LOG), mode)?);
        *log = Some(Arc::clone(&handle));
        Ok(handle)
    }

    /// Lets go of open files, where the segment is closed.
    pub(crate) fn release(&self) {
        if self.state().closed {
            *self.log.lock() = None;
            *self.indexes.lock() = None;
        }
    }

    pub(crate) fn walk(&self, position: u64) -> io::Result<Walk<F>> {
        let limit = self.state().bytes;
        Ok(Walk::new(self.files.clone(), self.log()?, (position, limit), self.damage()))
    }

    /// The batch that contains `offset`, which must lie within the segment.
    pub(crate) fn locate(&self, offset: Offset) -> Result<Placed, ReadError> {
        let start = self.start_for(offset)?;
        match self.locate_from(start, offset)? {
            Ok(placed) => Ok(placed),
            Err(_) if start > 0 => {
                self.rebuild_indexes()?;
                self.locate_from(0, offset)?.map_err(|position| self.broken(position))
            }
            Err(position) => Err(self.broken(position)),
        }
    }

    fn locate_from(&self, start: u64, offset: Offset) -> Result<Result<Placed, u64>, ReadError> {
        let mut walk = self.walk(start)?;
        loop {
            match walk.step()? {
                Step::Batch(placed) if placed.head.last_offset() < offset => (),
                Step::Batch(placed) if placed.head.base_offset <= offset => return Ok(Ok(placed)),
                Step::Batch(placed) => return Ok(Err(placed.position)),
                Step::Damage(damage) if damage.to <= offset => (),
                Step::Damage(damage) => return Err(ReadError::Damaged { from: damage.from, to: damage.to }),
                Step::Broken(position) => return Ok(Err(position)),
                Step::End => return Ok(Err(self.state().bytes)),
            }
        }
    }

    fn broken(&self, position: u64) -> ReadError {
        tracing::error!(dir = %self.dir.display(), segment = self.base.0, position, "no batch where one should be");
        ReadError::Damaged { from: self.base, to: self.state().end }
    }

    /// A position at or before the batch that contains `offset`, at which a batch begins.
    fn start_for(&self, offset: Offset) -> io::Result<u64> {
        if let Some((_, position)) = self.recent.lock().iter().rev().find(|(base, _)| *base <= offset) {
            return Ok(*position);
        }
        let indexes = self.indexes()?;
        let after =
            indexes.offsets.partition_point(|at| Ok(indexes.offsets.offset_entry(self.base, at)?.offset <= offset))?;
        let Some(at) = after.checked_sub(1) else { return Ok(0) };
        let entry = indexes.offsets.offset_entry(self.base, at)?;
        if self.head_at(entry.position)?.is_some_and(|head| head.last_offset() == entry.offset) {
            return Ok(entry.position);
        }
        tracing::warn!(dir = %self.dir.display(), segment = self.base.0, "an index entry points to no batch: rebuilding");
        self.rebuild_indexes()?;
        Ok(0)
    }

    /// The largest border of a batch that is not beyond `target`, and the offset there; at least where `start` begins.
    pub(crate) fn border(&self, start: &Placed, target: u64) -> Result<(u64, Offset), ReadError> {
        let mut border = (start.position, start.head.base_offset);
        if let Some((base, position)) = self.recent.lock().iter().rev().find(|(_, position)| *position <= target)
            && *position >= start.position
        {
            return Ok((*position, *base));
        }
        let indexes = self.indexes()?;
        let offsets = &indexes.offsets;
        let after = offsets.partition_point(|at| Ok(offsets.offset_entry(self.base, at)?.position <= target))?;
        if let Some(at) = after.checked_sub(1) {
            let entry = offsets.offset_entry(self.base, at)?;
            if entry.position > start.position
                && let Some(head) = self.head_at(entry.position)?
                && head.last_offset() == entry.offset
            {
                border = (entry.position, head.base_offset);
            }
        }
        let mut walk = self.walk(border.0)?;
        while let Step::Batch(placed) = walk.step()?
            && placed.end() <= target
        {
            border = (placed.end(), placed.head.next_offset());
        }
        Ok(border)
    }

    fn head_at(&self, position: u64) -> io::Result<Option<BatchHead>> {
        let mut bytes = [0; BATCH_HEAD_BYTES];
        if position + BATCH_HEAD_BYTES as u64 > self.state().bytes {
            return Ok(None);
        }
        self.files.read(&*self.log()?, position, &mut bytes)?;
        Ok(BatchHead::parse(&bytes).ok())
    }

    /// The indexes, opened where they are not; rebuilt where they cannot be right.
    pub(crate) fn indexes(&self) -> io::Result<Indexes<F>> {
        let mut indexes = self.indexes.lock();
        self.open_indexes(&mut indexes)
    }

    fn open_indexes(&self, held: &mut MutexGuard<'_, Option<Indexes<F>>>) -> io::Result<Indexes<F>> {
        if let Some(indexes) = &**held {
            return Ok(indexes.clone());
        }
        let offsets = IndexFile::open(&self.files, &self.path(names::INDEX), OFFSET_ENTRY_BYTES)?;
        let times = IndexFile::open(&self.files, &self.path(names::TIME_INDEX), TIME_ENTRY_BYTES)?;
        match (offsets, times) {
            (Some(offsets), Some(times)) => {
                let indexes = Indexes { offsets, times };
                **held = Some(indexes.clone());
                Ok(indexes)
            }
            _ => self.rebuild(held),
        }
    }

    /// Makes both indexes anew from the batch heads.
    pub(crate) fn rebuild_indexes(&self) -> io::Result<()> {
        self.rebuild(&mut self.indexes.lock()).map(drop)
    }

    fn rebuild(&self, held: &mut MutexGuard<'_, Option<Indexes<F>>>) -> io::Result<Indexes<F>> {
        let mut progress = Progress::new(self.base, self.interval);
        let mut entries = NewEntries::default();
        let mut walk = self.walk(0)?;
        loop {
            match walk.step()? {
                Step::Batch(placed) => {
                    progress.step(&placed.head, placed.position, &mut entries);
                }
                Step::Damage(_) => (),
                Step::Broken(_) | Step::End => break,
            }
        }
        self.write_indexes(held, progress, entries)
    }

    /// Adds entries for what was found behind the last ones.
    pub(crate) fn extend_indexes(&self, progress: Progress, entries: &NewEntries) -> io::Result<()> {
        let mut held = self.indexes.lock();
        self.open_indexes(&mut held)?;
        self.append_entries(&mut held, entries)?;
        self.change_state(|state| state.progress = Some(progress));
        Ok(())
    }

    fn write_indexes(
        &self,
        held: &mut MutexGuard<'_, Option<Indexes<F>>>,
        mut progress: Progress,
        mut entries: NewEntries,
    ) -> io::Result<Indexes<F>> {
        if self.state().closed {
            progress.time_entry(&mut entries);
        }
        let create = |kind, bytes, content: &[u8]| IndexFile::create(&self.files, &self.path(kind), bytes, content);
        let times = create(names::TIME_INDEX, TIME_ENTRY_BYTES, &entries.times)?;
        let offsets = create(names::INDEX, OFFSET_ENTRY_BYTES, &entries.offsets)?;
        self.change_state(|state| state.progress = Some(progress));
        self.indexes_unsynced.store(true, Ordering::Release);
        let indexes = Indexes { offsets, times };
        **held = Some(indexes.clone());
        Ok(indexes)
    }

    /// Notes batches that were written at the end: readers see them from here on.
    pub(crate) fn appended(&self, batches: &[Placed], now: Timestamp, entries: &mut NewEntries) {
        let mut indexes = self.indexes.lock();
        entries.clear();
        let mut state = self.state();
        let mut progress = state.progress.unwrap_or(Progress::new(self.base, self.interval));
        let last_written = progress.last_written;
        for placed in batches {
            progress.step(&placed.head, placed.position, entries);
            state.first_timestamp = state.first_timestamp.or(Some(placed.head.max_timestamp));
            state.bytes = placed.end();
            state.end = placed.head.next_offset();
        }
        // An index is only a hint: that it could not be written is no reason to refuse data that is.
        if let Err(error) = self.append_entries(&mut indexes, entries) {
            tracing::warn!(dir = %self.dir.display(), %error, "could not write the index");
            progress.last_written = last_written;
        }
        state.progress = Some(progress);
        state.last_append = now;
        {
            let mut recent = self.recent.lock();
            for placed in batches {
                if recent.len() == RECENT_BATCHES {
                    recent.pop_front();
                }
                recent.push_back((placed.head.base_offset, placed.position));
            }
        }
        *self.state.write() = state;
    }

    fn append_entries(&self, held: &mut MutexGuard<'_, Option<Indexes<F>>>, entries: &NewEntries) -> io::Result<()> {
        if entries.offsets.is_empty() && entries.times.is_empty() {
            return Ok(());
        }
        let mut indexes = self.open_indexes(held)?;
        // The time index first: an entry of the offset index says that the times up to there are written.
        indexes.times.append(&entries.times)?;
        indexes.offsets.append(&entries.offsets)?;
        self.indexes_unsynced.store(true, Ordering::Release);
        **held = Some(indexes);
        Ok(())
    }

    /// Nothing is appended any more: writes the last time entry.
    pub(crate) fn close(&self) {
        let mut held = self.indexes.lock();
        let mut entries = NewEntries::default();
        let mut progress = self.state().progress;
        if let Some(progress) = &mut progress {
            progress.time_entry(&mut entries);
        }
        let written = self.open_indexes(&mut held).and_then(|_| self.append_entries(&mut held, &entries));
        if let Err(error) = written {
            tracing::warn!(dir = %self.dir.display(), %error, "could not finish the index");
        }
        self.change_state(|state| {
            state.closed = true;
            state.progress = progress;
        });
        self.recent.lock().clear();
    }

    /// Goes on appending to a segment that was closed.
    pub(crate) fn reopen(&self) {
        self.change_state(|state| state.closed = false);
        *self.log.lock() = None;
        self.recent.lock().clear();
    }

    /// Syncs the log file.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.files.sync(&*self.log()?)
    }

    /// Syncs the indexes of a closed segment, where they were written.
    pub(crate) fn sync_indexes(&self) -> io::Result<()> {
        if !self.state().closed || !self.indexes_unsynced.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let indexes = self.indexes()?;
        self.files.sync(indexes.times.handle())?;
        self.files.sync(indexes.offsets.handle())
    }

    /// The largest timestamp and the last offset of the batch that has it; `None` where no record has a timestamp.
    pub(crate) fn max_time(&self) -> Result<Option<TimeEntry>, ReadError> {
        if self.state().progress.is_none() {
            self.learn_max_time()?;
        }
        let max = self.state().progress.map(|progress| progress.max);
        Ok(max.filter(|max| max.timestamp > Timestamp::NONE))
    }

    fn learn_max_time(&self) -> Result<(), ReadError> {
        let indexes = self.indexes()?;
        if let Some(last) = indexes.times.entries().checked_sub(1) {
            let max = indexes.times.time_entry(self.base, last)?;
            if max.offset < self.state().end
                && max.offset >= self.base
                && self.locate(max.offset).is_ok_and(|placed| placed.head.max_timestamp == max.timestamp)
            {
                let mut progress = Progress::new(self.base, self.interval);
                (progress.max, progress.last_written) = (max, max.timestamp);
                self.change_state(|state| state.progress = state.progress.or(Some(progress)));
                return Ok(());
            }
        }
        self.rebuild_indexes()?;
        Ok(())
    }
}
