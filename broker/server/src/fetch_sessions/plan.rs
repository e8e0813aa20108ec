//! One request's partitions, in the order in which they are to be served, until its answer is made.

use std::sync::Arc;

use broker_model::{ErrorCode, Timestamp};

use super::body::{Asked, Body, PlanTopic};
use super::shard::Newcomer;
use super::{FetchSessions, SESSION_NONE};

/// What a partition gave for an answer.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// `None` of the codes where nothing failed.
    pub error: ErrorCode,
    /// As it is answered; what it says besides an error does not count.
    pub high_watermark: i64,
    /// As it is answered.
    pub log_start: i64,
    /// The answer has records of it.
    pub has_records: bool,
    /// The answer has a diverging epoch (KIP-595) or a preferred replica (KIP-392), which are always sent.
    pub has_advice: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Sessionless,
    New {
        is_follower: bool,
        by_id: bool,
    },
    Incremental {
        id: i32,
    },
    /// Finished: nothing is left to give back.
    Over,
}

/// The partitions of a request. A position counts from 0 in the order of serving; it holds until the plan is finished.
#[derive(Debug)]
pub struct FetchPlan<T: Default> {
    sessions: Arc<FetchSessions<T>>,
    pub(super) kind: Kind,
    pub(super) body: Body<T>,
}

impl<T: Default> FetchPlan<T> {
    pub(super) fn new(sessions: Arc<FetchSessions<T>>, kind: Kind, body: Body<T>) -> FetchPlan<T> {
        FetchPlan { sessions, kind, body }
    }

    /// The partitions to look at.
    #[must_use]
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// True when nothing is asked: the answer is due at once.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True when the answer needs to name only what changed.
    #[must_use]
    pub fn is_incremental(&self) -> bool {
        matches!(self.kind, Kind::Incremental { .. })
    }

    /// What is asked at a position below [`FetchPlan::len`].
    #[must_use]
    pub fn asked(&self, position: usize) -> &Asked {
        &self.body.entry(position).asked
    }

    /// The topic of a position.
    #[must_use]
    pub fn topic(&self, position: usize) -> &PlanTopic {
        self.body.topic(self.topic_key(position))
    }

    /// A number that positions of the same topic share, to group an answer by it.
    #[must_use]
    pub fn topic_key(&self, position: usize) -> u32 {
        self.body.entry(position).topic
    }

    /// What the caller keeps beside the partition: its default until set, and as long as the partition is in the session.
    #[must_use]
    pub fn cached(&self, position: usize) -> &T {
        &self.body.entry(position).cached
    }

    /// The same, to set it.
    pub fn cached_mut(&mut self, position: usize) -> &mut T {
        &mut self.body.entry_mut(position).cached
    }

    /// Notes what goes into the answer of this position. True if it must be in it; called once for each position, when
    /// the answer is made.
    pub fn settle(&mut self, position: usize, outcome: &Outcome) -> bool {
        let is_full = !self.is_incremental();
        let entry = self.body.entry_mut(position);
        let has_failed = outcome.error != ErrorCode::None;
        let has_moved = entry.high_watermark != outcome.high_watermark || entry.log_start != outcome.log_start;
        // A failure is told until it is over, and then so is its end.
        entry.high_watermark = if has_failed { -1 } else { outcome.high_watermark };
        (entry.log_start, entry.is_served) = (outcome.log_start, outcome.has_records);
        is_full || has_failed || has_moved || outcome.has_records || outcome.has_advice
    }

    /// The answer is made. Gives the session id that it says: 0 where there is no session.
    pub fn finish(mut self, now: Timestamp) -> i32 {
        let mut body = std::mem::take(&mut self.body);
        match std::mem::replace(&mut self.kind, Kind::Over) {
            Kind::Sessionless | Kind::Over => SESSION_NONE,
            Kind::New { is_follower, by_id } => {
                let size = body.len();
                self.sessions.create(Newcomer { is_follower, by_id, size, now }, body)
            }
            Kind::Incremental { id } => {
                body.rotate();
                self.sessions.check_in(id, body, now);
                id
            }
        }
    }
}

/// Who drops a plan sends no answer, so that the client's view and ours would part.
impl<T: Default> Drop for FetchPlan<T> {
    fn drop(&mut self) {
        if let Kind::Incremental { id } = self.kind {
            self.sessions.close(id);
        }
    }
}
