//! One segment: its files, and what is known of it.
//!
//! The writer and all readers share a segment. What changes (length, end, damage, the newest batches) is small and
//! behind one lock that is never held during IO. Its files are opened on use and may be closed at any time, see
//! [`crate::open_files`]. Invariant: below `bytes` lie whole batches and marked damage, nothing else.
//!
//! Where in the segment an offset lies is [`crate::lookup`]'s, the index files are [`crate::segment_index`]'s.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use broker_model::{Offset, Timestamp};
use parking_lot::Mutex;

use crate::error::ReadError;
use crate::files::{Change, Files, OpenMode};
use crate::index::{NewEntries, Progress};
use crate::names;
use crate::open_files::Slot;
use crate::place::Home;
use crate::segment_index::Indexes;
use crate::walk::{Damage, Placed, Walk};

/// The newest batches, of which a segment keeps the places in memory: readers at the end need no IO to find theirs.
const RECENT_BATCHES: usize = 32;
/// Places where readers stopped, and will go on.
const BORDERS_MAX: usize = 16;

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

/// Where a batch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) base: Offset,
    pub(crate) position: u64,
}

struct Inner {
    state: State,
    damage: Vec<Damage>,
    /// Without a gap up to the end.
    recent: VecDeque<Spot>,
    borders: Vec<Spot>,
    oldest_border: usize,
}

pub(crate) struct Segment<F: Files> {
    pub(crate) home: Arc<Home<F>>,
    pub(crate) base: Offset,
    /// `index.interval.bytes` when the segment was made.
    pub(crate) interval: u64,
    inner: Mutex<Inner>,
    log: Arc<Slot<F::Handle>>,
    pub(crate) indexes: Indexes<F>,
    /// It is out of the log; its files may be gone.
    gone: AtomicBool,
    /// It was cut back since it was synced: unless that is synced too, a power loss may bring back what was cut.
    pub(crate) was_cut: AtomicBool,
    /// Room was reserved behind the end.
    pub(crate) has_room: AtomicBool,
}

impl<F: Files> Segment<F> {
    pub(crate) fn new(home: Arc<Home<F>>, base: Offset, interval: u64, state: State) -> Segment<F> {
        let inner = Inner { state, damage: Vec::new(), recent: VecDeque::new(), borders: Vec::new(), oldest_border: 0 };
        let inner = Mutex::new(inner);
        let (log, indexes) = (Slot::new(), Indexes::new());
        Segment {
            home,
            base,
            interval,
            inner,
            log,
            indexes,
            gone: false.into(),
            was_cut: false.into(),
            has_room: false.into(),
        }
    }

    pub(crate) fn files(&self) -> &F {
        &self.home.place.files
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.home.dir
    }

    pub(crate) fn path(&self, kind: &str) -> PathBuf {
        names::segment_file(&self.home.dir, self.base, kind)
    }

    pub(crate) fn state(&self) -> State {
        self.inner.lock().state
    }

    pub(crate) fn change_state(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.inner.lock().state);
    }

    pub(crate) fn damage(&self) -> Vec<Damage> {
        self.inner.lock().damage.clone()
    }

    pub(crate) fn set_damage(&self, damage: Vec<Damage>) {
        let mut inner = self.inner.lock();
        inner.damage = damage;
        inner.borders.clear();
    }

    /// Marks what cannot be read. Not what was cut meanwhile.
    pub(crate) fn add_damage(&self, damage: Damage) {
        let mut inner = self.inner.lock();
        if damage.position + damage.bytes <= inner.state.bytes {
            inner.damage.push(damage);
            inner.damage.sort_by_key(|damage| damage.position);
            inner.borders.clear();
        }
    }

    /// Up to where it may be read from `position` on: the next damage or the end, and the offset there.
    pub(crate) fn limit(&self, position: u64) -> (u64, Offset) {
        let inner = self.inner.lock();
        let damage = inner.damage.iter().find(|damage| damage.position > position);
        damage.map_or((inner.state.bytes, inner.state.end), |damage| (damage.position, damage.from))
    }

    /// The open log file.
    pub(crate) fn log(&self) -> io::Result<Arc<F::Handle>> {
        self.home.place.open_files.get(&self.log, || {
            self.check_there()?;
            let mode = if self.state().closed { OpenMode::Read } else { OpenMode::Existing };
            self.files().open(&self.path(names::LOG), mode)
        })
    }

    /// Takes over the log file that was opened to make the segment.
    pub(crate) fn adopt(&self, handle: F::Handle) {
        self.home.place.open_files.put(&self.log, handle);
    }

    /// Lets go of open files.
    pub(crate) fn close_files(&self) {
        self.log.close();
        self.indexes.close_files();
    }

    /// A file is never opened by its name once another may have it.
    pub(crate) fn check_there(&self) -> io::Result<()> {
        if self.is_gone() { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(crate) fn was_cut(&self) -> bool {
        self.was_cut.load(Ordering::Acquire)
    }

    /// It is out of the log: its files may go at any time.
    pub(crate) fn leave(&self) {
        self.gone.store(true, Ordering::Release);
    }

    pub(crate) fn walk(&self, position: u64) -> io::Result<Walk<F>> {
        let (bytes, damage) = {
            let inner = self.inner.lock();
            (inner.state.bytes, inner.damage.clone())
        };
        let walk = Walk::new(self.files().clone(), self.log()?, (position, bytes), damage);
        Ok(if position == 0 { walk.expecting(self.base) } else { walk })
    }

    /// Notes batches that were written at the end: readers see them from here on.
    pub(crate) fn appended(&self, state: State, batches: &[Placed], entries: &NewEntries) {
        {
            let mut inner = self.inner.lock();
            inner.state = state;
            if inner.recent.capacity() < RECENT_BATCHES {
                inner.recent.reserve_exact(RECENT_BATCHES);
            }
            for placed in batches.iter().skip(batches.len().saturating_sub(RECENT_BATCHES)) {
                if inner.recent.len() >= RECENT_BATCHES {
                    inner.recent.pop_front();
                }
                inner.recent.push_back(Spot { base: placed.head.base_offset, position: placed.position });
            }
        }
        if !entries.is_empty() {
            self.add_entries(entries, state.bytes);
        }
    }

    /// The batch that contains `offset`, if that needs no IO.
    ///
    /// # Errors
    /// `Damaged` where the offset is marked so.
    pub(crate) fn known(&self, offset: Offset) -> Result<Option<Spot>, ReadError> {
        let inner = self.inner.lock();
        if let Some(damage) = inner.damage.iter().find(|damage| damage.from <= offset && offset < damage.to) {
            return Err(ReadError::Damaged { from: damage.from, to: damage.to });
        }
        if offset >= inner.state.end {
            return Ok(None);
        }
        let recent = inner.recent.iter().rev().find(|spot| spot.base <= offset);
        Ok(recent.or_else(|| inner.borders.iter().find(|spot| spot.base == offset)).copied())
    }

    /// The newest border at or before `target`, if it is in memory.
    pub(crate) fn known_border(&self, target: u64) -> Option<Spot> {
        self.inner.lock().recent.iter().rev().find(|spot| spot.position <= target).copied()
    }

    /// A batch begins here, and a reader will go on with it.
    pub(crate) fn remember(&self, spot: Spot) {
        let mut inner = self.inner.lock();
        if spot.position >= inner.state.bytes || inner.borders.contains(&spot) {
            return;
        }
        if inner.borders.len() < BORDERS_MAX {
            inner.borders.push(spot);
            return;
        }
        let oldest = inner.oldest_border % BORDERS_MAX;
        inner.oldest_border = oldest + 1;
        if let Some(border) = inner.borders.get_mut(oldest) {
            *border = spot;
        }
    }

    /// Nothing is appended any more: writes the last entries of the indexes.
    pub(crate) fn close(&self) {
        let mut entries = NewEntries::default();
        {
            let mut inner = self.inner.lock();
            if let Some(progress) = &mut inner.state.progress {
                progress.time_entry(&mut entries);
            }
            inner.state.closed = true;
            inner.recent = VecDeque::new();
        }
        self.finish_indexes(&entries);
    }

    /// Goes on appending to a segment that was closed.
    pub(crate) fn reopen(&self) {
        let mut inner = self.inner.lock();
        inner.state.closed = false;
        inner.recent.clear();
        inner.borders.clear();
        drop(inner);
        self.log.close();
    }

    /// Cuts it at a border, which is made durable.
    pub(crate) fn cut(&self, position: u64, end: Offset) -> io::Result<()> {
        self.reopen();
        {
            let mut inner = self.inner.lock();
            let state = &mut inner.state;
            (state.bytes, state.end) = (position, end);
            state.first_timestamp = state.first_timestamp.filter(|_| position > 0);
            inner.damage.retain(|damage| damage.position < position);
        }
        self.files().change(Change::Resize(&self.path(names::LOG), position))?;
        self.rebuild_indexes()?;
        let log = self.log()?;
        self.files().sync(&log)
    }
}
