//! Record batches that are built once and sent many times.
//!
//! Only 30 bytes of a batch's head change from request to request: timestamps, producer id and epoch, base sequence.
//! The checksum covers them and everything after them, but a CRC is linear: the checksum of two batches of one length
//! differs by what the bits that differ contribute, whatever the rest is. So a table of each byte's contribution, made
//! once for a length, gives the new checksum by 30 look-ups instead of a pass over the whole batch.
//!
//! Invariant: what [`Template::head`] and [`Template::body`] make together passes `broker_records::validate`.

use std::rc::Rc;

use broker_model::{LeaderEpoch, Offset, Timestamp};
use broker_records::head::CRC_COVERS_FROM;
use broker_records::{BATCH_HEAD_BYTES, BatchBuilder, Codec, crc32c};
use bytes::Bytes;

use crate::payload::Payload;

/// Where the bytes begin that change, and where they end.
const CHANGED_FROM: usize = 27;
const CHANGED_TO: usize = 57;
const CHANGED_BYTES: usize = CHANGED_TO - CHANGED_FROM;
const CRC_AT: usize = 17;
/// CRC-32C's polynomial, lowest bit first (RFC 3720).
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// Bodies of all templates together should stay in a cache of the second level, as a producer's buffers do.
const BODIES_BYTES: usize = 1 << 20;
const TEMPLATES_MAX: usize = 8;

/// What changes from batch to batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Of all records of the batch.
    pub(crate) timestamp: i64,
    /// The idempotent producer, or -1.
    pub(crate) producer_id: i64,
    /// Its epoch, or -1.
    pub(crate) producer_epoch: i16,
    /// The first record's sequence number, or -1.
    pub(crate) sequence: i32,
}

impl Stamp {
    fn bytes(&self) -> [u8; CHANGED_BYTES] {
        let mut out = [0; CHANGED_BYTES];
        let fields: [&[u8]; 5] = [
            &self.timestamp.to_be_bytes(),
            &self.timestamp.to_be_bytes(),
            &self.producer_id.to_be_bytes(),
            &self.producer_epoch.to_be_bytes(),
            &self.sequence.to_be_bytes(),
        ];
        for (place, byte) in out.iter_mut().zip(fields.into_iter().flatten()) {
            *place = *byte;
        }
        out
    }
}

/// What each value of each byte that changes contributes to the checksum of a batch of one length.
#[derive(Debug)]
struct Contributions(Vec<[u32; 256]>);

impl Contributions {
    /// Of a batch of so many bytes, head included.
    fn of(batch_bytes: usize) -> Contributions {
        // The bits of the last byte that changes, by computing; those of the bytes before it have one more byte behind
        // them, and a byte of zeros moves a contribution on as it moves the register.
        let mut behind = vec![0; batch_bytes - (CHANGED_TO - 1)];
        let none = crc32c(&behind);
        let mut bits = [0; 8];
        for (bit, contribution) in bits.iter_mut().enumerate() {
            if let Some(first) = behind.first_mut() {
                *first = 1 << bit;
            }
            *contribution = crc32c(&behind) ^ none;
        }
        let mut tables = vec![[0; 256]; CHANGED_BYTES];
        for table in tables.iter_mut().rev() {
            for (value, entry) in table.iter_mut().enumerate() {
                let set = bits.iter().enumerate().filter(|(bit, _)| value & (1 << bit) != 0);
                *entry = set.fold(0, |sum, (_, contribution)| sum ^ contribution);
            }
            bits = bits.map(past_a_zero);
        }
        Contributions(tables)
    }
}

/// What a register becomes by a byte of zeros.
fn past_a_zero(register: u32) -> u32 {
    (0..8).fold(register, |register, _| (register >> 1) ^ (POLYNOMIAL & (register & 1).wrapping_neg()))
}

/// A batch that is built, whose head is made anew for each use.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    head: [u8; BATCH_HEAD_BYTES],
    crc: u32,
    body: Bytes,
    contributions: Rc<Contributions>,
}

impl Template {
    fn new(batch: &Bytes, contributions: Rc<Contributions>) -> Template {
        let mut head = [0; BATCH_HEAD_BYTES];
        head.copy_from_slice(&batch[..BATCH_HEAD_BYTES]);
        let crc = crc32c(&batch[CRC_COVERS_FROM..]);
        Template { head, crc, body: batch.slice(BATCH_HEAD_BYTES..), contributions }
    }

    /// The head with these values, and the checksum that they make.
    pub(crate) fn head(&self, stamp: &Stamp) -> [u8; BATCH_HEAD_BYTES] {
        let mut head = self.head;
        let mut crc = self.crc;
        let places = head.iter_mut().skip(CHANGED_FROM);
        for ((place, byte), table) in places.zip(stamp.bytes()).zip(&self.contributions.0) {
            crc ^= table[usize::from(*place ^ byte)];
            *place = byte;
        }
        head[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
        head
    }

    /// What follows the head; always the same.
    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    /// Bytes of head and body.
    pub(crate) fn bytes(&self) -> usize {
        BATCH_HEAD_BYTES + self.body.len()
    }
}

/// What batches are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// How they are compressed.
    pub(crate) codec: Codec,
    /// Bytes of a record's value. There are no keys and no headers.
    pub(crate) value_bytes: usize,
    /// How many records a batch has.
    pub(crate) size: Size,
}

/// How large a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// So many records.
    Records(usize),
    /// As many records as fit, uncompressed, and at least one.
    Bytes(usize),
}

/// The batches of a run: some templates of one shape, used in turn.
#[derive(Clone, Debug)]
pub(crate) struct Templates {
    all: Vec<Template>,
    /// Records of each batch.
    pub(crate) records: usize,
    /// Bytes of the values of each batch, before compression.
    pub(crate) value_bytes: usize,
}

impl Templates {
    /// Builds them.
    pub(crate) fn new(shape: &Shape) -> Templates {
        let mut payload = Payload::new(0x5EED_0001);
        let first = build(shape, &mut payload);
        let records = first.1;
        let count = (BODIES_BYTES / first.0.len()).clamp(1, TEMPLATES_MAX);
        let mut all: Vec<Template> = Vec::with_capacity(count);
        let mut batch = first.0;
        loop {
            let alike = all.iter().find(|template| template.bytes() == batch.len());
            let contributions =
                alike.map_or_else(|| Rc::new(Contributions::of(batch.len())), |other| Rc::clone(&other.contributions));
            all.push(Template::new(&batch, contributions));
            if all.len() == count {
                break;
            }
            batch = build(shape, &mut payload).0;
        }
        Templates { all, records, value_bytes: records * shape.value_bytes }
    }

    /// The template that the n-th batch is made from.
    pub(crate) fn nth(&self, n: u64) -> usize {
        (n % self.all.len() as u64) as usize
    }

    /// A template by the number that [`Templates::nth`] gave.
    pub(crate) fn get(&self, number: usize) -> &Template {
        &self.all[number]
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Template> {
        self.all.iter()
    }
}

fn build(shape: &Shape, payload: &mut Payload) -> (Bytes, usize) {
    let mut builder = BatchBuilder::new(shape.codec);
    loop {
        let before = builder.record_bytes();
        builder.push(Timestamp(0), None, Some(&payload.value(shape.value_bytes)), &[]);
        let next = builder.record_bytes() - before;
        let is_full = match shape.size {
            Size::Records(records) => builder.record_count() >= records,
            Size::Bytes(bytes) => BATCH_HEAD_BYTES + builder.record_bytes() + next + 2 > bytes,
        };
        if is_full {
            let records = builder.record_count();
            return (builder.finish(Offset::ZERO, LeaderEpoch(-1)), records);
        }
    }
}

#[cfg(test)]
mod tests;
