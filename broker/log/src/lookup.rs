//! Where in a segment an offset lies, and where a stretch of so many bytes may end.
//!
//! Cheapest first: what is in memory (the newest batches, and where readers stopped), then the offset index and the
//! heads behind its entry. An entry is believed when the batch it points to has the offset it says; else the indexes
//! are made anew.

use std::io;

use broker_model::Offset;

use crate::error::ReadError;
use crate::files::Files;
use crate::index::{OffsetEntry, TimeEntry};
use crate::segment::{Segment, Spot};
use crate::walk::{Placed, Step};

/// What a walk found that began where an index entry said.
enum Outcome<T> {
    Found(T),
    /// No batch lies where one should.
    Broken(u64),
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
            Some(spot) => match self.walk(spot.position)?.step()? {
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
        let entry = self.find_entry(share, |entry: &OffsetEntry| entry.offset <= offset)?.last;
        if let Some(entry) = entry {
            match self.search_from(Some(entry), offset)? {
                Outcome::Found(placed) => return Ok(placed),
                Outcome::Broken(_) | Outcome::NotTrue => self.distrust()?,
            }
        }
        match self.search_from(None, offset)? {
            Outcome::Found(placed) => Ok(placed),
            Outcome::Broken(position) => Err(self.broken(position)),
            Outcome::NotTrue => Err(self.broken(0)),
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
                        return Ok(if inside { Outcome::Found(placed) } else { Outcome::Broken(placed.position) });
                    }
                }
                Step::Damage(damage) if damage.to <= offset => unproven = None,
                Step::Damage(damage) => return Err(ReadError::Damaged { from: damage.from, to: damage.to }),
                Step::Broken(position) => return Ok(Outcome::Broken(position)),
                Step::End => return Ok(Outcome::Broken(self.state().bytes)),
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

    fn distrust(&self) -> Result<(), ReadError> {
        tracing::warn!(dir = %self.dir().display(), segment = self.base.0, "an index entry is not true: rebuilding");
        Ok(self.rebuild_indexes()?)
    }

    fn broken(&self, position: u64) -> ReadError {
        tracing::error!(dir = %self.dir().display(), segment = self.base.0, position, "no batch where one should be");
        ReadError::Damaged { from: self.base, to: self.state().end }
    }
}
