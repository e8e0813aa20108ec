//! Stepping from batch head to batch head through a segment, around what is marked as damaged.
//!
//! Heads of small batches are read many at once, so that they do not cost a call each; of large ones only the heads.
//! The bodies are not read.

use std::io;
use std::sync::Arc;

use broker_model::Offset;
use broker_records::{BATCH_HEAD_BYTES, BatchHead};

use crate::files::Files;

const READ_AHEAD_BYTES: usize = 4096;
/// What is read where nothing is known of the batches' sizes.
const FIRST_READ_BYTES: usize = 512;

/// A stretch of a segment that cannot be trusted, with the offsets that it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// The first offset.
    pub(crate) from: Offset,
    /// The first offset after it.
    pub(crate) to: Offset,
    /// Where it begins.
    pub(crate) position: u64,
    /// How long it is; 0 where the batches are missing rather than broken.
    pub(crate) bytes: u64,
}

/// A batch and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) head: BatchHead,
    pub(crate) position: u64,
}

impl Placed {
    pub(crate) fn end(&self) -> u64 {
        self.position + self.head.total_bytes() as u64
    }
}

/// What comes next in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A batch whose head makes sense.
    Batch(Placed),
    /// A stretch that is marked as damaged.
    Damage(Damage),
    /// A batch should lie here, and does not.
    Broken(Gap),
    /// The end.
    End,
}

/// Where a walk came to an end too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) position: u64,
    /// The offset that the batch there should begin with, where that is known.
    pub(crate) expected: Option<Offset>,
    /// The batch before it, of which only the head was looked at: its length may be what is wrong.
    pub(crate) previous: Option<Placed>,
}

/// Walks a segment from a position to a limit. Offsets have no gaps but those of damage.
pub(crate) struct Walk<F: Files> {
    files: F,
    handle: Arc<F::Handle>,
    position: u64,
    /// The offset that the next batch begins with: it is not covered by the checksum, so only this tells that it is wrong.
    expected: Option<Offset>,
    previous: Option<Placed>,
    limit: u64,
    damage: std::vec::IntoIter<Damage>,
    ahead: [u8; READ_AHEAD_BYTES],
    ahead_at: u64,
    ahead_bytes: usize,
    read_next: usize,
}

impl<F: Files> Walk<F> {
    pub(crate) fn new(files: F, handle: Arc<F::Handle>, range: (u64, u64), mut damage: Vec<Damage>) -> Walk<F> {
        let (position, limit) = range;
        damage.retain(|damage| damage.position >= position);
        let ahead = [0; READ_AHEAD_BYTES];
        let (damage, ahead_at, ahead_bytes) = (damage.into_iter(), 0, 0);
        let (expected, previous, read_next) = (None, None, FIRST_READ_BYTES);
        Walk { files, handle, position, expected, previous, limit, damage, ahead, ahead_at, ahead_bytes, read_next }
    }

    /// The first batch must begin with this offset.
    pub(crate) fn expecting(mut self, base: Offset) -> Walk<F> {
        self.expected = Some(base);
        self
    }

    pub(crate) fn step(&mut self) -> io::Result<Step> {
        if let Some(next) = self.damage.as_slice().first().copied()
            && next.position <= self.position
        {
            self.damage.next();
            self.position = self.position.max(next.position + next.bytes);
            (self.expected, self.previous) = (Some(next.to), None);
            return Ok(Step::Damage(next));
        }
        if self.position >= self.limit {
            return Ok(Step::End);
        }
        let gap = Gap { position: self.position, expected: self.expected, previous: self.previous };
        let Some(head) = self.head()? else { return Ok(Step::Broken(gap)) };
        let placed = Placed { head, position: self.position };
        let is_out_of_order = self.expected.is_some_and(|expected| expected != head.base_offset);
        if placed.end() > self.limit || head.last_offset_delta < 0 || is_out_of_order {
            return Ok(Step::Broken(gap));
        }
        (self.expected, self.previous) = (Some(head.next_offset()), Some(placed));
        self.position = placed.end();
        self.read_next = if head.total_bytes() < READ_AHEAD_BYTES / 2 { READ_AHEAD_BYTES } else { BATCH_HEAD_BYTES };
        Ok(Step::Batch(placed))
    }

    fn head(&mut self) -> io::Result<Option<BatchHead>> {
        let held = self.ahead_at..(self.ahead_at + self.ahead_bytes as u64);
        if !(held.contains(&self.position) && self.position + BATCH_HEAD_BYTES as u64 <= held.end) {
            let room = self.ahead.get_mut(..self.read_next).expect("no read is larger than the buffer");
            self.ahead_bytes = self.files.read(&self.handle, self.position, room)?;
            self.ahead_at = self.position;
        }
        let start = usize::try_from(self.position - self.ahead_at).unwrap_or(usize::MAX);
        let bytes = self.ahead.get(start..self.ahead_bytes).unwrap_or_default();
        Ok(BatchHead::parse(bytes).ok())
    }
}
