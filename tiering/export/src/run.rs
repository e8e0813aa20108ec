//! One range into one file: read, encode, intend, put, commit. Shared by the table of a topic and by single exports.
//!
//! Order: a new range is encoded first, so that its end is known; then it is intended (swap), put, and committed (swap). A
//! range that was intended before is encoded again and put under the name of its intent.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker_model::{Offset, PartitionIndex, TopicPartition};
use tiering_manifest::{Intent, ObjectKind, ObjectName, TableFile};
use tiering_store::Put;

use crate::ExportTopic;
use crate::error::ExportError;
use crate::exporter::{Progress, Stats};
use crate::file::{Border, Built, FileBuilder};
use crate::source::{RangeSource, SourceError};
use crate::table::{Clock, Table};

/// What one read asks of the source.
const READ_BYTES: usize = 4 << 20;
/// How often an intent gets a new id within one run, before that is an error.
const RENEWALS_MAX: usize = 3;

/// One run over one table.
pub(crate) struct Run<'a> {
    pub(crate) source: &'a dyn RangeSource,
    pub(crate) table: &'a mut Table,
    pub(crate) topic: &'a ExportTopic,
    pub(crate) stats: &'a Arc<Stats>,
    pub(crate) clock: Clock,
    pub(crate) progress: Progress,
}

impl Run<'_> {
    /// Carries out what was intended before.
    pub(crate) async fn redo(&mut self) -> Result<(), ExportError> {
        for intent in self.table.open_intents() {
            self.carry_out(intent, None).await?;
        }
        Ok(())
    }

    /// Exports the next file of a partition, from `base` on. Answers where it ends.
    pub(crate) async fn next_file(
        &mut self,
        partition: PartitionIndex,
        base: Offset,
        border: Border,
    ) -> Result<Offset, ExportError> {
        let built = self.build(partition, base, border).await?;
        let deadline = Table::deadline(self.clock);
        let draft = self.table.draft()?.intend(partition, base, built.end, deadline)?;
        let intent = draft.root().intents.last().copied();
        self.table.swap(draft).await?;
        let end = built.end;
        if let Some(intent) = intent {
            self.carry_out(intent, Some(built)).await?;
        }
        Ok(end)
    }

    async fn carry_out(&mut self, intent: Intent, built: Option<Built>) -> Result<(), ExportError> {
        let built = match built {
            Some(built) => built,
            None => self.build(intent.partition, intent.base, Border::Fixed(intent.end)).await?,
        };
        let mut intent = intent;
        let mut files = Vec::new();
        if built.rows > 0 {
            let mut renewals = 0;
            let name = loop {
                let name = ObjectName::new(ObjectKind::Table, intent.id, &intent.writer);
                if Table::may_put(&intent, self.clock) && self.table.put(&name, &built.bytes).await? == Put::Stored {
                    break name;
                }
                // The name is taken, or too old to be used: the range gets another.
                renewals += 1;
                if renewals > RENEWALS_MAX {
                    let detail = "the names of its intents are taken";
                    return Err(ExportError::Stranger { key: self.table.key(), detail });
                }
                intent = self.renew(intent).await?;
            };
            files.push(TableFile {
                name,
                partition: intent.partition,
                base: intent.base,
                end: intent.end,
                rows: built.rows,
                bytes: built.bytes.len() as u64,
                min_timestamp: built.min_timestamp,
                max_timestamp: built.max_timestamp,
            });
        }
        let draft = self.table.draft()?.commit(intent.id, &files)?;
        self.table.swap(draft).await?;
        self.count(&built, files.len());
        Ok(())
    }

    /// The same range under a new id. Its place among the partition's intents stays.
    async fn renew(&mut self, intent: Intent) -> Result<Intent, ExportError> {
        let next_id = self.table.root().map(|root| root.next_id);
        self.table.renew(&intent, self.clock).await?;
        let renewed = next_id.and_then(|id| self.table.intent(id));
        renewed.ok_or_else(|| ExportError::Stranger { key: self.table.key(), detail: "an intent went missing" })
    }

    fn count(&mut self, built: &Built, files: usize) {
        let bytes = built.bytes.len() as u64;
        self.progress.files += files as u64;
        self.progress.rows += built.rows;
        self.progress.bytes += bytes;
        self.stats.files.fetch_add(files as u64, Ordering::Relaxed);
        self.stats.rows.fetch_add(built.rows, Ordering::Relaxed);
        self.stats.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Reads and encodes; the encoding runs on a blocking thread.
    async fn build(&mut self, partition: PartitionIndex, base: Offset, border: Border) -> Result<Built, ExportError> {
        let place = TopicPartition { topic: self.topic.id, partition };
        let mut builder = FileBuilder::new(self.topic, place, base, border)?;
        while !builder.is_full() {
            let offset = builder.position();
            let slice = match self.source.read(place, offset, READ_BYTES).await {
                Ok(slice) => slice,
                Err(SourceError::Deleted { log_start }) if log_start > offset => {
                    // Retention was faster than the export. What is gone cannot be exported; it is counted.
                    tracing::warn!(topic = %self.topic.name, %partition, %offset, %log_start, "offsets were deleted unexported");
                    builder.skip_to(log_start);
                    let lost = builder.position().0.saturating_sub(offset.0);
                    self.stats.lost.fetch_add(u64::try_from(lost).unwrap_or(0), Ordering::Relaxed);
                    continue;
                }
                Err(error) => return Err(ExportError::Source { partition, offset, error }),
            };
            builder = blocking(move || {
                builder.push(&slice)?;
                Ok(builder)
            })
            .await?;
            if builder.position() <= offset {
                let error = SourceError::Damaged("the read did not move on".to_owned());
                return Err(ExportError::Source { partition, offset, error });
            }
        }
        blocking(move || builder.finish()).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ExportError> + Send + 'static,
) -> Result<T, ExportError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(ExportError::ShuttingDown),
    }
}
