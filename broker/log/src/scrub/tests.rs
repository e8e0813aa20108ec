//! Flips anywhere are found, marked and healed; what is stale, foreign or not synced is left alone.

use std::path::{Path, PathBuf};

use broker_model::{LeaderEpoch, Timestamp, TopicId};
use broker_partition::Durability;
use broker_records::{BatchBuilder, Codec};

use super::*;
use crate::files::{Change, sync_dir};
use crate::{FirstBatch, LogConfig, MemFiles, OpenHints, PreparedBatch};

const DIR: &str = "/data/t-0";
const NOW: Timestamp = Timestamp(1_000_000);

/// What of a head is outside of the checksum and told by nothing else.
const EPOCH: std::ops::Range<usize> = 12..16;

struct World {
    files: MemFiles,
    log: Log<MemFiles>,
    /// All batches as they were written: base offset and bytes.
    batches: Vec<(Offset, Bytes)>,
}

fn config(durability: Durability) -> LogConfig {
    LogConfig { segment_bytes: 3000, index_interval_bytes: 300, durability, ..LogConfig::default() }
}

fn world(count: i64) -> World {
    world_with(count, Durability::Disk)
}

fn world_with(count: i64, durability: Durability) -> World {
    let files = MemFiles::new();
    files.change(Change::MakeDir(Path::new("/data"))).unwrap();
    sync_dir(&files, Path::new("/")).unwrap();
    let hints = OpenHints::unknown(TopicId([7; 16]), NOW);
    let (mut log, _) = Log::open(files.clone(), PathBuf::from(DIR), config(durability), &hints).unwrap();
    for n in 0..count {
        let mut builder = BatchBuilder::new(Codec::None);
        let value = vec![b'a' + u8::try_from(n % 26).unwrap(); usize::try_from(20 + n * 37 % 300).unwrap()];
        (0..=n % 3).for_each(|_| builder.push(Timestamp(n), None, Some(&value), &[]));
        let batch = builder.finish(Offset::ZERO, LeaderEpoch(-1));
        let prepared = PreparedBatch { head: BatchHead::parse(&batch).unwrap(), body: &batch[BATCH_HEAD_BYTES..] };
        log.append(&[prepared], NOW).unwrap();
    }
    if durability == Durability::Disk {
        log.flush().unwrap();
    }
    let batches = read_all(&log).into_iter().map(|(base, batch)| (base, batch.unwrap())).collect();
    World { files, log, batches }
}

/// Each batch as a client gets it; where reads fail, the error's offsets.
type Seen = Vec<(Offset, Result<Bytes, Offset>)>;

fn read_all(log: &LogReader<MemFiles>) -> Seen {
    let (mut seen, mut next) = (Vec::new(), log.local_start());
    while next < log.end() {
        match log.slice(next, 1, log.end(), FirstBatch::Whole) {
            Ok(slice) => {
                let slice = slice.unwrap();
                seen.push((next, Ok(log.read(&slice).unwrap())));
                next = slice.next;
            }
            Err(ReadError::Damaged { to, .. }) => {
                seen.push((next, Err(to)));
                next = to;
            }
            Err(error) => panic!("{error}"),
        }
    }
    seen
}

/// A whole pass: what was read and what was found.
fn pass(log: &LogReader<MemFiles>, bytes_max: u64) -> (u64, Vec<Suspect>) {
    let (mut cursor, mut bytes, mut suspects, mut buffer) = (ScrubCursor::default(), 0, Vec::new(), Vec::new());
    loop {
        let step = log.scrub(cursor, bytes_max, &mut buffer).unwrap();
        bytes += step.bytes;
        suspects.extend(step.suspects);
        let Some(next) = step.cursor else { return (bytes, suspects) };
        assert_ne!(next, cursor, "each step goes on");
        cursor = next;
    }
}

impl World {
    fn segments(&self) -> Vec<(Offset, u64)> {
        self.log.segments().iter().map(|segment| (segment.base, segment.bytes)).collect()
    }

    fn flip(&self, segment: Offset, at: usize, with: u8) {
        let path = names::segment_file(Path::new(DIR), segment, names::LOG);
        self.files.damage(&path, |bytes| bytes[at] ^= with);
    }

    /// The batch that lies at a byte of a segment: its number, and the byte's place in it.
    fn at(&self, segment: Offset, byte: usize) -> (usize, usize) {
        let first = self.batches.iter().position(|(base, _)| *base == segment).unwrap();
        let mut start = 0;
        for (n, (_, batch)) in self.batches.iter().enumerate().skip(first) {
            if byte < start + batch.len() {
                return (n, byte - start);
            }
            start += batch.len();
        }
        panic!("beyond the end");
    }

    fn reopen(&mut self) {
        self.log.close(NOW).unwrap();
        let hints =
            OpenHints { clean: true, recovery_point: self.log.end(), ..OpenHints::unknown(TopicId([7; 16]), NOW) };
        self.log = Log::open(self.files.clone(), PathBuf::from(DIR), config(Durability::Disk), &hints).unwrap().0;
    }

    /// All batches but this one are read as they were written.
    fn check_all_but(&self, broken: usize) {
        for ((base, seen), (n, (expected, batch))) in
            read_all(&self.log).into_iter().zip(self.batches.iter().enumerate())
        {
            assert_eq!(base, *expected);
            assert_eq!(seen.ok(), (n != broken).then(|| batch.clone()), "batch {n}");
        }
    }

    fn check_all(&self) {
        self.check_all_but(usize::MAX);
        assert_eq!(read_all(&self.log).len(), self.batches.len());
    }
}

#[test]
fn a_pass_over_what_is_whole_reads_all_of_it_within_its_budget() {
    let world = world(60);
    let all: u64 = world.segments().iter().map(|(_, bytes)| bytes).sum();
    assert!(world.segments().len() > 5);
    for bytes_max in [1, 700, 1 << 20] {
        assert_eq!(pass(&world.log, bytes_max), (all, Vec::new()));
    }
    let step = world.log.scrub(ScrubCursor::default(), 700, &mut Vec::new()).unwrap();
    assert!((700..700 + 1000).contains(&step.bytes), "{}", step.bytes);
}

#[test]
fn a_flip_is_found_marked_and_healed_while_the_rest_serves() {
    let mut world = world(60);
    let segment = world.segments()[2].0;
    let (n, _) = world.at(segment, 1000);
    world.flip(segment, 1000, 0x40);
    let (base, whole) = world.batches[n].clone();
    let (_, suspects) = pass(&world.log, 500);
    assert_eq!(suspects.iter().map(Suspect::offsets).collect::<Vec<_>>(), [(base, world.batches[n + 1].0)]);
    assert_eq!(suspects[0].bytes(), whole.len() as u64);

    assert!(world.log.mark_damaged(&suspects[0]).unwrap());
    assert!(!world.log.mark_damaged(&suspects[0]).unwrap(), "it is marked already");
    world.check_all_but(n);
    assert!(matches!(world.log.map(base, world.log.end()), Err(ReadError::Damaged { .. })));
    assert_eq!(pass(&world.log, 500).1, [], "what is marked is found no more");
    world.reopen();
    world.check_all_but(n);

    // What holds the damage may begin before it and end behind it.
    let around = Bytes::from([&world.batches[n - 1].1[..], &whole, &world.batches[n + 1].1].concat());
    assert_eq!(world.log.heal(base, &[around]).unwrap(), world.batches[n + 1].0);
    world.check_all();
    assert_eq!(world.log.damaged(), []);
    world.reopen();
    world.check_all();
    assert_eq!(world.log.damaged(), []);
}

#[test]
fn wherever_a_bit_flips_it_is_found_and_the_bytes_can_be_had_again() {
    for seed in 0..100_usize {
        println!("seed {seed}");
        let mut world = world(40);
        let segments = world.segments();
        let (segment, bytes) = segments[seed * 31 % (segments.len() - 1)];
        let byte = seed * 7919 % usize::try_from(bytes).unwrap();
        let (n, within) = world.at(segment, byte);
        if EPOCH.contains(&within) {
            continue;
        }
        // Two neighbours at times.
        world.flip(segment, byte, 1 << (seed % 8));
        if seed % 4 == 0 {
            world.flip(segment, (byte + 200) % usize::try_from(bytes).unwrap(), 0xff);
        }
        // A reader may come before the scrub.
        if seed % 3 == 0 {
            let _ = world.log.slice(world.batches[n].0, 1, world.log.end(), FirstBatch::Whole);
        }
        let (_, suspects) = pass(&world.log, 400);
        // What a reader met is marked already.
        assert!(!suspects.is_empty() || !world.log.damaged().is_empty());
        for suspect in &suspects {
            assert!(world.log.mark_damaged(suspect).unwrap(), "{suspect:?}");
        }
        for (base, seen) in read_all(&world.log) {
            if let Ok(seen) = seen {
                let known = world.batches.binary_search_by_key(&base, |(base, _)| *base).unwrap();
                let same = seen.iter().zip(&world.batches[known].1).enumerate();
                assert!(same.into_iter().all(|(at, (one, two))| one == two || EPOCH.contains(&at)), "offset {base}");
            }
        }
        let all: Vec<Bytes> = world.batches.iter().map(|(_, batch)| batch.clone()).collect();
        for (from, to) in world.log.damaged() {
            assert_eq!(world.log.heal(from, &all).unwrap(), to);
        }
        if !EPOCH.contains(&world.at(segment, (byte + 200) % usize::try_from(bytes).unwrap()).1) {
            world.check_all();
        }
        assert_eq!(pass(&world.log, 400).1, []);
    }
}

#[test]
fn large_damage_is_healed_piece_by_piece() {
    let mut world = world(60);
    let (segment, bytes) = world.segments()[1];
    let path = names::segment_file(Path::new(DIR), segment, names::LOG);
    world.files.damage(&path, |bytes| bytes.fill(0));
    let (_, suspects) = pass(&world.log, 100);
    assert_eq!(suspects.len(), 1);
    assert_eq!((suspects[0].bytes(), suspects[0].offsets().0), (bytes, segment));
    assert!(world.log.mark_damaged(&suspects[0]).unwrap());
    let (mut next, to) = suspects[0].offsets();
    for (base, batch) in world.batches.clone() {
        if base >= segment && base < to {
            assert_eq!(next, base);
            next = world.log.heal(next, &[batch]).unwrap();
            assert_eq!(world.log.damaged().first().map_or(to, |damage| damage.0), next);
        }
    }
    assert_eq!(next, to);
    world.check_all();
    world.reopen();
    world.check_all();
}

#[test]
fn nothing_is_written_but_what_is_missing() {
    let mut world = world(60);
    let segment = world.segments()[2].0;
    let (n, _) = world.at(segment, 1000);
    let (base, whole) = world.batches[n].clone();
    assert!(
        matches!(world.log.heal(base, std::slice::from_ref(&whole)), Err(AppendError::Invalid(_))),
        "it is not damaged"
    );
    world.flip(segment, 1000, 1);
    let (_, suspects) = pass(&world.log, 500);
    world.log.mark_damaged(&suspects[0]).unwrap();
    let mut rotten = whole.to_vec();
    rotten[BATCH_HEAD_BYTES + 3] ^= 1;
    let mut other = BatchBuilder::new(Codec::None);
    let count = world.batches[n + 1].0.0 - base.0;
    (0..count).for_each(|_| other.push(Timestamp(1), None, Some(b"other"), &[]));
    for bad in [
        vec![],
        vec![Bytes::from(rotten)],
        vec![other.finish(base, LeaderEpoch(0))],
        vec![world.batches[n + 1].1.clone()],
        vec![whole.slice(..whole.len() - 1)],
    ] {
        assert!(matches!(world.log.heal(base, &bad), Err(AppendError::Invalid(_))), "{bad:?}");
    }
    world.check_all_but(n);
    world.log.heal(base, &[whole]).unwrap();
    world.check_all();
}

#[test]
fn a_suspect_of_what_was_cut_or_is_whole_again_is_not_marked() {
    let mut world = world(60);
    let segment = world.segments()[2].0;
    let (n, _) = world.at(segment, 1000);
    world.flip(segment, 1000, 1);
    let (_, suspects) = pass(&world.log, 500);
    world.flip(segment, 1000, 1);
    assert!(!world.log.mark_damaged(&suspects[0]).unwrap(), "the read was wrong, not the disk");
    world.flip(segment, 1000, 1);
    world.log.truncate_to(world.batches[n].0, NOW).unwrap();
    assert!(!world.log.mark_damaged(&suspects[0]).unwrap());
    assert_eq!(world.log.damaged(), []);
}

#[test]
fn of_the_active_segment_what_is_synced_is_checked() {
    let mut world = world_with(60, Durability::PageCache);
    let active = world.segments().pop().unwrap();
    assert!(active.1 > 0);
    let closed: u64 = world.segments().iter().rev().skip(1).map(|(_, bytes)| bytes).sum();
    assert_eq!(pass(&world.log, 1 << 20).0, closed);
    world.log.flush().unwrap();
    assert_eq!(pass(&world.log, 1 << 20).0, closed + active.1);
    let last = usize::try_from(active.1).unwrap() - 1;
    world.flip(active.0, last, 1);
    let (_, suspects) = pass(&world.log, 1 << 20);
    assert_eq!(suspects[0].offsets().1, world.log.end());
    assert!(world.log.mark_damaged(&suspects[0]).unwrap());
    // Appends go on behind the damage.
    let batch = world.batches[0].1.clone();
    let prepared = PreparedBatch { head: BatchHead::parse(&batch).unwrap(), body: &batch[BATCH_HEAD_BYTES..] };
    let end = world.log.end();
    world.log.append(&[prepared], NOW).unwrap();
    assert!(world.log.slice(end, 1, world.log.end(), FirstBatch::Whole).unwrap().is_some());
    let broken = world.batches.last().unwrap().clone();
    world.log.heal(broken.0, &[broken.1]).unwrap();
    world.check_all_but(usize::MAX);
}
