//! Cutting a log at either end: retention, the log start, truncation, beginning anew where the archive ends.
//!
//! Segments go as a whole: first out of the list, so that no reader finds them, then renamed, then removed. Slices
//! that are held stay readable. What is cut from the end is removed from the newest backwards, so that a crash leaves
//! a log that is only shorter.

use std::sync::Arc;

use broker_model::{Offset, Timestamp};
use broker_partition::{Ends, LeaderEpochs, ProducerStates};

use crate::error::{AppendError, ReadError};
use crate::files::{Change, Files, Persist, remove_if_there, replace_file};
use crate::log::Log;
use crate::names;
use crate::segment::Segment;

impl<F: Files> Log<F> {
    /// Where the local log should begin by retention: [`delete_segments_below`](Self::delete_segments_below) that.
    /// Closed segments only, oldest first, and none that ends beyond `not_beyond` (the high watermark, or what the
    /// archive covers). A segment's age counts from the smaller of its largest timestamp and its last append, so that
    /// a timestamp in the future holds nothing.
    ///
    /// # Errors
    /// When a segment's timestamps cannot be read.
    pub fn expired_segments(
        &self,
        now: Timestamp,
        retention_ms: Option<i64>,
        retention_bytes: Option<u64>,
        not_beyond: Offset,
    ) -> Result<Offset, ReadError> {
        let segments = self.shared.segments.read().clone();
        let mut start = self.local_start();
        let mut excess = retention_bytes.map_or(0, |keep| self.size_bytes().saturating_sub(keep));
        for segment in segments {
            let state = segment.state();
            if !state.closed || state.end > not_beyond {
                break;
            }
            let by_size = excess >= state.bytes && excess > 0;
            let by_time = match retention_ms {
                Some(keep) => now.0.saturating_sub(age_from(&segment)?.0) > keep,
                None => false,
            };
            if !by_size && !by_time {
                break;
            }
            excess = excess.saturating_sub(state.bytes);
            start = state.end;
        }
        Ok(start)
    }

    /// Rolls where the active segment is older than retention allows, so that it can go. True where it did.
    ///
    /// # Errors
    /// As [`roll`](Self::roll).
    pub fn roll_if_expired(&mut self, now: Timestamp, retention_ms: i64) -> Result<bool, AppendError> {
        let active = self.shared.active();
        if active.state().bytes == 0 || now.0.saturating_sub(age_from(&active)?.0) <= retention_ms {
            return Ok(false);
        }
        self.roll(now)?;
        Ok(true)
    }

    /// Deletes closed segments that end at or before `offset`; returns their bytes. The log start stays where it is.
    ///
    /// # Errors
    /// When removing files fails; the segments are gone from the log all the same.
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
            self.remove_files(&segment)?;
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
        self.remove_segments(|segment| segment.base >= offset)?;
        let segment = self.shared.active();
        let (position, end) = match segment.locate(offset) {
            _ if segment.state().end <= offset => (segment.state().bytes, segment.state().end),
            Ok(placed) => (placed.position, placed.head.base_offset),
            Err(ReadError::Damaged { from, .. }) => {
                let damage = segment.damage().into_iter().find(|damage| damage.from == from);
                (damage.ok_or(AppendError::Invalid("the place to cut cannot be found"))?.position, from)
            }
            Err(error) => return Err(error.into()),
        };
        self.cut(&segment, position, end).map_err(|error| self.failed(error))?;
        self.shared.ends.write().truncated(end);
        self.epochs.truncate_from_end(end);
        self.write_epochs(Persist::Now)?;
        self.write_damage()?;
        self.remove_snapshots_above(end)?;
        let segments = self.shared.segments.read().clone();
        self.producers = crate::recover::producers(&self.shared.files, &self.shared.dir, &segments, &self.config, now)?;
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
        let old = self.shared.segments.read().clone();
        for segment in old.iter().rev() {
            self.remove_files(segment)?;
        }
        self.remove_snapshots_above(Offset(-1))?;
        let segment = self.new_segment(offset, now).map_err(|error| self.failed(error))?;
        let log_start = self.log_start().min(offset);
        *self.shared.segments.write() = vec![Arc::new(segment)];
        *self.shared.ends.write() = Ends::opened(self.config.durability, log_start, offset, offset);
        self.producers = producers;
        self.epochs = epochs;
        self.epochs.truncate_from_end(offset.next());
        let path = names::segment_file(&self.shared.dir, offset, names::SNAPSHOT);
        replace_file(&self.shared.files, &path, &self.producers.to_snapshot(), Persist::Now)?;
        self.write_epochs(Persist::Now)?;
        self.write_damage()?;
        Ok(())
    }

    fn cut(&self, segment: &Arc<Segment<F>>, position: u64, end: Offset) -> std::io::Result<()> {
        segment.reopen();
        segment.change_state(|state| {
            state.bytes = position;
            state.end = end;
            state.first_timestamp = state.first_timestamp.filter(|_| position > 0);
        });
        let mut damage = segment.damage();
        damage.retain(|damage| damage.position < position);
        segment.set_damage(damage);
        self.shared.files.change(Change::Resize(&segment.path(names::LOG), position))?;
        segment.rebuild_indexes()?;
        segment.sync()
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
        let files = &self.shared.files;
        for kind in names::SEGMENT_KINDS {
            let path = segment.path(kind);
            let doomed = path.with_added_extension(names::DELETED);
            match files.change(Change::Rename(&path, &doomed)) {
                Ok(()) => files.change(Change::Remove(&doomed))?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => (),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn remove_snapshots_above(&self, end: Offset) -> std::io::Result<()> {
        for entry in self.shared.files.list(&self.shared.dir)? {
            if names::base_of(&entry.name, names::SNAPSHOT).is_some_and(|at| at > end) {
                remove_if_there(&self.shared.files, &entry.path)?;
            }
        }
        Ok(())
    }
}

/// From when a segment's age counts.
fn age_from<F: Files>(segment: &Segment<F>) -> Result<Timestamp, ReadError> {
    let last_append = segment.state().last_append;
    Ok(segment.max_time()?.map_or(last_append, |max| max.timestamp.min(last_append)))
}
