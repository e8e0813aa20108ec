//! The log under attack: power that fails at any moment, operations that fail, bits that flip, disks that are full.
//!
//! What must hold each time: what was flushed, or read below the high watermark, is never taken back or changed; an
//! error is an error and never wrong data.

use std::collections::BTreeMap;
use std::path::PathBuf;

use broker_model::{LeaderEpoch, Offset, Timestamp};
use broker_records::{BATCH_HEAD_BYTES, Codec, batches, verify};
use bytes::Bytes;

use crate::files::read_file;
use crate::tests::{Random, append, batch, config, dir, file, hints, memory, prepared, produced, read_all};
use crate::*;

/// All batches below the high watermark, by their base offset.
fn committed(log: &LogReader<MemFiles>) -> BTreeMap<i64, Bytes> {
    let (mut found, mut next) = (BTreeMap::new(), log.local_start());
    while next < log.high_watermark() {
        match log.slice(next, 3_000, log.high_watermark(), FirstBatch::Whole) {
            Ok(Some(slice)) => {
                let bytes = log.read(&slice).unwrap();
                for found_batch in batches(&bytes) {
                    let (head, whole) = found_batch.unwrap();
                    verify(whole).unwrap();
                    found.insert(head.base_offset.0, Bytes::copy_from_slice(&whole[BATCH_HEAD_BYTES..]));
                }
                next = slice.next;
            }
            Ok(None) => break,
            Err(ReadError::Damaged { to, .. }) => next = to,
            Err(error) => panic!("{error}"),
        }
    }
    found
}

#[test]
fn a_power_loss_takes_back_nothing_that_was_acknowledged_or_read() {
    let (mut rolls, mut deletions, mut torn) = (0, 0, 0);
    for seed in 0..120 {
        println!("seed {seed}");
        let (files, mut random) = (memory(), Random(seed));
        let config = LogConfig { file_delete_delay_ms: 200, segment_bytes: 2_000, ..config() };
        let open = |hints: OpenHints| Log::open(files.clone(), dir(), config, &hints).unwrap();
        let (mut log, _) = open(hints(0));
        let (mut recovery_point, mut sequence) = (0, 0);
        for round in 0..3 {
            let mut read = BTreeMap::new();
            for step in 0..random.below(40) {
                match random.below(12) {
                    0 => log.roll(Timestamp(5)).unwrap(),
                    1 => {
                        let start =
                            log.segment_bounds().iter().rev().nth(2).map_or(Offset::ZERO, |segment| segment.base);
                        let gone = log.delete_segments_below(start.min(log.high_watermark())).unwrap();
                        deletions += usize::from(gone > 0);
                    }
                    2 => drop(log.remove_expired_files(Timestamp(step as i64 * 40)).unwrap()),
                    3..6 => {
                        log.flush().unwrap();
                        if random.below(3) == 0 {
                            recovery_point = log.flushed_end().0;
                        }
                    }
                    6 => read = committed(&log),
                    7 => {
                        append(&mut log, &produced(1, sequence, 2));
                        sequence += 2;
                    }
                    _ => {
                        let one = batch(Codec::None, (round * 50 + step) as i64, 1, random.below(500) as usize);
                        append(&mut log, &one);
                    }
                }
            }
            rolls += log.segment_bounds().len() - 1;
            let (acknowledged, start) = (log.flushed_end(), log.local_start());
            let epochs = log.epochs().clone();
            read.append(&mut committed(&log));
            read.retain(|base, _| *base >= start.0);
            files.power_loss(seed ^ (round << 40));
            let (after, report) = open(hints(recovery_point));
            log = after;
            torn += report.torn_bytes;
            assert!(log.end() >= acknowledged && log.local_start() <= start, "{acknowledged} {}", log.end());
            let found = committed(&log);
            for (base, body) in &read {
                assert_eq!(found.get(base), Some(body), "offset {base} was read before the loss");
            }
            assert!(report.damaged.iter().all(|(from, _)| *from >= acknowledged));
            if let Some(last) = read.keys().next_back().map(|base| Offset(*base)) {
                assert_eq!(log.epochs().epoch_of(last), epochs.epoch_of(last));
            }
            let known = log.producers().get(broker_model::ProducerId(1)).map_or(0, |state| state.last_sequence().0 + 1);
            assert!(known <= sequence);
            sequence = known;
            if !report.damaged.is_empty() {
                break;
            }
        }
    }
    assert!(rolls > 150 && deletions > 25 && torn > 0, "{rolls} {deletions} {torn}");
}

/// A life with everything in it. Errors are noted, and the life goes on.
fn live(files: &MemFiles) -> Vec<ErrorKind> {
    let mut errors = Vec::new();
    let config = LogConfig { file_delete_delay_ms: 0, segment_bytes: 1_500, ..config() };
    let mut recovery_point = 0;
    for life in 0..2 {
        let Ok((mut log, _)) = Log::open(files.clone(), dir(), config, &hints(recovery_point)) else {
            errors.push(ErrorKind::Offline);
            continue;
        };
        if let Err(error) = log.begin_epoch(LeaderEpoch(life)) {
            errors.push(error.kind());
        }
        for n in 0..14 {
            let one = batch(Codec::None, n, 1, 300);
            match log.append(&[prepared(&one)], Timestamp(n)) {
                Ok(_) => {}
                Err(error) => errors.push(error.kind()),
            }
            if n % 3 == 2 {
                match log.flush() {
                    Ok(flushed) => recovery_point = flushed.0,
                    Err(error) => errors.push(error.kind()),
                }
            }
            if n == 9 {
                log.release_idle();
                let _ = log.slice(log.local_start(), 700, log.high_watermark(), FirstBatch::Whole);
                let _ = log.offset_for_time(Timestamp(4));
                let _ = log.delete_segments_below(Offset(n / 2));
                let _ = log.remove_expired_files(Timestamp(n));
            }
        }
        if let Err(error) = log.close(Timestamp(99)) {
            errors.push(error.kind());
        }
    }
    errors
}

#[test]
fn any_operation_may_fail_once() {
    for (fault, expected) in [(Fault::Io, ErrorKind::Offline), (Fault::NoSpace, ErrorKind::Full)] {
        let mut survived = 0;
        for skip in 0.. {
            println!("{fault:?} at operation {skip}");
            let files = memory();
            files.inject_anywhere(skip, fault);
            let errors = live(&files);
            if files.fault_waits() {
                assert!(skip > 150, "there are many operations");
                break;
            }
            survived += usize::from(errors.is_empty());
            if fault == Fault::NoSpace {
                // Only syncs that say so, and opening, are more than one refused append.
                let full = errors.iter().filter(|error| **error == expected).count();
                assert!(full <= 1, "a full disk is felt once: {errors:?}");
            }
            // Whatever happened: what is there is right, in order, without a gap, and the log goes on.
            let (mut log, report) = Log::open(files.clone(), dir(), config(), &hints(0)).unwrap();
            assert_eq!(report.damaged, []);
            let whole = read_all(&log, log.local_start(), log.end(), 9_999);
            assert_eq!(whole.len() as i64, log.end().0 - log.local_start().0);
            append(&mut log, &batch(Codec::None, 1, 1, 1));
            log.flush().unwrap();
        }
        assert!(survived > 5, "some failures are nobody's business: {survived}");
    }
}

#[test]
fn a_full_disk_refuses_appends_until_there_is_room() {
    let files = memory();
    let mut log = Log::open(files.clone(), dir(), LogConfig { segment_bytes: 1_500, ..config() }, &hints(0)).unwrap().0;
    let mut acknowledged = 0;
    for round in 0..12 {
        // Never the same place: in a roll, in an append, in the index.
        files.limit_room(Some(round * 331));
        for n in 0..30 {
            let one = produced(7, acknowledged, 1);
            match log.append(&[prepared(&one)], Timestamp(n)) {
                Ok(_) => acknowledged += 1,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Full),
            }
            assert_eq!(log.end(), Offset(i64::from(acknowledged)));
            let found = read_all(&log, Offset::ZERO, log.end(), 5_000);
            assert_eq!(found.len(), acknowledged as usize, "reads go on");
        }
        files.limit_room(None);
        let one = produced(7, acknowledged, 1);
        log.append(&[prepared(&one)], Timestamp(0)).unwrap();
        acknowledged += 1;
        log.flush().unwrap();
    }
    let recovery_point = log.close(Timestamp(0)).unwrap();
    let (log, _) = Log::open(files, dir(), config(), &OpenHints { clean: true, ..hints(recovery_point.0) }).unwrap();
    assert_eq!(read_all(&log, Offset::ZERO, log.end(), 5_000).len(), acknowledged as usize);
}

#[test]
fn a_failed_disk_is_the_end_of_all_logs_of_its_directory() {
    let (files, other_files) = (memory(), memory());
    let place = LogPlace::new(files.clone());
    let open = |place: &LogPlace<MemFiles>, name: &str| {
        Log::open_in(place, PathBuf::from("/data").join(name), config(), &hints(0)).unwrap().0
    };
    let (mut one, mut two) = (open(&place, "t-1"), open(&place, "t-2"));
    let mut elsewhere = open(&LogPlace { open_files: place.open_files.clone(), ..LogPlace::new(other_files) }, "t-3");
    let batch = batch(Codec::None, 1, 1, 1);
    files.limit_room(Some(0));
    assert_eq!(one.append(&[prepared(&batch)], Timestamp(0)).unwrap_err().kind(), ErrorKind::Full);
    files.limit_room(None);
    append(&mut one, &batch);
    append(&mut two, &batch);
    assert!(!place.health.is_offline() && place.health.reason().is_none());
    files.inject(0, Fault::Io);
    assert_eq!(one.flush().unwrap_err().kind(), ErrorKind::Offline);
    assert!(place.health.is_offline() && place.health.reason().is_some());
    assert_eq!(two.append(&[prepared(&batch)], Timestamp(0)).unwrap_err().kind(), ErrorKind::Offline);
    assert_eq!(two.slice(Offset(0), 9, Offset(1), FirstBatch::Whole).unwrap_err().kind(), ErrorKind::Offline);
    assert!(Log::open_in(&place, PathBuf::from("/data/t-9"), config(), &hints(0)).is_err());
    append(&mut elsewhere, &batch);
    elsewhere.flush().unwrap();
}

#[test]
fn reserved_room_is_given_back_when_the_segment_is_closed() {
    use std::os::unix::fs::MetadataExt;
    let root = tempfile::tempdir().unwrap();
    let config = LogConfig { preallocate: true, segment_bytes: 1 << 20, ..config() };
    let (mut log, _) = Log::open(DiskFiles, root.path().join("t-0"), config, &hints(0)).unwrap();
    let one = batch(Codec::None, 1, 1, 300_000);
    log.flush().unwrap();
    let blocks = |base: i64| {
        let metadata = std::fs::metadata(root.path().join("t-0").join(format!("{base:020}.log"))).unwrap();
        (metadata.len(), metadata.blocks() * 512)
    };
    assert!(matches!(blocks(0), (0, 1_048_576..)));
    for n in 0..4 {
        log.append(&[prepared(&one)], Timestamp(n)).unwrap();
    }
    log.flush().unwrap();
    let (length, reserved) = blocks(3);
    assert!(length < 400_000 && reserved >= 1 << 20, "{length} {reserved}");
    log.roll(Timestamp(9)).unwrap();
    log.flush().unwrap();
    let (same, given_back) = blocks(3);
    assert!(same == length && given_back < 400_000, "{same} {given_back}");
    assert_eq!(log.slice(Offset(3), 1, log.end(), FirstBatch::Whole).unwrap().unwrap().next, Offset(4));
}

#[test]
fn a_retired_log_opens_no_file_of_its_successor() {
    let files = memory();
    let (mut old, _) = Log::open(files.clone(), dir(), config(), &hints(0)).unwrap();
    append(&mut old, &batch(Codec::None, 1, 1, 1));
    let slice = old.slice(Offset(0), 99, Offset(1), FirstBatch::Whole).unwrap().unwrap();
    old.retire();
    remove_partition(&files, &dir(), "gone").unwrap();
    remove_partition(&files, &dir(), "gone").unwrap();
    let (mut new, _) = Log::open(files.clone(), dir(), config(), &hints(0)).unwrap();
    append(&mut new, &batch(Codec::None, 2, 1, 400));
    assert_eq!(old.read(&slice).unwrap().len(), slice.bytes as usize, "what is held stays readable");
    assert!(old.slice(Offset(0), 99, Offset(1), FirstBatch::Whole).is_err());
    assert!(old.append(&[prepared(&batch(Codec::None, 2, 1, 1))], Timestamp(0)).is_err() && old.flush().is_err());
    old.close(Timestamp(0)).unwrap_err();
    assert!(files.list(&PathBuf::from("/data")).unwrap().iter().all(|entry| !entry.name.contains("-delete")));
}

/// A log of a few segments with two leader epochs, a producer, and a damaged batch that is known. Returns the
/// recovery point, and what is read of it.
fn furnished(files: &MemFiles) -> (Offset, BTreeMap<i64, Bytes>) {
    let config = furnished_config();
    let (mut log, _) = Log::open(files.clone(), dir(), config, &hints(0)).unwrap();
    log.begin_epoch(LeaderEpoch(1)).unwrap();
    for n in 0..12 {
        if n == 7 {
            log.begin_epoch(LeaderEpoch(2)).unwrap();
        }
        append(&mut log, &batch(Codec::None, 100 + 10 * n, 2, 60));
    }
    append(&mut log, &produced(3, 0, 2));
    log.flush().unwrap();
    drop(log);
    files.damage(&file(0, "log"), |data| data[300] ^= 1);
    let (mut log, report) = Log::open(files.clone(), dir(), config, &hints(0)).unwrap();
    assert_eq!(report.damaged.len(), 1);
    let content = committed(&log);
    (log.close(Timestamp(1_000_000)).unwrap(), content)
}

fn furnished_config() -> LogConfig {
    LogConfig { segment_bytes: 1_200, index_interval_bytes: 250, ..config() }
}

#[test]
fn a_flipped_bit_in_any_file_but_a_log_changes_nothing() {
    let files = memory();
    let (recovery_point, content) = furnished(&files);
    let names: Vec<_> = files.list(&dir()).unwrap().into_iter().map(|entry| entry.path).collect();
    let kinds =
        ["index", "timeindex", "snapshot", "leader-epoch-checkpoint", "partition.metadata", "strata-damaged-ranges"];
    for kind in kinds {
        assert!(names.iter().any(|path| path.to_string_lossy().ends_with(kind)), "there is a {kind}");
    }
    let expected_times = |log: &LogReader<MemFiles>| -> Vec<_> {
        let times = (90..235).step_by(3).map(|at| match log.offset_for_time(Timestamp(at)) {
            Ok(hit) => Ok(hit.map(|hit| (hit.offset, hit.leader_epoch))),
            Err(error) => Err(error.kind()),
        });
        times.collect()
    };
    let hints = OpenHints { clean: true, ..hints(recovery_point.0) };
    let open =
        |files: &MemFiles, hints: &OpenHints| Log::open(files.clone(), dir(), furnished_config(), hints).unwrap().0;
    let log = open(&files.copy(), &hints);
    let (times, epochs, max) = (expected_times(&log), log.epochs().clone(), log.max_timestamp().unwrap());
    let mut flips = 0;
    for path in names.iter().filter(|path| path.extension().is_none_or(|kind| kind != "log")) {
        let length = read_file(&files, path).unwrap().unwrap().len();
        for bit in 0..8 * length {
            for same_boot in [false, true] {
                let files = files.copy();
                files.damage(path, |data| data[bit / 8] ^= 1 << (bit % 8));
                let hints = OpenHints { clean: !same_boot, same_boot, ..hints };
                let log = open(&files, &hints);
                let what = format!("bit {bit} of {}, same boot {same_boot}", path.display());
                assert_eq!(committed(&log), content, "{what}");
                assert_eq!(expected_times(&log), times, "{what}");
                assert_eq!(log.max_timestamp().unwrap(), max, "{what}");
                assert_eq!(log.epochs(), &epochs, "{what}");
                assert_eq!(log.damaged().len(), 1, "{what}");
                assert_eq!(log.producers().len(), 1, "{what}");
                flips += 1;
            }
        }
    }
    assert!(flips > 3_000, "{flips}");
}

#[test]
fn a_flipped_bit_in_a_log_is_never_passed_on() {
    let files = memory();
    let (recovery_point, content) = furnished(&files);
    let path = file(0, "log");
    let length = read_file(&files, &path).unwrap().unwrap().len();
    for bit in 0..8 * length {
        for same_boot in [false, true] {
            let files = files.copy();
            files.damage(&path, |data| data[bit / 8] ^= 1 << (bit % 8));
            let hints = OpenHints { clean: !same_boot, same_boot, ..hints(recovery_point.0) };
            let (log, _) = Log::open(files, dir(), furnished_config(), &hints).unwrap();
            // Each batch is as it was, or fails, or fails its checksum: where that does not cover, in the epoch.
            for (base, body) in &content {
                let Ok(slice) = log.slice(Offset(*base), 1, log.end(), FirstBatch::Whole) else { continue };
                let bytes = log.read(&slice.expect("the offset is below the end")).unwrap();
                let (head, whole) = match batches(&bytes).next().unwrap() {
                    Ok(found) => found,
                    Err(_) => continue,
                };
                if verify(whole).is_ok() && head.base_offset == Offset(*base) {
                    assert_eq!(&whole[BATCH_HEAD_BYTES..], body, "bit {bit} offset {base}");
                }
            }
            let untouched: Vec<_> = content.iter().filter(|(base, _)| !in_first_segment(**base, &log)).collect();
            for (base, body) in untouched {
                let slice = log.slice(Offset(*base), 1, log.end(), FirstBatch::Whole).unwrap().unwrap();
                assert_eq!(&log.read(&slice).unwrap()[BATCH_HEAD_BYTES..], body, "the other segments serve");
            }
        }
    }
}

fn in_first_segment(base: i64, log: &LogReader<MemFiles>) -> bool {
    log.segment_bounds().get(1).is_none_or(|second| Offset(base) < second.base)
}
