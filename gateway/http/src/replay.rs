//! The replay engine: a range of a topic as lines of JSON. It needs no HTTP, so that a command prints the same lines.
//!
//! [`Replay::plan`] fixes what is replayed (the end of each partition is its high watermark at that moment, or what the
//! cursor says) and finds every mistake that can be told before the first line. [`Replay::lines`] then starts a task that
//! fills chunks of about 64 KiB into a channel of two: a slow reader stops it, a reader that goes away ends it.
//!
//! Lines: a member `offset` makes it a record; a member `cursor` makes it a place to go on from (first line, every 1,000
//! rows or second, last line); `error` is the last line of a replay that failed. A complete replay ends with a cursor line
//! that says `"complete": true`.
//!
//! Timestamps of a partition need not ascend. So a time window is a filter: indexes say where the first record inside can
//! be, batches that are too old are skipped by their head, everything else is looked at, to the end of the range.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::StatusCode;
use broker_model::{Offset, PartitionIndex, TopicPartition, nearest};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::cursor::Cursor;
use crate::problem::Problem;
use crate::query::Query;
use crate::source::{ColdSource, HotSource, SourceError, TopicInfo};

mod run;

/// Where a replay reads from.
#[derive(Clone)]
pub struct Sources {
    /// The hot end, and the listing of topics.
    pub hot: Arc<dyn HotSource>,
    /// What lies in the bucket; `None` without a tier.
    pub cold: Option<Arc<dyn ColdSource>>,
}

/// Counters of all replays, for metrics.
#[derive(Debug, Default)]
pub struct Stats {
    /// Replays that were started.
    pub started: AtomicU64,
    /// Replays that ended with an error line.
    pub failed: AtomicU64,
    /// Rows that were written.
    pub rows: AtomicU64,
    /// Bytes of lines that were written.
    pub bytes: AtomicU64,
}

/// Why a replay cannot begin or go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// There is no such topic.
    #[error("there is no topic {topic:?}{}", .nearest.as_ref().map(|near| format!(". Did you mean {near}?")).unwrap_or_default())]
    UnknownTopic {
        /// What was asked.
        topic: String,
        /// A topic with nearly this name.
        nearest: Option<String>,
    },
    /// The topic has fewer partitions.
    #[error("the topic has no partition {partition}: its partitions are numbered from 0 to {last}")]
    UnknownPartition {
        /// What was asked.
        partition: PartitionIndex,
        /// The highest number.
        last: i32,
    },
    /// The cursor belongs to a topic that was deleted; another one has its name now.
    #[error(
        "the cursor belongs to an older topic of this name: that one was deleted. Start a new replay without a cursor"
    )]
    OtherTopic,
    /// The cursor does not fit the request.
    #[error("the cursor does not fit: {0}. Use a cursor of a replay with the same parameters")]
    Cursor(&'static str),
    /// Records that should have come were deleted by retention meanwhile.
    #[error(
        "offsets {from} to {log_start} of partition {partition} were deleted by retention before they could be replayed. \
         To take what is left, go on with the cursor {partition}:{log_start}"
    )]
    Deleted {
        /// The partition.
        partition: PartitionIndex,
        /// The first offset that is missing.
        from: Offset,
        /// The first offset that is left.
        log_start: Offset,
    },
    /// A source failed.
    #[error("partition {partition} at offset {offset}: {error}")]
    Source {
        /// The partition.
        partition: PartitionIndex,
        /// Where the read began.
        offset: Offset,
        /// What the source says.
        error: SourceError,
    },
    /// A batch cannot be decoded.
    #[error("partition {partition}: the batch at offset {offset} is damaged: {error}")]
    Batch {
        /// The partition.
        partition: PartitionIndex,
        /// The first offset of the batch, or where the read began.
        offset: Offset,
        /// What is wrong with it.
        error: String,
    },
    /// The task of the replay ended without a word.
    #[error("the replay ended unexpectedly")]
    Lost,
}

impl ReplayError {
    /// The error as an answer, or as the last line of one; `cursor` is where to go on.
    #[must_use]
    pub fn problem(&self, cursor: Option<&Cursor>) -> Problem {
        let (status, kind, title) = match self {
            ReplayError::UnknownTopic { .. } => {
                (StatusCode::NOT_FOUND, "unknown-topic", "There is no topic of this name.")
            }
            ReplayError::UnknownPartition { .. } => {
                (StatusCode::NOT_FOUND, "unknown-partition", "The topic has no such partition.")
            }
            ReplayError::OtherTopic | ReplayError::Cursor(_) => {
                (StatusCode::CONFLICT, "cursor-does-not-fit", "The cursor does not belong to this replay.")
            }
            ReplayError::Deleted { .. } => (StatusCode::GONE, "deleted", "Records of the range were deleted."),
            ReplayError::Source { error: SourceError::Unknown, .. } => {
                (StatusCode::GONE, "topic-deleted", "The topic was deleted.")
            }
            ReplayError::Source { error: SourceError::Damaged(_), .. } | ReplayError::Batch { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, "damaged", "Stored data cannot be read.")
            }
            ReplayError::Source { .. } | ReplayError::Lost => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The replay was interrupted.")
            }
        };
        let mut detail = format!("{self}.");
        if status == StatusCode::SERVICE_UNAVAILABLE {
            detail.push_str(" Go on later with the same parameters and the last cursor.");
        }
        let problem = Problem::new(status, kind, title, detail);
        match cursor {
            Some(cursor) => problem.with("cursor", cursor.to_string()),
            None => problem,
        }
    }
}

/// One partition's part of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) partition: PartitionIndex,
    pub(crate) from: Offset,
    pub(crate) to: Offset,
}

/// A replay that is planned: everything that can be refused before the first line was refused.
pub struct Replay {
    sources: Sources,
    topic: TopicInfo,
    query: Query,
    parts: Vec<Part>,
    stats: Arc<Stats>,
}

impl Replay {
    /// Fixes the range.
    ///
    /// # Errors
    /// An unknown topic or partition, a cursor that does not fit, records that are gone, or a source that cannot tell the
    /// bounds now.
    pub async fn plan(sources: Sources, topic: &str, query: Query, stats: Arc<Stats>) -> Result<Replay, ReplayError> {
        let Some(topic) = sources.hot.topic(topic) else {
            let topics = sources.hot.topics();
            let near = nearest(topic, topics.iter().map(|known| known.name.as_str()));
            return Err(ReplayError::UnknownTopic { topic: topic.to_owned(), nearest: near.map(str::to_owned) });
        };
        let mut parts = Vec::new();
        for partition in selected(&topic, &query)? {
            parts.extend(part(&sources, &topic, &query, partition).await?);
        }
        if parts.is_empty() {
            return Err(ReplayError::Cursor("its ends name none of the partitions"));
        }
        Ok(Replay { sources, topic, query, parts, stats })
    }

    /// Starts the task that makes the lines. It ends when the lines are dropped. Needs a tokio runtime.
    #[must_use]
    pub fn lines(self) -> Lines {
        let (sender, receiver) = mpsc::channel(run::CHUNKS_WAITING);
        self.stats.started.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let gone = sender.clone();
            tokio::select! {
                () = gone.closed() => {}
                () = run::run(self, sender) => {}
            }
        });
        Lines { receiver, ended: false }
    }
}

/// What the task of a replay sends.
pub(crate) enum Item {
    Chunk(Bytes),
    Failed(ReplayError),
    Complete,
}

/// The lines of a replay as chunks: each holds whole lines.
pub struct Lines {
    receiver: mpsc::Receiver<Item>,
    ended: bool,
}

impl Lines {
    /// The next chunk; `None` after the last line of a complete replay. An error comes after the chunk with the error line.
    pub async fn next(&mut self) -> Option<Result<Bytes, ReplayError>> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    pub(crate) fn poll_next(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Bytes, ReplayError>>> {
        if self.ended {
            return std::task::Poll::Ready(None);
        }
        self.receiver.poll_recv(context).map(|item| match item {
            Some(Item::Chunk(chunk)) => Some(Ok(chunk)),
            Some(Item::Complete) => {
                self.ended = true;
                None
            }
            Some(Item::Failed(error)) => {
                self.ended = true;
                Some(Err(error))
            }
            // A task that ended without a word must not look like an end.
            None => {
                self.ended = true;
                Some(Err(ReplayError::Lost))
            }
        })
    }
}

/// The partitions that are asked and not done yet.
fn selected(topic: &TopicInfo, query: &Query) -> Result<Vec<PartitionIndex>, ReplayError> {
    let last = topic.partitions - 1;
    let cursor = query.cursor.as_ref();
    if cursor.and_then(|cursor| cursor.topic).is_some_and(|id| id != topic.id) {
        return Err(ReplayError::OtherTopic);
    }
    let named = query.partitions.iter().copied().chain(cursor.map(|cursor| cursor.partition));
    if let Some(partition) = named.into_iter().find(|partition| partition.0 > last) {
        return Err(ReplayError::UnknownPartition { partition, last });
    }
    let begin = cursor.map_or(PartitionIndex(0), |cursor| cursor.partition);
    let all = (0..=last).map(PartitionIndex);
    let wanted = |partition: &PartitionIndex| query.partitions.is_empty() || query.partitions.contains(partition);
    Ok(all.filter(|partition| *partition >= begin && wanted(partition)).collect())
}

/// The range of one partition; `None` when the cursor's replay did not hold it.
async fn part(
    sources: &Sources,
    topic: &TopicInfo,
    query: &Query,
    partition: PartitionIndex,
) -> Result<Option<Part>, ReplayError> {
    let place = TopicPartition { topic: topic.id, partition };
    let failed = |error| ReplayError::Source { partition, offset: Offset::ZERO, error };
    let bounds = sources.hot.bounds(place).await.map_err(failed)?;
    let mut to = bounds.high_watermark;
    let mut from = bounds.log_start.max(query.from_offset.unwrap_or(bounds.log_start));
    if let Some(cursor) = &query.cursor {
        if cursor.ends.is_some() {
            let Some(end) = cursor.end_of(partition) else { return Ok(None) };
            if end > bounds.high_watermark {
                let error = SourceError::Unavailable("the replay's end is beyond the high watermark now".to_owned());
                return Err(ReplayError::Source { partition, offset: end, error });
            }
            to = end;
        }
        if cursor.partition == partition {
            if cursor.offset < bounds.log_start && cursor.offset < to {
                let log_start = bounds.log_start;
                return Err(ReplayError::Deleted { partition, from: cursor.offset, log_start });
            }
            from = cursor.offset.max(query.from_offset.unwrap_or(Offset::ZERO));
        }
    }
    to = to.min(query.to_offset.unwrap_or(to));
    Ok(Some(Part { partition, from: from.min(to), to }))
}
