//! Work that no request asks for: retention, checkpoints, timed flushes.
//!
//! One task; every round looks at all partitions on a blocking thread. A round that finds nothing to do costs a walk over
//! the topic table.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::clock;
use crate::settings::LogSettings;
use crate::topics::TopicTable;

/// What housekeeping works on.
#[derive(Clone)]
pub struct House {
    /// The topics now.
    pub topics: Arc<ArcSwap<TopicTable>>,
    /// Writes recovery points and log starts to the directory.
    pub checkpoint: Arc<dyn Fn() + Send + Sync>,
}

/// Runs until `stop`.
pub async fn run(house: House, settings: LogSettings, stop: CancellationToken) {
    let mut retention = every(settings.retention_check_ms);
    let mut checkpoint = every(settings.checkpoint_ms);
    let mut flush = every(settings.flush_check_ms);
    loop {
        let round: fn(&House) = tokio::select! {
            _ = retention.tick() => |house| retain(house),
            _ = checkpoint.tick() => |house| (house.checkpoint)(),
            _ = flush.tick() => |house| flush_due(house),
            () = stop.cancelled() => return,
        };
        let house = house.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || round(&house)).await {
            warn!(%error, "a round of housekeeping failed");
        }
    }
}

/// Ticks every so many milliseconds, the first time after one period. An endless period is a year.
fn every(ms: i64) -> tokio::time::Interval {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    let period = Duration::from_millis(u64::try_from(ms.max(1)).unwrap_or(u64::MAX)).min(YEAR);
    let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}

fn retain(house: &House) {
    for topic in house.topics.load().iter() {
        for partition in topic.partitions() {
            // An error stands in the log already: it was met where the log was opened.
            let _ = partition.retain(clock::now());
            partition.tidy(clock::now());
        }
    }
}

fn flush_due(house: &House) {
    for topic in house.topics.load().iter().filter(|topic| topic.config.flush_ms < i64::MAX) {
        topic.partitions().for_each(|partition| partition.flush());
    }
}
