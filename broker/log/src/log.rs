//! The one writer of a partition's log.
//!
//! [`Log`] owns what only a writer changes (producer state, leader epochs, the active segment) and shares the rest
//! with its [`LogReader`]s, to which it dereferences. Opening recovers (see `recover`); appending is in
//! [`crate::append`], cutting at either end in [`crate::trim`]. After an error of kind `Offline` the log is to be
//! dropped.

use std::ffi::OsStr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker_model::{LeaderEpoch, Offset, ProducerId, Timestamp};
use broker_partition::{LeaderEpochs, ProducerState, ProducerStates};

use crate::append::Run;
use crate::checkpoint;
use crate::config::{LogConfig, OpenHints};
use crate::disk::DiskFiles;
use crate::error::{AppendError, OpenError};
use crate::files::{Change, Files, Persist, read_file, replace_file};
use crate::index::NewEntries;
use crate::names;
use crate::reader::LogReader;
use crate::segment::{Segment, State};
use crate::walk::Damage;

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
    pub(crate) run: Run,
    pub(crate) entries: NewEntries,
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
    /// Opens the log in a directory, which is made where it is not there, and recovers what the hints say must be.
    ///
    /// # Errors
    /// When the system fails, or the directory holds another topic.
    pub fn open(
        files: F,
        dir: PathBuf,
        config: LogConfig,
        hints: &OpenHints,
    ) -> Result<(Log<F>, RecoveryReport), OpenError> {
        crate::recover::open(files, dir, config, hints)
    }

    /// A handle to read with; cheap, and independent of this one.
    #[must_use]
    pub fn reader(&self) -> LogReader<F> {
        self.reader.clone()
    }

    /// Takes new settings; they hold from the next append.
    pub fn set_config(&mut self, config: LogConfig) {
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

    /// Forgets producers that were silent too long; returns how many.
    pub fn expire_producers(&mut self, now: Timestamp) -> usize {
        self.producers.expire(now)
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

    /// Closes the active segment and begins another. Nothing happens where the active one is empty.
    ///
    /// # Errors
    /// When the system fails; on `Full` nothing changed.
    pub fn roll(&mut self, now: Timestamp) -> Result<(), AppendError> {
        self.writable()?;
        let active = self.shared.active();
        if active.state().bytes == 0 {
            return Ok(());
        }
        let base = self.end();
        let segment = self.new_segment(base, now).map_err(|error| self.failed(error))?;
        active.close();
        self.shared.segments.write().push(Arc::new(segment));
        self.write_snapshot(Persist::Lazily);
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
        let flushed = self.flush().map_err(|error| AppendError::Failed(std::io::Error::other(error)))?;
        for segment in self.shared.segments.read().clone() {
            segment.sync_indexes()?;
        }
        self.write_epochs(Persist::Now)?;
        let path = names::segment_file(&self.shared.dir, flushed, names::SNAPSHOT);
        replace_file(&self.shared.files, &path, &self.producers.to_snapshot(), Persist::Now)?;
        self.shared.offline.store(true, Ordering::Release);
        Ok(flushed)
    }

    /// Deletes the log and its directory. Slices that are held stay readable; the log and its readers answer
    /// `Offline` from then on.
    ///
    /// # Errors
    /// When the system fails; what is left is removed when the log directory is opened next.
    pub fn delete(&mut self) -> Result<(), AppendError> {
        let dir = &self.shared.dir;
        self.shared.offline.store(true, Ordering::Release);
        let name = dir.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let doomed = dir.with_file_name(format!("{name}.{}{}", self.end(), names::DELETED_DIR));
        self.shared.files.change(Change::Rename(dir, &doomed))?;
        remove_dir(&self.shared.files, &doomed)?;
        Ok(())
    }

    pub(crate) fn writable(&self) -> Result<(), AppendError> {
        if self.is_offline() { Err(AppendError::Offline) } else { Ok(()) }
    }

    /// What a failed change means: a full disk is not the end, everything else is.
    pub(crate) fn failed(&self, error: std::io::Error) -> AppendError {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => AppendError::Full(error),
            _ => {
                self.shared.go_offline(&error);
                AppendError::Failed(error)
            }
        }
    }

    pub(crate) fn new_segment(&self, base: Offset, now: Timestamp) -> std::io::Result<Segment<F>> {
        create_segment(&self.shared.files, &self.shared.dir, base, &self.config, now).inspect(|_| {
            self.shared.names_unsynced.store(true, Ordering::Release);
        })
    }

    pub(crate) fn write_epochs(&self, persist: Persist) -> std::io::Result<()> {
        let line = |entry: &broker_partition::EpochStart| format!("{} {}", entry.epoch, entry.start);
        let lines: Vec<String> = self.epochs.entries().iter().map(line).collect();
        checkpoint::write(&self.shared.files, &self.shared.dir.join(names::EPOCHS), &lines, persist)
    }

    /// Writes producer state as of the end. Not being able to is no harm: the log can be scanned instead.
    pub(crate) fn write_snapshot(&self, persist: Persist) {
        let path = names::segment_file(&self.shared.dir, self.end(), names::SNAPSHOT);
        if let Err(error) = replace_file(&self.shared.files, &path, &self.producers.to_snapshot(), persist) {
            tracing::warn!(path = %path.display(), %error, "could not write the producer snapshot");
        }
    }

    pub(crate) fn write_damage(&self) -> std::io::Result<()> {
        let segments = self.shared.segments.read().clone();
        let of = |segment: Arc<Segment<F>>| segment.damage().into_iter().map(move |damage| (segment.base, damage));
        let line = |(base, d): (Offset, Damage)| format!("{base} {} {} {} {}", d.from, d.to, d.position, d.bytes);
        let lines: Vec<String> = segments.into_iter().flat_map(of).map(line).collect();
        let path = self.shared.dir.join(names::DAMAGE);
        if lines.is_empty() && read_file(&self.shared.files, &path)?.is_none() {
            return Ok(());
        }
        checkpoint::write(&self.shared.files, &path, &lines, Persist::Now)
    }
}

/// Makes an empty segment; files that are left of an earlier one with this base are emptied.
pub(crate) fn create_segment<F: Files>(
    files: &F,
    dir: &std::path::Path,
    base: Offset,
    config: &LogConfig,
    now: Timestamp,
) -> std::io::Result<Segment<F>> {
    for kind in [names::INDEX, names::TIME_INDEX, names::LOG] {
        let path = names::segment_file(dir, base, kind);
        let handle = files.open(&path, crate::files::OpenMode::Write)?;
        if files.stat(&handle)?.bytes > 0 {
            files.change(Change::Resize(&path, 0))?;
        }
    }
    let state = State {
        bytes: 0,
        end: base,
        progress: Some(crate::index::Progress::new(base, config.index_interval_bytes)),
        first_timestamp: None,
        created: now,
        last_append: now,
        closed: false,
    };
    Ok(Segment::new(files.clone(), dir.to_path_buf(), base, config.index_interval_bytes, state))
}

/// Removes a partition's directory with everything in it.
pub(crate) fn remove_dir<F: Files>(files: &F, dir: &std::path::Path) -> std::io::Result<()> {
    for entry in files.list(dir)? {
        files.change(Change::Remove(&entry.path))?;
    }
    files.change(Change::RemoveDir(dir))
}
