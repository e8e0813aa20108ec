//! Who writes: the generation of the cluster, the leader epoch and the nonce of one incarnation. Compared in that order;
//! only generation and epoch give a right, the nonce tells incarnations apart.

use std::fmt;

use broker_model::LeaderEpoch;

/// Counts the restores of a cluster; it stands in `strata.json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A registered id: the number from which an object takes its whole name. Never given twice by one root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub u64);

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A writer of a root: field order is the order of comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Writer {
    /// The generation of the cluster, from `strata.json`.
    pub generation: Generation,
    /// The leader epoch, which rises with each leader and with each start of a process.
    pub epoch: LeaderEpoch,
    /// A random number of this incarnation.
    pub nonce: u64,
}

impl Writer {
    /// True where this writer may take a root from `other`: its generation and epoch are beyond the other's. At an equal
    /// generation and epoch the nonce decides nothing: two such writers are a conflict that halts.
    #[must_use]
    pub fn supersedes(&self, other: &Writer) -> bool {
        (self.generation, self.epoch) > (other.generation, other.epoch)
    }
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{:016x}", self.generation, self.epoch, self.nonce)
    }
}
