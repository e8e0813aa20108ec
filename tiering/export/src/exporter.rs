//! Continuous export: one run looks at a topic's partitions and brings its table up to date.
//!
//! The caller decides when to run; a run decides what is due: a partition whose oldest unexported offset was first seen an
//! interval ago is exported up to the end of what is shipped, in files of bounded size. An error stops the run; what was
//! intended is carried out by the next one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use broker_model::{Offset, PartitionIndex, Timestamp, TopicId, TopicPartition};
use tiering_manifest::{TableRoot, Writer, keys};
use tiering_store::Store;

use crate::ExportTopic;
use crate::error::ExportError;
use crate::file::Border;
use crate::run::Run;
use crate::source::RangeSource;
use crate::table::{Clock, Table};

/// The knobs of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// A file ends after the batch that brings its records to this many bytes, before compression.
    pub file_bytes_max: usize,
    /// How long shipped records wait, so that files do not become small. 0 exports at once.
    pub interval_ms: i64,
}

impl Default for Options {
    fn default() -> Options {
        Options { file_bytes_max: 128 << 20, interval_ms: 60_000 }
    }
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files that were committed.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Offsets that are shipped and not exported after the run.
    pub lag_offsets: u64,
}

/// Counters for metrics.
#[derive(Debug, Default)]
pub struct Stats {
    /// Files that were committed.
    pub files: AtomicU64,
    /// Rows in them.
    pub rows: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Offsets that retention deleted before they were exported.
    pub lost: AtomicU64,
    /// Runs that ended with an error.
    pub failures: AtomicU64,
}

/// Exports topics into their tables, as one writer.
pub struct Exporter {
    store: Store,
    source: Arc<dyn RangeSource>,
    writer: Writer,
    options: Options,
    tables: BTreeMap<TopicId, Table>,
    /// When an offset that is not exported was first seen at this place.
    waiting: BTreeMap<TopicPartition, (Offset, Timestamp)>,
    stats: Arc<Stats>,
}

impl Exporter {
    /// An exporter that swaps table roots as `writer`. A later process needs a writer that supersedes this one.
    #[must_use]
    pub fn new(store: Store, source: Arc<dyn RangeSource>, writer: Writer, options: Options) -> Exporter {
        let (tables, waiting) = (BTreeMap::new(), BTreeMap::new());
        Exporter { store, source, writer, options, tables, waiting, stats: Arc::default() }
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// The table root as this exporter knows it.
    #[must_use]
    pub fn root(&self, topic: TopicId) -> Option<&TableRoot> {
        self.tables.get(&topic).and_then(Table::root)
    }

    /// Forgets a topic that is no longer exported.
    pub fn forget(&mut self, topic: TopicId) {
        self.tables.remove(&topic);
        self.waiting.retain(|place, _| place.topic != topic);
    }

    /// Exports what is due of these partitions. May be dropped at any await: nothing is doubled or lost.
    ///
    /// # Errors
    /// See [`ExportError::kind`]: run again, or stop.
    pub async fn run_once(
        &mut self,
        topic: &ExportTopic,
        partitions: &[PartitionIndex],
        now: Timestamp,
    ) -> Result<Progress, ExportError> {
        let done = self.run(topic, partitions, now).await;
        if done.is_err() {
            self.stats.failures.fetch_add(1, Ordering::Relaxed);
        }
        done
    }

    async fn run(
        &mut self,
        topic: &ExportTopic,
        partitions: &[PartitionIndex],
        now: Timestamp,
    ) -> Result<Progress, ExportError> {
        if !self.tables.contains_key(&topic.id) {
            let prefix = keys::table_prefix(&topic.name, &topic.id)?;
            self.tables.insert(topic.id, Table::new(self.store.clone(), prefix, topic.id, self.writer));
        }
        let table = self.tables.get_mut(&topic.id).expect("the table was just put there");
        let clock = Clock::starting(now);
        table.open(clock).await?;
        table.tidy(clock).await?;
        let (source, stats) = (&*self.source, &self.stats);
        let mut run = Run { source, table, topic, stats, clock, progress: Progress::default() };
        run.redo().await?;
        let mut lag = 0;
        for partition in partitions {
            let place = TopicPartition { topic: topic.id, partition: *partition };
            lag += partition_up(&mut run, &mut self.waiting, self.options, place).await?;
        }
        Ok(Progress { lag_offsets: lag, ..run.progress })
    }
}

/// Exports a partition up to what is shipped, when that is due. Answers how many offsets are left.
async fn partition_up(
    run: &mut Run<'_>,
    waiting: &mut BTreeMap<TopicPartition, (Offset, Timestamp)>,
    options: Options,
    place: TopicPartition,
) -> Result<u64, ExportError> {
    let partition = place.partition;
    let bounds = run.source.bounds(place).await;
    let bounds = bounds.map_err(|error| ExportError::Source { partition, offset: Offset::ZERO, error })?;
    let Some(bounds) = bounds else { return Ok(0) };
    let known = run.table.root().and_then(|root| root.partitions.get(&partition));
    let mut next = known.map_or(bounds.start, |known| known.next);
    if next >= bounds.end {
        waiting.remove(&place);
        return Ok(0);
    }
    let now = run.clock.now();
    let (seen, since) = waiting.get(&place).copied().unwrap_or((next, now));
    let since = if seen == next { since } else { now };
    waiting.insert(place, (next, since));
    if since.plus_ms(options.interval_ms) > now {
        return Ok(u64::try_from(bounds.end.0 - next.0).unwrap_or(0));
    }
    while next < bounds.end {
        next = run.next_file(partition, next, Border::About(options.file_bytes_max, bounds.end)).await?;
    }
    waiting.remove(&place);
    Ok(0)
}
