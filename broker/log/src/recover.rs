//! Opening a log: what is trusted, what is checked, what is cut.
//!
//! - After a clean shutdown nothing is read but the last few heads of the active segment.
//! - While the machine has not restarted, the page cache survived: of the active segment what lies behind the last
//!   index entry is checked.
//! - Else every segment that reaches to the recovery point or beyond is scanned, checksums above it, and its indexes
//!   are made anew.
//!
//! A tail above the recovery point after which no batch follows is torn and is cut. Everything else that does not
//! verify is marked: reads there fail, the rest serves, and offsets that were once given are not given again.
//! Producer state comes from the newest snapshot and the heads after it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker_model::{LeaderEpoch, Offset, Timestamp};
use broker_partition::{Durability, Ends, ProducerStates};
use broker_records::BatchHead;
use parking_lot::{Mutex, RwLock};

use crate::config::{LogConfig, OpenHints};
use crate::doomed::Doomed;
use crate::error::{OpenError, is_of_the_disk};
use crate::files::{Change, Entry, Files, Persist, read_file, remove_if_there};
use crate::index::{NewEntries, Progress};
use crate::log::{Log, RecoveryReport, create_segment};
use crate::names;
use crate::place::{Home, LogPlace};
use crate::reader::LogReader;
use crate::scan::{Plan, rotten, scan};
use crate::segment::{Segment, State};
use crate::shared::{Chores, NAMES_IN_DIR, NAMES_IN_PARENT, Shared};
use crate::sidecars::{self, check_topic};
use crate::walk::{Damage, Step};

pub(crate) fn open<F: Files>(
    place: &LogPlace<F>,
    dir: PathBuf,
    config: LogConfig,
    hints: &OpenHints,
) -> Result<(Log<F>, RecoveryReport), OpenError> {
    let fail = |source| {
        if is_of_the_disk(&source) {
            place.health.fail(&source);
        }
        OpenError::Io { path: dir.clone(), source }
    };
    if place.health.is_offline() {
        return Err(fail(io::Error::other("the disk failed before")));
    }
    let files = place.files.clone();
    let fresh = match files.list(&dir) {
        Ok(_) => false,
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(fail(error)),
    };
    if fresh {
        files.change(Change::MakeDir(&dir)).map_err(fail)?;
    }
    check_topic(&files, &dir, hints.topic)?;
    let mut hints = *hints;
    if fresh {
        // What a checkpoint says is of an earlier partition of this name.
        (hints.recovery_point, hints.log_start) = (Offset::ZERO, Offset::ZERO);
    }
    let home = Arc::new(Home { place: place.clone(), dir: dir.clone() });
    let (snapshots, doomed, report) = (Vec::new(), Vec::new(), RecoveryReport::default());
    let known = sidecars::read_damage(&files, &dir).map_err(fail)?;
    // Nothing is clean where it is not known what is damaged.
    let doubts = if known.is_none() { Doubts::All } else { Doubts::Unsynced };
    if known.is_none() {
        (hints.clean, hints.same_boot) = (false, false);
    }
    let known = known.unwrap_or_default();
    let mut recovery = Recovery { home, config, hints, known, doubts, snapshots, doomed, report };
    let segments = recovery.segments().map_err(fail)?;
    let mut log = recovery.log(segments).map_err(fail)?;
    if fresh {
        log.shared.unsynced_names.fetch_or(NAMES_IN_PARENT, Ordering::AcqRel);
    }
    finish(&mut log, &hints).map_err(|error| fail(io::Error::other(error)))?;
    recovery.report.damaged = log.damaged();
    recovery.report.producers = log.producers.len();
    Ok((log, recovery.report))
}

/// Last steps that are changes of an open log.
fn finish<F: Files>(log: &mut Log<F>, hints: &OpenHints) -> Result<(), crate::error::AppendError> {
    let end = log.end();
    if hints.log_start > end {
        let mut epochs = log.epochs.clone();
        epochs.truncate_from_end(end);
        log.reset_to(hints.log_start, epochs, None, hints.now)?;
        log.advance_log_start(hints.log_start)?;
    } else if !hints.clean && end < hints.recovery_point {
        // Offsets up to here were acknowledged as synced: they are lost, and must not be given to other records.
        log.lose_to(hints.recovery_point, hints.now)?;
    }
    if !hints.clean {
        log.write_damage()?;
        log.write_epochs(Persist::Lazily)?;
    }
    if log.config.durability == Durability::Disk && log.flushed_end() < log.end() {
        log.flush().map_err(|error| crate::error::AppendError::Failed(io::Error::other(error)))?;
    }
    Ok(())
}

/// What is checked where the log is not known to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubts {
    /// What was not synced.
    Unsynced,
    /// Everything.
    All,
}

struct Recovery<F: Files> {
    home: Arc<Home<F>>,
    config: LogConfig,
    hints: OpenHints,
    /// Damage that is known, with the base offset of its segment.
    known: Vec<(Offset, Damage)>,
    doubts: Doubts,
    snapshots: Vec<Offset>,
    doomed: Vec<Doomed>,
    report: RecoveryReport,
}

impl<F: Files> Recovery<F> {
    fn files(&self) -> &F {
        &self.home.place.files
    }

    fn dir(&self) -> &Path {
        &self.home.dir
    }

    /// Finds, checks and repairs the segments.
    fn segments(&mut self) -> io::Result<Vec<Arc<Segment<F>>>> {
        let entries = self.files().list(self.dir())?;
        let mut bases = self.clean_up(&entries)?;
        self.snapshots = snapshots(&entries);
        let mut segments: Vec<Arc<Segment<F>>> = Vec::with_capacity(bases.len().max(1));
        while let Some(base) = bases.pop() {
            let next = segments.last().map(|segment| segment.base);
            let segment = Arc::new(self.segment(base, next)?);
            segment.set_damage(self.known.extract_if(.., |(of, _)| *of == base).map(|(_, damage)| damage).collect());
            let empty = match next {
                Some(next) => self.check_closed(&segment, next)?,
                None => self.check_active(&segment)?,
            };
            // After a crash an empty segment at the end tells nothing, and the one before it may be torn.
            if next.is_none() && empty && !self.hints.clean && !bases.is_empty() && base >= self.hints.recovery_point {
                for kind in names::SEGMENT_KINDS {
                    remove_if_there(self.files(), &segment.path(kind))?;
                }
                continue;
            }
            segments.push(segment);
        }
        segments.reverse();
        if segments.is_empty() {
            let base = self.hints.recovery_point.max(self.hints.log_start);
            let segment = create_segment(&self.home, base, &self.config, self.hints.now)?;
            segments.push(Arc::new(segment));
        }
        Ok(segments)
    }

    /// Removes what a crash left half done; returns the base offsets of the segments, in order.
    fn clean_up(&mut self, entries: &[Entry]) -> io::Result<Vec<Offset>> {
        let bases: Vec<Offset> = entries.iter().filter_map(|entry| names::base_of(&entry.name, names::LOG)).collect();
        for entry in entries {
            let left_over = [".cleaned", ".swap", ".tmp"].iter().any(|end| entry.name.ends_with(end));
            let index = names::base_of(&entry.name, names::INDEX).or(names::base_of(&entry.name, names::TIME_INDEX));
            if let Some(name) = entry.name.strip_suffix(names::DELETED).and_then(|name| name.strip_suffix('.'))
                && let Some(base) = names::SEGMENT_KINDS.iter().find_map(|kind| names::base_of(name, kind))
            {
                self.doomed.push(Doomed { base, due: Some(self.hints.now) });
            }
            if left_over || index.is_some_and(|base| bases.binary_search(&base).is_err()) {
                self.files().change(Change::Remove(&entry.path))?;
            }
        }
        self.doomed.dedup();
        Ok(bases)
    }

    fn segment(&self, base: Offset, next: Option<Offset>) -> io::Result<Segment<F>> {
        let stat = self.files().stat_path(&names::segment_file(self.dir(), base, names::LOG))?;
        let state = State {
            bytes: stat.bytes,
            end: next.unwrap_or(base),
            progress: None,
            first_timestamp: None,
            created: self.hints.now,
            last_append: stat.modified,
            closed: next.is_some(),
        };
        Ok(Segment::new(Arc::clone(&self.home), base, self.config.index_interval_bytes, state))
    }

    /// A segment that others follow. Returns whether it is empty.
    fn check_closed(&mut self, segment: &Segment<F>, next: Offset) -> io::Result<bool> {
        let is_unsynced = next >= self.hints.recovery_point || self.doubts == Doubts::All;
        if !self.hints.clean && !self.hints.same_boot && is_unsynced {
            let length = segment.state().bytes;
            let (position, end) = self.rescan(segment, Tail::start(segment))?;
            if end < next {
                let mut damage = segment.damage();
                damage.push(Damage { from: end, to: next, position, bytes: length - position });
                segment.set_damage(damage);
                segment.change_state(|state| state.bytes = length);
            }
            segment.change_state(|state| state.end = next);
        }
        Ok(segment.state().bytes == 0)
    }

    /// The last segment: finds its end. Returns whether it is empty.
    fn check_active(&mut self, segment: &Segment<F>) -> io::Result<bool> {
        let length = segment.state().bytes;
        let trusted = self.hints.clean || self.hints.same_boot;
        let tail = if trusted { tail(segment)? } else { Tail::start(segment) };
        if self.hints.clean && self.end_by_heads(segment, &tail)? {
            return Ok(length == 0);
        }
        let (mut position, mut end) = self.rescan(segment, tail)?;
        let rotten = rotten(self.files(), &*segment.log()?, (position, end), length)?.filter(|_| self.hints.same_boot);
        if let Some(rotten) = rotten {
            tracing::error!(dir = %self.dir().display(), from = end.0, to = rotten.to.0, "records are damaged on disk");
            (position, end) = (position + rotten.bytes, rotten.to);
            segment.set_damage(segment.damage().into_iter().chain([rotten]).collect());
            segment.change_state(|state| (state.bytes, state.end) = (position, end));
        }
        if position < length {
            if end >= self.hints.recovery_point || self.hints.clean {
                tracing::warn!(dir = %self.dir().display(), bytes = length - position, "cutting a torn tail");
                self.report.torn_bytes += length - position;
                self.files().change(Change::Resize(&segment.path(names::LOG), position))?;
                let log = segment.log()?;
                self.files().sync(&log)?;
            } else {
                // Kept as it is: see `Log::lose_to`.
                segment.change_state(|state| state.bytes = position);
            }
        }
        Ok(position == 0)
    }

    /// Walks the heads behind the last index entry of a clean segment. False where they do not lead to the end.
    fn end_by_heads(&self, segment: &Segment<F>, tail: &Tail) -> io::Result<bool> {
        let (mut progress, mut entries, mut end) = (tail.progress, NewEntries::default(), tail.offset);
        // No entries: those that were due are on disk.
        progress.interval = u64::MAX;
        let mut walk = segment.walk(tail.position)?.expecting(tail.offset);
        loop {
            match walk.step()? {
                Step::Batch(placed) => {
                    progress.step(&placed.head, placed.position, &mut entries);
                    end = placed.head.next_offset();
                }
                Step::Damage(damage) => end = damage.to,
                Step::Broken(_) => return Ok(false),
                Step::End => break,
            }
        }
        progress.interval = segment.interval;
        let first_timestamp = first_timestamp(segment)?;
        segment.change_state(|state| {
            state.end = end;
            state.progress = Some(progress);
            state.first_timestamp = first_timestamp;
        });
        Ok(true)
    }

    /// Scans a segment from a place on, sets its state, damage and indexes; returns position and offset of the end.
    fn rescan(&mut self, segment: &Segment<F>, tail: Tail) -> io::Result<(u64, Offset)> {
        let bytes = segment.state().bytes;
        let verify_from = if self.hints.same_boot || self.doubts == Doubts::All {
            Offset(i64::MIN)
        } else {
            self.hints.recovery_point
        };
        let plan = Plan { position: tail.position, expected: tail.offset, bytes, verify_from };
        let handle = segment.log()?;
        let (mut progress, mut entries) = (tail.progress, NewEntries::default());
        let visit = |head: &BatchHead, at| progress.step(head, at, &mut entries);
        let scanned = scan(self.files(), &*handle, plan, visit)?;
        self.report.segments_scanned += 1;
        self.report.batches_scanned += scanned.batches;
        let mut damage = segment.damage();
        damage.retain(|damage| damage.position < tail.position);
        for found in &scanned.damage {
            let (from, to) = (found.from.0, found.to.0);
            tracing::error!(dir = %self.dir().display(), from, to, "records are damaged on disk");
        }
        let untouched = tail.position > 0 && scanned.batches > 0 && scanned.damage.is_empty();
        damage.extend(scanned.damage);
        segment.set_damage(damage);
        segment.change_state(|state| (state.bytes, state.end) = (scanned.position, scanned.end));
        if untouched {
            segment.extend_indexes(progress, &entries)?;
        } else {
            segment.rebuild_indexes()?;
        }
        let first_timestamp = first_timestamp(segment)?;
        segment.change_state(|state| state.first_timestamp = first_timestamp);
        Ok((scanned.position, scanned.end))
    }

    fn log(&self, segments: Vec<Arc<Segment<F>>>) -> io::Result<Log<F>> {
        let end = segments.last().expect("there is at least one").state().end;
        let hints = &self.hints;
        // After a crash only what the checkpoint says is known to be synced; the next flush syncs the rest.
        let flushed_end = if hints.clean { end } else { hints.recovery_point };
        let ends = Ends::opened(self.config.durability, hints.log_start.min(end), flushed_end, end);
        let producers = producers((&self.home, &self.snapshots), &segments, &self.config, hints.now)?;
        self.drop_old_snapshots(&segments)?;
        let epochs = sidecars::epochs((self.files(), self.dir()), &segments, end)?;
        let active = segments.last().filter(|_| self.config.preallocate).cloned();
        let reserve = active.map(|active| (active, self.config.segment_bytes));
        let rebuilt = segments.iter().filter(|segment| segment.has_unsynced_indexes()).cloned().collect();
        let shared = Shared {
            home: Arc::clone(&self.home),
            ends: RwLock::new(ends),
            segments: RwLock::new(segments),
            flush: Mutex::default(),
            unsynced_names: (if hints.clean && end > Offset::ZERO { 0 } else { NAMES_IN_DIR | NAMES_IN_PARENT }).into(),
            chores: Mutex::new(Chores { closed: rebuilt, reserve, ..Chores::default() }),
            doomed: Mutex::new(self.doomed.clone()),
            sweep: Mutex::default(),
            delete_delay_ms: self.config.file_delete_delay_ms.into(),
            closed: false.into(),
        };
        let epoch = epochs.latest().unwrap_or(LeaderEpoch(0));
        let reader = LogReader { shared: Arc::new(shared) };
        let (undo, buffers) = Default::default();
        Ok(Log { reader, config: self.config, producers, epochs, epoch, undo, buffers, snapshot_at: 0 })
    }

    /// Keeps the snapshots at segments' beginnings, and the newest.
    fn drop_old_snapshots(&self, segments: &[Arc<Segment<F>>]) -> io::Result<()> {
        for at in self.snapshots.iter().rev().skip(1) {
            if segments.binary_search_by_key(at, |segment| segment.base).is_err() {
                remove_if_there(self.files(), &names::segment_file(self.dir(), *at, names::SNAPSHOT))?;
            }
        }
        Ok(())
    }
}

/// Where to go on in a segment whose indexes are trusted.
struct Tail {
    position: u64,
    offset: Offset,
    progress: Progress,
}

impl Tail {
    fn start<F: Files>(segment: &Segment<F>) -> Tail {
        Tail { position: 0, offset: segment.base, progress: Progress::new(segment.base, segment.interval) }
    }
}

/// The batch that the last index entry points to; the start where that does not fit.
fn tail<F: Files>(segment: &Segment<F>) -> io::Result<Tail> {
    let base = segment.base;
    // Without an entry the whole is looked at, which is little.
    let last = segment.last_entries()?;
    let Some(entry) = last.offset else { return Ok(Tail::start(segment)) };
    let Step::Batch(placed) = segment.walk(entry.position)?.step()? else { return Ok(Tail::start(segment)) };
    if placed.head.last_offset() != entry.offset {
        return Ok(Tail::start(segment));
    }
    let mut progress = Progress::new(base, segment.interval);
    (progress.offset_entries, progress.time_entries) = (last.offset_entries, last.time_entries);
    if let Some(max) = last.time {
        if !segment.is_true(&max)? {
            return Ok(Tail::start(segment));
        }
        (progress.max, progress.last_written) = (max, max.timestamp);
    }
    Ok(Tail { position: entry.position, offset: placed.head.base_offset, progress })
}

fn first_timestamp<F: Files>(segment: &Segment<F>) -> io::Result<Option<Timestamp>> {
    Ok(match segment.walk(0)?.step()? {
        Step::Batch(placed) => Some(placed.head.max_timestamp),
        _ => None,
    })
}

/// Shows the heads of all batches at or after `from`, around damage.
pub(crate) fn for_each_head<F: Files>(
    segments: &[Arc<Segment<F>>],
    from: Offset,
    mut visit: impl FnMut(&BatchHead),
) -> io::Result<()> {
    for segment in segments.iter().filter(|segment| segment.state().end > from) {
        let start = match (from > segment.base).then(|| segment.locate_batch(from)) {
            Some(Ok(placed)) => placed.position,
            _ => 0,
        };
        segment.each_head(start, |placed| {
            if placed.head.base_offset >= from {
                visit(&placed.head);
            }
        })?;
    }
    Ok(())
}

/// The offsets of the producer snapshots among these files.
pub(crate) fn snapshots(entries: &[Entry]) -> Vec<Offset> {
    entries.iter().filter_map(|entry| names::base_of(&entry.name, names::SNAPSHOT)).collect()
}

/// Producer state as of the end: the newest snapshot that is one, and the heads after it.
pub(crate) fn producers<F: Files>(
    (home, snapshots): (&Home<F>, &[Offset]),
    segments: &[Arc<Segment<F>>],
    config: &LogConfig,
    now: Timestamp,
) -> io::Result<ProducerStates> {
    let end = segments.last().map_or(Offset::ZERO, |segment| segment.state().end);
    let mut states = ProducerStates::new(config.producer_expiration_ms);
    let mut from = Offset::ZERO;
    let files = &home.place.files;
    for at in snapshots.iter().rev().copied() {
        let path = names::segment_file(&home.dir, at, names::SNAPSHOT);
        if at > end {
            remove_if_there(files, &path)?;
            continue;
        }
        let bytes = read_file(files, &path)?.unwrap_or_default();
        match ProducerStates::from_snapshot(&bytes, now, config.producer_expiration_ms) {
            Ok(found) => {
                (states, from) = (found, at);
                break;
            }
            Err(error) => tracing::warn!(path = %path.display(), %error, "a producer snapshot is ignored"),
        }
    }
    for_each_head(segments, from, |head| states.apply(head, head.base_offset, now))?;
    Ok(states)
}

impl<F: Files> Log<F> {
    /// Records below `to` were synced once and are not there: the range is marked, and the log goes on after it.
    fn lose_to(&mut self, to: Offset, now: Timestamp) -> Result<(), crate::error::AppendError> {
        let (active, end) = (self.shared.active(), self.end());
        tracing::error!(dir = %self.shared.dir().display(), from = end.0, to = to.0, "synced records are lost");
        let mut damage = active.damage();
        damage.push(Damage { from: end, to, position: active.state().bytes, bytes: 0 });
        active.set_damage(damage);
        active.change_state(|state| state.end = to);
        let segment = self.new_segment(to, now).map_err(|error| self.failed(error))?;
        active.close();
        self.shared.segments.write().push(Arc::new(segment));
        let ends = self.ends();
        *self.shared.ends.write() = Ends::opened(self.config.durability, ends.log_start(), to, to);
        Ok(())
    }
}
