//! Appending one batch, and planning a fetch: index look-up, heads, the slice that sendfile gets.
//!
//! The log of the fetch benchmarks lies on disk in 16 segments of 16 MiB with 16 KiB batches: the shape of 1 GiB segments
//! scaled down, with as many index entries per byte. Its pages are in the page cache.

use std::hint::black_box;
use std::path::PathBuf;

use benchmarks_micro::{BATCH_BYTES, NOW, batch};
use broker_log::{DiskFiles, Files, FirstBatch, Log, LogConfig, MemFiles, OpenHints, PreparedBatch};
use broker_model::{Offset, TopicId};
use broker_records::{BATCH_HEAD_BYTES, Codec, Rules, validate};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};

const SEGMENTS: u64 = 16;
const SEGMENT_BYTES: u64 = 16 << 20;
const FETCH_BYTES: u32 = 1 << 20;
/// An append benchmark begins a new log after so many bytes, so that neither memory nor disk fill up.
const LOG_BYTES_MAX: u64 = 256 << 20;

fn open<F: Files>(files: F, dir: PathBuf, segment_bytes: u64) -> Log<F> {
    let config = LogConfig { segment_bytes, ..LogConfig::default() };
    let (log, _) = Log::open(files, dir, config, &OpenHints::unknown(TopicId([7; 16]), NOW)).expect("the log opens");
    log
}

fn prepared(bytes: &[u8]) -> PreparedBatch<'_> {
    let head = validate(bytes, &Rules::permissive(1 << 20)).expect("the batch is valid");
    PreparedBatch { head, body: bytes.get(BATCH_HEAD_BYTES..).expect("a batch has a head") }
}

/// Appends the same batch again and again, in a new log whenever the last one is large.
struct Appender<F: Files, M: FnMut() -> Log<F>> {
    make: M,
    log: Log<F>,
}

impl<F: Files, M: FnMut() -> Log<F>> Appender<F, M> {
    fn new(mut make: M) -> Self {
        Appender { log: make(), make }
    }

    fn renewed(&mut self) {
        if self.log.size_bytes() > LOG_BYTES_MAX {
            self.log.delete().expect("the log can be deleted");
            self.log = (self.make)();
        }
    }

    fn append(&mut self, batch: &PreparedBatch<'_>) {
        let outcomes = self.log.append(std::slice::from_ref(batch), NOW).expect("the append succeeds");
        black_box(outcomes);
    }
}

fn append_with<F: Files>(criterion: &mut Criterion, name: &str, make: impl FnMut() -> Log<F>) {
    let mut appender = Appender::new(make);
    let mut group = criterion.benchmark_group(format!("append/{name}"));
    for batch_bytes in [1, 16 << 10, BATCH_BYTES] {
        let bytes = batch(Codec::None, 1024, batch_bytes);
        let batch = prepared(&bytes);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes.len()), |bencher| {
            bencher.iter(|| appender.append(&batch));
            appender.renewed();
        });
    }
    group.finish();
}

fn append(criterion: &mut Criterion) {
    append_with(criterion, "memory", || open(MemFiles::new(), PathBuf::from("log-0"), SEGMENT_BYTES));
    let place = tempfile::tempdir().expect("there is a directory for temporary files");
    let mut logs = 0;
    append_with(criterion, "disk", || {
        logs += 1;
        open(DiskFiles, place.path().join(format!("log-{logs}-0")), 1 << 30)
    });
}

/// Random offsets of a log, the same in every run.
fn offsets(end: Offset) -> impl FnMut() -> Offset {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Offset(i64::try_from((state >> 33) % u64::try_from(end.0.max(1)).expect("an end")).expect("less than the end"))
    }
}

fn fetch_planning(criterion: &mut Criterion) {
    let place = tempfile::tempdir().expect("there is a directory for temporary files");
    let mut log = open(DiskFiles, place.path().join("fetched-0"), SEGMENT_BYTES);
    let bytes = batch(Codec::None, 1024, 16 << 10);
    let batch = prepared(&bytes);
    while log.size_bytes() < SEGMENTS * SEGMENT_BYTES {
        log.append(&[batch; 64], NOW).expect("the append succeeds");
    }
    let (reader, end) = (log.reader(), log.end());
    let mut group = criterion.benchmark_group("slice");
    group.bench_function("anywhere", |bencher| {
        let mut next = offsets(end);
        let plan = |from| reader.slice(from, FETCH_BYTES, end, FirstBatch::Whole).expect("the offset is there");
        bencher.iter_batched(&mut next, plan, BatchSize::SmallInput);
    });
    group.bench_function("catching up", |bencher| {
        let mut from = Offset::ZERO;
        bencher.iter(|| {
            let slice = reader.slice(from, FETCH_BYTES, end, FirstBatch::Whole).expect("the offset is there");
            from = slice.map_or(Offset::ZERO, |slice| slice.next);
        });
    });
    group.bench_function("at the end", |bencher| {
        bencher.iter(|| reader.slice(black_box(end), FETCH_BYTES, end, FirstBatch::Whole).expect("the end is there"));
    });
    group.bench_function("last batch", |bencher| {
        let last = Offset(end.0 - 1);
        bencher.iter(|| reader.slice(black_box(last), FETCH_BYTES, end, FirstBatch::Whole).expect("it is there"));
    });
    group.finish();
    criterion.bench_function("offset for a time", |bencher| {
        bencher.iter(|| reader.offset_for_time(black_box(NOW)).expect("the index is read"));
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    append(&mut criterion);
    fetch_planning(&mut criterion);
    criterion.final_summary();
}
