//! Checking the bytes of a segment after a crash: which batches are whole, what is damaged, where the torn tail begins.
//!
//! Nothing is changed here. What does not verify is skipped to the next batch that does, wherever it begins, and
//! reported as damage. A stretch after which no batch follows is the tail; whether that is torn or lost is for the
//! caller to decide, who knows the recovery point.

use std::io;

use broker_model::Offset;
use broker_records::{BATCH_HEAD_BYTES, BatchHead, verify};

use crate::files::Files;
use crate::walk::Damage;

const SEARCH_BYTES: usize = 64 << 10;

/// Where to begin, and what to expect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// The position to begin at.
    pub(crate) position: u64,
    /// The offset that the batch there has.
    pub(crate) expected: Offset,
    /// The length of the file.
    pub(crate) bytes: u64,
    /// Batches that end at or below this offset were synced: their heads suffice.
    pub(crate) verify_from: Offset,
}

/// What a scan found.
#[derive(Clone, Debug)]
pub(crate) struct Scanned {
    /// The position after the last batch.
    pub(crate) position: u64,
    /// The offset after it.
    pub(crate) end: Offset,
    /// Damage between batches.
    pub(crate) damage: Vec<Damage>,
    /// How many batches are whole.
    pub(crate) batches: u64,
}

/// Scans a segment, and shows each whole batch to `visit`.
pub(crate) fn scan<F: Files>(
    files: &F,
    handle: &F::Handle,
    plan: Plan,
    mut visit: impl FnMut(&BatchHead, u64),
) -> io::Result<Scanned> {
    let mut scanner = Scanner { files, handle, plan, buffer: Vec::new() };
    let mut scanned = Scanned { position: plan.position, end: plan.expected, damage: Vec::new(), batches: 0 };
    let mut previous = None;
    while scanned.position < plan.bytes {
        // Offsets have no gaps, and the checksum does not cover them: a batch that begins with another is broken.
        let here = scanner.batch_at(scanned.position, scanned.end)?.filter(|head| head.base_offset == scanned.end);
        let here = here.map(|head| (scanned.position, head));
        let found = match here {
            Some(found) => Some(found),
            None => {
                // If only the head of the batch before was looked at, it may be its length that is wrong.
                if let Some((position, head)) = previous.take()
                    && !scanner.checksum_holds(&head, position)?
                {
                    (scanned.position, scanned.end) = (position, head.base_offset);
                }
                scanner.search(scanned.position, scanned.end)?
            }
        };
        let Some((position, head)) = found else { break };
        if position > scanned.position || head.base_offset > scanned.end {
            let (from, to) = (scanned.end, head.base_offset);
            let (at, bytes) = (scanned.position, position - scanned.position);
            scanned.damage.push(Damage { from, to, position: at, bytes });
        }
        visit(&head, position);
        previous = Some((position, head));
        scanned.position = position + head.total_bytes() as u64;
        scanned.end = head.next_offset();
        scanned.batches += 1;
    }
    Ok(scanned)
}

/// The batch at the end of a segment that does not verify although all its bytes are there. While the machine has not
/// restarted, a write that was cut short left a file that is too short for its batch: this one was written and acknowledged,
/// and rotted, and its offsets are not to be given again.
pub(crate) fn rotten<F: Files>(
    files: &F,
    handle: &F::Handle,
    (position, end): (u64, Offset),
    length: u64,
) -> io::Result<Option<Damage>> {
    let mut bytes = [0; BATCH_HEAD_BYTES];
    if files.read(handle, position, &mut bytes)? < BATCH_HEAD_BYTES {
        return Ok(None);
    }
    let is_whole = |head: &BatchHead| {
        head.base_offset == end
            && head.last_offset_delta >= 0
            && i64::from(head.last_offset_delta) + 1 == i64::from(head.record_count)
            && position + head.total_bytes() as u64 <= length
    };
    let head = BatchHead::parse(&bytes).ok().filter(is_whole);
    Ok(head.map(|head| Damage { from: end, to: head.next_offset(), position, bytes: head.total_bytes() as u64 }))
}

/// The next batch that is whole after the plan's position, where none is.
pub(crate) fn next_whole<F: Files>(files: &F, handle: &F::Handle, plan: Plan) -> io::Result<Option<(u64, BatchHead)>> {
    Scanner { files, handle, plan, buffer: Vec::new() }.search(plan.position, plan.expected)
}

struct Scanner<'a, F: Files> {
    files: &'a F,
    handle: &'a F::Handle,
    plan: Plan,
    buffer: Vec<u8>,
}

impl<F: Files> Scanner<'_, F> {
    /// The batch at a position, if it is whole and its offsets are not before `expected`.
    fn batch_at(&mut self, position: u64, expected: Offset) -> io::Result<Option<BatchHead>> {
        let mut bytes = [0; BATCH_HEAD_BYTES];
        if self.files.read(self.handle, position, &mut bytes)? < BATCH_HEAD_BYTES {
            return Ok(None);
        }
        match BatchHead::parse(&bytes) {
            Ok(head) if self.is_plausible(&head, position, expected) => self.verified(head, position),
            _ => Ok(None),
        }
    }

    fn is_plausible(&self, head: &BatchHead, position: u64, expected: Offset) -> bool {
        let ahead = head.base_offset.0.checked_sub(expected.0);
        ahead.is_some_and(|ahead| (0..i64::from(i32::MAX)).contains(&ahead))
            && head.last_offset_delta >= 0
            && position + head.total_bytes() as u64 <= self.plan.bytes
    }

    fn verified(&mut self, head: BatchHead, position: u64) -> io::Result<Option<BatchHead>> {
        if head.next_offset() <= self.plan.verify_from {
            return Ok(Some(head));
        }
        Ok(self.checksum_holds(&head, position)?.then_some(head))
    }

    fn checksum_holds(&mut self, head: &BatchHead, position: u64) -> io::Result<bool> {
        self.buffer.resize(head.total_bytes(), 0);
        self.files.read(self.handle, position, &mut self.buffer)?;
        Ok(verify(&self.buffer).is_ok())
    }

    /// The next batch after a position that holds none. Here the checksum is always looked at.
    fn search(&mut self, after: u64, expected: Offset) -> io::Result<Option<(u64, BatchHead)>> {
        let verify_from = std::mem::replace(&mut self.plan.verify_from, Offset(i64::MIN));
        let mut chunk = vec![0; SEARCH_BYTES];
        let mut start = after + 1;
        let mut found = None;
        while start < self.plan.bytes && found.is_none() {
            let read = self.files.read(self.handle, start, &mut chunk)?;
            let windows = chunk.get(..read).unwrap_or_default().windows(BATCH_HEAD_BYTES);
            for (at, window) in windows.enumerate() {
                let position = start + at as u64;
                if let Ok(head) = BatchHead::parse(window)
                    && self.is_plausible(&head, position, expected)
                    && let Some(head) = self.verified(head, position)?
                {
                    found = Some((position, head));
                    break;
                }
            }
            start += (SEARCH_BYTES - BATCH_HEAD_BYTES + 1) as u64;
        }
        self.plan.verify_from = verify_from;
        Ok(found)
    }
}
