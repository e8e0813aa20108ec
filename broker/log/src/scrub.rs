//! Looking for bytes that rotted, marking them, and writing them anew.
//!
//! [`LogReader::scrub`] reads so many bytes a call and checks that each batch is where it should be and has its
//! checksum. What fails is a [`Suspect`]; [`Log::mark_damaged`] looks again, because the log may have been cut
//! meanwhile, and marks it: reads there fail, the rest serves. [`Log::heal`] writes the same batches in place, wherever
//! the caller has them from.
//!
//! Invariants: a mark begins and ends where batches do; nothing is written but batches whose checksums hold, at exactly
//! the place and the offsets that are marked; the mark goes after the bytes are synced.
//!
//! What is not checked: what is not synced yet, indexes (hints, which readers verify), and of each batch the leader
//! epoch, which Kafka's format leaves out of the checksum. Reading goes through the page cache: pages that are read once
//! do not drive out those that are read often.

#[cfg(test)]
mod tests;

use std::io::{self, IoSlice};
use std::sync::Arc;

use broker_model::Offset;
use broker_records::{BATCH_HEAD_BYTES, BatchHead, batches, verify};
use bytes::Bytes;

use crate::error::{AppendError, ReadError};
use crate::files::{Files, OpenMode};
use crate::log::Log;
use crate::names;
use crate::reader::LogReader;
use crate::scan::{Plan, next_whole};
use crate::segment::{Segment, State};
use crate::walk::Damage;

/// Read at once, so that small batches do not cost a call each.
const CHUNK_BYTES: usize = 256 << 10;

/// Where a scrub stands in a log. The default is its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubCursor {
    segment: Offset,
    position: u64,
    next: Offset,
}

/// What one step of a scrub saw.
#[derive(Clone, Debug, Default)]
pub struct Scrubbed {
    /// Where to go on; `None` at the end of what can be checked.
    pub cursor: Option<ScrubCursor>,
    /// Bytes of batches that were checked.
    pub bytes: u64,
    /// What does not verify and is not marked yet.
    pub suspects: Vec<Suspect>,
}

/// A stretch that did not verify when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspect {
    segment: Offset,
    damage: Damage,
}

impl Suspect {
    /// The offsets that it holds: from, to (exclusive).
    #[must_use]
    pub fn offsets(&self) -> (Offset, Offset) {
        (self.damage.from, self.damage.to)
    }

    /// How long it is.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.damage.bytes
    }
}

impl<F: Files> LogReader<F> {
    /// Checks about `bytes_max` bytes from the cursor on, of one segment, at least one batch. Marked damage is passed
    /// over. `buffer` is memory to be used again; it grows to the largest batch.
    ///
    /// # Errors
    /// When the log is offline or the system fails; the same step may be tried again.
    pub fn scrub(&self, cursor: ScrubCursor, bytes_max: u64, buffer: &mut Vec<u8>) -> Result<Scrubbed, ReadError> {
        self.check_online()?;
        let (segment, following) = {
            let segments = self.shared.segments.read();
            let at = segments.partition_point(|segment| segment.base < cursor.segment);
            (segments.get(at).cloned(), segments.get(at + 1).map(|segment| segment.base))
        };
        let Some(segment) = segment else { return Ok(Scrubbed::default()) };
        let state = segment.state();
        let is_same = segment.base == cursor.segment && cursor.position <= state.bytes;
        let start = if is_same { cursor } else { ScrubCursor::at_segment(segment.base) };
        // What is not synced is in memory only: there is nothing to compare yet.
        let until = if following.is_some() { state.end } else { self.flushed_end().min(state.end) };
        let mut scrubbed = match Checker::new(&segment, state, buffer) {
            Ok(mut checker) => checker.run(start, until, bytes_max)?,
            // Retention took it meanwhile.
            Err(_) if segment.is_gone() => Scrubbed::default(),
            Err(error) => return Err(error.into()),
        };
        scrubbed.cursor = scrubbed.cursor.or(following.map(ScrubCursor::at_segment));
        Ok(scrubbed)
    }
}

impl ScrubCursor {
    fn at_segment(base: Offset) -> ScrubCursor {
        ScrubCursor { segment: base, position: 0, next: base }
    }
}

impl<F: Files> Log<F> {
    /// Marks a suspect as damaged, if it still does not verify: reads of its offsets answer `Damaged`, also after a
    /// restart. Returns whether it is marked now.
    ///
    /// # Errors
    /// When the system fails.
    pub fn mark_damaged(&mut self, suspect: &Suspect) -> Result<bool, AppendError> {
        self.writable()?;
        let Suspect { segment: base, damage } = *suspect;
        let Some(segment) = self.segment_at(base) else { return Ok(false) };
        let state = segment.state();
        let mut marked = segment.damage();
        let is_marked = marked.iter().any(|other| other.from < damage.to && damage.from < other.to);
        let is_inside = damage.position + damage.bytes <= state.bytes && damage.to <= state.end;
        if is_marked || !is_inside || !begins_batch(&segment, &damage)? {
            return Ok(false);
        }
        let whole = Checker::new(&segment, state, &mut Vec::new())?.whole_batch(damage.position, damage.from)?;
        if whole.is_some() {
            return Ok(false);
        }
        tracing::error!(dir = %segment.dir().display(), from = damage.from.0, to = damage.to.0, "records are damaged on disk");
        marked.push(damage);
        self.change_damage(&segment, marked)?;
        Ok(true)
    }

    /// Writes batches over the beginning of the damage that begins at `from`: those of `chunks` that hold its offsets;
    /// what lies before or behind is passed over. Returns up to where the damage is healed; the rest stays marked.
    ///
    /// # Errors
    /// `Invalid` where the batches are not exactly what is missing, and nothing is written; else when the system fails.
    pub fn heal(&mut self, from: Offset, chunks: &[Bytes]) -> Result<Offset, AppendError> {
        self.writable()?;
        let segments = self.shared.segments.read().clone();
        let found = segments.iter().find_map(|segment| {
            let damage = segment.damage().into_iter().find(|damage| damage.from == from && damage.bytes > 0)?;
            Some((segment, damage))
        });
        let (segment, damage) = found.ok_or(AppendError::Invalid("no damage begins at this offset"))?;
        let fitting = fitting(&damage, chunks)?;
        let bytes: u64 = fitting.iter().map(|(_, batch)| batch.len() as u64).sum();
        let next = fitting.last().map(|(head, _)| head.next_offset());
        let next = next.ok_or(AppendError::Invalid("no batch begins where the damage does"))?;
        let mut slices: Vec<_> = fitting.iter().map(|(_, batch)| IoSlice::new(batch)).collect();
        let written = segment.files().open(&segment.path(names::LOG), OpenMode::Existing).and_then(|file| {
            segment.files().write(&file, damage.position, &mut slices)?;
            segment.files().sync(&file)
        });
        written.map_err(|error| self.failed(error))?;
        let mut marked = segment.damage();
        marked.retain(|other| *other != damage);
        if next < damage.to {
            let (position, bytes) = (damage.position + bytes, damage.bytes - bytes);
            marked.push(Damage { from: next, to: damage.to, position, bytes });
        }
        tracing::info!(dir = %segment.dir().display(), from = from.0, to = next.0, "damaged records are healed");
        self.change_damage(segment, marked)?;
        Ok(next)
    }

    fn change_damage(&self, segment: &Segment<F>, mut damage: Vec<Damage>) -> Result<(), AppendError> {
        damage.sort_by_key(|damage| (damage.position, damage.from));
        segment.set_damage(damage);
        self.write_damage().map_err(|error| self.failed(error))?;
        // A reader that met the damage unmarked may have made indexes that end there.
        if let Err(error) = segment.rebuild_indexes() {
            tracing::warn!(dir = %segment.dir().display(), %error, "could not make the indexes anew");
        }
        Ok(())
    }

    fn segment_at(&self, base: Offset) -> Option<Arc<Segment<F>>> {
        let segments = self.shared.segments.read();
        segments.iter().find(|segment| segment.base == base).cloned()
    }
}

/// True if what comes before the suspect ends exactly where it begins, with the offset that it begins with.
fn begins_batch<F: Files>(segment: &Segment<F>, damage: &Damage) -> Result<bool, AppendError> {
    if damage.from == segment.base {
        return Ok(damage.position == 0);
    }
    let before = segment.damage().into_iter().find(|before| before.to == damage.from);
    if let Some(before) = before {
        return Ok(before.position + before.bytes == damage.position);
    }
    match segment.locate_batch(Offset(damage.from.0 - 1)) {
        Ok(placed) => Ok(placed.end() == damage.position && placed.head.next_offset() == damage.from),
        // The way there leads through what is broken too: once that is marked, this is found again.
        Err(ReadError::Damaged { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The batches that belong at the beginning of the damage, if they can be all or a part of what was there.
fn fitting<'a>(damage: &Damage, chunks: &'a [Bytes]) -> Result<Vec<(BatchHead, &'a [u8])>, AppendError> {
    let (mut next, mut bytes, mut fitting) = (damage.from, 0, Vec::new());
    for found in chunks.iter().flat_map(|chunk| batches(chunk)) {
        let (head, batch) = found.map_err(|_| AppendError::Invalid("the batches do not parse"))?;
        if head.next_offset() <= next {
            continue;
        }
        if next >= damage.to {
            break;
        }
        if head.base_offset != next || head.next_offset() > damage.to {
            return Err(AppendError::Invalid("the batches have other offsets than the damage"));
        }
        verify(batch).map_err(|_| AppendError::Invalid("the batches are damaged themselves"))?;
        (next, bytes) = (head.next_offset(), bytes + batch.len() as u64);
        fitting.push((head, batch));
    }
    let is_whole = next == damage.to;
    if (is_whole && bytes != damage.bytes) || (!is_whole && bytes >= damage.bytes) {
        return Err(AppendError::Invalid("the batches have another length than the damage"));
    }
    Ok(fitting)
}

/// Reads a segment through a buffer.
struct Checker<'a, F: Files> {
    segment: &'a Segment<F>,
    file: Arc<F::Handle>,
    state: State,
    buffer: &'a mut Vec<u8>,
    /// Where in the file the buffer's bytes lie.
    held_from: u64,
}

impl<'a, F: Files> Checker<'a, F> {
    fn new(segment: &'a Segment<F>, state: State, buffer: &'a mut Vec<u8>) -> io::Result<Checker<'a, F>> {
        buffer.clear();
        Ok(Checker { file: segment.log()?, segment, state, buffer, held_from: 0 })
    }

    fn run(&mut self, start: ScrubCursor, until: Offset, bytes_max: u64) -> Result<Scrubbed, ReadError> {
        let ScrubCursor { segment, mut position, mut next } = start;
        let (marked, mut scrubbed) = (self.segment.damage(), Scrubbed::default());
        let end = self.state.bytes;
        while position < end && next < until && scrubbed.bytes < bytes_max {
            let known = marked.iter().find(|damage| damage.position <= position && next < damage.to);
            if let Some(known) = known {
                (position, next) = (position.max(known.position + known.bytes), known.to);
                continue;
            }
            if let Some(head) = self.whole_batch(position, next)? {
                let bytes = head.total_bytes() as u64;
                (position, next) = (position + bytes, head.next_offset());
                scrubbed.bytes += bytes;
                continue;
            }
            let damage = self.extent(position, next)?;
            scrubbed.suspects.push(Suspect { segment, damage });
            (position, next) = (position + damage.bytes, damage.to);
            scrubbed.bytes += damage.bytes.max(1);
        }
        let is_over = position >= end || next >= until;
        scrubbed.cursor = (!is_over).then_some(ScrubCursor { segment, position, next });
        Ok(scrubbed)
    }

    /// The batch at a position, if it is whole and begins with this offset.
    fn whole_batch(&mut self, position: u64, expected: Offset) -> io::Result<Option<BatchHead>> {
        let Some(head) = self.head(position)?.filter(|head| head.base_offset == expected) else { return Ok(None) };
        let batch = self.bytes(position, head.total_bytes())?;
        Ok(batch.is_some_and(|batch| verify(batch).is_ok()).then_some(head))
    }

    fn head(&mut self, position: u64) -> io::Result<Option<BatchHead>> {
        let bytes = self.bytes(position, BATCH_HEAD_BYTES)?;
        let head = bytes.and_then(|bytes| BatchHead::parse(bytes).ok());
        let is_inside = |head: &BatchHead| position + head.total_bytes() as u64 <= self.state.bytes;
        Ok(head.filter(|head| head.last_offset_delta >= 0 && is_inside(head)))
    }

    /// So many bytes of the segment; `None` beyond its end.
    fn bytes(&mut self, position: u64, count: usize) -> io::Result<Option<&[u8]>> {
        let held_to = self.held_from + self.buffer.len() as u64;
        if position < self.held_from || position + count as u64 > held_to {
            let left = usize::try_from(self.state.bytes.saturating_sub(position)).unwrap_or(usize::MAX);
            if count > left {
                return Ok(None);
            }
            self.buffer.resize(count.max(CHUNK_BYTES).min(left), 0);
            let read = self.segment.files().read(&self.file, position, self.buffer)?;
            self.buffer.truncate(read);
            self.held_from = position;
        }
        let start = usize::try_from(position - self.held_from).unwrap_or(usize::MAX);
        Ok(self.buffer.get(start..start.saturating_add(count)))
    }

    /// How far the damage goes that begins here. If the length in the head leads to the next batch, it is believed; else
    /// the next batch that is whole is searched for.
    fn extent(&mut self, position: u64, from: Offset) -> io::Result<Damage> {
        let to_end = Damage { from, to: self.state.end, position, bytes: self.state.bytes - position };
        if let Some(head) = self.head(position)? {
            let bytes = head.total_bytes() as u64;
            let (after, next) = (position + bytes, head.next_offset());
            if after == self.state.bytes {
                return Ok(to_end);
            }
            let follower = self.head(after)?.map(|head| head.base_offset).filter(|base| *base > from);
            let is_next = head.base_offset == from && follower == Some(next);
            if let Some(to) = follower
                && (is_next || self.whole_batch(after, to)?.is_some())
            {
                return Ok(Damage { from, to, position, bytes });
            }
        }
        let plan = Plan { position, expected: from, bytes: self.state.bytes, verify_from: Offset(i64::MIN) };
        let found = next_whole(self.segment.files(), &*self.file, plan)?;
        Ok(found.map_or(to_end, |(at, head)| Damage { from, to: head.base_offset, position, bytes: at - position }))
    }
}
