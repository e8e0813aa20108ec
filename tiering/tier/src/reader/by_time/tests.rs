//! Lookups by time against the list of records that was shipped, and what they cost.

use broker_model::LeaderEpoch;
use broker_records::{BatchBuilder, Codec};
use tiering_store::Operation;

use super::*;
use crate::testing::{World, drive, partition};
use crate::{ArchiveHandle, LocalLog, MemLog, PartitionArchive};

/// Batches of four records with these timestamps of their first ones; within a batch the third is the largest.
fn append(world: &World, first: i64) -> [i64; 4] {
    append_in(world, 1, first)
}

fn append_in(world: &World, epoch: i32, first: i64) -> [i64; 4] {
    let base = world.log.bounds().end;
    let times = [first, first + 1, first + 3, first + 2];
    let mut batch = BatchBuilder::new(Codec::None);
    for time in times {
        batch.push(Timestamp(time), None, Some(&[7; 240]), &[]);
    }
    world.log.append(batch.finish(base, LeaderEpoch(epoch)), world.now());
    times
}

struct Shipped {
    world: World,
    archive: PartitionArchive<MemLog>,
    times: Vec<i64>,
}

impl Shipped {
    /// Timestamps go up and down; ten batches are about two objects and a half.
    async fn of(batches: i64) -> Shipped {
        let world = World::new();
        let mut archive = world.archive(1);
        let mut times = Vec::new();
        for number in 0..batches {
            times.extend(append(&world, 1000 + (number * 7919) % 501));
            if number % 10 == 9 {
                world.log.roll();
                drive(&mut archive).await.unwrap();
            }
        }
        world.log.roll();
        drive(&mut archive).await.unwrap();
        Shipped { world, archive, times }
    }

    fn handle(&self) -> &ArchiveHandle {
        self.archive.handle()
    }

    async fn reader(&self) -> TierReader {
        let reader = self.world.reader().await;
        reader.attach(self.handle());
        reader
    }

    fn first_at(&self, time: i64, (from, until): (i64, i64)) -> Option<(i64, i64)> {
        let readable = (from..until).map(|offset| (offset, self.times[usize::try_from(offset).unwrap()]));
        readable.into_iter().find(|(_, known)| *known >= time)
    }

    fn largest(&self, range: (i64, i64)) -> Option<(i64, i64)> {
        let most = (range.0..range.1).map(|offset| self.times[usize::try_from(offset).unwrap()]).max()?;
        self.first_at(most, range)
    }
}

fn plain(hit: Option<TimeHit>) -> Option<(i64, i64)> {
    hit.map(|hit| (hit.offset.0, hit.timestamp.0))
}

#[tokio::test(start_paused = true)]
async fn times_and_the_largest_are_those_of_a_list_below_any_local_start_and_above_any_log_start() {
    let mut shipped = Shipped::of(60).await;
    let all = i64::try_from(shipped.times.len()).unwrap();
    // The root follows the log start for some, and for others only the caller knows it.
    for (start, is_told) in [(0, true), (1, false), (4, true), (43, false), (97, true), (130, true), (all - 1, false)] {
        if is_told {
            shipped.world.log.advance_log_start(Offset(start));
            drive(&mut shipped.archive).await.unwrap();
        }
        let reader = shipped.reader().await;
        for until in [start, start + 1, 98, 131, 160, all - 3, all, all + 50] {
            let range = (start, until.clamp(start, all));
            let within = Offset(start)..Offset(until);
            for time in [0, 1000, 1003, 1100, 1250, 1400, 1499, 1503, 1504, i64::MAX] {
                let found = reader.offset_for_time_in(&partition(), Timestamp(time), within.clone()).await.unwrap();
                assert_eq!(plain(found), shipped.first_at(time, range), "time {time} in {range:?}");
            }
            let found = reader.max_timestamp_in(&partition(), within).await.unwrap();
            assert_eq!(plain(found), shipped.largest(range), "largest in {range:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_costs_one_index_and_one_block_however_long_the_archive_is() {
    for batches in [20, 200, 1200] {
        let shipped = Shipped::of(batches).await;
        let objects = shipped.handle().root().unwrap().entries.len();
        let reader = shipped.reader().await;
        for time in [1100, 1399, 1503] {
            let before = shipped.world.meter.requests(Operation::Get);
            reader.offset_for_time(&partition(), Timestamp(time)).await.unwrap();
            let cost = shipped.world.meter.requests(Operation::Get) - before;
            // A group, an index, a block.
            assert!(cost <= 3, "{cost} requests for {time} among {objects} entries and the groups");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn epochs_are_those_of_the_object_below_an_offset() {
    let world = World::new();
    let mut archive = world.archive(1);
    for number in 0..20 {
        append_in(&world, if number < 10 { 1 } else { 5 }, 1000);
    }
    world.log.roll();
    drive(&mut archive).await.unwrap();
    let reader = world.reader().await;
    reader.attach(archive.handle());
    let known = |epochs: Vec<EpochStart>| epochs.iter().map(|one| (one.epoch.0, one.start.0)).collect::<Vec<_>>();
    assert_eq!(known(reader.epochs(&partition(), Offset(80)).await.unwrap()), [(1, 0), (5, 40)]);
    assert_eq!(known(reader.epochs(&partition(), Offset(40)).await.unwrap()), [(1, 0)]);
    assert_eq!(known(reader.epochs(&partition(), Offset(0)).await.unwrap()), []);
}
