//! Work that no request asks for: retention, checkpoints, timed flushes.
//!
//! One task. Rounds run on a blocking thread; the one that looks at every partition goes on in small parts with pauses
//! between them, so that ten thousand partitions are no burst.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::clock;
use crate::replica::Partition;
use crate::settings::LogSettings;
use crate::topics::TopicTable;

/// Partitions that are looked at without a pause.
const PART: usize = 128;
/// Between two parts of a round.
const PAUSE: Duration = Duration::from_millis(20);

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
        tokio::select! {
            _ = retention.tick() => retain(&house, &stop).await,
            _ = checkpoint.tick() => blocking(&house, keep_up).await,
            _ = flush.tick() => blocking(&house, flush_due).await,
            () = stop.cancelled() => return,
        }
    }
}

async fn blocking(house: &House, round: fn(&House)) {
    let house = house.clone();
    if let Err(error) = tokio::task::spawn_blocking(move || round(&house)).await {
        warn!(%error, "a round of housekeeping failed");
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

async fn retain(house: &House, stop: &CancellationToken) {
    let topics = house.topics.load_full();
    let partitions: Vec<Arc<Partition>> = topics.iter().flat_map(|topic| topic.partitions()).cloned().collect();
    for part in partitions.chunks(PART) {
        let part = part.to_vec();
        if let Err(error) =
            tokio::task::spawn_blocking(move || part.iter().for_each(|partition| look_at(partition))).await
        {
            warn!(%error, "retention failed");
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn look_at(partition: &Partition) {
    // An error stands in the log already: it was met where the log was opened.
    let _ = partition.retain(clock::now());
    partition.tidy(clock::now());
}

fn keep_up(house: &House) {
    for topic in house.topics.load().iter() {
        topic.partitions().for_each(|partition| partition.keep_up(clock::now()));
    }
    (house.checkpoint)();
}

fn flush_due(house: &House) {
    for topic in house.topics.load().iter().filter(|topic| topic.config.flush_ms < i64::MAX) {
        topic.partitions().filter(|partition| partition.is_open()).for_each(Partition::ask_for_sync);
    }
}
