//! Where in a segment an offset lies, and where a stretch of so many bytes may end.
//!
//! Cheapest first: what is in memory (the newest batches, and where readers stopped), then the offset index and the
//! heads behind its entry. An entry is believed when the batch it points to has the offset it says; else the indexes
//! are made anew.

use std::io;

use broker_model::Offset;
use broker_records::verify;

use crate::error::ReadError;
use crate::files::Files;
use crate::index::{OffsetEntry, TimeEntry};
use crate::scan::{Plan, next_whole};
use crate::segment::{Segment, Spot};
use crate::walk::{Damage, Gap, Placed, Step};

/// What a walk found that began where an index entry said.
enum Outcome<T> {
    Found(T),
    /// No batch lies where one should.
    Broken(Gap),
    /// The segment ends before the offset.
    Ended,
    /// The entry is not true.
    NotTrue,
}

impl<F: Files> Segment<F> {
    /// The batch that contains `offset`, which must lie within the segment.
    pub(crate) fn locate(&self, offset: Offset) -> Result<Spot, ReadError> {
        match self.known(offset)? {
            Some(spot) => Ok(spot),
            None => self.search(offset).map(|placed| Spot { base: placed.head.base_offset, position: placed.position }),
        }
    }

    /// The batch that contains `offset`, with its head.
    pub(crate) fn locate_batch(&self, offset: Offset) -> Result<Placed, ReadError> {
        match self.known(offset)? {
            Some(spot) => match self.walk(spot.position)?.expecting(spot.base).step()? {
                Step::Batch(placed) => Ok(placed),
                _ => Err(self.broken(spot.position)),
            },
            None => self.search(offset),
        }
    }

    /// Whether a batch has this timestamp and ends with this offset. Needs no state but the length.
    pub(crate) fn is_true(&self, entry: &TimeEntry) -> io::Result<bool> {
        if entry.offset < self.base {
            return Ok(false);
        }
        let start = self.find_entry(1.0, |found: &OffsetEntry| found.offset <= entry.offset)?.last;
        match self.search_from(start, entry.offset) {
            Ok(Outcome::Found(Placed { head, .. })) => {
                Ok(head.max_timestamp == entry.timestamp && head.last_offset() == entry.offset)
            }
            Err(ReadError::Io(error)) => Err(error),
            Ok(_) | Err(_) => Ok(false),
        }
    }

    fn search(&self, offset: Offset) -> Result<Placed, ReadError> {
        let length = (self.state().end.0 - self.base.0).max(1);
        let share = (offset.0 - self.base.0) as f64 / length as f64;
        let find = || self.find_entry(share, |entry: &OffsetEntry| entry.offset <= offset);
        let (mut entry, mut trust) = (find()?.last, 2);
        loop {
            match self.search_from(entry, offset)? {
                Outcome::Found(placed) => return Ok(placed),
                Outcome::Broken(gap) => {
                    self.mark_broken(gap)?.ok_or_else(|| self.broken(gap.position))?;
                }
                Outcome::Ended => return Err(self.broken(self.state().bytes)),
                Outcome::NotTrue => {
                    self.distrust()?;
                    trust -= 1;
                    entry = if trust > 0 { find()?.last } else { None };
                }
            }
        }
    }

    fn search_from(&self, entry: Option<OffsetEntry>, offset: Offset) -> Result<Outcome<Placed>, ReadError> {
        let mut walk = self.walk(entry.map_or(0, |entry| entry.position))?;
        let mut unproven = entry;
        loop {
            match walk.step()? {
                Step::Batch(placed) => {
                    if unproven.take().is_some_and(|entry| placed.head.last_offset() != entry.offset) {
                        return Ok(Outcome::NotTrue);
                    }
                    if placed.head.last_offset() >= offset {
                        let inside = placed.head.base_offset <= offset;
                        return Ok(if inside { Outcome::Found(placed) } else { Outcome::NotTrue });
                    }
                }
                Step::Damage(damage) if damage.to <= offset => unproven = None,
                Step::Damage(damage) => return Err(ReadError::Damaged { from: damage.from, to: damage.to }),
                // Before a batch was seen it may be the entry that is wrong.
                Step::Broken(_) if unproven.is_some() => return Ok(Outcome::NotTrue),
                Step::Broken(gap) => return Ok(Outcome::Broken(gap)),
                Step::End if unproven.is_some() => return Ok(Outcome::NotTrue),
                Step::End => return Ok(Outcome::Ended),
            }
        }
    }

    /// The largest border of a batch that is not beyond `target`, and the offset there; at least where `start` begins.
    pub(crate) fn border(&self, start: Spot, target: u64) -> Result<Spot, ReadError> {
        if let Some(spot) = self.known_border(target)
            && spot.position >= start.position
        {
            return Ok(spot);
        }
        let share = target as f64 / self.state().bytes.max(1) as f64;
        let entry = self.find_entry(share, |entry: &OffsetEntry| entry.position <= target)?.last;
        if let Some(entry) = entry.filter(|entry| entry.position > start.position) {
            if let Some(spot) = self.border_from(Some(entry), start, target)? {
                return Ok(spot);
            }
            self.distrust()?;
        }
        Ok(self.border_from(None, start, target)?.unwrap_or(start))
    }

    /// `None` where the entry is not true.
    fn border_from(&self, entry: Option<OffsetEntry>, start: Spot, target: u64) -> Result<Option<Spot>, ReadError> {
        let mut walk = self.walk(entry.map_or(start.position, |entry| entry.position))?;
        let (mut border, mut unproven) = (start, entry);
        while let Step::Batch(placed) = walk.step()? {
            if unproven.take().is_some_and(|entry| placed.head.last_offset() != entry.offset) {
                return Ok(None);
            }
            border = Spot { base: placed.head.base_offset, position: placed.position };
            if placed.end() > target {
                break;
            }
            border = Spot { base: placed.head.next_offset(), position: placed.end() };
        }
        Ok(if unproven.is_some() { None } else { Some(border) })
    }

    /// Shows the heads of all batches from a position on, around damage and what is broken, which is marked.
    pub(crate) fn each_head(&self, position: u64, mut visit: impl FnMut(&Placed)) -> io::Result<()> {
        let mut walk = self.walk(position)?;
        loop {
            match walk.step()? {
                Step::Batch(placed) => visit(&placed),
                Step::Damage(_) => (),
                Step::Broken(gap) => match self.mark_broken(gap)? {
                    Some(damage) => walk = self.walk(damage.position + damage.bytes)?.expecting(damage.to),
                    None => return Ok(()),
                },
                Step::End => return Ok(()),
            }
        }
    }

    /// No batch lies where one should: marks what cannot be read, up to the next batch that is whole. `None` where
    /// there is nothing to mark, because it was cut meanwhile or its end is not known yet.
    pub(crate) fn mark_broken(&self, gap: Gap) -> io::Result<Option<Damage>> {
        let state = self.state();
        let expected = gap.expected.filter(|from| *from < state.end && gap.position < state.bytes);
        let Some(mut from) = expected else { return Ok(None) };
        let mut position = gap.position;
        if let Some(placed) = gap.previous
            && !self.is_whole(&placed)?
        {
            (position, from) = (placed.position, placed.head.base_offset);
        }
        let plan = Plan { position, expected: from, bytes: state.bytes, verify_from: Offset(i64::MIN) };
        let next = next_whole(self.files(), &*self.log()?, plan)?.filter(|(_, head)| head.base_offset < state.end);
        let (end, to) = next.map_or((state.bytes, state.end), |(at, head)| (at, head.base_offset));
        let damage = Damage { from, to, position, bytes: end - position };
        tracing::error!(dir = %self.dir().display(), from = from.0, to = to.0, "records are damaged on disk");
        self.add_damage(damage);
        Ok(Some(damage))
    }

    fn is_whole(&self, placed: &Placed) -> io::Result<bool> {
        let mut bytes = vec![0; placed.head.total_bytes()];
        self.files().read(&*self.log()?, placed.position, &mut bytes)?;
        Ok(verify(&bytes).is_ok())
    }

    fn distrust(&self) -> Result<(), ReadError> {
        tracing::warn!(dir = %self.dir().display(), segment = self.base.0, "an index entry is not true: rebuilding");
        Ok(self.rebuild_indexes()?)
    }

    fn broken(&self, position: u64) -> ReadError {
        tracing::error!(dir = %self.dir().display(), segment = self.base.0, position, "no batch where one should be");
        ReadError::Damaged { from: self.base, to: self.state().end }
    }
}
