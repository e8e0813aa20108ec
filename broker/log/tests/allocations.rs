//! What the log asks of the allocator: nothing for an append, once its buffers have grown, and little while it is idle.
//!
//! The counts are per thread, so that tests beside each other do not disturb.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use broker_log::{Appended, DiskFiles, FirstBatch, Log, LogConfig, LogPlace, OpenFiles, OpenHints, PreparedBatch};
use broker_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId};
use broker_records::{BATCH_HEAD_BYTES, BatchBuilder, BatchHead, Codec};

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing, because the counter is a
// constant that needs no initialisation and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        LIVE_BYTES.set(LIVE_BYTES.get() + layout.size() as i64);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.set(LIVE_BYTES.get() - layout.size() as i64);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn calls(work: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    work();
    CALLS.get() - before
}

fn batch(producer: i64, sequence: i32) -> Vec<u8> {
    let mut builder =
        BatchBuilder::new(Codec::None).producer(ProducerId(producer), ProducerEpoch(0), Sequence(sequence));
    builder.push(Timestamp(i64::from(sequence)), None, Some(&[7; 100]), &[]);
    builder.finish(Offset::ZERO, LeaderEpoch(-1)).to_vec()
}

#[test]
fn an_append_asks_for_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let hints = OpenHints::unknown(TopicId([1; 16]), Timestamp(0));
    let config = LogConfig { index_interval_bytes: 200, ..LogConfig::default() };
    let (mut log, _) = Log::open(DiskFiles, dir.path().join("t-0"), config, &hints).unwrap();
    let mut outcomes = Vec::new();
    // A hundred batches of a hundred producers, one call each time: more than one pwritev takes.
    let rounds: Vec<Vec<Vec<u8>>> =
        (0..200).map(|round| (0..100).map(|producer| batch(producer, round)).collect()).collect();
    let prepared: Vec<Vec<PreparedBatch<'_>>> =
        rounds.iter().map(|round| round.iter().map(|b| prepare(b)).collect()).collect();
    let (warm, steady) = prepared.split_at(50);
    for round in warm {
        log.append_into(round, Timestamp(1), &mut outcomes).unwrap();
    }
    let asked = calls(|| {
        for round in steady {
            log.append_into(round, Timestamp(1), &mut outcomes).unwrap();
        }
    });
    assert_eq!(log.end(), Offset(20_000));
    assert_eq!(outcomes[99], Appended::Stored { base_offset: Offset(19_999), timestamp: Timestamp::NONE });
    assert_eq!(asked, 0, "allocations in {} appends of a hundred batches", steady.len());
}

#[test]
fn an_idle_log_holds_little_memory_and_no_files_beyond_the_limit() {
    const LOGS: usize = 200;
    let dir = tempfile::tempdir().unwrap();
    let hints = OpenHints::unknown(TopicId([1; 16]), Timestamp(0));
    let place = LogPlace { open_files: OpenFiles::new(20), ..LogPlace::new(DiskFiles) };
    let config = LogConfig { index_interval_bytes: 1000, segment_bytes: 12_000, ..LogConfig::default() };
    let mut outcomes = Vec::with_capacity(100);
    let before = LIVE_BYTES.get();
    let mut logs = Vec::with_capacity(LOGS);
    for n in 0..LOGS {
        let (mut log, _) = Log::open_in(&place, dir.path().join(format!("t-{n}")), config, &hints).unwrap();
        for sequence in 0..100 {
            log.append_into(&[prepare(&batch(3, sequence))], Timestamp(1), &mut outcomes).unwrap();
        }
        log.flush().unwrap();
        log.slice(Offset(70), 1000, log.end(), FirstBatch::Whole).unwrap().unwrap();
        log.expire_producers(Timestamp(2));
        logs.push(log);
        assert!(place.open_files.open() <= 20);
    }
    let each = (LIVE_BYTES.get() - before) / LOGS as i64;
    assert!(each < 4096, "{each} bytes for each idle log of {} segments", logs[0].segment_bounds().len());
    // All of them go on, whatever was closed meanwhile.
    for log in &mut logs {
        log.append_into(&[prepare(&batch(3, 100))], Timestamp(3), &mut outcomes).unwrap();
        assert!(log.slice(Offset(0), 1000, log.end(), FirstBatch::Whole).unwrap().is_some());
        assert_eq!(log.flush().unwrap(), Offset(101));
    }
    assert!(place.open_files.open() <= 20);
}

fn prepare(batch: &[u8]) -> PreparedBatch<'_> {
    PreparedBatch { head: BatchHead::parse(batch).expect("a batch was built"), body: &batch[BATCH_HEAD_BYTES..] }
}
