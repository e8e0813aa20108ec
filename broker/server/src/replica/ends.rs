//! Where a partition begins and ends, and how much of it is wanted.

use broker_log::{DiskFiles, LogReader};
use broker_model::Offset;

/// A partition's ends at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The first offset that retention left, wherever it lies.
    pub log_start: Offset,
    /// The first offset on the local disk.
    pub local_start: Offset,
    /// Consumers see what is below.
    pub high_watermark: Offset,
    /// What is below is on disk as far as fdatasync says.
    pub flushed_end: Offset,
    /// The offset that the next record gets.
    pub end: Offset,
}

impl Ends {
    /// The ends of a partition of which nothing is known: -1, as Kafka answers with an error.
    pub const UNKNOWN: Ends = Ends {
        log_start: Offset(-1),
        local_start: Offset(-1),
        high_watermark: Offset(-1),
        flushed_end: Offset(-1),
        end: Offset(-1),
    };
}

/// How many bytes of a partition are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// About so many, and one whole batch in any case.
    AtLeastOne(usize),
    /// At most so many.
    AtMost(usize),
}

impl Want {
    /// The number of bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Want::AtLeastOne(bytes) | Want::AtMost(bytes) => bytes,
        }
    }

    /// True where one batch is wanted even if it is larger.
    #[must_use]
    pub fn at_least_one(self) -> bool {
        matches!(self, Want::AtLeastOne(_))
    }
}

pub(super) fn ends_of(reader: &LogReader<DiskFiles>) -> Ends {
    // The local start first: it may only grow, and what is below it is in the bucket by then.
    let local_start = reader.local_start();
    let ends = reader.ends();
    Ends {
        log_start: ends.log_start(),
        local_start,
        high_watermark: ends.high_watermark(),
        flushed_end: ends.flushed_end(),
        end: ends.end(),
    }
}
