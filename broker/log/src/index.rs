//! Kafka's sparse indexes: `.index` maps an offset to a position, `.timeindex` a timestamp to an offset.
//!
//! An entry is written when more than `index.interval.bytes` came since the last. It holds the last offset of a batch
//! and the position of the batch's head; the time index holds the largest timestamp so far and the last offset of the
//! batch that has it. Both rise strictly. Files are appended to and never preallocated, so that at any moment they
//! hold only entries. The newest entries wait in memory until there are enough to be worth a write. A look-up guesses
//! where in the file its entry is and reads a window there: two or three reads find it, and an idle index costs no
//! memory.

use std::io;
use std::sync::Arc;

use broker_model::{Offset, Timestamp};
use broker_records::BatchHead;

use crate::files::Files;

pub(crate) const OFFSET_ENTRY_BYTES: usize = 8;
pub(crate) const TIME_ENTRY_BYTES: usize = 12;
/// What a look-up reads at once: a multiple of both entries.
const WINDOW_BYTES: usize = 2040;

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

/// What both kinds of entries have in common.
pub(crate) trait Entry: Copy {
    const BYTES: usize;

    fn parse(base: Offset, bytes: &[u8]) -> Option<Self>;
}

impl Entry for OffsetEntry {
    const BYTES: usize = OFFSET_ENTRY_BYTES;

    fn parse(base: Offset, bytes: &[u8]) -> Option<OffsetEntry> {
        let (offset, rest) = bytes.split_first_chunk::<4>()?;
        let offset = base.plus(i64::from(i32::from_be_bytes(*offset)));
        Some(OffsetEntry { offset, position: u64::from(u32::from_be_bytes(*rest.first_chunk()?)) })
    }
}

impl Entry for TimeEntry {
    const BYTES: usize = TIME_ENTRY_BYTES;

    fn parse(base: Offset, bytes: &[u8]) -> Option<TimeEntry> {
        let (timestamp, rest) = bytes.split_first_chunk::<8>()?;
        let timestamp = Timestamp(i64::from_be_bytes(*timestamp));
        Some(TimeEntry { timestamp, offset: base.plus(i64::from(i32::from_be_bytes(*rest.first_chunk()?))) })
    }
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
    /// Entries of the offset index.
    pub(crate) offset_entries: u32,
    /// Entries of the time index.
    pub(crate) time_entries: u32,
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

    pub(crate) fn is_empty(&self) -> bool {
        self.offsets.is_empty() && self.times.is_empty()
    }

    pub(crate) fn extend(&mut self, more: &NewEntries) {
        self.offsets.extend_from_slice(&more.offsets);
        self.times.extend_from_slice(&more.times);
    }
}

impl Progress {
    pub(crate) fn new(base: Offset, interval: u64) -> Progress {
        let max = TimeEntry { timestamp: Timestamp::NONE, offset: base };
        Progress { base, interval, since: 0, max, last_written: Timestamp::NONE, offset_entries: 0, time_entries: 0 }
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
            self.offset_entries += 1;
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
            self.time_entries += 1;
        }
    }
}

fn relative(base: Offset, offset: Offset) -> i32 {
    i32::try_from(offset.0 - base.0).expect("a segment is rolled before relative offsets overflow")
}

/// The entries around a border: all up to `last` are before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found<E> {
    /// The last entry that is before the border.
    pub(crate) last: Option<E>,
    /// The one before that.
    pub(crate) previous: Option<E>,
}

/// Looks among entries in memory. `None` where the border may lie before them.
pub(crate) fn find_in<E: Entry>(base: Offset, entries: &[u8], before: impl Fn(&E) -> bool) -> Option<Found<E>> {
    let at = |n: usize| E::parse(base, entries.get(n * E::BYTES..)?);
    let count = partition(0, entries.len() / E::BYTES, |n| at(n).is_some_and(|entry| before(&entry)));
    let last = at(count.checked_sub(1)?);
    Some(Found { last, previous: count.checked_sub(2).and_then(at) })
}

fn partition(mut low: usize, mut high: usize, before: impl Fn(usize) -> bool) -> usize {
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

/// The entries that are in a file.
pub(crate) struct View<F: Files> {
    pub(crate) files: F,
    pub(crate) handle: Arc<F::Handle>,
    pub(crate) base: Offset,
    pub(crate) entries: u64,
}

impl<F: Files> View<F> {
    /// The entries around a border, which is guessed to lie `share` (0 to 1) into the file.
    pub(crate) fn find<E: Entry>(&self, share: f64, before: impl Fn(&E) -> bool) -> io::Result<Found<E>> {
        let (mut low, mut high) = (0, self.entries);
        let per_window = (WINDOW_BYTES / E::BYTES) as u64;
        let mut guess = (self.entries as f64 * share.clamp(0.0, 1.0)) as u64;
        let mut window = Window { bytes: [0; WINDOW_BYTES], from: 0, count: 0 };
        while low < high {
            // One more at the start, so that the entry before the border is at hand.
            let from = guess.saturating_sub(per_window / 2).max(low.saturating_sub(2)).min(high - 1);
            self.load::<E>(&mut window, from, per_window.min(high - from))?;
            let inside = window.partition(|entry| before(entry), self.base) as u64;
            if inside == window.count as u64 {
                low = from + inside;
            } else {
                (low, high) = if inside == 0 { (low.min(from), from) } else { (from + inside, from + inside) };
            }
            guess = low + (high - low) / 2;
        }
        let mut at = |n: Option<u64>| -> io::Result<Option<E>> {
            match n {
                None => Ok(None),
                Some(n) if window.holds(n) => Ok(window.entry::<E>(n, self.base)),
                Some(n) => {
                    let from = n.saturating_sub(1);
                    self.load::<E>(&mut window, from, n + 1 - from)?;
                    Ok(window.entry::<E>(n, self.base))
                }
            }
        };
        Ok(Found { last: at(low.checked_sub(1))?, previous: at(low.checked_sub(2))? })
    }

    /// The last entry.
    pub(crate) fn last<E: Entry>(&self) -> io::Result<Option<E>> {
        Ok(self.find(1.0, |_: &E| true)?.last)
    }

    fn load<E: Entry>(&self, window: &mut Window, from: u64, count: u64) -> io::Result<()> {
        let bytes = count as usize * E::BYTES;
        let room = window.bytes.get_mut(..bytes).expect("a window is not larger than its buffer");
        if self.files.read(&self.handle, from * E::BYTES as u64, room)? < bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (window.from, window.count) = (from, count as usize);
        Ok(())
    }
}

struct Window {
    bytes: [u8; WINDOW_BYTES],
    from: u64,
    count: usize,
}

impl Window {
    fn holds(&self, n: u64) -> bool {
        (self.from..self.from + self.count as u64).contains(&n)
    }

    fn entry<E: Entry>(&self, n: u64, base: Offset) -> Option<E> {
        let at = usize::try_from(n.checked_sub(self.from)?).ok()?;
        E::parse(base, self.bytes.get(at * E::BYTES..)?)
    }

    fn partition<E: Entry>(&self, before: impl Fn(&E) -> bool, base: Offset) -> usize {
        partition(0, self.count, |n| self.entry(self.from + n as u64, base).is_some_and(|entry| before(&entry)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Change, MemFiles, OpenMode};

    #[test]
    fn a_look_up_finds_its_entry_from_any_guess() {
        let files = MemFiles::new();
        files.change(Change::MakeDir(Path::new("/d"))).unwrap();
        let handle = Arc::new(files.open(Path::new("/d/i"), OpenMode::Write).unwrap());
        let offset_of = |n: u64| (n * n / 3) as i32 + n as i32;
        for entries in [0, 1, 2, 3, 254, 255, 256, 257, 3000] {
            let bytes: Vec<u8> = (0..entries)
                .flat_map(|n| [offset_of(n).to_be_bytes(), (n as u32 * 7).to_be_bytes()].concat())
                .collect();
            files.write(&handle, 0, &mut [io::IoSlice::new(&bytes)]).unwrap();
            let view = View { files: files.clone(), handle: handle.clone(), base: Offset(100), entries };
            for probe in (0..entries + 2).step_by(1 + entries as usize / 97) {
                let border = Offset(100 + i64::from(offset_of(probe)));
                for share in [0.0, 0.3, probe as f64 / entries.max(1) as f64, 1.0, f64::NAN] {
                    let found = view.find(share, |entry: &OffsetEntry| entry.offset < border).unwrap();
                    let count = probe.min(entries);
                    let expected = |n: Option<u64>| {
                        n.map(|n| OffsetEntry { offset: Offset(100 + i64::from(offset_of(n))), position: n * 7 })
                    };
                    let expected =
                        Found { last: expected(count.checked_sub(1)), previous: expected(count.checked_sub(2)) };
                    assert_eq!(found, expected, "{entries} entries, {probe}, {share}");
                    let in_memory = find_in(Offset(100), &bytes, |entry: &OffsetEntry| entry.offset < border);
                    assert_eq!(in_memory, (count > 0).then_some(expected));
                }
            }
        }
    }
}
