//! Single exports: given ranges of a topic into `exports/<export-id>/`, never into the topic's table.
//!
//! The directory has a table root of its own, with the same protocol: an export that was interrupted goes on where it
//! stopped when it is asked again under the same id, and its files are those that the root names.

use std::sync::Arc;

use broker_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp};
use tiering_manifest::keys::{self, TABLE_FILE};
use tiering_manifest::{Generation, TableRoot, Writer};
use tiering_store::{Class, Store};

use crate::ExportTopic;
use crate::error::ExportError;
use crate::exporter::{Options, Progress, Stats};
use crate::file::Border;
use crate::run::Run;
use crate::source::RangeSource;
use crate::table::{Clock, Table};

/// Offsets of one partition; `to` is exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The partition.
    pub partition: PartitionIndex,
    /// The first offset.
    pub from: Offset,
    /// The offset after the last.
    pub to: Offset,
}

/// What to export.
#[derive(Clone, Debug)]
pub struct RangeExport {
    /// The export's id: 1 to 64 letters, digits, `_` or `-`. Asked again, it goes on.
    pub id: String,
    /// The topic.
    pub topic: ExportTopic,
    /// The ranges; each partition at most once. They lie in the bucket.
    pub ranges: Vec<Range>,
    /// The generation of the cluster.
    pub generation: Generation,
    /// A random number of this attempt.
    pub nonce: u64,
}

/// Exports the ranges, and answers the root that names the files, relative to `exports/<export-id>/`.
///
/// # Errors
/// See [`ExportError::kind`]. [`ExportError::Stranger`] where the id was used for something else.
pub async fn export_range(
    store: &Store,
    source: &dyn RangeSource,
    request: &RangeExport,
    options: Options,
    now: Timestamp,
) -> Result<Option<TableRoot>, ExportError> {
    let prefix = keys::export_prefix(&request.id)?;
    let root_key = format!("{prefix}{TABLE_FILE}");
    let epoch = match store.load(&root_key, Class::Background).await? {
        Some(found) => {
            let root = TableRoot::decode(&found.bytes)?;
            fits(&root, request).map_err(|detail| ExportError::Stranger { key: root_key, detail })?;
            LeaderEpoch(root.writer.epoch.0.saturating_add(1))
        }
        None => LeaderEpoch(0),
    };
    let writer = Writer { generation: request.generation, epoch, nonce: request.nonce };
    let mut table = Table::new(store.clone(), prefix, request.topic.id, writer);
    let clock = Clock::starting(now);
    table.open(clock).await?;
    table.tidy(clock).await?;
    let stats = Arc::new(Stats::default());
    let (topic, progress) = (&request.topic, Progress::default());
    let mut run = Run { source, table: &mut table, topic, stats: &stats, clock, progress };
    run.redo().await?;
    for range in &request.ranges {
        let known = run.table.root().and_then(|root| root.partitions.get(&range.partition));
        let mut next = known.map_or(range.from, |known| known.next);
        while next < range.to {
            let border = Border::About(options.file_bytes_max, range.to);
            next = run.next_file(range.partition, next, border).await?;
        }
    }
    Ok(table.root().cloned())
}

fn fits(root: &TableRoot, request: &RangeExport) -> Result<(), &'static str> {
    if root.topic != request.topic.id {
        return Err("the id was used for another topic");
    }
    let same = root.partitions.iter().all(|(partition, known)| {
        let asked = request.ranges.iter().find(|range| range.partition == *partition);
        asked.is_some_and(|range| range.from == known.start && known.next <= range.to)
    });
    if same { Ok(()) } else { Err("the id was used for other ranges") }
}
