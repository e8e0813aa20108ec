//! One Parquet file in the making, in memory.
//!
//! The same records give the same bytes, however they were cut into reads: row groups and pages follow from rows and bytes
//! of records alone, and nothing of the time or the machine is written. An attempt whose PUT is in doubt can therefore be
//! made again.
//!
//! zstd; row groups of up to 128 Ki rows or 64 MiB of records; statistics by page and chunk on `_partition`, `_offset` and
//! `_timestamp`, by chunk on `key`; the rows are sorted by partition and offset.

use arrow::error::ArrowError;
use broker_model::limits::DECOMPRESSED_BATCH_BYTES_MAX;
use broker_model::{Offset, Timestamp, TopicPartition};
use broker_records::{BatchError, BatchHead, batches, decode, verify};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::ExportTopic;
use crate::columns::{Rows, schema};
use crate::error::ExportError;
use crate::source::RangeSlice;

/// Rows of a row group.
const GROUP_ROWS_MAX: usize = 128 << 10;
/// Bytes of records in a row group.
const GROUP_BYTES_MAX: usize = 64 << 20;
/// Rows of an Arrow batch.
const BATCH_ROWS_MAX: usize = 8 << 10;
/// Bytes of records in an Arrow batch.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// The version of the columns and of the file's metadata.
const RAW_FORMAT: &str = "1";

/// Where a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Border {
    /// Exactly here: the range was fixed before.
    Fixed(Offset),
    /// After the batch that brings the records to this many bytes, and here at the latest.
    About(usize, Offset),
}

/// A finished file.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    /// The bytes; empty without rows.
    pub(crate) bytes: Bytes,
    pub(crate) rows: u64,
    /// The offset after the range.
    pub(crate) end: Offset,
    pub(crate) min_timestamp: Timestamp,
    pub(crate) max_timestamp: Timestamp,
}

pub(crate) struct FileBuilder {
    writer: ArrowWriter<Vec<u8>>,
    waiting: Rows,
    place: TopicPartition,
    position: Offset,
    border: Border,
    /// Bytes of records so far.
    bytes: usize,
    /// Rows and bytes of the row group in the making.
    group: (usize, usize),
    rows: u64,
    timestamps: Option<(Timestamp, Timestamp)>,
}

impl FileBuilder {
    /// A file of a partition's records from `base` on.
    pub(crate) fn new(
        topic: &ExportTopic,
        place: TopicPartition,
        base: Offset,
        border: Border,
    ) -> Result<FileBuilder, ExportError> {
        let options = ArrowWriterOptions::new().with_properties(properties()?).with_skip_arrow_metadata(true);
        let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema(), options).map_err(parquet_failed)?;
        for (key, value) in [
            ("strata.format", RAW_FORMAT.to_owned()),
            ("strata.mode", "raw".to_owned()),
            ("strata.topic", topic.name.clone()),
            ("strata.topic.id", topic.id.to_string()),
            ("strata.partition", place.partition.to_string()),
            ("strata.offset.base", base.to_string()),
        ] {
            writer.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
        }
        Ok(FileBuilder {
            writer,
            waiting: Rows::new(),
            place,
            position: base,
            border,
            bytes: 0,
            group: (0, 0),
            rows: 0,
            timestamps: None,
        })
    }

    /// The next offset that is not in the file.
    pub(crate) fn position(&self) -> Offset {
        self.position
    }

    /// Goes over offsets that are no more.
    pub(crate) fn skip_to(&mut self, offset: Offset) {
        self.position = self.position.max(offset.min(self.limit()));
    }

    /// True when the file has what it shall have.
    pub(crate) fn is_full(&self) -> bool {
        let heavy = matches!(self.border, Border::About(bytes, _) if self.bytes >= bytes);
        heavy || self.position >= self.limit()
    }

    fn limit(&self) -> Offset {
        match self.border {
            Border::Fixed(end) | Border::About(_, end) => end,
        }
    }

    /// Adds what the slice has for this file.
    pub(crate) fn push(&mut self, slice: &RangeSlice) -> Result<(), ExportError> {
        for bytes in &slice.batches {
            for found in batches(bytes) {
                let (head, batch) = found.map_err(|error| self.damaged(self.position, error))?;
                if head.last_offset() < self.position {
                    continue;
                }
                if self.is_full() || head.base_offset >= self.limit() {
                    self.skip_to(head.base_offset);
                    return Ok(());
                }
                self.batch(&head, batch, slice).map_err(|stop| match stop {
                    Stop::Batch(error) => self.damaged(head.base_offset, error),
                    Stop::Encode(error) => error,
                })?;
                self.skip_to(head.next_offset());
            }
        }
        if !self.is_full() {
            self.skip_to(slice.next);
        }
        Ok(())
    }

    fn batch(&mut self, head: &BatchHead, batch: &[u8], slice: &RangeSlice) -> Result<(), Stop> {
        let aborted = head.is_transactional()
            && slice.aborted.iter().any(|aborted| {
                aborted.producer == head.producer_id && (aborted.first..=aborted.last).contains(&head.base_offset)
            });
        if head.is_control() || aborted {
            verify(batch)?;
            return Ok(());
        }
        let decoded = decode(batch, DECOMPRESSED_BATCH_BYTES_MAX)?;
        for record in decoded.records() {
            let record = record?;
            if record.offset < self.position || record.offset >= self.limit() {
                continue;
            }
            let bytes = self.waiting.push(self.place.partition, &record)?;
            self.bytes += bytes;
            self.rows += 1;
            if record.timestamp != Timestamp::NONE {
                let (min, max) = self.timestamps.unwrap_or((record.timestamp, record.timestamp));
                self.timestamps = Some((min.min(record.timestamp), max.max(record.timestamp)));
            }
            if self.waiting.len() >= BATCH_ROWS_MAX || self.waiting.bytes() >= BATCH_BYTES_MAX {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ExportError> {
        if self.waiting.len() == 0 {
            return Ok(());
        }
        self.group.0 += self.waiting.len();
        self.group.1 += self.waiting.bytes();
        let batch = self.waiting.take().map_err(arrow_failed)?;
        self.writer.write(&batch).map_err(parquet_failed)?;
        if self.group.0 >= GROUP_ROWS_MAX || self.group.1 >= GROUP_BYTES_MAX {
            self.writer.flush().map_err(parquet_failed)?;
            self.group = (0, 0);
        }
        Ok(())
    }

    /// The file; without rows there are no bytes.
    pub(crate) fn finish(mut self) -> Result<Built, ExportError> {
        self.flush()?;
        let end = self.position;
        let (min_timestamp, max_timestamp) = self.timestamps.unwrap_or((Timestamp::NONE, Timestamp::NONE));
        let mut built = Built { bytes: Bytes::new(), rows: self.rows, end, min_timestamp, max_timestamp };
        if self.rows > 0 {
            let last = KeyValue::new("strata.offset.end".to_owned(), end.to_string());
            self.writer.append_key_value_metadata(last);
            built.bytes = Bytes::from(self.writer.into_inner().map_err(parquet_failed)?);
        }
        Ok(built)
    }

    fn damaged(&self, offset: Offset, error: BatchError) -> ExportError {
        ExportError::Batch { partition: self.place.partition, offset, error }
    }
}

enum Stop {
    Batch(BatchError),
    Encode(ExportError),
}

impl From<BatchError> for Stop {
    fn from(error: BatchError) -> Stop {
        Stop::Batch(error)
    }
}

impl From<ExportError> for Stop {
    fn from(error: ExportError) -> Stop {
        Stop::Encode(error)
    }
}

fn properties() -> Result<WriterProperties, ExportError> {
    let column = |name: &str| ColumnPath::from(name);
    let level = ZstdLevel::try_new(3).map_err(parquet_failed)?;
    let sorted = |column_idx| SortingColumn { column_idx, descending: false, nulls_first: false };
    Ok(WriterProperties::builder()
        .set_created_by(format!("strata version {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_column_statistics_enabled(column("key"), EnabledStatistics::Chunk)
        .set_column_statistics_enabled(column("value"), EnabledStatistics::None)
        .set_column_dictionary_enabled(column("value"), false)
        .set_column_dictionary_enabled(column("_offset"), false)
        .set_column_dictionary_enabled(column("_timestamp"), false)
        .set_column_encoding(column("_offset"), Encoding::DELTA_BINARY_PACKED)
        .set_column_encoding(column("_timestamp"), Encoding::DELTA_BINARY_PACKED)
        .set_sorting_columns(Some(vec![sorted(0), sorted(1)]))
        // The builder above decides: the writer's own borders lie beyond.
        .set_max_row_group_row_count(Some(2 * GROUP_ROWS_MAX))
        .build())
}

fn parquet_failed(error: ParquetError) -> ExportError {
    ExportError::Encode(error.to_string())
}

fn arrow_failed(error: ArrowError) -> ExportError {
    ExportError::Encode(error.to_string())
}
