//! Cutting a log at either end: retention, the log start, truncation, beginning anew where the archive ends.
//!
//! Segments go as a whole: first out of the list, so that no reader finds them, then renamed, then removed; what
//! retention takes is removed later, see `doomed`. Slices that are held stay readable. What is cut from the end is removed
//! from the newest backwards, so that a crash leaves a log that is only shorter.

use std::sync::Arc;

use broker_model::{Offset, Timestamp};
use broker_partition::{Ends, LeaderEpochs, ProducerStates};

use crate::doomed::Doomed;
use crate::error::{AppendError, ReadError};
use crate::files::{Files, Persist, remove_if_there, replace_file};
use crate::log::Log;
use crate::names;
use crate::segment::Segment;
use crate::shared::Chores;

impl<F: Files> Log<F> {
    /// Takes closed segments out of the log that end at or before `offset`; returns their bytes. The log start stays
    /// where it is. Their files go later, by [`LogReader::remove_expired_files`](crate::LogReader::remove_expired_files).
    ///
    /// # Errors
    /// `Offline`.
    pub fn delete_segments_below(&mut self, offset: Offset) -> Result<u64, AppendError> {
        self.writable()?;
        let doomed: Vec<_> = {
            let mut segments = self.shared.segments.write();
            let gone = |segment: &&Arc<Segment<F>>| segment.state().closed && segment.state().end <= offset;
            let count = segments.iter().take_while(gone).count().min(segments.len() - 1);
            segments.drain(..count).collect()
        };
        let mut bytes = 0;
        for segment in doomed {
            bytes += segment.state().bytes;
            self.shared.doomed.lock().push(Doomed { base: segment.base, due: None });
            segment.leave();
            segment.close_files();
        }
        Ok(bytes)
    }

    /// The partition begins at `to`: what is below is gone for good, also in the archive. Segments that lie below
    /// wholly are deleted.
    ///
    /// # Errors
    /// `Invalid` beyond the end; else when the system fails.
    pub fn advance_log_start(&mut self, to: Offset) -> Result<(), AppendError> {
        self.writable()?;
        if to > self.end() {
            return Err(AppendError::Invalid("the log start cannot pass the end"));
        }
        self.shared.ends.write().log_start_advanced(to);
        let log_start = self.log_start();
        self.epochs.truncate_from_start(log_start);
        self.write_epochs(Persist::Lazily)?;
        self.delete_segments_below(log_start)?;
        Ok(())
    }

    /// Removes every batch that has an offset at or above `offset`. Maps of this log must not be held.
    ///
    /// # Errors
    /// When the system fails.
    pub fn truncate_to(&mut self, offset: Offset, now: Timestamp) -> Result<(), AppendError> {
        self.writable()?;
        if offset >= self.end() {
            return Ok(());
        }
        if offset <= self.local_start() {
            let mut epochs = self.epochs.clone();
            epochs.truncate_from_end(offset);
            return self.reset_to(offset, epochs, None, now);
        }
        self.truncate(offset, now).map_err(|error| self.noted(error))
    }

    fn truncate(&mut self, offset: Offset, now: Timestamp) -> Result<(), AppendError> {
        let shared = Arc::clone(&self.reader.shared);
        // A flush must not take what is appended after this for what it synced.
        let _no_flush = shared.flush.lock();
        self.remove_segments(|segment| segment.base >= offset)?;
        let segment = self.shared.active();
        let (position, end) = match segment.locate_batch(offset) {
            _ if segment.state().end <= offset => (segment.state().bytes, segment.state().end),
            Ok(placed) => (placed.position, placed.head.base_offset),
            Err(ReadError::Damaged { from, .. }) => {
                let damage = segment.damage().into_iter().find(|damage| damage.from == from);
                (damage.ok_or(AppendError::Invalid("the place to cut cannot be found"))?.position, from)
            }
            Err(error) => return Err(error.into()),
        };
        segment.cut(position, end)?;
        self.shared.ends.write().truncated(end);
        self.epochs.truncate_from_end(end);
        self.write_epochs(Persist::Now)?;
        self.write_damage()?;
        self.remove_snapshots_above(end)?;
        let segments = self.shared.segments.read().clone();
        let snapshots = crate::recover::snapshots(&shared.files().list(shared.dir())?);
        let place = (&*shared.home, &*snapshots);
        self.producers = crate::recover::producers(place, &segments, &self.config, now)?;
        Ok(())
    }

    /// Drops the whole log and begins an empty one at `offset`: the archive wins, and gives the epochs and producers
    /// with which to go on.
    ///
    /// # Errors
    /// `Invalid` where the snapshot is none; else when the system fails.
    pub fn reset_to(
        &mut self,
        offset: Offset,
        epochs: LeaderEpochs,
        producer_snapshot: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<(), AppendError> {
        self.writable()?;
        let expiration_ms = self.config.producer_expiration_ms;
        let producers = match producer_snapshot {
            None => ProducerStates::new(expiration_ms),
            Some(bytes) => ProducerStates::from_snapshot(bytes, now, expiration_ms)
                .map_err(|_| AppendError::Invalid("the producer snapshot does not parse"))?,
        };
        self.reset(offset, epochs, producers, now).map_err(|error| self.noted(error))
    }

    fn reset(
        &mut self,
        offset: Offset,
        epochs: LeaderEpochs,
        producers: ProducerStates,
        now: Timestamp,
    ) -> Result<(), AppendError> {
        let shared = Arc::clone(&self.reader.shared);
        let _no_flush = shared.flush.lock();
        // A segment that is to go must not be taken for the new one.
        shared.rename_doomed(now)?;
        *shared.chores.lock() = Chores::default();
        let old = shared.segments.read().clone();
        for segment in old.iter().rev() {
            self.remove_files(segment)?;
        }
        self.remove_snapshots_above(Offset(-1))?;
        let segment = self.new_segment(offset, now)?;
        let log_start = self.log_start().min(offset);
        *self.shared.segments.write() = vec![Arc::new(segment)];
        *self.shared.ends.write() = Ends::opened(self.config.durability, log_start, offset, offset);
        self.producers = producers;
        self.epochs = epochs;
        self.epochs.truncate_from_end(offset.next());
        let path = names::segment_file(self.shared.dir(), offset, names::SNAPSHOT);
        replace_file(self.shared.files(), &path, &self.producers.to_snapshot(), Persist::Now)?;
        self.write_epochs(Persist::Now)?;
        self.write_damage()?;
        Ok(())
    }

    /// A change that cannot be undone failed half way: the log is offline, unless the disk is only full.
    fn noted(&self, error: AppendError) -> AppendError {
        if let AppendError::Failed(error) = &error {
            self.shared.failed(error);
        }
        error
    }

    /// Removes the newest segments that `doomed` says, but never the oldest.
    fn remove_segments(&mut self, doomed: impl Fn(&Segment<F>) -> bool) -> Result<(), AppendError> {
        loop {
            let segment = {
                let mut segments = self.shared.segments.write();
                match segments.last() {
                    Some(last) if segments.len() > 1 && doomed(last) => segments.pop(),
                    _ => return Ok(()),
                }
            };
            if let Some(segment) = segment {
                self.remove_files(&segment)?;
            }
        }
    }

    fn remove_files(&self, segment: &Segment<F>) -> Result<(), AppendError> {
        segment.leave();
        segment.close_files();
        self.shared.rename_files(segment.base)?;
        Ok(self.shared.remove_deleted(segment.base)?)
    }

    fn remove_snapshots_above(&self, end: Offset) -> std::io::Result<()> {
        for entry in self.shared.files().list(self.shared.dir())? {
            if names::base_of(&entry.name, names::SNAPSHOT).is_some_and(|at| at > end) {
                remove_if_there(self.shared.files(), &entry.path)?;
            }
        }
        Ok(())
    }
}
