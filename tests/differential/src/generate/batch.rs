//! Record batches, good ones and broken ones.

use broker_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use broker_records::{BatchBuilder, BatchHead, Codec, crc32c};
use bytes::Bytes;

use crate::dice::Dice;

/// What is wrong with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    /// The checksum is another one.
    Crc,
    /// The last byte is missing.
    Cut,
    /// Only this many bytes are there.
    Stub(usize),
    /// Bytes follow that are no batch.
    Tail,
    /// The magic byte, in a batch that is of version 2 otherwise.
    Magic(i8),
    /// A message set of an old format.
    OldMagic(i8),
    /// The same batch twice.
    Twice,
    /// The count of records is another one.
    Count(i32),
    /// The last offset's delta is another one.
    LastDelta(i32),
    /// Attributes that are added.
    Attributes(i16),
    BaseOffset(i64),
    LeaderEpoch(i32),
    /// The length that the head says.
    Length(i32),
    /// A byte within the records is another one, and the checksum agrees.
    Record(usize),
    /// The greatest timestamp of the head.
    MaxTimestamp(i64),
    /// A batch without records.
    NoRecords,
}

/// A batch as it is planned.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) codec: Codec,
    pub(super) records: usize,
    /// Of the first record, relative to the run's beginning, or absolute below 0.
    pub(super) time: i64,
    pub(super) time_step: i64,
    pub(super) value_bytes: usize,
    pub(super) has_keys: bool,
    pub(super) producer: Option<(u8, i16, i32)>,
    pub(super) flaw: Flaw,
}

/// A batch without a flaw.
pub(super) fn well(dice: &mut Dice) -> Draft {
    Draft {
        codec: if dice.percent(60) { Codec::None } else { dice.of(&Codec::ALL) },
        records: dice.weighted(&[(6, 1), (3, 2), (2, 5), (1, 20)]),
        time: dice.weighted(&[(8, 0), (2, -3_000), (1, 1_000), (1, -100_000)]),
        time_step: dice.weighted(&[(6, 1), (2, 0), (1, 500), (1, -7)]),
        value_bytes: dice.weighted(&[(8, 10), (3, 200), (1, 0), (1, 3_000)]),
        has_keys: dice.percent(50),
        producer: None,
        flaw: Flaw::None,
    }
}

/// A flaw.
pub(super) fn flaw(dice: &mut Dice) -> Flaw {
    match dice.below(24) {
        0 | 1 => Flaw::Crc,
        2 => Flaw::Cut,
        3 => Flaw::Stub(dice.of(&[0, 1, 12, 16, 17, 30, 60, 61])),
        4 => Flaw::Tail,
        5 => Flaw::Magic(dice.of(&[0, 1, 3, -1, 127])),
        6 | 7 => Flaw::OldMagic(dice.of(&[0, 1])),
        8 => Flaw::Twice,
        9 => Flaw::Count(dice.of(&[-1, 0, 1, 3, i32::MAX])),
        10 => Flaw::LastDelta(dice.of(&[-1, 0, 7, i32::MAX])),
        11 | 12 => Flaw::Attributes(dice.of(&[5, 6, 7, 8, 0x10, 0x20, 0x40, 0x80, 0x4000])),
        13 => Flaw::BaseOffset(dice.of(&[1, 100, -1, i64::MAX])),
        14 => Flaw::LeaderEpoch(dice.of(&[0, 5, -2])),
        15 => Flaw::Length(dice.of(&[-1, 0, 1, 48, 49, 1_000_000, i32::MAX])),
        16..=20 => Flaw::Record(dice.below(200)),
        21 => Flaw::MaxTimestamp(dice.of(&[-1, 0, i64::MAX])),
        22 => Flaw::NoRecords,
        _ => Flaw::Crc,
    }
}

impl Draft {
    /// The batch. `now` is the run's beginning, `producer` what the broker gave out for the slot.
    pub(super) fn make(&self, now: i64, producer: Option<(i64, i16)>) -> Bytes {
        let mut builder = BatchBuilder::new(self.codec);
        if let (Some((id, epoch)), Some((_, epoch_delta, sequence))) = (producer, self.producer) {
            let epoch = ProducerEpoch(epoch.wrapping_add(epoch_delta));
            builder = builder.producer(ProducerId(id), epoch, Sequence(sequence));
        }
        let first = if self.time < -1_000_000 { self.time + 1_000_000_000 } else { now + self.time };
        let value = vec![b'v'; self.value_bytes];
        for index in 0..self.records.max(1) {
            let key = format!("key-{index}");
            let key = self.has_keys.then_some(key.as_bytes());
            let time = first.wrapping_add(self.time_step.wrapping_mul(index as i64));
            let headers: &[(&[u8], Option<&[u8]>)] =
                if index % 3 == 1 { &[(b"h", Some(b"1")), (b"n", None)] } else { &[] };
            builder.push(Timestamp(time), key, Some(&value), headers);
        }
        self.spoil(builder.finish(Offset(0), LeaderEpoch(-1)))
    }

    fn spoil(&self, batch: Bytes) -> Bytes {
        let mut bytes = batch.to_vec();
        match self.flaw {
            Flaw::None => (),
            Flaw::Crc => set(&mut bytes, 17, &0x1234_5678_u32.to_be_bytes()),
            Flaw::Cut => bytes.truncate(bytes.len() - 1),
            Flaw::Stub(length) => bytes.truncate(length),
            Flaw::Tail => bytes.extend_from_slice(b"not a batch"),
            Flaw::Magic(magic) => set(&mut bytes, 16, &magic.to_be_bytes()),
            Flaw::OldMagic(magic) => bytes = old(magic),
            Flaw::Twice => bytes.extend_from_slice(&batch),
            Flaw::Count(count) => set(&mut bytes, 57, &count.to_be_bytes()),
            Flaw::LastDelta(delta) => set(&mut bytes, 23, &delta.to_be_bytes()),
            Flaw::Attributes(added) => {
                let old = BatchHead::parse(&batch).map_or(0, |head| head.attributes);
                set(&mut bytes, 21, &(old | added).to_be_bytes());
            }
            Flaw::BaseOffset(offset) => set(&mut bytes, 0, &offset.to_be_bytes()),
            Flaw::LeaderEpoch(epoch) => set(&mut bytes, 12, &epoch.to_be_bytes()),
            Flaw::Length(length) => set(&mut bytes, 8, &length.to_be_bytes()),
            Flaw::Record(place) => {
                let body = bytes.len() - broker_records::BATCH_HEAD_BYTES;
                let at = broker_records::BATCH_HEAD_BYTES + place % body;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (place % 8);
                }
            }
            Flaw::MaxTimestamp(time) => set(&mut bytes, 35, &time.to_be_bytes()),
            Flaw::NoRecords => {
                bytes.truncate(broker_records::BATCH_HEAD_BYTES);
                set(&mut bytes, 57, &0_i32.to_be_bytes());
                set(&mut bytes, 8, &49_i32.to_be_bytes());
            }
        }
        let seals = matches!(
            self.flaw,
            Flaw::Count(_)
                | Flaw::LastDelta(_)
                | Flaw::Attributes(_)
                | Flaw::Record(_)
                | Flaw::MaxTimestamp(_)
                | Flaw::NoRecords
        );
        if seals {
            let crc = crc32c(bytes.get(21..).unwrap_or_default());
            set(&mut bytes, 17, &crc.to_be_bytes());
        }
        Bytes::from(bytes)
    }
}

fn set(bytes: &mut [u8], at: usize, value: &[u8]) {
    for (place, byte) in bytes.iter_mut().skip(at).zip(value) {
        *place = *byte;
    }
}

/// A message set of one message in format 0 or 1.
fn old(magic: i8) -> Vec<u8> {
    let mut message = vec![magic.to_be_bytes()[0], 0];
    if magic == 1 {
        message.extend_from_slice(&1_700_000_000_000_i64.to_be_bytes());
    }
    message.extend_from_slice(&(-1_i32).to_be_bytes());
    message.extend_from_slice(&5_i32.to_be_bytes());
    message.extend_from_slice(b"value");
    let mut set = 0_i64.to_be_bytes().to_vec();
    set.extend_from_slice(&(message.len() as u32 + 4).to_be_bytes());
    set.extend_from_slice(&crc32(&message).to_be_bytes());
    set.extend_from_slice(&message);
    set
}

/// The CRC-32 of zlib, as the old formats have it.
fn crc32(bytes: &[u8]) -> u32 {
    let fold = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    };
    !bytes.iter().fold(u32::MAX, fold)
}
