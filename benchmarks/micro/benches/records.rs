//! Validation of a produced batch, and the checksum that is most of it.

use benchmarks_micro::{BATCH_BYTES, batch};
use broker_records::{Codec, Rules, crc32c, validate};
use criterion::{BenchmarkId, Criterion, Throughput};
use std::hint::black_box;

fn checksum(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("crc32c");
    for bytes in [100, 1024, 16 << 10, 128 << 10] {
        let data = vec![0x5a_u8; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_with_input(BenchmarkId::from_parameter(bytes), &data, |bencher, data| {
            bencher.iter(|| crc32c(black_box(data)));
        });
    }
    group.finish();
}

fn validation(criterion: &mut Criterion) {
    let rules = Rules::permissive(1 << 20);
    let mut group = criterion.benchmark_group("validate");
    for (name, codec) in [("none", Codec::None), ("lz4", Codec::Lz4)] {
        for record_bytes in [100, 1024] {
            let bytes = batch(codec, record_bytes, BATCH_BYTES);
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            group.bench_with_input(BenchmarkId::new(name, record_bytes), &bytes, |bencher, bytes| {
                bencher.iter(|| validate(black_box(bytes), &rules).expect("the batch is valid"));
            });
        }
    }
    // One record a request: what is paid per batch.
    let bytes = batch(Codec::None, 1024, 1);
    group.throughput(Throughput::Elements(1));
    group.bench_with_input(BenchmarkId::new("one record", 1024), &bytes, |bencher, bytes| {
        bencher.iter(|| validate(black_box(bytes), &rules).expect("the batch is valid"));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    checksum(&mut criterion);
    validation(&mut criterion);
    criterion.final_summary();
}
