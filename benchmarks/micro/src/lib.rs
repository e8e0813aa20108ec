//! What the micro benchmarks share: batches as the Java client would send them.
//!
//! A benchmark here measures one piece alone, on one thread, with data in the processor's caches or in the page cache:
//! it says what a change to that piece costs, and nothing about a server. `benchmarks/compare` measures servers.
//!
//! Start reading at the files in `benches`: `records` (validation, checksum), `log` (append, fetch planning), `wire`
//! (frames, requests, responses).

use broker_model::{LeaderEpoch, Offset, Timestamp};
use broker_records::{BatchBuilder, Codec};
use bytes::Bytes;

/// The time at which everything here happens, in milliseconds since 1970.
pub const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// Bytes of records that a batch holds before compression: the Java client's `batch.size` for throughput.
pub const BATCH_BYTES: usize = 128 << 10;

/// A batch of records without keys, of at most `batch_bytes` bytes but with at least one record. Half of each value is
/// noise and half is one repeated letter, so that a codec has something to do and halves it at most.
#[must_use]
pub fn batch(codec: Codec, record_bytes: usize, batch_bytes: usize) -> Bytes {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut builder = BatchBuilder::new(codec);
    loop {
        let value: Vec<u8> = (0..record_bytes).map(|at| if at % 2 == 0 { noise.byte() } else { b'x' }).collect();
        builder.push(NOW, None, Some(&value), &[]);
        if builder.record_bytes() + record_bytes > batch_bytes {
            return builder.finish(Offset::ZERO, LeaderEpoch(-1));
        }
    }
}

/// The xorshift generator of Marsaglia (2003): the same bytes in every run.
struct Noise(u64);

impl Noise {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let [byte, ..] = self.0.to_be_bytes();
        byte
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker_records::{BatchHead, verify};

    #[test]
    fn a_batch_is_as_large_as_asked_and_valid() {
        let bytes = batch(Codec::None, 1024, BATCH_BYTES);
        let head: BatchHead = verify(&bytes).unwrap();
        assert!(bytes.len() <= BATCH_BYTES + 61 && bytes.len() > BATCH_BYTES - 2048, "{} bytes", bytes.len());
        assert!(head.record_count > 100, "{} records", head.record_count);
        assert!(batch(Codec::Lz4, 1024, BATCH_BYTES).len() < bytes.len());
        assert_eq!(verify(&batch(Codec::None, 1024, 1)).unwrap().record_count, 1);
    }
}
