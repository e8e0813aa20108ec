//! Kafka's sparse indexes: `.index` maps an offset to a position, `.timeindex` a timestamp to an offset.
//!
//! An entry is written when more than `index.interval.bytes` came since the last. It holds the last offset of a batch
//! and the position of the batch's head; the time index holds the largest timestamp so far and the last offset of the
//! batch that has it. Both rise strictly. Files are appended to and never preallocated, so that at any moment they
//! hold only entries. Lookups read the file, a few bytes at a time: an idle index costs no memory.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use broker_model::{Offset, Timestamp};
use broker_records::BatchHead;

use crate::files::{Change, Files, OpenMode};

pub(crate) const OFFSET_ENTRY_BYTES: u64 = 8;
pub(crate) const TIME_ENTRY_BYTES: u64 = 12;

/// An entry of the offset index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    /// The last offset of the batch.
    pub(crate) offset: Offset,
    /// The position of its head.
    pub(crate) position: u64,
}

/// An entry of the time index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    /// The largest timestamp up to here.
    pub(crate) timestamp: Timestamp,
    /// The last offset of the batch that has it.
    pub(crate) offset: Offset,
}

/// What is needed to go on indexing a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The base offset of the segment.
    pub(crate) base: Offset,
    /// An entry is due after so many bytes.
    pub(crate) interval: u64,
    /// Bytes since the batch of the last entry began.
    pub(crate) since: u64,
    /// The largest timestamp and where it is.
    pub(crate) max: TimeEntry,
    /// The timestamp of the last entry in the time index.
    pub(crate) last_written: Timestamp,
}

/// Entries to be written, encoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewEntries {
    pub(crate) offsets: Vec<u8>,
    pub(crate) times: Vec<u8>,
}

impl NewEntries {
    pub(crate) fn clear(&mut self) {
        self.offsets.clear();
        self.times.clear();
    }
}

impl Progress {
    pub(crate) fn new(base: Offset, interval: u64) -> Progress {
        let max = TimeEntry { timestamp: Timestamp::NONE, offset: base };
        Progress { base, interval, since: 0, max, last_written: Timestamp::NONE }
    }

    /// A batch lies at `position`: notes it, and adds entries where they are due.
    pub(crate) fn step(&mut self, head: &BatchHead, position: u64, out: &mut NewEntries) {
        if head.max_timestamp > self.max.timestamp {
            self.max = TimeEntry { timestamp: head.max_timestamp, offset: head.last_offset() };
        }
        if self.since > self.interval {
            self.time_entry(out);
            out.offsets.extend_from_slice(&relative(self.base, head.last_offset()).to_be_bytes());
            let position = u32::try_from(position).expect("a segment is smaller than 4 GiB");
            out.offsets.extend_from_slice(&position.to_be_bytes());
            self.since = 0;
        }
        self.since += head.total_bytes() as u64;
    }

    /// Adds a time entry for the largest timestamp, if it is not written yet.
    pub(crate) fn time_entry(&mut self, out: &mut NewEntries) {
        if self.max.timestamp > self.last_written {
            out.times.extend_from_slice(&self.max.timestamp.0.to_be_bytes());
            out.times.extend_from_slice(&relative(self.base, self.max.offset).to_be_bytes());
            self.last_written = self.max.timestamp;
        }
    }
}

fn relative(base: Offset, offset: Offset) -> i32 {
    i32::try_from(offset.0 - base.0).expect("a segment is rolled before relative offsets overflow")
}

/// One index file.
#[derive(Debug)]
pub(crate) struct IndexFile<F: Files> {
    files: F,
    handle: Arc<F::Handle>,
    entries: u64,
    entry_bytes: u64,
}

impl<F: Files> Clone for IndexFile<F> {
    fn clone(&self) -> Self {
        IndexFile {
            files: self.files.clone(),
            handle: Arc::clone(&self.handle),
            entries: self.entries,
            entry_bytes: self.entry_bytes,
        }
    }
}

impl<F: Files> IndexFile<F> {
    /// Opens the file; `None` where its length is no multiple of an entry: it is not to be trusted.
    pub(crate) fn open(files: &F, path: &Path, entry_bytes: u64) -> io::Result<Option<IndexFile<F>>> {
        let handle = Arc::new(files.open(path, OpenMode::Write)?);
        let bytes = files.stat(&handle)?.bytes;
        let index = IndexFile { files: files.clone(), handle, entries: bytes / entry_bytes, entry_bytes };
        Ok((bytes % entry_bytes == 0).then_some(index))
    }

    /// Makes the file anew with these entries.
    pub(crate) fn create(files: &F, path: &Path, entry_bytes: u64, content: &[u8]) -> io::Result<IndexFile<F>> {
        let handle = Arc::new(files.open(path, OpenMode::Write)?);
        files.change(Change::Resize(path, 0))?;
        let mut index = IndexFile { files: files.clone(), handle, entries: 0, entry_bytes };
        index.append(content)?;
        Ok(index)
    }

    pub(crate) fn handle(&self) -> &F::Handle {
        &self.handle
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    pub(crate) fn append(&mut self, content: &[u8]) -> io::Result<()> {
        if content.is_empty() {
            return Ok(());
        }
        self.files.write(&self.handle, self.entries * self.entry_bytes, &mut [IoSlice::new(content)])?;
        self.entries += content.len() as u64 / self.entry_bytes;
        Ok(())
    }

    fn read<const N: usize>(&self, at: u64) -> io::Result<[u8; N]> {
        let mut entry = [0; N];
        if self.files.read(&self.handle, at * self.entry_bytes, &mut entry)? < N {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(entry)
    }

    pub(crate) fn offset_entry(&self, base: Offset, at: u64) -> io::Result<OffsetEntry> {
        let [a, b, c, d, e, f, g, h] = self.read::<8>(at)?;
        let offset = base.plus(i64::from(i32::from_be_bytes([a, b, c, d])));
        Ok(OffsetEntry { offset, position: u64::from(u32::from_be_bytes([e, f, g, h])) })
    }

    pub(crate) fn time_entry(&self, base: Offset, at: u64) -> io::Result<TimeEntry> {
        let [t0, t1, t2, t3, t4, t5, t6, t7, a, b, c, d] = self.read::<12>(at)?;
        let timestamp = Timestamp(i64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]));
        Ok(TimeEntry { timestamp, offset: base.plus(i64::from(i32::from_be_bytes([a, b, c, d]))) })
    }

    /// How many entries come before the first that is not `before`.
    pub(crate) fn partition_point(&self, mut before: impl FnMut(u64) -> io::Result<bool>) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low + (high - low) / 2;
            if before(middle)? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}
