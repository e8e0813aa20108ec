//! Consumer lag: how far each group is behind, for `/metrics`.
//!
//! A task asks the coordinators that run for what is committed, every few seconds, and keeps the answer; a scrape reads it.
//! A group whose coordinator was not asked since the start has no lag here: it has no members either. Rows are bounded.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use broker_group::request::{FetchOffsets, FetchedGroup, ListedGroup};
use broker_group::{Output, Request};
use broker_model::{Offset, PartitionIndex};
use gateway_http::Family;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::topics::TopicTable;

const PERIOD: Duration = Duration::from_secs(5);
/// Rows that are kept: labels cost memory where they are scraped.
const ROWS_MAX: usize = 10_000;

/// How far one group is behind in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    group: String,
    topic: Arc<str>,
    partition: PartitionIndex,
    /// Committed records that the group has not committed as read.
    records: i64,
}

/// The lag of all groups, as of the last round.
#[derive(Debug, Default)]
pub struct Lags {
    rows: ArcSwap<Vec<Lag>>,
}

impl Lags {
    /// The metric.
    #[must_use]
    pub fn family(&self) -> Family {
        let mut family = Family::gauge("strata_group_lag", "Records that a group has not committed as read.");
        for lag in self.rows.load().iter() {
            let partition = lag.partition.to_string();
            let labels = [("group", lag.group.as_str()), ("topic", &lag.topic), ("partition", partition.as_str())];
            family.push(&labels, lag.records as f64);
        }
        family
    }
}

/// Asks every few seconds until `stop`.
pub async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = stop.cancelled() => return,
        }
        let mut rows = Vec::new();
        for handle in broker.groups.running() {
            let Ok(Output::Listed(groups)) = handle.ask(Request::List).answer().await else { continue };
            let all = |group: ListedGroup| FetchOffsets { group: group.group, topics: None };
            let wanted = groups.into_iter().map(all).collect();
            let Ok(Output::Fetched(groups)) = handle.ask(Request::FetchOffsets(wanted)).answer().await else {
                continue;
            };
            let topics = broker.topics.load();
            rows.extend(groups.into_iter().flat_map(|group| lags_of(&topics, group)));
        }
        rows.truncate(ROWS_MAX);
        broker.lags.rows.store(Arc::new(rows));
    }
}

/// How many records lie between. A client may commit whatever it likes: what is below the log's first offset counts as that.
fn behind(high_watermark: Offset, committed: Offset) -> i64 {
    (high_watermark.0 - committed.0.max(0)).max(0)
}

fn lags_of(topics: &TopicTable, group: FetchedGroup) -> Vec<Lag> {
    let mut rows = Vec::new();
    for (name, partitions) in group.topics {
        let Some(topic) = topics.by_name(&name) else { continue };
        for (index, committed) in partitions {
            let Some(partition) = topic.partition(index).filter(|partition| partition.is_open()) else { continue };
            let records = behind(partition.ends().high_watermark, committed.offset);
            rows.push(Lag { group: group.group.clone(), topic: topic.name.clone(), partition: index, records });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_may_be_anything() {
        for (committed, records) in [(7, 3), (10, 0), (11, 0), (0, 10), (-1, 10), (i64::MIN, 10), (i64::MAX, 0)] {
            assert_eq!(behind(Offset(10), Offset(committed)), records, "{committed}");
        }
    }
}
