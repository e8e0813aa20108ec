//! The payloads of the sections beside the block table. Rows have fixed widths. The producers' state is the one section
//! that is opaque here: it is Kafka's own snapshot file, byte for byte.

use broker_model::{LeaderEpoch, Offset, PartitionIndex, ProducerId, Timestamp, TopicId};

use super::cursor::{Cursor, Put, length_u32};
use super::{FooterError, damaged};
use crate::writer::{Generation, Writer};

/// What the object is, so that it explains itself without its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The first offset of the range. The first batch may begin before it, where the log start offset lies in the batch.
    pub base: Offset,
    /// The offset after the last of the range.
    pub end: Offset,
    /// A time that no record is before, or -1 where that is not known.
    pub min_timestamp: Timestamp,
    /// The largest timestamp of a record, or -1 where no record has one.
    pub max_timestamp: Timestamp,
    /// When the last batch was appended, by the broker's clock.
    pub append_time: Timestamp,
    /// Who wrote the object.
    pub writer: Writer,
}

impl Info {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(76);
        bytes.raw(&self.topic.0);
        bytes.i32(self.partition.0);
        bytes.i64(self.base.0);
        bytes.i64(self.end.0);
        bytes.i64(self.min_timestamp.0);
        bytes.i64(self.max_timestamp.0);
        bytes.i64(self.append_time.0);
        bytes.u32(self.writer.generation.0);
        bytes.i32(self.writer.epoch.0);
        bytes.u64(self.writer.nonce);
        bytes
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Info, FooterError> {
        const PART: &str = "info";
        let mut cursor = Cursor::new(payload, PART);
        let mut topic = [0; 16];
        for (to, from) in topic.iter_mut().zip(cursor.take(16)?) {
            *to = *from;
        }
        let info = Info {
            topic: TopicId(topic),
            partition: PartitionIndex(cursor.i32()?),
            base: Offset(cursor.i64()?),
            end: Offset(cursor.i64()?),
            min_timestamp: Timestamp(cursor.i64()?),
            max_timestamp: Timestamp(cursor.i64()?),
            append_time: Timestamp(cursor.i64()?),
            writer: Writer {
                generation: Generation(cursor.u32()?),
                epoch: LeaderEpoch(cursor.i32()?),
                nonce: cursor.u64()?,
            },
        };
        cursor.end()?;
        if info.partition.0 < 0 || info.base < Offset::ZERO {
            return Err(damaged(PART));
        }
        Ok(info)
    }
}

/// From which offset a leader epoch holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Its first offset.
    pub start: Offset,
}

/// An aborted transaction, with the fields of Kafka's transaction index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTxn {
    /// The producer.
    pub producer: ProducerId,
    /// The transaction's first offset.
    pub first: Offset,
    /// The offset of its abort marker.
    pub last: Offset,
    /// The last stable offset when the marker was written.
    pub last_stable: Offset,
}

const EPOCH_BYTES: usize = 12;
const ABORTED_BYTES: usize = 32;

pub(super) fn encode_epochs(rows: &[EpochStart]) -> Result<Vec<u8>, FooterError> {
    let mut bytes = Vec::with_capacity(4 + rows.len() * EPOCH_BYTES);
    bytes.u32(length_u32(rows.len(), "leader epochs")?);
    for row in rows {
        bytes.i32(row.epoch.0);
        bytes.i64(row.start.0);
    }
    Ok(bytes)
}

pub(super) fn decode_epochs(payload: &[u8]) -> Result<Vec<EpochStart>, FooterError> {
    const PART: &str = "leader epochs";
    let mut cursor = Cursor::new(payload, PART);
    let count = cursor.count(EPOCH_BYTES)?;
    let mut rows: Vec<EpochStart> = Vec::with_capacity(count);
    for _ in 0..count {
        let row = EpochStart { epoch: LeaderEpoch(cursor.i32()?), start: Offset(cursor.i64()?) };
        if rows.last().is_some_and(|before| before.epoch >= row.epoch || before.start > row.start) {
            return Err(damaged(PART));
        }
        rows.push(row);
    }
    cursor.end()?;
    Ok(rows)
}

pub(super) fn encode_aborted(rows: &[AbortedTxn]) -> Result<Vec<u8>, FooterError> {
    let mut bytes = Vec::with_capacity(4 + rows.len() * ABORTED_BYTES);
    bytes.u32(length_u32(rows.len(), "aborted transactions")?);
    for row in rows {
        bytes.i64(row.producer.0);
        bytes.i64(row.first.0);
        bytes.i64(row.last.0);
        bytes.i64(row.last_stable.0);
    }
    Ok(bytes)
}

pub(super) fn decode_aborted(payload: &[u8]) -> Result<Vec<AbortedTxn>, FooterError> {
    const PART: &str = "aborted transactions";
    let mut cursor = Cursor::new(payload, PART);
    let count = cursor.count(ABORTED_BYTES)?;
    let mut rows = Vec::with_capacity(count);
    for _ in 0..count {
        let row = AbortedTxn {
            producer: ProducerId(cursor.i64()?),
            first: Offset(cursor.i64()?),
            last: Offset(cursor.i64()?),
            last_stable: Offset(cursor.i64()?),
        };
        if row.first > row.last {
            return Err(damaged(PART));
        }
        rows.push(row);
    }
    cursor.end()?;
    Ok(rows)
}
