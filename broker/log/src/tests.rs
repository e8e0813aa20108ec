//! The log against a model that is a list of batches: random operations, crashes, damage, time, retention.

use std::path::{Path, PathBuf};

use broker_model::{LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId};
use broker_partition::{Durability, SequenceError};
use broker_records::{BATCH_HEAD_BYTES, BatchBuilder, BatchHead, Codec, batches, decode, verify};
use bytes::Bytes;

use crate::files::{Change, Persist, replace_file, sync_dir};
use crate::*;

pub(crate) const TOPIC: TopicId = TopicId([7; 16]);
pub(crate) const DIR: &str = "/data/t-0";

pub(crate) fn dir() -> PathBuf {
    PathBuf::from(DIR)
}

pub(crate) fn config() -> LogConfig {
    LogConfig { segment_bytes: 4000, index_interval_bytes: 200, durability: Durability::Disk, ..LogConfig::default() }
}

pub(crate) fn memory() -> MemFiles {
    let files = MemFiles::new();
    files.change(Change::MakeDir(Path::new("/data"))).unwrap();
    sync_dir(&files, Path::new("/")).unwrap();
    files
}

pub(crate) fn hints(recovery_point: i64) -> OpenHints {
    OpenHints { recovery_point: Offset(recovery_point), ..OpenHints::unknown(TOPIC, Timestamp(1_000_000)) }
}

pub(crate) fn batch(codec: Codec, timestamp: i64, count: usize, fill: usize) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    for n in 0..count {
        builder.push(Timestamp(timestamp + n as i64), None, Some(&vec![(timestamp % 251) as u8; fill]), &[]);
    }
    builder.finish(Offset::ZERO, LeaderEpoch(-1))
}

pub(crate) fn produced(producer: i64, sequence: i32, count: usize) -> Bytes {
    let mut builder =
        BatchBuilder::new(Codec::None).producer(ProducerId(producer), ProducerEpoch(0), Sequence(sequence));
    (0..count).for_each(|n| builder.push(Timestamp(n as i64), None, Some(b"v"), &[]));
    builder.finish(Offset::ZERO, LeaderEpoch(-1))
}

pub(crate) fn prepared(batch: &Bytes) -> PreparedBatch<'_> {
    PreparedBatch { head: BatchHead::parse(batch).unwrap(), body: &batch[BATCH_HEAD_BYTES..] }
}

pub(crate) fn append<F: Files>(log: &mut Log<F>, batch: &Bytes) -> Appended {
    log.append(&[prepared(batch)], Timestamp(1_000_000)).unwrap()[0]
}

fn open(files: &MemFiles, hints: &OpenHints) -> (Log<MemFiles>, RecoveryReport) {
    Log::open(files.clone(), dir(), config(), hints).unwrap()
}

/// Everything that can be read by slices from `from` on: base offset and body of each batch.
pub(crate) fn read_all<F: Files>(log: &LogReader<F>, from: Offset, up_to: Offset, bytes_max: u32) -> Vec<(i64, Bytes)> {
    let (mut out, mut next) = (Vec::new(), from);
    while let Some(slice) = log.slice(next, bytes_max, up_to, FirstBatch::Whole).unwrap() {
        let bytes = log.read(&slice).unwrap();
        assert_eq!(bytes.len(), slice.bytes as usize);
        assert!(slice.base <= next && slice.next > next && slice.next <= up_to);
        let mut end = slice.base;
        for (count, found) in batches(&bytes).enumerate() {
            let (head, whole) = found.unwrap();
            verify(whole).unwrap();
            assert_eq!(head.base_offset, end);
            assert!(count == 0 || bytes.len() <= bytes_max as usize, "only one batch may be larger");
            end = head.next_offset();
            out.push((head.base_offset.0, Bytes::copy_from_slice(&whole[BATCH_HEAD_BYTES..])));
        }
        assert_eq!(end, slice.next);
        next = slice.next;
    }
    out
}

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// The model: base offset and body of each batch that the log holds.
#[derive(Default)]
struct Model {
    batches: Vec<(i64, Bytes)>,
    end: i64,
}

impl Model {
    fn push(&mut self, batch: &Bytes, count: i64) {
        self.batches.push((self.end, batch.slice(BATCH_HEAD_BYTES..)));
        self.end += count;
    }

    fn truncate(&mut self, to: i64) {
        while self.end > to {
            self.end = self.batches.pop().unwrap().0;
        }
    }

    fn check<F: Files>(&self, log: &LogReader<F>, random: &mut Random) {
        assert_eq!(log.end(), Offset(self.end));
        let start = log.local_start().0;
        let held: Vec<_> = self.batches.iter().filter(|(base, _)| *base >= start).cloned().collect();
        let bytes_max = [1, 300, 1500, 100_000][random.below(4) as usize];
        assert_eq!(read_all(log, Offset(start), Offset(self.end), bytes_max), held);
        if let Some(at) = (!held.is_empty()).then(|| random.below(held.len() as u64) as usize) {
            let from = held[at].0;
            assert_eq!(read_all(log, Offset(from), Offset(self.end), bytes_max), held[at..]);
            assert_eq!(read_all(log, Offset(start), Offset(from), bytes_max), held[..at]);
            let mapped = log.map(Offset(from), Offset(self.end)).unwrap().concat();
            let bodies: Vec<_> =
                batches(&mapped).map(|b| Bytes::copy_from_slice(&b.unwrap().1[BATCH_HEAD_BYTES..])).collect();
            assert!(bodies.iter().eq(held[at..].iter().map(|(_, body)| body)));
            let heads: Vec<_> =
                log.heads(Offset(from), Offset(self.end)).unwrap().map(|h| h.unwrap().head.base_offset.0).collect();
            assert!(heads.iter().eq(held[at..].iter().map(|(base, _)| base)));
        }
    }
}

/// From where on so many bytes are kept.
fn excess_below(log: &LogReader<MemFiles>, keep: u64) -> Offset {
    let mut excess = log.size_bytes().saturating_sub(keep);
    let mut start = log.local_start();
    for segment in log.segment_bounds().into_iter().filter(|segment| segment.closed) {
        if excess < segment.bytes {
            break;
        }
        (start, excess) = (segment.end, excess - segment.bytes);
    }
    start
}

#[test]
fn random_operations_are_those_of_a_list() {
    for seed in 0..150 {
        println!("seed {seed}");
        let (files, mut random, mut model) = (memory(), Random(seed), Model::default());
        let (mut log, _) = open(&files, &hints(0));
        for step in 0..60 {
            match random.below(20) {
                0 => log.roll(Timestamp(1_000_000)).unwrap(),
                1 => drop(log.flush().unwrap()),
                2 => {
                    let to = model.end - random.below(30).min(model.end as u64) as i64;
                    if to > log.local_start().0 {
                        log.truncate_to(Offset(to), Timestamp(0)).unwrap();
                        model.truncate(to);
                    }
                }
                3 => {
                    let start = excess_below(&log, 9_000);
                    log.delete_segments_below(start).unwrap();
                    assert!(log.segments().len() == 1 || log.size_bytes() < 9_000 + 4_000);
                    log.remove_expired_files(Timestamp(step * 1_000)).unwrap();
                }
                4 => {
                    let recovery_point = log.close(Timestamp(1_000_000)).unwrap();
                    let hints = OpenHints { clean: true, ..hints(recovery_point.0) };
                    log = open(&files, &hints).0;
                }
                5 => {
                    // The process is killed: the page cache survives.
                    let hints = OpenHints { same_boot: true, ..hints(log.flushed_end().0) };
                    log = open(&files, &hints).0;
                }
                6 => log.release_idle(),
                _ => {
                    let codec = Codec::ALL[random.below(5) as usize];
                    let count = 1 + random.below(5);
                    let one = batch(codec, step * 10, count as usize, random.below(400) as usize);
                    append(&mut log, &one);
                    model.push(&one, count as i64);
                }
            }
            model.check(&log, &mut random);
        }
    }
}

#[test]
fn a_power_loss_takes_nothing_that_was_flushed() {
    let mut torn = 0;
    for seed in 0..400 {
        println!("seed {seed}");
        let (files, mut random, mut model) = (memory(), Random(seed), Model::default());
        let (mut log, _) = open(&files, &hints(0));
        let mut recovery_point = 0;
        for round in 0..4 {
            for step in 0..1 + random.below(25) {
                let count = 1 + random.below(3);
                let one = batch(
                    Codec::None,
                    (seed * 7 + round * 100 + step) as i64,
                    count as usize,
                    random.below(700) as usize,
                );
                append(&mut log, &one);
                model.push(&one, count as i64);
                if random.below(4) == 0 {
                    log.flush().unwrap();
                    assert_eq!(log.high_watermark(), log.end());
                    if random.below(3) == 0 {
                        recovery_point = log.flushed_end().0;
                    }
                }
            }
            let flushed = log.flushed_end().0;
            files.power_loss(seed ^ (round << 32));
            let (after, report) = open(&files, &hints(recovery_point));
            torn += report.torn_bytes;
            log = after;
            assert!(log.end().0 >= flushed, "flushed {flushed}, found {}", log.end());
            let held: Vec<_> = model.batches.iter().filter(|(base, _)| *base < flushed).cloned().collect();
            assert_eq!(read_all(&log, Offset::ZERO, Offset(flushed), 5_000), held);
            // What was not flushed may be there, damaged or gone; what is there must be what was written.
            assert!(log.damaged().iter().all(|(from, _)| from.0 >= flushed));
            let whole: Vec<_> = match log.damaged().first() {
                Some((from, _)) => read_all_below(&log, *from),
                None => read_all(&log, Offset::ZERO, log.end(), 5_000),
            };
            assert!(model.batches.starts_with(&whole));
            if !log.damaged().is_empty() {
                break;
            }
            model.truncate(log.end().0);
            append(&mut log, &batch(Codec::None, 5, 1, 10));
            model.push(&batch(Codec::None, 5, 1, 10), 1);
        }
    }
    assert!(torn > 0, "the seeds tear tails");
}

fn read_all_below(log: &LogReader<MemFiles>, to: Offset) -> Vec<(i64, Bytes)> {
    if to > Offset::ZERO { read_all(log, Offset::ZERO, to, 5_000) } else { Vec::new() }
}

#[test]
fn a_kill_after_any_append_loses_nothing() {
    let (files, mut model, mut random) = (memory(), Model::default(), Random(1));
    for n in 0..120 {
        let (mut log, report) = open(&files, &OpenHints { same_boot: true, ..hints(0) });
        assert_eq!((report.torn_bytes, report.damaged.len()), (0, 0));
        model.check(&log, &mut random);
        let one = batch(Codec::ALL[n % 5], n as i64, 1 + n % 3, 20 + n);
        append(&mut log, &one);
        model.push(&one, 1 + n as i64 % 3);
    }
}

fn filled(files: &MemFiles, count: usize) -> Log<MemFiles> {
    let (mut log, _) = open(files, &hints(0));
    for n in 0..count {
        append(&mut log, &batch(Codec::None, 100 + 10 * n as i64, 2, 150));
    }
    log.flush().unwrap();
    log
}

pub(crate) fn file(base: i64, kind: &str) -> PathBuf {
    Path::new(DIR).join(format!("{base:020}.{kind}"))
}

#[test]
fn a_torn_tail_is_cut_and_offsets_go_on() {
    for cut in [1, 60, 61, 200, 300] {
        for hints in [hints(4), OpenHints { same_boot: true, ..hints(4) }] {
            let files = memory();
            drop(filled(&files, 4));
            files.damage(&file(0, "log"), |data| data.truncate(data.len() - cut));
            let (mut log, report) = open(&files, &hints);
            assert_eq!((log.end(), report.damaged.len()), (Offset(6), 0));
            let stored = append(&mut log, &batch(Codec::None, 1, 1, 1));
            assert_eq!(stored, Appended::Stored { base_offset: Offset(6), timestamp: Timestamp::NONE });
            assert_eq!(read_all(&log, Offset(0), Offset(7), 100_000).len(), 4);
        }
    }
}

#[test]
fn a_last_batch_that_rotted_is_not_taken_for_a_torn_one() {
    for at in [17, 30, 200] {
        let files = memory();
        drop(filled(&files, 4));
        let size = batch(Codec::None, 100, 2, 150).len();
        files.damage(&file(0, "log"), |data| data[3 * size + at] ^= 0x40);
        let (mut log, report) = open(&files, &OpenHints { same_boot: true, ..hints(0) });
        assert_eq!((log.end(), report.torn_bytes), (Offset(8), 0), "the page cache survived: it was whole once");
        assert_eq!(report.damaged, [(Offset(6), Offset(8))]);
        assert_eq!(log.slice(Offset(6), 1000, Offset(8), FirstBatch::Whole).unwrap_err().kind(), ErrorKind::Damaged);
        let stored = append(&mut log, &batch(Codec::None, 1, 1, 1));
        assert_eq!(stored, Appended::Stored { base_offset: Offset(8), timestamp: Timestamp::NONE });
        assert_eq!(read_all(&log, Offset(8), Offset(9), 1000).len(), 1);
        assert_eq!(read_all(&log, Offset(0), Offset(6), 100_000).len(), 3);
        drop(log);
        let (log, report) = open(&files, &OpenHints { same_boot: true, ..hints(0) });
        assert_eq!((log.end(), report.damaged.len()), (Offset(9), 1), "it stays marked");
    }
}

#[test]
fn damage_is_marked_and_the_rest_serves() {
    // Flips in each part of the third batch of four: its length, magic, checksum, body.
    for at in [9, 11, 16, 17, 30, 200] {
        for recovery_point in [0, 4, 8] {
            let files = memory();
            drop(filled(&files, 4));
            let size = batch(Codec::None, 100, 2, 150).len();
            files.damage(&file(0, "log"), |data| data[2 * size + at] ^= 0x40);
            let (mut log, report) = open(&files, &hints(recovery_point));
            assert_eq!(log.end(), Offset(8), "nothing is cut that batches follow");
            // Below the recovery point only heads are looked at: a flip in a body is for the reader's checksum and
            // the scrub.
            if recovery_point == 8 && at > 16 {
                continue;
            }
            assert_eq!(report.damaged, [(Offset(4), Offset(6))], "flip at {at}, recovery point {recovery_point}");
            let hurt = log.slice(Offset(5), 1000, Offset(8), FirstBatch::Whole).unwrap_err();
            assert_eq!(hurt.kind(), ErrorKind::Damaged);
            let before = log.slice(Offset(0), 100_000, Offset(8), FirstBatch::Whole).unwrap().unwrap();
            assert_eq!((before.base, before.next), (Offset(0), Offset(4)));
            let after = log.slice(Offset(6), 100_000, Offset(8), FirstBatch::Whole).unwrap().unwrap();
            assert_eq!((after.base, after.next), (Offset(6), Offset(8)));
            assert!(log.map(Offset(0), Offset(8)).is_err() && log.map(Offset(6), Offset(8)).is_ok());
            let recovery_point = log.close(Timestamp(1_000_000)).unwrap();
            let (log, _) = open(&files, &OpenHints { clean: true, ..hints(recovery_point.0) });
            assert_eq!(log.damaged(), [(Offset(4), Offset(6))], "the mark survives a clean restart");
        }
    }
}

#[test]
fn a_synced_tail_that_is_gone_is_never_given_again() {
    let files = memory();
    drop(filled(&files, 4));
    files.damage(&file(0, "log"), |data| data.truncate(500));
    let (mut log, report) = open(&files, &hints(8));
    assert_eq!(report.damaged, [(Offset(2), Offset(8))]);
    let stored = append(&mut log, &batch(Codec::None, 1, 1, 1));
    assert_eq!(stored, Appended::Stored { base_offset: Offset(8), timestamp: Timestamp::NONE });
    assert_eq!(log.slice(Offset(3), 9, Offset(9), FirstBatch::Whole).unwrap_err().kind(), ErrorKind::Damaged);
    assert_eq!(log.slice(Offset(8), 9, Offset(9), FirstBatch::Whole).unwrap().unwrap().next, Offset(9));
    log.flush().unwrap();
    drop(log);
    let (log, report) = open(&files, &hints(9));
    assert_eq!((log.end(), report.damaged), (Offset(9), vec![(Offset(2), Offset(8))]));
}

#[test]
fn damaged_indexes_are_made_anew() {
    for kind in ["index", "timeindex"] {
        for how in 0..4 {
            let files = memory();
            let mut log = filled(&files, 40);
            let recovery_point = log.close(Timestamp(1_000_000)).unwrap();
            let bases: Vec<i64> =
                (0..80).filter(|base| files.open(&file(*base, "log"), OpenMode::Read).is_ok()).collect();
            assert!(bases.len() > 2);
            for base in bases {
                files.damage(&file(base, kind), |data| match how {
                    0 => data.clear(),
                    1 => data.truncate(data.len().saturating_sub(3)),
                    2 => data.iter_mut().for_each(|byte| *byte ^= 0x15),
                    _ => data.resize(data.len() + 240, 0),
                });
            }
            let (log, _) = open(&files, &OpenHints { clean: true, ..hints(recovery_point.0) });
            for n in 0..40i64 {
                let slice = log.slice(Offset(2 * n + 1), 10, Offset(80), FirstBatch::Whole).unwrap().unwrap();
                assert_eq!((slice.base, slice.next), (Offset(2 * n), Offset(2 * n + 2)), "{kind} {how}");
                // A time index that was cut to nothing but sense is not noticed, so it is not asked here.
                if kind == "index" {
                    let hit = log.offset_for_time(Timestamp(100 + 10 * n + 1)).unwrap().unwrap();
                    assert_eq!(hit.offset, Offset(2 * n + 1));
                }
            }
        }
    }
}

#[test]
fn times_are_found_to_the_record() {
    for seed in 0..60 {
        println!("seed {seed}");
        let (files, mut random) = (memory(), Random(seed));
        let (mut log, _) = open(&files, &hints(0));
        let mut times = Vec::new();
        for _ in 0..40 {
            let codec = Codec::ALL[random.below(5) as usize];
            let mut builder = BatchBuilder::new(codec);
            for _ in 0..1 + random.below(4) {
                let timestamp = 1_000 + random.below(500) as i64;
                times.push(timestamp);
                builder.push(Timestamp(timestamp), None, Some(&[1; 90]), &[]);
            }
            append(&mut log, &builder.finish(Offset::ZERO, LeaderEpoch(-1)));
        }
        if seed % 2 == 0 {
            let recovery_point = log.close(Timestamp(1_000_000)).unwrap();
            log = open(&files, &OpenHints { clean: true, ..hints(recovery_point.0) }).0;
        }
        for at in (990..1_510).step_by(7) {
            let expected = times.iter().position(|timestamp| *timestamp >= at);
            let hit = log.offset_for_time(Timestamp(at)).unwrap();
            assert_eq!(hit.map(|hit| (hit.offset.0, hit.timestamp.0)), expected.map(|n| (n as i64, times[n])));
        }
        let max = *times.iter().max().unwrap();
        let first = times.iter().position(|timestamp| *timestamp == max).unwrap();
        assert_eq!(log.max_timestamp().unwrap().map(|hit| (hit.offset.0, hit.timestamp.0)), Some((first as i64, max)));
    }
}

#[test]
fn retries_are_recognised_after_every_kind_of_restart() {
    for how in 0..3 {
        let files = memory();
        let (mut log, _) = open(&files, &hints(0));
        for n in 0..200 {
            append(&mut log, &produced(5, n * 3, 3));
        }
        let flushed = log.flush().unwrap().0;
        let log_hints = match how {
            0 => OpenHints { clean: true, ..hints(log.close(Timestamp(1_000_000)).unwrap().0) },
            1 => OpenHints { same_boot: true, ..hints(0) },
            _ => {
                files.power_loss(3);
                hints(flushed)
            }
        };
        let (mut log, _) = open(&files, &log_hints);
        for n in 195..200 {
            let again = append(&mut log, &produced(5, n * 3, 3));
            let expected = Appended::Duplicate { base_offset: Offset(i64::from(n) * 3), timestamp: Timestamp::NONE };
            assert_eq!(again, expected, "restart {how}");
        }
        let gap = append(&mut log, &produced(5, 700, 1));
        assert!(matches!(gap, Appended::Refused(Refusal::Sequence(SequenceError::OutOfOrderSequence { .. }))));
        assert_eq!(
            append(&mut log, &produced(5, 600, 1)),
            Appended::Stored { base_offset: Offset(600), timestamp: Timestamp::NONE }
        );
    }
}

#[test]
fn a_full_disk_undoes_the_append_and_a_failed_sync_ends_the_log() {
    for fault in [Fault::NoSpace, Fault::ShortWrite] {
        let files = memory();
        let mut log = filled(&files, 2);
        files.inject(0, fault);
        let one = produced(1, 0, 2);
        let error = log.append(&[prepared(&one)], Timestamp(0)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full);
        assert_eq!((log.end(), log.producers().len()), (Offset(4), 0));
        assert_eq!(append(&mut log, &one), Appended::Stored { base_offset: Offset(4), timestamp: Timestamp::NONE });
        assert_eq!(read_all(&log, Offset(0), Offset(6), 9_999).len(), 3);
    }
    let files = memory();
    let mut log = filled(&files, 2);
    append(&mut log, &batch(Codec::None, 1, 1, 1));
    files.inject(0, Fault::Io);
    assert_eq!(log.flush().unwrap_err().kind(), ErrorKind::Offline);
    assert_eq!(log.flush().unwrap_err().kind(), ErrorKind::Offline, "it is not tried again");
    assert_eq!(log.high_watermark(), Offset(4));
    let one = batch(Codec::None, 1, 1, 1);
    assert_eq!(log.append(&[prepared(&one)], Timestamp(0)).unwrap_err().kind(), ErrorKind::Offline);
}

#[test]
fn segments_roll_by_time_index_size_and_jitter() {
    let bases = |config: LogConfig, dir: &str| {
        let (mut log, _) = Log::open(memory(), Path::new("/data").join(dir), config, &hints(0)).unwrap();
        for timestamp in [100, 1_100, 1_101, 9_000_000_000] {
            append(&mut log, &batch(Codec::None, timestamp, 1, 10));
        }
        log.segments().iter().map(|segment| segment.base.0).collect::<Vec<_>>()
    };
    let by_time = LogConfig { segment_ms: 1_000, ..config() };
    assert_eq!(bases(by_time, "t-0"), [0, 2, 3]);
    // Up to a second earlier, and not the same for all.
    let jittered = LogConfig { segment_jitter_ms: 1_000, ..by_time };
    let rolled_early = (0..40).filter(|n| bases(jittered, &format!("t-{n}")).get(1) == Some(&1)).count();
    assert!(rolled_early > 30, "a second of age is beyond a second less anything: {rolled_early}");
    let half = LogConfig { segment_jitter_ms: 500, segment_ms: 1_400, ..config() };
    let rolled_early = (0..40).filter(|n| bases(half, &format!("t-{n}")).get(1) == Some(&1)).count();
    assert!((1..39).contains(&rolled_early), "some, not all: {rolled_early}");
    // Every batch after the first gets an entry; the time index has room for one more than are written.
    for (index_bytes, expected) in [(36, vec![0, 3]), (24, vec![0, 2]), (11, vec![0, 1, 2, 3])] {
        let by_index = LogConfig { segment_index_bytes: index_bytes, index_interval_bytes: 1, ..config() };
        let found = bases(LogConfig { segment_ms: i64::MAX, ..by_index }, "t-0");
        assert_eq!(found, expected, "segment.index.bytes={index_bytes}");
    }
}

#[test]
fn files_of_deleted_segments_go_after_the_delay() {
    let files = memory();
    let config = LogConfig { file_delete_delay_ms: 500, ..config() };
    let (mut log, _) = Log::open(files.clone(), dir(), config, &hints(0)).unwrap();
    for n in 0..60 {
        append(&mut log, &batch(Codec::None, n, 1, 150));
    }
    let names = |end: &str| files.list(&dir()).unwrap().iter().filter(|entry| entry.name.ends_with(end)).count();
    let (segments, start) = (log.segments().len(), log.segments()[2].base);
    assert!(segments > 3);
    log.delete_segments_below(start).unwrap();
    assert_eq!((log.local_start(), names(".log")), (start, segments), "the files are there still");
    assert_eq!(log.remove_expired_files(Timestamp(1_000)).unwrap(), 0);
    assert_eq!((names(".log"), names(".log.deleted")), (segments - 2, 2));
    assert_eq!(log.remove_expired_files(Timestamp(1_499)).unwrap(), 0);
    // A restart makes an end of the waiting.
    let recovery_point = log.close(Timestamp(1_499)).unwrap();
    let (log, _) = open(&files, &OpenHints { clean: true, now: Timestamp(1_499), ..hints(recovery_point.0) });
    assert_eq!((log.local_start(), names(".log.deleted")), (start, 2));
    assert_eq!(log.remove_expired_files(Timestamp(1_499)).unwrap(), 2);
    assert_eq!((names(".deleted"), names(".log")), (0, segments - 2));
    log.remove_expired_files(Timestamp(i64::MAX)).unwrap();
    assert_eq!(read_all(&log, start, log.end(), 1_000).len() as i64, log.end().0 - start.0);
}

#[test]
fn slices_outlive_their_segment() {
    let files = memory();
    let mut log = filled(&files, 40);
    let slice = log.slice(Offset(0), 9_999, Offset(80), FirstBatch::Whole).unwrap().unwrap();
    let maps = log.map(Offset(0), slice.next).unwrap();
    log.delete_segments_below(Offset(80)).unwrap();
    assert_eq!(log.segments().len(), 1);
    assert_eq!(log.read(&slice).unwrap(), maps.concat());
    let error = log.slice(Offset(0), 9, Offset(80), FirstBatch::Whole).unwrap_err();
    assert!(matches!(error, ReadError::BelowStart { local_start } if local_start == log.local_start()));
    assert_eq!(log.log_start(), Offset(0), "what retention frees here may be in the tier");
}

#[test]
fn epochs_and_append_time_are_stamped() {
    let files = memory();
    let config = LogConfig { append_time: AppendTime::Broker, ..config() };
    let (mut log, _) = Log::open(files.clone(), dir(), config, &hints(0)).unwrap();
    log.begin_epoch(LeaderEpoch(3)).unwrap();
    let one = batch(Codec::Zstd, 5, 3, 20);
    let stored = log.append(&[prepared(&one), prepared(&one)], Timestamp(77)).unwrap();
    assert_eq!(stored[1], Appended::Stored { base_offset: Offset(3), timestamp: Timestamp(77) });
    assert!(log.begin_epoch(LeaderEpoch(2)).is_err());
    log.begin_epoch(LeaderEpoch(4)).unwrap();
    log.append(&[prepared(&one)], Timestamp(78)).unwrap();
    let bytes = log.map(Offset(0), Offset(9)).unwrap().concat();
    let seen: Vec<_> = batches(&bytes)
        .map(|b| decode(b.unwrap().1, 9_999).unwrap())
        .map(|b| (b.head().leader_epoch.0, b.records().next().unwrap().unwrap().timestamp.0))
        .collect();
    assert_eq!(seen, [(3, 77), (3, 77), (4, 78)]);
    // Without its checkpoint the epochs are found again in the heads.
    log.flush().unwrap();
    drop(log);
    files.change(Change::Remove(&dir().join("leader-epoch-checkpoint"))).unwrap();
    let (log, _) = open(&files, &hints(9));
    assert_eq!(log.epochs().epoch_of(Offset(5)), Some(LeaderEpoch(3)));
    assert_eq!(log.epochs().latest(), Some(LeaderEpoch(4)));
}

#[test]
fn the_archive_wins() {
    let files = memory();
    let mut log = filled(&files, 10);
    append(&mut log, &produced(9, 0, 1));
    let (snapshot, epochs) = (log.producer_snapshot(), log.epochs().clone());
    log.reset_to(Offset(500), epochs, Some(&snapshot), Timestamp(0)).unwrap();
    assert_eq!((log.local_start(), log.log_start(), log.end()), (Offset(500), Offset(0), Offset(500)));
    assert_eq!(
        append(&mut log, &produced(9, 1, 1)),
        Appended::Stored { base_offset: Offset(500), timestamp: Timestamp::NONE }
    );
    log.flush().unwrap();
    drop(log);
    let (log, _) = open(&files, &hints(501));
    assert_eq!((log.end(), log.segments().len(), log.producers().len()), (Offset(501), 1, 1));
    assert!(log.damaged().is_empty());
}

#[test]
fn another_topics_directory_is_refused() {
    let files = memory();
    drop(filled(&files, 1));
    let other = OpenHints::unknown(TopicId([8; 16]), Timestamp(0));
    assert!(matches!(Log::open(files, dir(), config(), &other), Err(OpenError::OtherTopic { .. })));
}

#[test]
fn a_log_directory_knows_its_owner_and_how_it_was_left() {
    let (files, root) = (memory(), PathBuf::from("/data"));
    let me = Identity { cluster_id: "c".into(), node_id: 1, directory_id: "d".into() };
    let open = |id: &Identity, boot: &str| DirState::open(files.clone(), root.clone(), id, boot);
    let (state, found) = open(&me, "boot 1").unwrap();
    assert!(found.lines.is_empty() && !state.is_same_boot());
    assert!(matches!(open(&me, "boot 1"), Err(DirError::Locked(_))));
    let line = Line { recovery_point: Offset(4), log_start: Offset(2), high_watermark: Offset(5) };
    let damaged = Line { recovery_point: Offset(4_000), ..line };
    let lines_of = |partitions: &[(i32, Line)]| {
        let partitions = partitions.iter().map(|(index, line)| (PartitionIndex(*index), *line)).collect();
        Lines::from([("a-b".to_owned(), partitions)])
    };
    state.write_checkpoints(&CheckpointTexts::of(&lines_of(&[(2, damaged), (3, line), (4, line)]))).unwrap();
    for partition in [2, 3, 7] {
        files.change(Change::MakeDir(&state.partition_dir("a-b", PartitionIndex(partition)))).unwrap();
    }
    files.change(Change::MakeDir(&root.join("gone-0.AAAAAAAAAAAAAAAAAAAAAA-delete"))).unwrap();
    drop(state);
    let (state, found) = open(&me, "boot 1").unwrap();
    assert!(!state.was_clean() && state.is_same_boot());
    // A line without its directory is forgotten, a directory without a line has zeros, and nothing is synced that is not
    // committed.
    let bounded = Line { recovery_point: Offset(5), ..line };
    assert_eq!(found.lines, lines_of(&[(2, bounded), (3, line), (7, Line::default())]));
    assert_eq!(found.leftovers, [root.join("gone-0.AAAAAAAAAAAAAAAAAAAAAA-delete")]);
    state.close_clean().unwrap();
    files.power_loss(1);
    let (state, found) = open(&me, "boot 2").unwrap();
    assert!(state.was_clean() && !state.is_same_boot() && found.lines.contains_key("a-b"));
    drop(state);
    assert!(!open(&me, "boot 2").unwrap().0.was_clean(), "clean holds once");
    let stranger = Identity { node_id: 2, ..me };
    assert!(matches!(open(&stranger, "boot 2"), Err(DirError::Stranger { key: "node.id", .. })));
    let meta = root.join("meta.properties");
    replace_file(&files, &meta, b"version=9\n", Persist::Now).unwrap();
    let later = open(&stranger, "boot 2").map(|_| ()).unwrap_err();
    assert!(later.to_string().contains("version=9, which is not known here"), "{later}");
}
