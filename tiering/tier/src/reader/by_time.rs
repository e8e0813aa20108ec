//! Records by their time, and leader epochs: what ListOffsets and OffsetForLeaderEpoch ask of the tier.
//!
//! What a lookup costs does not grow with the archive. The root is in memory and says the largest timestamp of each group
//! and entry; at most one group, one index and one block are read for a time, all through the cache. Only heads that claim
//! a timestamp which none of their records has make it look further.
//!
//! A caller says between which offsets it asks: what its local log has is not asked of the store, and what it knows to be
//! deleted is not shown, also where the root does not say so yet.

use std::ops::Range;
use std::sync::Arc;

use broker_model::{Offset, Timestamp, TopicPartition};
use tiering_manifest::{Block, Entry, EpochStart, Root};
use tiering_store::StoreErrorKind;

use super::source::Source;
use super::{ColdError, TierReader, TimeHit, object};

/// After every time.
const NEVER: Timestamp = Timestamp(i64::MAX);
/// Every offset.
const ALL: Range<Offset> = Offset::ZERO..Offset(i64::MAX);

impl TierReader {
    /// The first record at or after `time`, where it is in the tier.
    ///
    /// # Errors
    /// See [`ColdErrorKind`](super::ColdErrorKind).
    pub async fn offset_for_time(
        &self,
        partition: &TopicPartition,
        time: Timestamp,
    ) -> Result<Option<TimeHit>, ColdError> {
        self.offset_for_time_in(partition, time, ALL).await
    }

    /// The first record at or after `time` of those that are in the tier and have an offset within a range.
    ///
    /// # Errors
    /// See [`ColdErrorKind`](super::ColdErrorKind).
    pub async fn offset_for_time_in(
        &self,
        partition: &TopicPartition,
        time: Timestamp,
        within: Range<Offset>,
    ) -> Result<Option<TimeHit>, ColdError> {
        let source = self.source(partition)?;
        let root = source.root(&self.shared.fetcher).await?;
        let found = self.search((&source, &root), time, &within).await;
        let Err(error) = found else { return found };
        if !is_gone(&error) {
            return Err(self.lost(partition, root.log_start, error));
        }
        let fresh = source.reload(&self.shared.fetcher).await?;
        let found = self.search((&source, &fresh), time, &within).await;
        found.map_err(|error| self.lost(partition, fresh.log_start, error))
    }

    /// From where on a reader of a window of time must read who stands at `from`: no record between the two lies in the
    /// window. The archive's end where none follows there. Reads no block.
    ///
    /// # Errors
    /// See [`ColdErrorKind`](super::ColdErrorKind).
    pub async fn seek(
        &self,
        partition: &TopicPartition,
        from: Offset,
        window: Range<Timestamp>,
    ) -> Result<Offset, ColdError> {
        let source = self.source(partition)?;
        let fetcher = &self.shared.fetcher;
        let root = source.root(fetcher).await?;
        let mut at = root.log_start.max(from);
        while at < root.end {
            let entry = source.entry_by_time(fetcher, &root, at, (window.start, window.end)).await?;
            let Some(entry) = entry else { return Ok(from.max(root.end)) };
            let index = fetcher.index(&source.prefix().join(&entry.key), &entry).await?;
            let holds = |block: &&Block| block.max_timestamp >= window.start && block.last >= at;
            if let Some(block) = index.blocks.blocks().iter().find(holds) {
                return Ok(at.max(block.base).max(entry.base));
            }
            at = entry.end;
        }
        Ok(from.max(root.end))
    }

    /// The first record with the largest timestamp of those that are in the tier and have an offset within a range.
    ///
    /// # Errors
    /// See [`ColdErrorKind`](super::ColdErrorKind).
    pub async fn max_timestamp_in(
        &self,
        partition: &TopicPartition,
        within: Range<Offset>,
    ) -> Result<Option<TimeHit>, ColdError> {
        let source = self.source(partition)?;
        let root = source.root(&self.shared.fetcher).await?;
        let largest = match self.largest_time(&source, &root, &within).await {
            Err(error) if is_gone(&error) => {
                let fresh = source.reload(&self.shared.fetcher).await?;
                self.largest_time(&source, &fresh, &within).await
            }
            found => found,
        };
        match largest.map_err(|error| self.lost(partition, root.log_start, error))? {
            Timestamp::NONE => Ok(None),
            largest => self.offset_for_time_in(partition, largest, within).await,
        }
    }

    /// The leader epochs of what lies in the tier below `below`, oldest first, as the log had them when it was shipped.
    ///
    /// # Errors
    /// See [`ColdErrorKind`](super::ColdErrorKind).
    pub async fn epochs(&self, partition: &TopicPartition, below: Offset) -> Result<Vec<EpochStart>, ColdError> {
        let source = self.source(partition)?;
        let fetcher = &self.shared.fetcher;
        let root = source.root(fetcher).await?;
        let below = below.min(root.end);
        if below <= root.start {
            return Ok(Vec::new());
        }
        let entry = source.entry(fetcher, &root, below.plus(-1)).await?;
        let footer = fetcher.footer(&source.prefix().join(&entry.key), &entry).await?;
        Ok(footer.epochs.into_iter().filter(|epoch| epoch.start < below).collect())
    }

    async fn search(
        &self,
        (source, root): (&Source, &Arc<Root>),
        time: Timestamp,
        within: &Range<Offset>,
    ) -> Result<Option<TimeHit>, ColdError> {
        let fetcher = &self.shared.fetcher;
        let (mut at, until) = (root.log_start.max(within.start), within.end.min(root.end));
        while at < until {
            let entry = source.entry_by_time(fetcher, root, at, (time, NEVER)).await?;
            let Some(entry) = entry.filter(|entry| entry.base < until) else { return Ok(None) };
            let key = source.prefix().join(&entry.key);
            let index = fetcher.index(&key, &entry).await?;
            for (number, block) in index.blocks.blocks().iter().enumerate() {
                if block.max_timestamp < time || block.last < at || block.base >= until {
                    continue;
                }
                let content = fetcher.block(&key, number, block).await?;
                if let Some(hit) = object::first_at(&content, &key, at, time)? {
                    return Ok(Some(hit).filter(|hit| hit.offset < until));
                }
            }
            at = entry.end;
        }
        Ok(None)
    }

    /// The largest timestamp of a record that may be read and lies within; -1 where there is none.
    async fn largest_time(
        &self,
        source: &Source,
        root: &Arc<Root>,
        within: &Range<Offset>,
    ) -> Result<Timestamp, ColdError> {
        let fetcher = &self.shared.fetcher;
        let (from, until) = (root.log_start.max(within.start), within.end.min(root.end));
        let mut largest = Timestamp::NONE;
        let mut partly: Vec<Entry> = Vec::new();
        // The first range may begin with a batch that lies half below the start, so that its maximum is not to be trusted.
        let is_whole = |base: Offset, end: Offset| base > from && end <= until;
        let mut note = |entry: &Entry, largest: &mut Timestamp| {
            if entry.end <= from || entry.base >= until {
                return;
            }
            if is_whole(entry.base, entry.end) {
                *largest = entry.max_timestamp.max(*largest);
            } else {
                partly.push(entry.clone());
            }
        };
        for group in root.groups.iter().filter(|group| group.end > from && group.base < until) {
            if is_whole(group.base, group.end) {
                largest = largest.max(group.max_timestamp);
                continue;
            }
            let content = source.group(fetcher, group).await?;
            content.entries.iter().skip(group.skip as usize).for_each(|entry| note(entry, &mut largest));
        }
        root.entries.iter().for_each(|entry| note(entry, &mut largest));
        for entry in partly {
            largest = largest.max(self.largest_in(source, &entry, (from, until)).await?);
        }
        Ok(largest)
    }

    /// The same within an entry of which a part does not count.
    async fn largest_in(
        &self,
        source: &Source,
        entry: &Entry,
        (from, until): (Offset, Offset),
    ) -> Result<Timestamp, ColdError> {
        let fetcher = &self.shared.fetcher;
        let key = source.prefix().join(&entry.key);
        let index = fetcher.index(&key, entry).await?;
        let mut largest = Timestamp::NONE;
        for (number, block) in index.blocks.blocks().iter().enumerate() {
            if block.last < from || block.base >= until || block.max_timestamp <= largest {
                continue;
            }
            largest = if block.base >= from && block.last < until {
                block.max_timestamp
            } else {
                let content = fetcher.block(&key, number, block).await?;
                largest.max(object::largest_time(&content, &key, (from, until))?)
            };
        }
        Ok(largest)
    }
}

fn is_gone(error: &ColdError) -> bool {
    matches!(error, ColdError::Store(store) if store.kind() == StoreErrorKind::NotFound)
}

#[cfg(test)]
mod tests;
