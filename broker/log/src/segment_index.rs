//! The two index files of a segment: opened, added to, made anew.
//!
//! Indexes are hints. What they say is checked against the batch heads, and where it is wrong, or the files cannot be
//! right, they are made anew from the heads. New entries wait in memory until there are [`PENDING_ENTRIES`] or their
//! batches are [`PENDING_BYTES`] long: that bounds what a restart after a crash looks at.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use broker_model::Timestamp;
use parking_lot::{Mutex, MutexGuard};

use crate::error::ReadError;
use crate::files::{Change, Files, OpenMode};
use crate::index::{Entry, Found, NewEntries, OFFSET_ENTRY_BYTES, OffsetEntry, Progress, TIME_ENTRY_BYTES, TimeEntry};
use crate::index::{View, find_in};
use crate::names;
use crate::open_files::Slot;
use crate::segment::Segment;
use crate::walk::Step;

/// Entries that wait in memory.
const PENDING_ENTRIES: usize = 16;
/// Bytes of the log whose entries may wait.
const PENDING_BYTES: u64 = 256 << 10;

/// The index files of a segment.
pub(crate) struct Indexes<F: Files> {
    offsets: Arc<Slot<F::Handle>>,
    times: Arc<Slot<F::Handle>>,
    held: Mutex<Held>,
    /// They were written since they were synced.
    unsynced: AtomicBool,
}

struct Held {
    known: Known,
    offset_entries: u64,
    time_entries: u64,
    pending: NewEntries,
    /// The length of the log when the oldest of `pending` came.
    pending_from: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// What lies on disk was not looked at.
    Nothing,
    /// There are no files, or old ones that count for nothing.
    NoFiles,
    /// The files hold the counted entries.
    Files,
}

impl<F: Files> Indexes<F> {
    pub(crate) fn new() -> Indexes<F> {
        let pending = NewEntries::default();
        let held = Held { known: Known::Nothing, offset_entries: 0, time_entries: 0, pending, pending_from: 0 };
        Indexes { offsets: Slot::new(), times: Slot::new(), held: Mutex::new(held), unsynced: false.into() }
    }

    /// The segment is new: whatever lies on disk is not of it.
    pub(crate) fn begin(&self) {
        self.held.lock().known = Known::NoFiles;
    }

    pub(crate) fn close_files(&self) {
        self.offsets.close();
        self.times.close();
    }
}

/// What a restart goes on from.
pub(crate) struct LastEntries {
    pub(crate) offset: Option<OffsetEntry>,
    pub(crate) time: Option<TimeEntry>,
    /// Entries of the offset index.
    pub(crate) offset_entries: u32,
    /// Entries of the time index.
    pub(crate) time_entries: u32,
}

/// Which of the two.
pub(crate) trait Kind: Entry {
    const NAME: &'static str;

    fn slot<F: Files>(indexes: &Indexes<F>) -> &Arc<Slot<F::Handle>>;
    fn of(entries: &NewEntries) -> &[u8];
}

impl Kind for OffsetEntry {
    const NAME: &'static str = names::INDEX;

    fn slot<F: Files>(indexes: &Indexes<F>) -> &Arc<Slot<F::Handle>> {
        &indexes.offsets
    }

    fn of(entries: &NewEntries) -> &[u8] {
        &entries.offsets
    }
}

impl Kind for TimeEntry {
    const NAME: &'static str = names::TIME_INDEX;

    fn slot<F: Files>(indexes: &Indexes<F>) -> &Arc<Slot<F::Handle>> {
        &indexes.times
    }

    fn of(entries: &NewEntries) -> &[u8] {
        &entries.times
    }
}

impl<F: Files> Segment<F> {
    /// The entries around a border, which is guessed to lie `share` (0 to 1) into the index.
    pub(crate) fn find_entry<E: Kind>(&self, share: f64, before: impl Fn(&E) -> bool) -> io::Result<Found<E>> {
        let (view, pending) = {
            let mut held = self.indexes.held.lock();
            self.open_indexes(&mut held)?;
            let pending = find_in(self.base, E::of(&held.pending), &before);
            if let Some(found) = pending
                && found.previous.is_some()
            {
                return Ok(found);
            }
            (self.view::<E>(&held)?, pending)
        };
        let Some(view) = view else { return Ok(pending.unwrap_or(Found { last: None, previous: None })) };
        let found = match pending {
            None => view.find(share, before),
            Some(found) => view.last().map(|previous| Found { last: found.last, previous }),
        };
        match found {
            // The file is shorter than it was.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.rebuild_indexes()?;
                Ok(Found { last: None, previous: None })
            }
            found => found,
        }
    }

    fn view<E: Kind>(&self, held: &Held) -> io::Result<Option<View<F>>> {
        let entries = if E::BYTES == OFFSET_ENTRY_BYTES { held.offset_entries } else { held.time_entries };
        if entries == 0 {
            return Ok(None);
        }
        let handle = self.index_file::<E>(OpenMode::Existing)?;
        Ok(Some(View { files: self.files().clone(), handle, base: self.base, entries }))
    }

    fn index_file<E: Kind>(&self, mode: OpenMode) -> io::Result<Arc<F::Handle>> {
        let open = || self.check_there().and_then(|()| self.files().open(&self.path(E::NAME), mode));
        self.home.place.open_files.get(E::slot(&self.indexes), open)
    }

    /// Looks at the files, once; makes them anew where they cannot be right.
    fn open_indexes(&self, held: &mut MutexGuard<'_, Held>) -> io::Result<()> {
        if held.known != Known::Nothing {
            return Ok(());
        }
        let (offsets, times) = (self.stored_bytes(names::INDEX)?, self.stored_bytes(names::TIME_INDEX)?);
        match (offsets, times) {
            (None, None) if self.state().bytes <= self.interval && !self.state().closed => held.known = Known::NoFiles,
            (Some(offsets), Some(times))
                if offsets % OFFSET_ENTRY_BYTES as u64 == 0 && times % TIME_ENTRY_BYTES as u64 == 0 =>
            {
                held.offset_entries = offsets / OFFSET_ENTRY_BYTES as u64;
                held.time_entries = times / TIME_ENTRY_BYTES as u64;
                held.known = Known::Files;
                if self.state().closed && !self.reaches_the_end(held)? {
                    tracing::warn!(dir = %self.dir().display(), segment = self.base.0, "an index is too short: rebuilding");
                    self.rebuild(held)?;
                }
            }
            _ => self.rebuild(held)?,
        }
        Ok(())
    }

    fn stored_bytes(&self, kind: &str) -> io::Result<Option<u64>> {
        match self.files().stat_path(&self.path(kind)) {
            Ok(stat) => Ok(Some(stat.bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether no entry was due after the last one.
    fn reaches_the_end(&self, held: &Held) -> io::Result<bool> {
        let last = match self.view::<OffsetEntry>(held)? {
            Some(view) => view.last::<OffsetEntry>()?,
            None => None,
        };
        let mut progress = Progress::new(self.base, self.interval);
        let mut entries = NewEntries::default();
        let mut walk = self.walk(last.map_or(0, |entry| entry.position))?;
        while entries.offsets.is_empty() {
            match walk.step()? {
                Step::Batch(placed) => progress.step(&placed.head, placed.position, &mut entries),
                Step::Damage(_) => (),
                Step::Broken(_) => return Ok(false),
                Step::End => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Makes both indexes anew from the batch heads.
    pub(crate) fn rebuild_indexes(&self) -> io::Result<()> {
        self.rebuild(&mut self.indexes.held.lock())
    }

    fn rebuild(&self, held: &mut MutexGuard<'_, Held>) -> io::Result<()> {
        let mut progress = Progress::new(self.base, self.interval);
        let mut entries = NewEntries::default();
        self.each_head(0, |placed| progress.step(&placed.head, placed.position, &mut entries))?;
        if self.state().closed {
            progress.time_entry(&mut entries);
        }
        self.change_state(|state| state.progress = Some(progress));
        held.known = Known::NoFiles;
        held.pending = entries;
        let written = self.write_pending(held);
        // Readers that find nothing in memory look into the files, as far as they were written.
        held.pending = NewEntries::default();
        written
    }

    /// Adds entries for what was found behind the last ones.
    pub(crate) fn extend_indexes(&self, progress: Progress, entries: &NewEntries) -> io::Result<()> {
        let mut held = self.indexes.held.lock();
        self.open_indexes(&mut held)?;
        held.pending.extend(entries);
        self.write_pending(&mut held)?;
        self.change_state(|state| state.progress = Some(progress));
        Ok(())
    }

    /// Notes entries of batches that were appended. That they cannot be written is no reason to refuse data that is.
    pub(crate) fn add_entries(&self, entries: &NewEntries, log_bytes: u64) {
        let mut held = self.indexes.held.lock();
        if held.pending.is_empty() {
            held.pending_from = log_bytes;
        }
        held.pending.extend(entries);
        let waiting = held.pending.offsets.len() / OFFSET_ENTRY_BYTES;
        if waiting < PENDING_ENTRIES && log_bytes.saturating_sub(held.pending_from) < PENDING_BYTES {
            return;
        }
        if let Err(error) = self.open_indexes(&mut held).and_then(|()| self.write_pending(&mut held)) {
            tracing::warn!(dir = %self.dir().display(), %error, "could not write the index");
            if waiting > 4 * PENDING_ENTRIES {
                // It is made anew when the segment is opened next.
                held.pending.clear();
            }
        }
    }

    /// Writes what waits, and the last entries.
    pub(crate) fn finish_indexes(&self, last: &NewEntries) {
        let mut held = self.indexes.held.lock();
        held.pending.extend(last);
        if let Err(error) = self.open_indexes(&mut held).and_then(|()| self.write_pending(&mut held)) {
            tracing::warn!(dir = %self.dir().display(), %error, "could not finish the index");
        }
        held.pending = NewEntries::default();
    }

    fn write_pending(&self, held: &mut MutexGuard<'_, Held>) -> io::Result<()> {
        if held.pending.is_empty() && (held.known == Known::Files || self.state().bytes == 0) {
            return Ok(());
        }
        let held = &mut **held;
        if held.known == Known::NoFiles {
            self.indexes.close_files();
            for kind in [names::INDEX, names::TIME_INDEX] {
                let file = self.files().open(&self.path(kind), OpenMode::Write)?;
                if self.files().stat(&file)?.bytes > 0 {
                    self.files().change(Change::Resize(&self.path(kind), 0))?;
                }
            }
            (held.offset_entries, held.time_entries, held.known) = (0, 0, Known::Files);
        }
        self.indexes.unsynced.store(true, Ordering::Release);
        // The time index first: an entry of the offset index says that the times up to there are written.
        if !held.pending.times.is_empty() {
            let file = self.index_file::<TimeEntry>(OpenMode::Existing)?;
            let at = held.time_entries * TIME_ENTRY_BYTES as u64;
            self.files().write(&file, at, &mut [IoSlice::new(&held.pending.times)])?;
            held.time_entries += (held.pending.times.len() / TIME_ENTRY_BYTES) as u64;
            held.pending.times.clear();
        }
        if !held.pending.offsets.is_empty() {
            let file = self.index_file::<OffsetEntry>(OpenMode::Existing)?;
            let at = held.offset_entries * OFFSET_ENTRY_BYTES as u64;
            self.files().write(&file, at, &mut [IoSlice::new(&held.pending.offsets)])?;
            held.offset_entries += (held.pending.offsets.len() / OFFSET_ENTRY_BYTES) as u64;
            held.pending.offsets.clear();
        }
        Ok(())
    }

    pub(crate) fn has_unsynced_indexes(&self) -> bool {
        self.state().closed && self.indexes.unsynced.load(Ordering::Acquire)
    }

    /// The indexes of a closed segment that were written and not synced. The caller syncs them.
    pub(crate) fn unsynced_indexes(&self) -> io::Result<Option<[Arc<F::Handle>; 2]>> {
        if !self.state().closed || !self.indexes.unsynced.swap(false, Ordering::AcqRel) {
            return Ok(None);
        }
        if self.indexes.held.lock().known != Known::Files {
            return Ok(None);
        }
        let times = self.index_file::<TimeEntry>(OpenMode::Existing);
        let both = times.and_then(|times| Ok([times, self.index_file::<OffsetEntry>(OpenMode::Existing)?]));
        self.indexes.unsynced.fetch_or(both.is_err(), Ordering::AcqRel);
        both.map(Some)
    }

    /// The last entries on disk, and how many there are.
    pub(crate) fn last_entries(&self) -> io::Result<LastEntries> {
        let offset = self.find_entry(1.0, |_: &OffsetEntry| true)?.last;
        let time = self.find_entry(1.0, |_: &TimeEntry| true)?.last;
        let held = self.indexes.held.lock();
        let count = |entries: u64| u32::try_from(entries).unwrap_or(u32::MAX);
        let (offset_entries, time_entries) = (count(held.offset_entries), count(held.time_entries));
        Ok(LastEntries { offset, time, offset_entries, time_entries })
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
        if let Some(max) = self.find_entry(1.0, |_: &TimeEntry| true)?.last
            && self.is_true(&max)?
        {
            let mut progress = Progress::new(self.base, self.interval);
            (progress.max, progress.last_written) = (max, max.timestamp);
            self.change_state(|state| state.progress = state.progress.or(Some(progress)));
            return Ok(());
        }
        self.rebuild_indexes()?;
        Ok(())
    }
}
