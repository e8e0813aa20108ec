//! The ends of a log: its start, its end, the flushed end, the high watermark.
//!
//! Invariant: `log_start <= high_watermark <= end` and `flushed_end <= end`. With [`Durability::Disk`]
//! (`flush.messages=1`) the high watermark never passes the flushed end; it never falls, except by truncation. With
//! one replica it is the end itself.

use broker_model::Offset;

/// What a record must have reached to count as committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The page cache: it survives the process.
    #[default]
    PageCache,
    /// The disk: it survives a power loss. `flush.messages=1`.
    Disk,
}

/// Where a log begins and ends. All are offsets of the next record, except the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    durability: Durability,
    log_start: Offset,
    end: Offset,
    flushed_end: Offset,
    high_watermark: Offset,
}

impl Ends {
    /// The ends of a log that was just opened: what was found on disk counts as committed, and `flushed_end` as synced.
    #[must_use]
    pub fn opened(durability: Durability, log_start: Offset, flushed_end: Offset, end: Offset) -> Ends {
        let mut ends =
            Ends { durability, log_start, end, flushed_end: flushed_end.min(end), high_watermark: log_start };
        ends.advance();
        ends
    }

    /// The first offset of the partition, wherever its data lies.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The offset that the next record gets.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Everything below was synced.
    #[must_use]
    pub fn flushed_end(&self) -> Offset {
        self.flushed_end
    }

    /// Consumers see what is below.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Records were appended up to `end`.
    pub fn appended(&mut self, end: Offset) {
        assert!(end >= self.end, "an append does not take offsets back");
        self.end = end;
        self.advance();
    }

    /// Everything below `to` is synced. Late news of an older flush change nothing.
    pub fn flushed(&mut self, to: Offset) {
        self.flushed_end = self.flushed_end.max(to.min(self.end));
        self.advance();
    }

    /// The partition begins at `to` now, if that is not behind; never beyond the end.
    pub fn log_start_advanced(&mut self, to: Offset) {
        self.log_start = self.log_start.max(to.min(self.end));
        self.high_watermark = self.high_watermark.max(self.log_start);
    }

    /// The log was cut: it ends at `to`.
    pub fn truncated(&mut self, to: Offset) {
        self.end = self.end.min(to);
        self.flushed_end = self.flushed_end.min(to);
        self.high_watermark = self.high_watermark.min(to);
        self.log_start = self.log_start.min(to);
    }

    fn advance(&mut self) {
        let committed = match self.durability {
            Durability::PageCache => self.end,
            Durability::Disk => self.flushed_end,
        };
        self.high_watermark = self.high_watermark.max(committed);
        assert!(self.log_start <= self.end && self.flushed_end <= self.end && self.high_watermark <= self.end);
    }
}
