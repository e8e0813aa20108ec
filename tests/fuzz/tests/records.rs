//! Record batches: what producers send, what replicas and the bucket give back.
//!
//! A damaged batch mostly fails its checksum, so that half of them are sealed again: then the records and the four
//! codecs are reached.

use broker_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use broker_records::{
    BATCH_HEAD_BYTES, BatchBuilder, BatchError, BatchHead, Codec, EndTransaction, Rules, batches, crc32c, decode,
    validate, verify,
};
use tests_fuzz::{Campaign, Meter, Random, peak_of};

#[global_allocator]
static METER: Meter = Meter;

const CASES: u64 = 400_000;
const CASES_UNCOMPRESSED: u64 = 2_000_000;
/// What a reader here allows a batch to become.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 10;
/// The output doubles as it grows and is there twice while it moves; the decoders of gzip and lz4 have windows.
const PEAK_BASE: usize = 3 * DECOMPRESSED_BYTES_MAX + (128 << 10);
const PEAK_PER_BYTE: usize = 2;

/// Where the batch length and the checksum stand, and what the checksum covers.
const LENGTH_AT: usize = 8;
const LENGTH_COVERS_FROM: usize = 12;
const CRC_AT: usize = 17;
const CRC_COVERS_FROM: usize = 21;

fn batch(random: &mut Random, codecs: &[Codec]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(random.pick(codecs));
    if random.one_in(3) {
        builder = builder.producer(ProducerId(7), ProducerEpoch(0), Sequence(random.below(1_000) as i32));
    }
    if random.one_in(8) {
        builder = builder.control();
    }
    for _ in 0..=random.below(6) {
        let key_bytes = random.below(8);
        let value_bytes = random.below(40);
        let (key, value) = (random.bytes(key_bytes), vec![random.u64() as u8; value_bytes]);
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            (0..random.below(3)).map(|index| (b"h".as_slice(), (index > 0).then_some(b"v".as_slice()))).collect();
        let key = if random.one_in(4) { None } else { Some(key.as_slice()) };
        let value = if random.one_in(8) { None } else { Some(value.as_slice()) };
        builder.push(Timestamp(random.below(1_000_000) as i64), key, value, &headers);
    }
    builder.finish(Offset(0), LeaderEpoch(0)).to_vec()
}

/// Makes length, magic and checksum right again.
fn seal(batch: &mut [u8]) {
    let Some(length) = batch.len().checked_sub(LENGTH_COVERS_FROM) else { return };
    let put = |batch: &mut [u8], at: usize, bytes: &[u8]| {
        for (place, byte) in batch.iter_mut().skip(at).zip(bytes) {
            *place = *byte;
        }
    };
    put(batch, LENGTH_AT, &(length as i32).to_be_bytes());
    put(batch, CRC_AT - 1, &[2]);
    let crc = crc32c(batch.get(CRC_COVERS_FROM..).unwrap_or_default());
    put(batch, CRC_AT, &crc.to_be_bytes());
}

/// Reads the batch in every way that the program does.
fn read(random: &mut Random, input: &[u8]) -> Option<()> {
    let mut input = input.to_vec();
    if random.one_in(2) {
        seal(&mut input);
    }
    for batch in batches(&input) {
        let Ok((head, bytes)) = batch else { break };
        assert_eq!(head.total_bytes(), bytes.len());
        let _ = (head.next_offset(), head.last_sequence(), head.codec());
    }
    if let Ok(head) = BatchHead::parse(&input) {
        let again = BatchHead::parse(&head.encode());
        assert!(again.is_ok_and(|again| again == head));
    }
    let _ = verify(&input);
    let _ = validate(&input, &Rules::permissive(1 << 20));
    let decoded = decode(&input, DECOMPRESSED_BYTES_MAX).ok()?;
    let _ = EndTransaction::parse(&decoded);
    let mut records = 0usize;
    for record in decoded.records() {
        let Ok(record) = record else { break };
        records += 1;
        let headers = record.headers.iter().take_while(Result::is_ok).count();
        assert!(headers <= decoded.record_bytes());
    }
    // Each record takes at least its length.
    assert!(records <= decoded.record_bytes());
    Some(())
}

fn campaign(name: &'static str, seed: u64, cases: u64) -> Campaign {
    Campaign { name, seed, cases, peak_per_byte: PEAK_PER_BYTE, peak_base: PEAK_BASE }
}

#[test]
fn uncompressed_batches() {
    let campaign = campaign("uncompressed", 0xba7c_0000, CASES_UNCOMPRESSED);
    campaign.run(|random| batch(random, &[Codec::None]), read, drop);
}

#[test]
fn gzip_and_snappy_batches() {
    let campaign = campaign("gzip and snappy", 0xba7c_0001, CASES);
    campaign.run(|random| batch(random, &[Codec::Gzip, Codec::Snappy]), read, drop);
}

#[test]
fn lz4_and_zstd_batches() {
    let campaign = campaign("lz4 and zstd", 0xba7c_0002, CASES);
    campaign.run(|random| batch(random, &[Codec::Lz4, Codec::Zstd]), read, drop);
}

#[test]
fn a_bomb_of_each_codec_stays_within_its_bound() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut builder = BatchBuilder::new(codec);
        builder.push(Timestamp(0), None, Some(&vec![0; 32 << 20]), &[]);
        let bomb = builder.finish(Offset(0), LeaderEpoch(0));
        let (outcome, peak) = peak_of(|| decode(&bomb, DECOMPRESSED_BYTES_MAX).map(drop));
        assert!(matches!(outcome, Err(BatchError::Bomb(DECOMPRESSED_BYTES_MAX))), "{codec:?}: {outcome:?}");
        assert!(peak <= PEAK_BASE, "{codec:?}: {peak} bytes");
    }
}

#[test]
fn an_uncompressed_batch_is_validated_without_allocation() {
    let batch = batch(&mut Random::new(1), &[Codec::None]);
    assert!(batch.len() > BATCH_HEAD_BYTES);
    let (outcome, peak) = peak_of(|| validate(&batch, &Rules::permissive(1 << 20)).is_ok());
    assert_eq!((outcome, peak), (true, 0));
}
