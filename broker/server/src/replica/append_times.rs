//! When offsets were appended, to about a second: how old the oldest byte is that is not in the bucket yet.
//!
//! Record timestamps cannot tell, for they are the producer's. Memory is bounded: when the marks are too many, every other
//! one goes, and the answer gets coarser on the safe side (older).
//!
//! Whoever notes an append also tells the partition's archive, which sleeps until then.

use std::collections::VecDeque;

use broker_model::{Offset, Timestamp};
use tiering_tier::ArchiveHandle;

const RESOLUTION_MS: i64 = 1000;
const MARKS_MAX: usize = 64;

/// Marks of (first offset, time), ascending.
#[derive(Debug, Default)]
pub(super) struct AppendTimes {
    marks: VecDeque<(Offset, Timestamp)>,
    archive: Option<ArchiveHandle>,
}

impl AppendTimes {
    /// A batch that begins at `base` was appended, and the log's end shows it.
    pub(super) fn note(&mut self, base: Offset, now: Timestamp) {
        self.mark(base, now);
        self.tell();
    }

    /// The archive that is told of each append from now on.
    pub(super) fn tells(&mut self, archive: ArchiveHandle) {
        self.archive = Some(archive);
    }

    /// The log moved without an append.
    pub(super) fn tell(&self) {
        if let Some(archive) = &self.archive {
            archive.log_moved();
        }
    }

    fn mark(&mut self, base: Offset, now: Timestamp) {
        if self.marks.back().is_some_and(|(_, last)| now.0 - last.0 < RESOLUTION_MS) {
            return;
        }
        if self.marks.len() >= MARKS_MAX {
            let mut index = 0;
            self.marks.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        self.marks.push_back((base, now));
    }

    /// A time at or before the append of the record at `offset`, and forgets what is older. `None` where it was appended
    /// before the first mark.
    pub(super) fn of(&mut self, offset: Offset) -> Option<Timestamp> {
        while self.marks.get(1).is_some_and(|(base, _)| *base <= offset) {
            self.marks.pop_front();
        }
        if self.marks.capacity() > 8 * self.marks.len() {
            self.marks.shrink_to_fit();
        }
        self.marks.front().filter(|(base, _)| *base <= offset).map(|(_, time)| *time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_never_later_than_the_append() {
        let mut times = AppendTimes::default();
        for offset in 0..10_000 {
            times.note(Offset(offset), Timestamp(offset * 700));
        }
        assert!(times.marks.len() <= MARKS_MAX);
        for offset in (0..10_000).step_by(37) {
            let time = times.of(Offset(offset)).expect("all were noted");
            assert!(time <= Timestamp(offset * 700), "{offset}: {time}");
        }
        assert_eq!(times.of(Offset(0)), None, "what is older is forgotten");
    }
}
