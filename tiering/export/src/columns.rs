//! The columns of raw mode, and records as Arrow arrays.
//!
//! | column | Parquet type | meaning |
//! |---|---|---|
//! | `_partition` | int32 | the partition |
//! | `_offset` | int64 | the offset in it |
//! | `_timestamp` | timestamp(ms, UTC), null for none | the record's timestamp |
//! | `key`, `value` | binary, null for null | the bytes as they were produced |
//! | `headers` | list of (`key` binary, `value` binary or null) | in their order, repeated keys kept |
//!
//! Keys, values and header keys carry no text annotation: Kafka does not promise text, and a file must not either.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder as _, ArrayRef, BinaryBuilder, Int32Builder, Int64Builder, ListBuilder, RecordBatch, StructBuilder,
    TimestampMillisecondBuilder,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use broker_model::{PartitionIndex, Timestamp};
use broker_records::{BatchError, Record};

fn header_fields() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Binary, false), Field::new("value", DataType::Binary, true)])
}

fn header_element() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Struct(header_fields()), false))
}

/// The schema of every file in raw mode.
#[must_use]
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("_partition", DataType::Int32, false),
        Field::new("_offset", DataType::Int64, false),
        Field::new("_timestamp", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
        Field::new("key", DataType::Binary, true),
        Field::new("value", DataType::Binary, true),
        Field::new("headers", DataType::List(header_element()), false),
    ]))
}

/// Records on their way into an Arrow batch.
pub(crate) struct Rows {
    partition: Int32Builder,
    offset: Int64Builder,
    timestamp: TimestampMillisecondBuilder,
    key: BinaryBuilder,
    value: BinaryBuilder,
    headers: ListBuilder<StructBuilder>,
    bytes: usize,
}

impl Rows {
    pub(crate) fn new() -> Rows {
        Rows {
            partition: Int32Builder::new(),
            offset: Int64Builder::new(),
            timestamp: TimestampMillisecondBuilder::new().with_timezone("UTC"),
            key: BinaryBuilder::new(),
            value: BinaryBuilder::new(),
            headers: ListBuilder::new(StructBuilder::from_fields(header_fields(), 0)).with_field(header_element()),
            bytes: 0,
        }
    }

    /// How many rows wait.
    pub(crate) fn len(&self) -> usize {
        self.offset.len()
    }

    /// About how many bytes wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a record; answers about how many bytes it has. After an error the rows are of no use.
    pub(crate) fn push(&mut self, partition: PartitionIndex, record: &Record<'_>) -> Result<usize, BatchError> {
        let mut bytes = 20 + record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        self.partition.append_value(partition.0);
        self.offset.append_value(record.offset.0);
        self.timestamp.append_option((record.timestamp != Timestamp::NONE).then_some(record.timestamp.0));
        self.key.append_option(record.key);
        self.value.append_option(record.value);
        for header in record.headers.iter() {
            let (key, value) = header?;
            bytes += key.len() + value.map_or(0, <[u8]>::len);
            let element = self.headers.values();
            binary(element, 0).append_value(key);
            binary(element, 1).append_option(value);
            element.append(true);
        }
        self.headers.append(true);
        self.bytes += bytes;
        Ok(bytes)
    }

    /// The rows as a batch; none wait afterwards.
    pub(crate) fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        self.bytes = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.timestamp.finish()),
            Arc::new(self.key.finish()),
            Arc::new(self.value.finish()),
            Arc::new(self.headers.finish()),
        ];
        RecordBatch::try_new(schema(), columns)
    }
}

fn binary(element: &mut StructBuilder, field: usize) -> &mut BinaryBuilder {
    element.field_builder(field).expect("both fields of a header are binary")
}
