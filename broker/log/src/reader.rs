//! Reading a log: slices for sendfile, mapped ranges for upload, heads, bounds, and the sync that writers and timers
//! share.
//!
//! A [`LogReader`] is a cheap clone that shares state with the one writer; nothing here waits for an append's write.
//! A slice holds its file open: a segment that is deleted meanwhile is still read to its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker_model::{Offset, Timestamp};
use broker_partition::Ends;
use broker_records::BatchHead;
use bytes::Bytes;

use crate::error::{FlushError, ReadError};
use crate::files::Files;
use crate::segment::{Segment, State};
use crate::shared::Shared;
use crate::slice::limit;
use crate::walk::{Step, Walk};

/// A handle to read a log with.
pub struct LogReader<F: Files> {
    pub(crate) shared: Arc<Shared<F>>,
}

impl<F: Files> Clone for LogReader<F> {
    fn clone(&self) -> Self {
        LogReader { shared: Arc::clone(&self.shared) }
    }
}

/// A stretch of a segment's file: whole batches.
#[derive(Debug)]
pub struct LogSlice<H> {
    /// The open file. Implements `AsFd` on a real disk.
    pub file: Arc<H>,
    /// Where the stretch begins.
    pub position: u64,
    /// How long it is.
    pub bytes: u32,
    /// The base offset of its first batch; at most the offset asked for.
    pub base: Offset,
    /// The offset after its last batch.
    pub next: Offset,
}

/// What to do when the first batch alone is larger than the bytes asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstBatch {
    /// Give it whole, so that the reader makes progress.
    Whole,
    /// Give nothing.
    OnlyIfItFits,
}

/// What is known of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its first offset.
    pub base: Offset,
    /// The offset after its last record.
    pub end: Offset,
    /// Its length.
    pub bytes: u64,
    /// The largest timestamp of its records, -1 where none has one (or it cannot be read).
    pub max_timestamp: Timestamp,
    /// When it was last appended to.
    pub last_append: Timestamp,
    /// Nothing is appended any more.
    pub closed: bool,
}

/// What memory knows of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentBounds {
    /// Its first offset.
    pub base: Offset,
    /// The offset after its last record.
    pub end: Offset,
    /// Its length.
    pub bytes: u64,
    /// When it was last appended to.
    pub last_append: Timestamp,
    /// Nothing is appended any more.
    pub closed: bool,
}

fn bounds_of<F: Files>(segment: &Arc<Segment<F>>) -> SegmentBounds {
    let State { end, bytes, last_append, closed, .. } = segment.state();
    SegmentBounds { base: segment.base, end, bytes, last_append, closed }
}

impl<F: Files> LogReader<F> {
    /// All ends at one moment.
    #[must_use]
    pub fn ends(&self) -> Ends {
        *self.shared.ends.read()
    }

    /// The first offset of the partition, wherever its data lies.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.ends().log_start()
    }

    /// The first offset that is on this disk.
    #[must_use]
    pub fn local_start(&self) -> Offset {
        self.shared.local_start()
    }

    /// The offset that the next record gets.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.ends().end()
    }

    /// Everything below is synced.
    #[must_use]
    pub fn flushed_end(&self) -> Offset {
        self.ends().flushed_end()
    }

    /// Consumers see what is below.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.ends().high_watermark()
    }

    /// True after the disk failed: everything answers `Offline`.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.shared.is_offline()
    }

    /// Syncs what is not synced (fdatasync) and returns the new flushed end. Callers that come together share one sync,
    /// and no append or read waits for it. After a roll it also does what the roll left over (indexes, snapshot,
    /// reserved room), so every log that is appended to should be flushed now and then.
    ///
    /// # Errors
    /// A failed sync is final for the directory: all its logs are offline from then on, because the kernel may have
    /// dropped what it could not write. `NotNow` is not: nothing was begun.
    pub fn flush(&self) -> Result<Offset, FlushError> {
        self.shared.flush()
    }

    /// The segments, oldest first. The first call after opening reads the time index of each; who needs no timestamps
    /// asks for [`segment_bounds`](Self::segment_bounds).
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let info = |segment: &Arc<Segment<F>>| {
            let SegmentBounds { base, end, bytes, last_append, closed } = bounds_of(segment);
            let max_timestamp = segment.max_time().ok().flatten().map_or(Timestamp::NONE, |max| max.timestamp);
            SegmentInfo { base, end, bytes, max_timestamp, last_append, closed }
        };
        let segments = self.shared.segments.read().clone();
        segments.iter().map(info).collect()
    }

    /// The segments, oldest first, as far as memory knows them: no IO.
    #[must_use]
    pub fn segment_bounds(&self) -> Vec<SegmentBounds> {
        self.shared.segments.read().iter().map(bounds_of).collect()
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.shared.segments.read().iter().map(|segment| segment.state().bytes).sum()
    }

    /// Bytes from the batch that contains `offset` to the end; 0 at the end.
    ///
    /// # Errors
    /// As [`slice`](Self::slice).
    pub fn size_from(&self, offset: Offset) -> Result<u64, ReadError> {
        if offset >= self.end() {
            return Ok(0);
        }
        let first = self.shared.segment_of(offset)?;
        let before = first.locate(offset)?.position;
        let segments = self.shared.segments.read();
        let bytes: u64 = segments.iter().filter(|s| s.base >= first.base).map(|s| s.state().bytes).sum();
        Ok(bytes.saturating_sub(before))
    }

    /// Ranges of offsets that are damaged on this disk: from, to (exclusive).
    #[must_use]
    pub fn damaged(&self) -> Vec<(Offset, Offset)> {
        let segments = self.shared.segments.read();
        segments.iter().flat_map(|segment| segment.damage()).map(|damage| (damage.from, damage.to)).collect()
    }

    /// The log's directory is about to go: the log and its readers answer `Offline` from now on, and no file is opened
    /// by its name any more, which another log may have next. Slices that are held stay readable.
    pub fn retire(&self) {
        self.shared.closed.store(true, Ordering::Release);
        for segment in self.shared.segments.read().iter() {
            segment.leave();
            segment.close_files();
        }
    }

    /// Closes the files of closed segments; they are opened again when they are read. Without it they stay open until
    /// the place has too many ([`crate::OpenFiles`]).
    pub fn release_idle(&self) {
        let segments = self.shared.segments.read();
        segments.iter().filter(|segment| segment.state().closed).for_each(|segment| segment.close_files());
    }

    /// The bytes of a slice, copied into memory.
    ///
    /// # Errors
    /// When the system fails.
    pub fn read(&self, slice: &LogSlice<F::Handle>) -> Result<Bytes, ReadError> {
        let mut bytes = vec![0; slice.bytes as usize];
        let read = self.shared.files().read(&slice.file, slice.position, &mut bytes)?;
        bytes.truncate(read);
        Ok(Bytes::from(bytes))
    }

    /// The whole batches from the one that contains `from` up to `to`, as maps of the files: holding them costs no
    /// memory. They must be let go before the log is cut back (`truncate_to`); deleting segments meanwhile is fine.
    ///
    /// # Errors
    /// As [`slice`](Self::slice); `Damaged` where anything within is.
    pub fn map(&self, from: Offset, to: Offset) -> Result<Vec<Bytes>, ReadError> {
        self.check_range(from, to)?;
        let mut parts = Vec::new();
        let mut next = from;
        while next < to {
            let segment = self.shared.segment_of(next)?;
            let start = segment.locate(next)?;
            let (stop, after) = limit(&segment, start, to)?;
            if stop <= start.position {
                break;
            }
            let bytes = usize::try_from(stop - start.position).expect("a segment is smaller than 4 GiB");
            parts.push(segment.files().map(&*self.open_log(&segment)?, start.position, bytes)?);
            next = after;
        }
        Ok(parts)
    }

    /// The heads of the batches from the one that contains `from` up to `to`.
    ///
    /// # Errors
    /// As [`slice`](Self::slice).
    pub fn heads(&self, from: Offset, to: Offset) -> Result<Heads<F>, ReadError> {
        self.check_range(from, to)?;
        Ok(Heads { reader: self.clone(), next: from, to, walk: None })
    }

    fn check_range(&self, from: Offset, to: Offset) -> Result<(), ReadError> {
        self.check_online()?;
        let (local_start, end) = (self.local_start(), self.end());
        if from < local_start {
            return Err(ReadError::BelowStart { local_start });
        }
        if to > end {
            return Err(ReadError::BeyondEnd { end });
        }
        let inside = self.damaged().into_iter().find(|damage| damage.0 < to && damage.1 > from);
        inside.map_or(Ok(()), |(from, to)| Err(ReadError::Damaged { from, to }))
    }

    /// The open file of a segment. Retention may have taken it meanwhile.
    pub(crate) fn open_log(&self, segment: &Segment<F>) -> Result<Arc<F::Handle>, ReadError> {
        segment.log().map_err(|error| match segment.is_gone() {
            true => ReadError::BelowStart { local_start: self.local_start() },
            false => error.into(),
        })
    }

    pub(crate) fn check_online(&self) -> Result<(), ReadError> {
        if self.is_offline() { Err(ReadError::Offline) } else { Ok(()) }
    }
}

/// A batch's head and where the batch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadAt {
    /// The head.
    pub head: BatchHead,
    /// The base offset of its segment.
    pub segment: Offset,
    /// Its position there.
    pub position: u64,
}

/// See [`LogReader::heads`]. An error ends the iteration.
pub struct Heads<F: Files> {
    reader: LogReader<F>,
    next: Offset,
    to: Offset,
    walk: Option<(Offset, Walk<F>)>,
}

impl<F: Files> Heads<F> {
    fn advance(&mut self) -> Result<Option<HeadAt>, ReadError> {
        while self.next < self.to {
            let (segment, walk) = match &mut self.walk {
                Some((segment, walk)) => (*segment, walk),
                None => {
                    let segment = self.reader.shared.segment_of(self.next)?;
                    let start = segment.locate(self.next)?;
                    let walk = segment.walk(start.position)?.expecting(start.base);
                    (segment.base, &mut self.walk.insert((segment.base, walk)).1)
                }
            };
            match walk.step()? {
                Step::Batch(placed) if placed.head.next_offset() <= self.to => {
                    self.next = placed.head.next_offset();
                    return Ok(Some(HeadAt { head: placed.head, segment, position: placed.position }));
                }
                Step::Batch(_) => self.next = self.to,
                Step::End => self.walk = None,
                Step::Damage(damage) => return Err(ReadError::Damaged { from: damage.from, to: damage.to }),
                Step::Broken(_) => return Err(ReadError::Damaged { from: self.next, to: self.to }),
            }
        }
        Ok(None)
    }
}

impl<F: Files> Iterator for Heads<F> {
    type Item = Result<HeadAt, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.advance();
        if item.is_err() {
            self.next = self.to;
        }
        item.transpose()
    }
}
