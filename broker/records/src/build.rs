//! Building batches: coordinators, tests, the HTTP gateway.
//!
//! Records are written in the order of `push`, with consecutive offsets, and compressed as one block at `finish`. The
//! caller bounds a batch by [`BatchBuilder::record_bytes`]; what it pushes is its own data, so a batch beyond `i32`
//! is a bug and panics.

use broker_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use bytes::Bytes;

use crate::BatchHead;
use crate::codec::{self, Codec};
use crate::cursor::{put_varint, put_varlong, varint_bytes, varlong_bytes};
use crate::head::{BATCH_HEAD_BYTES, LENGTH_PREFIX_BYTES};

/// Collects records and makes a batch of them.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    codec: Codec,
    head: BatchHead,
    records: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch that will be compressed with this codec.
    #[must_use]
    pub fn new(codec: Codec) -> BatchBuilder {
        let head = BatchHead {
            base_offset: Offset::ZERO,
            batch_length: 0,
            leader_epoch: LeaderEpoch(-1),
            magic: 2,
            crc: 0,
            attributes: i16::from(codec as u8),
            last_offset_delta: -1,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch(-1),
            base_sequence: Sequence(-1),
            record_count: 0,
        };
        BatchBuilder { codec, head, records: Vec::new() }
    }

    /// The batch is of this idempotent producer, and begins at this sequence number.
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) -> Self {
        self.head.producer_id = id;
        self.head.producer_epoch = epoch;
        self.head.base_sequence = base_sequence;
        self
    }

    /// The batch is part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.head.set_transactional();
        self
    }

    /// The batch holds control records.
    #[must_use]
    pub fn control(mut self) -> Self {
        self.head.set_control();
        self
    }

    /// Adds a record. Headers are key and value, in order; keys may repeat.
    ///
    /// # Panics
    /// When the batch grows beyond 2 GiB.
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) {
        let offset_delta = self.head.record_count;
        if offset_delta == 0 {
            self.head.base_timestamp = timestamp;
            self.head.max_timestamp = timestamp;
        }
        let timestamp_delta = timestamp.0.wrapping_sub(self.head.base_timestamp.0);
        let nullable_bytes = |bytes: Option<&[u8]>| bytes.map_or(1, |b| varint_bytes(length(b)) + b.len());
        let body = 1
            + varlong_bytes(timestamp_delta)
            + varint_bytes(offset_delta)
            + nullable_bytes(key)
            + nullable_bytes(value)
            + varint_bytes(count(headers.len()))
            + headers.iter().map(|(k, v)| nullable_bytes(Some(k)) + nullable_bytes(*v)).sum::<usize>();
        let out = &mut self.records;
        put_varint(out, count(body));
        out.push(0);
        put_varlong(out, timestamp_delta);
        put_varint(out, offset_delta);
        put_nullable(out, key);
        put_nullable(out, value);
        put_varint(out, count(headers.len()));
        for (key, value) in headers {
            put_nullable(out, Some(key));
            put_nullable(out, *value);
        }
        self.head.max_timestamp = self.head.max_timestamp.max(timestamp);
        self.head.last_offset_delta = offset_delta;
        self.head.record_count = offset_delta.checked_add(1).expect("a batch has fewer than 2^31 records");
    }

    /// How many records were pushed.
    #[must_use]
    pub fn record_count(&self) -> usize {
        usize::try_from(self.head.record_count).expect("a count is not negative")
    }

    /// Bytes of the records so far, not compressed.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        self.records.len()
    }

    /// The batch, with its checksum. A producer sends base offset 0 and epoch -1; a broker stores its own.
    ///
    /// # Panics
    /// Without a record, or beyond 2 GiB.
    #[must_use]
    pub fn finish(mut self, base_offset: Offset, epoch: LeaderEpoch) -> Bytes {
        assert!(self.head.record_count > 0, "a batch holds at least one record");
        let body = if self.codec == Codec::None { self.records } else { codec::compress(self.codec, &self.records) };
        self.head.base_offset = base_offset;
        self.head.leader_epoch = epoch;
        self.head.batch_length = count(BATCH_HEAD_BYTES - LENGTH_PREFIX_BYTES + body.len());
        self.head.seal(&body);
        let mut batch = Vec::with_capacity(BATCH_HEAD_BYTES + body.len());
        batch.extend_from_slice(&self.head.encode());
        batch.extend_from_slice(&body);
        Bytes::from(batch)
    }
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, length(bytes));
            out.extend_from_slice(bytes);
        }
    }
}

fn length(bytes: &[u8]) -> i32 {
    count(bytes.len())
}

fn count(value: usize) -> i32 {
    i32::try_from(value).expect("a batch is smaller than 2 GiB")
}
