//! Which leader wrote which offsets (KIP-101): the cache behind `leader-epoch-checkpoint`.
//!
//! Invariant: epochs and start offsets both rise strictly, so that either finds its entry by binary search.

use broker_model::{LeaderEpoch, Offset};

/// The first offset that a leader epoch wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Its first offset.
    pub start: Offset,
}

/// The answer to OffsetForLeaderEpoch: the largest known epoch that is not larger than the one asked for, and where
/// it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch found.
    pub epoch: LeaderEpoch,
    /// The first offset that it did not write.
    pub end: Offset,
}

/// The leader epochs of a partition's log, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<EpochStart>,
}

impl LeaderEpochs {
    /// The entries of a checkpoint. What contradicts the order is dropped, the later entry holds.
    #[must_use]
    pub fn from_entries(entries: impl IntoIterator<Item = EpochStart>) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for entry in entries {
            epochs.assign(entry.epoch, entry.start);
        }
        epochs
    }

    /// All entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[EpochStart] {
        &self.entries
    }

    /// The latest epoch.
    #[must_use]
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// From `start` on `epoch` writes. True where that changed anything: an epoch that is not newer changes nothing,
    /// and entries that begin at or after `start` wrote nothing and go.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch.0 < 0 || self.latest().is_some_and(|latest| latest >= epoch) {
            return false;
        }
        self.truncate_from_end(start);
        self.entries.push(EpochStart { epoch, start });
        true
    }

    /// The epoch that wrote `offset`.
    #[must_use]
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.start <= offset);
        self.entries.get(after.checked_sub(1)?).map(|entry| entry.epoch)
    }

    /// The end of `epoch`, where the log ends at `log_end`. `None` for an epoch that is larger than all, and without
    /// any.
    #[must_use]
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<EpochEnd> {
        let latest = self.latest()?;
        if epoch.0 < 0 || epoch > latest {
            return None;
        }
        if epoch == latest {
            return Some(EpochEnd { epoch, end: log_end });
        }
        let after = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let end = self.entries.get(after)?.start;
        let found = after.checked_sub(1).and_then(|at| self.entries.get(at)).map_or(epoch, |entry| entry.epoch);
        Some(EpochEnd { epoch: found, end })
    }

    /// The log ends at `end`: epochs that begin there or later are gone.
    pub fn truncate_from_end(&mut self, end: Offset) {
        self.entries.retain(|entry| entry.start < end);
    }

    /// The log begins at `start`: the epoch that wrote it begins there, older ones are gone.
    pub fn truncate_from_start(&mut self, start: Offset) {
        let after = self.entries.partition_point(|entry| entry.start <= start);
        let Some(first) = after.checked_sub(1) else { return };
        self.entries.drain(..first);
        if let Some(entry) = self.entries.first_mut() {
            entry.start = start;
        }
    }
}
