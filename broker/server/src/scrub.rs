//! Reads local logs over again, slowly, and repairs what rotted.
//!
//! One task on the runtime for cold work goes from partition to partition and checks each batch, within a budget of bytes
//! a second (`strata.log.scrub.bytes.per.second`). What does not verify is marked: clients get KAFKA_STORAGE_ERROR there,
//! the rest serves, and it is not shipped. What the bucket has of it is written anew in place; what it has not stays
//! marked, and is tried again each round.
//!
//! A log that nobody used yet is opened for it, one at a time and with a rest after it, and only if it has files. Between
//! two rounds is a pause, so that little data is not read without end.
//!
//! Start reading at [`run`].

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use broker_log::{AppendError, ScrubCursor, Scrubbed};
use broker_model::{ErrorCode, Offset, TopicPartition};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::broker::Broker;
use crate::replica::Partition;

/// Read in one step at most.
const STEP_BYTES_MAX: u64 = 1 << 20;
/// Read from the bucket at once to repair.
const HEAL_BYTES: usize = 1 << 20;
/// After opening a log that nobody used, which costs memory as long as the process lives.
const OPEN_REST: Duration = Duration::from_secs(10);
/// How long the bucket may take; the next round asks again.
const COLD_WAIT: Duration = Duration::from_secs(60);
/// What is owed to the budget is waited for when it is so much: timers are no finer.
const OWED_MIN: Duration = Duration::from_millis(10);
/// The pause between two rounds, and how it follows from what a round took.
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(600);
const PAUSE_FACTOR: u32 = 20;
/// Damage that is remembered as told.
const TOLD_MAX: usize = 1000;

/// Runs until `stop`; not at all with a budget of 0 bytes a second.
pub async fn run(broker: Arc<Broker>, bytes_per_second: u64, stop: CancellationToken) {
    if bytes_per_second == 0 {
        return;
    }
    let (buffer, owed, told) = Default::default();
    let mut scrubber = Scrubber { broker, bytes_per_second, buffer, owed, told };
    let rounds = async {
        loop {
            let begun = Instant::now();
            scrubber.round().await;
            sleep(pause_after(begun.elapsed())).await;
        }
    };
    tokio::select! { () = rounds => {}, () = stop.cancelled() => {} }
}

fn pause_after(took: Duration) -> Duration {
    took.saturating_mul(PAUSE_FACTOR).clamp(PAUSE_MIN, PAUSE_MAX)
}

struct Scrubber {
    broker: Arc<Broker>,
    bytes_per_second: u64,
    /// Memory of the steps, used again.
    buffer: Vec<u8>,
    /// What was read and not yet waited for.
    owed: Duration,
    /// Damage of which was said that it cannot be healed.
    told: BTreeSet<(TopicPartition, Offset)>,
}

/// A step of one partition failed; the next round begins anew.
enum Failed {
    /// The log cannot be read, which is told where logs are opened and read.
    Log,
    /// It ended with the program.
    Join,
}

impl From<ErrorCode> for Failed {
    fn from(_: ErrorCode) -> Failed {
        Failed::Log
    }
}

impl From<JoinError> for Failed {
    fn from(_: JoinError) -> Failed {
        Failed::Join
    }
}

impl Scrubber {
    async fn round(&mut self) {
        // Only names are held: a round may take days, and topics go meanwhile.
        let topics = self.broker.topics.load_full();
        let ids: Vec<_> = topics.iter().flat_map(|topic| topic.partitions()).map(|partition| partition.id).collect();
        drop(topics);
        for id in ids {
            let topic = self.broker.topics.load().by_id(id.topic).cloned();
            let Some(partition) = topic.and_then(|topic| topic.partition(id.partition).cloned()) else { continue };
            match self.partition(&partition).await {
                Ok(()) | Err(Failed::Log) => {}
                Err(Failed::Join) => return,
            }
        }
        // Nothing of it is needed until the next round.
        self.buffer = Vec::new();
    }

    async fn partition(&mut self, partition: &Arc<Partition>) -> Result<(), Failed> {
        if !partition.is_open() && !self.open(partition).await? {
            return Ok(());
        }
        let mut cursor = Some(ScrubCursor::default());
        while let Some(at) = cursor {
            let (partition, mut buffer) = (partition.clone(), std::mem::take(&mut self.buffer));
            let bytes_max = (self.bytes_per_second / 4).clamp(1, STEP_BYTES_MAX);
            let (done, buffer) = spawn_blocking(move || {
                let done = step(&partition, at, bytes_max, &mut buffer);
                (done, buffer)
            })
            .await?;
            self.buffer = buffer;
            let (scrubbed, marked) = done?;
            self.broker.metrics.scrubbed_bytes.add(scrubbed.bytes);
            self.broker.metrics.scrub_damaged.add(marked);
            cursor = scrubbed.cursor;
            self.wait(scrubbed.bytes).await;
        }
        for (from, to) in partition.reader()?.damaged() {
            self.heal(partition, from, to).await?;
        }
        Ok(())
    }

    /// Opens a log that has files. False where there is nothing to look at.
    async fn open(&self, partition: &Arc<Partition>) -> Result<bool, Failed> {
        let opened = partition.clone();
        let has_files = spawn_blocking(move || {
            let has_files = opened.disk().root().join(opened.directory()).is_dir();
            has_files && opened.reader().is_ok()
        })
        .await?;
        if has_files {
            sleep(OPEN_REST).await;
        }
        Ok(has_files)
    }

    async fn wait(&mut self, bytes: u64) {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        self.owed += Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        if self.owed >= OWED_MIN {
            sleep(std::mem::take(&mut self.owed)).await;
        }
    }

    /// Writes what the bucket has of the damage in its place.
    async fn heal(&mut self, partition: &Arc<Partition>, from: Offset, to: Offset) -> Result<(), Failed> {
        let end = partition.tiered_end().map_or(from, |end| end.min(to));
        let mut next = from;
        while next < end && !self.told.contains(&(partition.id, next)) {
            let chunks = match timeout(COLD_WAIT, partition.read_cold(next, HEAL_BYTES)).await {
                Ok(Ok(chunks)) => chunks,
                Ok(Err(ErrorCode::KafkaStorageError)) => {
                    self.tell(partition, next, &"the bucket's copy is damaged too");
                    return Ok(());
                }
                // The store does not answer now.
                Ok(Err(_)) | Err(_) => return Ok(()),
            };
            let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
            let log = partition.shared_log()?;
            let at = next;
            match spawn_blocking(move || log.lock().heal(at, &chunks)).await? {
                Ok(healed) => next = healed,
                Err(error @ AppendError::Invalid(_)) => {
                    self.tell(partition, next, &error);
                    return Ok(());
                }
                // The disk is full or fails, which is told where it is met.
                Err(_) => return Ok(()),
            }
            self.wait(bytes).await;
        }
        if next == to && from < to {
            self.broker.metrics.scrub_healed.add(1);
        }
        Ok(())
    }

    /// Says once that damage stays, and tries no more while this process lives.
    fn tell(&mut self, partition: &Partition, at: Offset, error: &dyn Display) {
        if self.told.len() >= TOLD_MAX {
            self.told.clear();
        }
        if self.told.insert((partition.id, at)) {
            warn!(%partition, %at, %error, "damaged records cannot be healed from the bucket");
        }
    }
}

/// Checks a stretch and marks what does not verify. Gives what was checked, and how many ranges are marked now.
fn step(
    partition: &Partition,
    at: ScrubCursor,
    bytes_max: u64,
    buffer: &mut Vec<u8>,
) -> Result<(Scrubbed, u64), Failed> {
    let scrubbed = partition.reader()?.scrub(at, bytes_max, buffer).map_err(|_error| Failed::Log)?;
    let mut marked = 0;
    for suspect in &scrubbed.suspects {
        let log = partition.shared_log()?;
        let is_marked = log.lock().mark_damaged(suspect);
        match is_marked {
            Ok(is_marked) => marked += u64::from(is_marked),
            Err(error) => warn!(%partition, %error, "damaged records cannot be marked"),
        }
    }
    Ok((scrubbed, marked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_follows_the_round_within_bounds() {
        for (took_ms, pause_ms) in [(0, 5_000), (20, 5_000), (1_000, 20_000), (3_600_000, 600_000)] {
            assert_eq!(pause_after(Duration::from_millis(took_ms)), Duration::from_millis(pause_ms));
        }
    }
}
