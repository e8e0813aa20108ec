//! The JSON of table roots, as `json.rs` is that of manifests.

use broker_model::{Offset, PartitionIndex, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::DecodeError;
use crate::json::{self, OccupiedRow, WriterV1};
use crate::limits::TABLE_BYTES_MAX;
use crate::table::{Intent, TableFile, TablePartition, TableRoot};
use crate::writer::{ObjectId, Writer};

/// partition, start, next
type PartitionRow = (i32, i64, i64);
/// key, partition, base, end, rows, bytes, min timestamp, max timestamp
type FileRow = (String, i32, i64, i64, u64, u64, i64, i64);
/// id, partition, base, end, generation, epoch, nonce, deadline
type IntentRow = (u64, i32, i64, i64, u32, i32, String, i64);

#[derive(Serialize, Deserialize)]
struct TableV1 {
    format: u32,
    sequence: u64,
    writer: WriterV1,
    topic_id: String,
    state: String,
    next_id: u64,
    partitions: Vec<PartitionRow>,
    files: Vec<FileRow>,
    intents: Vec<IntentRow>,
    occupied: Vec<OccupiedRow>,
}

pub(crate) fn encode(root: &TableRoot) -> Vec<u8> {
    json::print(&TableV1 {
        format: json::FORMAT,
        sequence: root.sequence,
        writer: json::writer_row(&root.writer),
        topic_id: root.topic.to_string(),
        state: json::state_word(root.state),
        next_id: root.next_id.0,
        partitions: root
            .partitions
            .iter()
            .map(|(partition, known)| (partition.0, known.start.0, known.next.0))
            .collect(),
        files: root.files.iter().map(file_row).collect(),
        intents: root.intents.iter().map(intent_row).collect(),
        occupied: root.occupied.iter().map(json::occupied_row).collect(),
    })
}

pub(crate) fn decode(bytes: &[u8]) -> Result<TableRoot, DecodeError> {
    let file: TableV1 = json::parse(bytes, TABLE_BYTES_MAX)?;
    let mut root = TableRoot {
        sequence: file.sequence,
        writer: json::writer(file.writer)?,
        topic: json::topic_id(&file.topic_id)?,
        state: json::state(&file.state)?,
        next_id: ObjectId(file.next_id),
        partitions: Default::default(),
        files: file.files.into_iter().map(table_file).collect::<Result<_, _>>()?,
        intents: file.intents.into_iter().map(intent).collect::<Result<_, _>>()?,
        occupied: file.occupied.into_iter().map(json::occupied).collect::<Result<_, _>>()?,
    };
    for (partition, start, next) in file.partitions {
        let known = TablePartition { start: Offset(start), next: Offset(next) };
        if root.partitions.insert(json::partition(partition)?, known).is_some() {
            return Err(DecodeError::Field { field: "partitions" });
        }
    }
    Ok(root)
}

fn file_row(file: &TableFile) -> FileRow {
    (
        file.name.to_string(),
        file.partition.0,
        file.base.0,
        file.end.0,
        file.rows,
        file.bytes,
        file.min_timestamp.0,
        file.max_timestamp.0,
    )
}

fn table_file(row: FileRow) -> Result<TableFile, DecodeError> {
    let (key, partition, base, end, rows, bytes, min_timestamp, max_timestamp) = row;
    Ok(TableFile {
        name: key.parse().map_err(|_| DecodeError::Field { field: "files" })?,
        partition: PartitionIndex(partition),
        base: Offset(base),
        end: Offset(end),
        rows,
        bytes,
        min_timestamp: Timestamp(min_timestamp),
        max_timestamp: Timestamp(max_timestamp),
    })
}

fn intent_row(row: &Intent) -> IntentRow {
    let Writer { generation, epoch, nonce } = row.writer;
    let nonce = json::nonce_text(nonce);
    (row.id.0, row.partition.0, row.base.0, row.end.0, generation.0, epoch.0, nonce, row.deadline.0)
}

fn intent(row: IntentRow) -> Result<Intent, DecodeError> {
    let (id, partition, base, end, generation, epoch, nonce, deadline) = row;
    Ok(Intent {
        id: ObjectId(id),
        partition: PartitionIndex(partition),
        base: Offset(base),
        end: Offset(end),
        writer: json::writer_of(generation, epoch, &nonce)?,
        deadline: Timestamp(deadline),
    })
}
