//! A machine's whole state as bytes: version, the offset it is as of, the shortest log that leads to it, CRC32C.
//!
//! Layout, big endian: `version i8 = 1`, `end i64`, `count u32`, then per record `key length u32`, key, `value length u32`,
//! value; at last the CRC32C of all before it. A state has one encoding: spare bytes, tombstones and other versions are
//! refused. What the records mean is the machine's.
//!
//! Start at [`encode`] and [`decode`].

use broker_model::Offset;
use broker_model::machine::{Machine, Record, RecordError, Violation};
use bytes::Buf;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 13;
const SUM_BYTES: usize = 4;

/// Durable state and the end of the log that led to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image<H> {
    /// The offset of the next record.
    pub end: Offset,
    /// The state.
    pub hard: H,
}

/// The bytes are no snapshot of this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Cut, flipped or of another version.
    #[error("the snapshot is damaged or of another version")]
    Damaged,
    /// A record within cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The state breaks an invariant.
    #[error(transparent)]
    Violation(#[from] Violation),
}

/// The state as bytes.
pub fn encode<M: Machine>(machine: &M, image: &Image<M::Hard>) -> Vec<u8> {
    let records = machine.records(&image.hard);
    let mut bytes = Vec::with_capacity(HEAD_BYTES + SUM_BYTES + records.iter().map(|r| r.bytes() + 8).sum::<usize>());
    bytes.push(VERSION);
    bytes.extend(image.end.0.to_be_bytes());
    bytes.extend(length(records.len()));
    for record in &records {
        let value = record.value.as_deref().expect("the shortest log has no tombstones");
        for field in [&record.key[..], value] {
            bytes.extend(length(field.len()));
            bytes.extend(field);
        }
    }
    let sum = broker_records::crc32c(&bytes);
    bytes.extend(sum.to_be_bytes());
    bytes
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("a state is smaller than 4 GiB").to_be_bytes()
}

/// The state that the bytes say.
///
/// # Errors
/// Anything but the output of [`encode`].
pub fn decode<M: Machine>(machine: &M, bytes: &[u8]) -> Result<Image<M::Hard>, SnapshotError> {
    let body_len = bytes.len().checked_sub(SUM_BYTES).ok_or(SnapshotError::Damaged)?;
    let (body, mut sum) = bytes.split_at_checked(body_len).ok_or(SnapshotError::Damaged)?;
    if broker_records::crc32c(body) != sum.get_u32() || body.len() < HEAD_BYTES {
        return Err(SnapshotError::Damaged);
    }
    let mut body = body;
    if body.get_u8() != VERSION {
        return Err(SnapshotError::Damaged);
    }
    let mut image = Image { end: Offset(body.get_i64()), hard: M::Hard::default() };
    let count = body.get_u32();
    for _ in 0..count {
        let record = Record::put(field(&mut body)?, field(&mut body)?);
        machine.apply(&mut image.hard, image.end, &record)?;
    }
    if body.has_remaining() {
        return Err(SnapshotError::Damaged);
    }
    machine.check(&image.hard)?;
    Ok(image)
}

fn field(body: &mut &[u8]) -> Result<Vec<u8>, SnapshotError> {
    let len = body.try_get_u32().map_err(|_| SnapshotError::Damaged)? as usize;
    let (field, rest) = body.split_at_checked(len).ok_or(SnapshotError::Damaged)?;
    *body = rest;
    Ok(field.to_vec())
}
