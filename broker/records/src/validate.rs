//! What a producer's batch must be before it is stored (Kafka's `LogValidator`, without rewriting).
//!
//! Checked: length, magic, CRC, counts, the fields that only brokers set, timestamps within bounds. Uncompressed
//! records are walked without copying: lengths, consecutive offset deltas, timestamps, keys, headers. Compressed ones
//! are judged by their head, and decompressed only where the rules refuse null keys. Nothing is allocated otherwise.
//!
//! A head whose maximum timestamp is not that of its records (some old clients) is not refused: the head that is
//! returned, and that is to be stored, has the right one and a new checksum, as Kafka corrects it.

use std::ops::RangeInclusive;

use broker_model::limits::DECOMPRESSED_BATCH_BYTES_MAX;
use broker_model::{Offset, Timestamp};

use crate::cursor::Cursor;
use crate::head::BATCH_HEAD_BYTES;
use crate::record::RawRecord;
use crate::{BatchError, BatchHead, Codec, Codecs};

/// What [`faults`] gives at most.
const FAULTS_MAX: usize = 1_000;
/// What [`faults`] decompresses at most.
const FAULTS_BYTES_MAX: usize = 16 << 20;

/// Whether records may come without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NullKeys {
    /// They may.
    Allowed,
    /// They must not: the topic is compacted.
    Refused,
}

/// What a topic takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Bytes of the largest batch, as it is sent (`max.message.bytes`).
    pub batch_bytes_max: usize,
    /// The codecs that are taken.
    pub codecs: Codecs,
    /// The timestamps that are taken; -1 always is. Everything, where the append time replaces them.
    pub timestamps: RangeInclusive<Timestamp>,
    /// Whether records may come without a key.
    pub null_keys: NullKeys,
}

impl Rules {
    /// Takes every batch of at most so many bytes.
    #[must_use]
    pub fn permissive(batch_bytes_max: usize) -> Rules {
        Rules {
            batch_bytes_max,
            codecs: Codecs::ALL,
            timestamps: Timestamp(i64::MIN)..=Timestamp(i64::MAX),
            null_keys: NullKeys::Allowed,
        }
    }
}

/// Checks the one batch that a producer sent. Returns the head to be stored (see the module's words on timestamps).
///
/// # Errors
/// The first rule that is broken; [`BatchError::kind`] says what to answer.
pub fn validate(batch: &[u8], rules: &Rules) -> Result<BatchHead, BatchError> {
    let mut head = whole(batch)?;
    if batch.len() > rules.batch_bytes_max {
        return Err(BatchError::TooLarge { bytes: batch.len(), max: rules.batch_bytes_max });
    }
    check_crc(&head, batch)?;
    check_head(&head)?;
    let codec = head.codec()?;
    if !rules.codecs.contains(codec) {
        return Err(BatchError::CodecRefused(codec));
    }
    let (_, body) = batch.split_at_checked(BATCH_HEAD_BYTES).expect("a whole batch has a head");
    if codec == Codec::None {
        let max_timestamp = walk(&head, body, rules, Err)?;
        if max_timestamp != head.max_timestamp {
            head.max_timestamp = max_timestamp;
            head.seal(body);
        }
    } else {
        check_timestamp(None, head.base_timestamp, rules)?;
        check_timestamp(None, head.max_timestamp, rules)?;
        if rules.null_keys == NullKeys::Refused {
            let records = crate::codec::decompress(codec, body, DECOMPRESSED_BATCH_BYTES_MAX)?;
            walk(&head, &records, rules, Err)?;
        }
    }
    Ok(head)
}

/// Each record that the topic does not take, of a batch that [`validate`] refused for one of them: where its timestamp is
/// out of bounds, or where it has no key and needs one. Nothing of a batch that is wrong otherwise, or that decompresses
/// to more than 16 MiB. At most 1,000.
#[must_use]
pub fn faults(batch: &[u8], rules: &Rules) -> Vec<BatchError> {
    let Ok(head) = whole(batch) else { return Vec::new() };
    if head.is_log_append_time() {
        // Only brokers say so, and it is said of each record.
        let fault = |index| BatchError::Timestamp { index: Some(index), timestamp: head.max_timestamp.0 };
        return (0..head.record_count).take(FAULTS_MAX).map(fault).collect();
    }
    let mut faults = Vec::new();
    let note = |fault| {
        if faults.len() < FAULTS_MAX {
            faults.push(fault);
        }
        Ok(())
    };
    let (_, body) = batch.split_at_checked(BATCH_HEAD_BYTES).expect("a whole batch has a head");
    let is_walked = head.codec().and_then(|codec| match codec {
        Codec::None => walk(&head, body, rules, note),
        codec => walk(&head, &crate::codec::decompress(codec, body, FAULTS_BYTES_MAX)?, rules, note),
    });
    if is_walked.is_ok() { faults } else { Vec::new() }
}

/// Parses the head and checks that the bytes are exactly one batch.
pub(crate) fn whole(batch: &[u8]) -> Result<BatchHead, BatchError> {
    let head = BatchHead::parse(batch)?;
    let total = head.total_bytes();
    if batch.len() < total {
        return Err(BatchError::Truncated { needed: total, left: batch.len() });
    }
    if batch.len() > total {
        return Err(BatchError::Trailing(batch.len() - total));
    }
    Ok(head)
}

pub(crate) fn check_crc(head: &BatchHead, batch: &[u8]) -> Result<(), BatchError> {
    let computed = crate::crc32c(batch.get(crate::head::CRC_COVERS_FROM..).unwrap_or_default());
    if computed == head.crc { Ok(()) } else { Err(BatchError::Crc { stored: head.crc, computed }) }
}

fn check_head(head: &BatchHead) -> Result<(), BatchError> {
    if head.record_count <= 0 || head.last_offset_delta != head.record_count - 1 {
        return Err(BatchError::Count { count: head.record_count, last_offset_delta: head.last_offset_delta });
    }
    if head.base_offset != Offset::ZERO {
        return Err(BatchError::Head("a producer's base offset must be 0"));
    }
    if head.is_control() {
        return Err(BatchError::Head("a producer must not write control batches"));
    }
    if head.has_delete_horizon() {
        return Err(BatchError::Head("a producer must not set a delete horizon"));
    }
    if head.is_log_append_time() {
        return Err(BatchError::Timestamp { index: None, timestamp: head.max_timestamp.0 });
    }
    if head.has_producer() && (head.base_sequence.0 < 0 || head.producer_epoch.0 < 0) {
        return Err(BatchError::Head("a producer id needs an epoch and a sequence number"));
    }
    if head.is_transactional() && !head.has_producer() {
        return Err(BatchError::Head("a transactional batch needs a producer id"));
    }
    Ok(())
}

/// Walks decompressed records; returns the largest timestamp. `refuse` decides whether a record that the topic does not
/// take ends the walk.
fn walk(
    head: &BatchHead,
    records: &[u8],
    rules: &Rules,
    mut refuse: impl FnMut(BatchError) -> Result<(), BatchError>,
) -> Result<Timestamp, BatchError> {
    let mut cursor = Cursor::new(records);
    let mut max_timestamp = Timestamp(i64::MIN);
    for index in 0..head.record_count {
        let malformed = |what| BatchError::Record { index, what };
        let record = RawRecord::read(&mut cursor).map_err(malformed)?;
        if record.offset_delta != index {
            return Err(malformed("its offset does not follow"));
        }
        record.check_headers().map_err(malformed)?;
        if record.key.is_none() && rules.null_keys == NullKeys::Refused {
            refuse(BatchError::NullKey { index })?;
        }
        let timestamp = head.base_timestamp.plus_ms(record.timestamp_delta);
        check_timestamp(Some(index), timestamp, rules).or_else(&mut refuse)?;
        max_timestamp = max_timestamp.max(timestamp);
    }
    if cursor.is_empty() { Ok(max_timestamp) } else { Err(BatchError::Trailing(cursor.rest().len())) }
}

fn check_timestamp(index: Option<i32>, timestamp: Timestamp, rules: &Rules) -> Result<(), BatchError> {
    if timestamp == Timestamp::NONE || rules.timestamps.contains(&timestamp) {
        Ok(())
    } else {
        Err(BatchError::Timestamp { index, timestamp: timestamp.0 })
    }
}
