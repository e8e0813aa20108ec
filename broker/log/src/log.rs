//! The one writer of a partition's log.
//!
//! [`Log`] owns what only a writer changes (producer state, leader epochs, the active segment) and shares the rest
//! with its [`LogReader`]s, to which it dereferences. Opening recovers (see `recover`); appending is in
//! [`crate::append`], cutting at either end in [`crate::trim`]. After an error of kind `Offline` the log is to be
//! dropped.

use std::ffi::OsStr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker_model::{LeaderEpoch, Offset, ProducerId, Timestamp};
use broker_partition::{LeaderEpochs, ProducerState, ProducerStates};

use crate::append::Buffers;
use crate::config::{LogConfig, OpenHints};
use crate::disk::DiskFiles;
use crate::error::{AppendError, OpenError};
use crate::files::{Change, Files, OpenMode, Persist, replace_file};
use crate::index::Progress;
use crate::names;
use crate::place::{Home, LogPlace};
use crate::reader::LogReader;
use crate::segment::{Segment, State};
use crate::shared::NAMES_IN_DIR;
use crate::sidecars;

/// A new snapshot of the producers is made when the log grew by so much.
const SNAPSHOT_EVERY_BYTES: u64 = 64 << 20;
/// Batches whose producers a log keeps memory for while it is idle.
const UNDO_KEPT: usize = 2;

/// One partition's log.
pub struct Log<F: Files = DiskFiles> {
    pub(crate) reader: LogReader<F>,
    pub(crate) config: LogConfig,
    pub(crate) producers: ProducerStates,
    pub(crate) epochs: LeaderEpochs,
    pub(crate) epoch: LeaderEpoch,
    /// What producers were before the batches that are not written yet.
    pub(crate) undo: Vec<(ProducerId, Option<ProducerState>)>,
    /// Memory that appends use again.
    pub(crate) buffers: Buffers,
    /// Where the newest snapshot of the producers stands.
    pub(crate) snapshot_at: u64,
}

/// What opening a log found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Segments whose data was looked at.
    pub segments_scanned: u32,
    /// Batches that were found whole.
    pub batches_scanned: u64,
    /// Bytes of a torn tail that were cut off: they were never acknowledged as synced.
    pub torn_bytes: u64,
    /// Damaged ranges of offsets, new and known: reads there fail, the rest serves.
    pub damaged: Vec<(Offset, Offset)>,
    /// Producers that are known.
    pub producers: usize,
}

impl<F: Files> Deref for Log<F> {
    type Target = LogReader<F>;

    fn deref(&self) -> &LogReader<F> {
        &self.reader
    }
}

impl<F: Files> Log<F> {
    /// As [`open_in`](Self::open_in), in a place of its own.
    ///
    /// # Errors
    /// As [`open_in`](Self::open_in).
    pub fn open(
        files: F,
        dir: PathBuf,
        config: LogConfig,
        hints: &OpenHints,
    ) -> Result<(Log<F>, RecoveryReport), OpenError> {
        Self::open_in(&LogPlace::new(files), dir, config, hints)
    }

    /// Opens the log in a directory, which is made where it is not there, and recovers what the hints say must be.
    /// Logs of one log directory share a place: when the disk fails for one, all are offline.
    ///
    /// # Errors
    /// When the system fails, or the directory holds another topic.
    pub fn open_in(
        place: &LogPlace<F>,
        dir: PathBuf,
        config: LogConfig,
        hints: &OpenHints,
    ) -> Result<(Log<F>, RecoveryReport), OpenError> {
        crate::recover::open(place, dir, config, hints)
    }

    /// A handle to read with; cheap, and independent of this one.
    #[must_use]
    pub fn reader(&self) -> LogReader<F> {
        self.reader.clone()
    }

    /// Takes new settings; they hold from the next append.
    pub fn set_config(&mut self, config: LogConfig) {
        self.shared.delete_delay_ms.store(config.file_delete_delay_ms, Ordering::Relaxed);
        self.config = config;
    }

    /// The leader epochs of this log.
    #[must_use]
    pub fn epochs(&self) -> &LeaderEpochs {
        &self.epochs
    }

    /// The producers that this partition remembers.
    #[must_use]
    pub fn producers(&self) -> &ProducerStates {
        &self.producers
    }

    /// Forgets producers that were silent too long; returns how many. Called now and then, it also bounds what a
    /// restart after a crash reads to know the producers again, and gives back memory that large appends needed.
    pub fn expire_producers(&mut self, now: Timestamp) -> usize {
        self.buffers.shrink();
        self.undo.shrink_to(UNDO_KEPT);
        let expired = self.producers.expire(now);
        let bytes = self.shared.active().state().bytes;
        if bytes.saturating_sub(self.snapshot_at) > SNAPSHOT_EVERY_BYTES {
            self.snapshot_at = bytes;
            self.offer_snapshot();
        }
        expired
    }

    /// Producer state as of the end, in Kafka's snapshot format.
    #[must_use]
    pub fn producer_snapshot(&self) -> Vec<u8> {
        self.producers.to_snapshot()
    }

    /// From now on this epoch writes.
    ///
    /// # Errors
    /// `Invalid` for an epoch older than the latest; else when the system fails.
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) -> Result<(), AppendError> {
        if self.epochs.latest().is_some_and(|latest| latest > epoch) {
            return Err(AppendError::Invalid("the leader epoch is older than the log's latest"));
        }
        self.epoch = epoch;
        let end = self.end();
        if self.epochs.assign(epoch, end) {
            self.write_epochs(Persist::Lazily)?;
        }
        Ok(())
    }

    /// Closes the active segment and begins another. Nothing happens where the active one is empty. It costs the
    /// making of one file; the rest is done by the next flush.
    ///
    /// # Errors
    /// When the system fails; on `Full` nothing changed.
    pub fn roll(&mut self, now: Timestamp) -> Result<(), AppendError> {
        self.writable()?;
        let active = self.shared.active();
        if active.state().bytes == 0 {
            return Ok(());
        }
        let segment = Arc::new(self.new_segment(self.end(), now).map_err(|error| self.failed(error))?);
        active.close();
        self.shared.segments.write().push(Arc::clone(&segment));
        {
            let mut chores = self.shared.chores.lock();
            chores.closed.push(active);
            chores.reserve = self.config.preallocate.then_some((segment, self.config.segment_bytes));
        }
        self.snapshot_at = 0;
        self.offer_snapshot();
        Ok(())
    }

    /// Makes the log clean: indexes, snapshot and checkpoints are complete and synced. Returns the recovery point.
    /// The log and its readers answer `Offline` from then on.
    ///
    /// # Errors
    /// When a sync fails.
    pub fn close(&mut self, now: Timestamp) -> Result<Offset, AppendError> {
        self.writable()?;
        self.producers.expire(now);
        self.shared.active().close();
        let segments = self.shared.segments.read().clone();
        self.shared.chores.lock().closed = segments;
        let flushed = self.flush().map_err(|error| AppendError::Failed(std::io::Error::other(error)))?;
        self.shared.rename_doomed(now)?;
        self.write_epochs(Persist::Now)?;
        self.write_damage()?;
        let path = names::segment_file(self.shared.dir(), flushed, names::SNAPSHOT);
        replace_file(self.shared.files(), &path, &self.producers.to_snapshot(), Persist::Now)?;
        self.shared.closed.store(true, Ordering::Release);
        Ok(flushed)
    }

    /// Deletes the log and its directory. Slices that are held stay readable; the log and its readers answer
    /// `Offline` from then on.
    ///
    /// # Errors
    /// When the system fails; what is left is removed when the log directory is opened next.
    pub fn delete(&mut self) -> Result<(), AppendError> {
        self.retire();
        Ok(remove_partition(self.shared.files(), self.shared.dir(), &self.end().to_string())?)
    }

    pub(crate) fn writable(&self) -> Result<(), AppendError> {
        if self.is_offline() { Err(AppendError::Offline) } else { Ok(()) }
    }

    /// What a failed change means: a full disk is not the end, nor are too few descriptors; everything else is.
    pub(crate) fn failed(&self, error: std::io::Error) -> AppendError {
        let error = AppendError::from(error);
        if let AppendError::Failed(error) = &error {
            self.shared.failed(error);
        }
        error
    }

    pub(crate) fn new_segment(&self, base: Offset, now: Timestamp) -> std::io::Result<Segment<F>> {
        create_segment(&self.shared.home, base, &self.config, now).inspect(|_| {
            self.shared.unsynced_names.fetch_or(NAMES_IN_DIR, Ordering::AcqRel);
        })
    }

    pub(crate) fn write_epochs(&self, persist: Persist) -> std::io::Result<()> {
        sidecars::write_epochs(self.shared.files(), self.shared.dir(), &self.epochs, persist)
    }

    /// Leaves producer state as of the end to the next flush to be written.
    fn offer_snapshot(&self) {
        self.shared.chores.lock().snapshot = Some((self.end(), self.producers.to_snapshot()));
    }

    pub(crate) fn write_damage(&self) -> std::io::Result<()> {
        let segments = self.shared.segments.read().clone();
        sidecars::write_damage(self.shared.files(), self.shared.dir(), &segments)
    }
}

/// Makes an empty segment; files that are left of an earlier one with this base count for nothing.
pub(crate) fn create_segment<F: Files>(
    home: &Arc<Home<F>>,
    base: Offset,
    config: &LogConfig,
    now: Timestamp,
) -> std::io::Result<Segment<F>> {
    let (files, path) = (&home.place.files, names::segment_file(&home.dir, base, names::LOG));
    let handle = files.open(&path, OpenMode::Write)?;
    if files.stat(&handle)?.bytes > 0 {
        files.change(Change::Resize(&path, 0))?;
    }
    let state = State {
        bytes: 0,
        end: base,
        progress: Some(Progress::new(base, config.index_interval_bytes)),
        first_timestamp: None,
        created: now,
        last_append: now,
        closed: false,
    };
    let segment = Segment::new(Arc::clone(home), base, config.index_interval_bytes, state);
    segment.indexes.begin();
    segment.adopt(handle);
    Ok(segment)
}

/// Deletes the directory of a partition that is not open: it gets a name under which it counts for nothing, and is then
/// removed with all that is in it. Nothing happens where it is not there. `mark` makes the name unlike those of earlier
/// partitions of the name.
///
/// # Errors
/// When the system fails; what was renamed is removed when the log directory is opened next.
pub fn remove_partition<F: Files>(files: &F, dir: &Path, mark: &str) -> std::io::Result<()> {
    let name = dir.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let doomed = dir.with_file_name(format!("{name}.{mark}{}", names::DELETED_DIR));
    match files.change(Change::Rename(dir, &doomed)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => remove_dir(files, &doomed),
    }
}

/// Removes a partition's directory with everything in it.
pub(crate) fn remove_dir<F: Files>(files: &F, dir: &Path) -> std::io::Result<()> {
    for entry in files.list(dir)? {
        files.change(Change::Remove(&entry.path))?;
    }
    files.change(Change::RemoveDir(dir))
}
