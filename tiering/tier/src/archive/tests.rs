//! The commit protocol: crashes at every point, lost and late replies, other writers.

use std::time::Duration;

use broker_model::Timestamp;
use bytes::Bytes;
use object_store::PutPayload;
use tiering_store::{Class, Fault, Operation, Outage};

use super::*;
use crate::testing::{World, drive, end};
use crate::{MemLog, ShipErrorKind};

const ROOT: &str = "manifest.json";
const OBJECTS: &str = "objects/";

/// Takes steps until a request hangs, and lets the process die there.
async fn die(mut archive: PartitionArchive<MemLog>) {
    let died = tokio::time::timeout(Duration::from_secs(60), drive(&mut archive)).await;
    assert!(died.is_err(), "a request should have hung: {died:?}");
}

async fn all_comes_back(world: &World, handle: &ArchiveHandle) {
    assert_eq!(end(handle), world.log.bounds().end);
    assert_eq!(world.read_all(handle).await, world.log.content());
}

#[tokio::test(start_paused = true)]
async fn what_is_shipped_comes_back_byte_for_byte() {
    let world = World::new();
    world.produce(40);
    let mut archive = world.archive(1);
    drive(&mut archive).await.unwrap();
    all_comes_back(&world, archive.handle()).await;
    let report = world.verified().await;
    assert!(report.partitions[0].objects >= 10, "{report:?}");
    let stats = archive.handle().stats();
    assert_eq!((stats.backlog_bytes, stats.halted), (0, None));
    assert!(stats.shipped_bytes > 40_000 && stats.tiered_bytes == stats.shipped_bytes);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_costs_little_more_than_one_request_an_object() {
    let world = World::new();
    world.produce(400);
    let mut archive = world.archive(1);
    drive(&mut archive).await.unwrap();
    let objects = archive.handle().stats().shipped_objects;
    let requests: u64 = Operation::ALL.iter().map(|operation| world.meter.requests(*operation)).sum();
    assert!(objects >= 100 && requests * 10 <= objects * 13, "{requests} requests for {objects} objects");
    assert_eq!(world.meter.requests(Operation::List), 0);
}

#[tokio::test(start_paused = true)]
async fn lost_replies_change_nothing() {
    let world = World::new();
    for (operation, key, fault) in [
        (Operation::Put, ROOT, Fault::LostReply),
        (Operation::Put, OBJECTS, Fault::LostReply),
        (Operation::Put, ROOT, Fault::LostReply),
        (Operation::Put, OBJECTS, Fault::Unavailable),
        (Operation::Put, ROOT, Fault::Unavailable),
        (Operation::Put, ROOT, Fault::Late),
        (Operation::Put, OBJECTS, Fault::Late),
    ] {
        world.faulty.next(operation, key, fault);
    }
    let mut archive = world.archive(1);
    for _ in 0..6 {
        world.produce(20);
        drive(&mut archive).await.unwrap();
    }
    assert_eq!(world.faulty.unmet(), 0);
    all_comes_back(&world, archive.handle()).await;
    let late = world.faulty.release().await;
    assert!(late.len() == 2 && late.iter().all(|(_, put)| put.is_err()), "{late:?}");
    all_comes_back(&world, archive.handle()).await;
    world.verified().await;
}

#[tokio::test(start_paused = true)]
async fn death_between_put_and_swap_leaves_nothing_unnamed() {
    for fault in [Fault::Hang, Fault::HangAfter] {
        let world = World::new();
        let mut first = world.archive(1);
        drive(&mut first).await.unwrap();
        world.produce(10);
        world.faulty.next(Operation::Put, ROOT, fault);
        die(first).await;
        world.verified().await;
        let mut second = world.archive(2);
        drive(&mut second).await.unwrap();
        all_comes_back(&world, second.handle()).await;
        world.verified().await;
        // A day later the dead writer's keys go too.
        world.pass(26 * 3_600_000);
        drive(&mut second).await.unwrap();
        let report = world.verified().await;
        assert_eq!(report.objects, report.partitions[0].objects + 1, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn death_in_a_put_and_its_arrival_after_the_take_over() {
    let world = World::new();
    let mut first = world.archive(1);
    drive(&mut first).await.unwrap();
    world.produce(3);
    world.faulty.next(Operation::Put, OBJECTS, Fault::Late);
    world.faulty.next(Operation::Head, OBJECTS, Fault::Hang);
    die(first).await;
    assert_eq!(world.faulty.held(), 1);
    let mut second = world.archive(2);
    drive(&mut second).await.unwrap();
    let late = world.faulty.release().await;
    assert!(late.iter().all(|(_, put)| put.is_err()), "the key is occupied: {late:?}");
    all_comes_back(&world, second.handle()).await;
    world.verified().await;
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_lost_its_right_halts_and_changes_nothing() {
    let world = World::new();
    let mut first = world.archive(1);
    first.hold().await.unwrap();
    let mut second = world.archive(2);
    second.hold().await.unwrap();
    let before = world.store.load(&first.config.prefix.root(), Class::Background).await.unwrap();
    world.produce(10);
    assert_eq!(drive(&mut first).await.unwrap_err().kind(), ShipErrorKind::Halted);
    assert!(first.handle().halted().is_some());
    assert_eq!(world.store.load(&first.config.prefix.root(), Class::Background).await.unwrap(), before);
    assert_eq!(drive(&mut first).await.unwrap_err().kind(), ShipErrorKind::Halted, "for good");
    drive(&mut second).await.unwrap();
    all_comes_back(&world, second.handle()).await;
}

#[tokio::test(start_paused = true)]
async fn an_equal_epoch_with_another_nonce_is_a_conflict() {
    let world = World::new();
    world.archive(1).hold().await.unwrap();
    let (mut twin, _) = PartitionArchive::open(world.config(1, 999), Arc::clone(&world.log));
    assert_eq!(twin.hold().await.unwrap_err().kind(), ShipErrorKind::Halted);
    let mut older = world.archive(0);
    assert_eq!(older.hold().await.unwrap_err().kind(), ShipErrorKind::Halted);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_a_successor_occupied_halts() {
    let world = World::new();
    let mut archive = world.archive(1);
    archive.hold().await.unwrap();
    let id = *archive.held.as_ref().unwrap().root.registered.first().unwrap();
    let key = archive.config.prefix.object(&id.name());
    world.store.put_object(&key, PutPayload::new(), &Bytes::new(), Class::Background).await.unwrap();
    world.produce(2);
    assert_eq!(drive(&mut archive).await.unwrap_err().kind(), ShipErrorKind::Halted);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_waited_out_with_the_identical_swap() {
    let world = World::new();
    let mut archive = world.archive(1);
    world.produce(10);
    world.faulty.outage(Outage::Begins);
    assert_eq!(archive.step().await.unwrap_err().kind(), ShipErrorKind::Retry);
    world.faulty.outage(Outage::Ends);
    drive(&mut archive).await.unwrap();
    world.produce(10);
    // The objects are put, then the store is away: the swap stays pending.
    for _ in 0..3 {
        world.faulty.next(Operation::Put, ROOT, Fault::LostReply);
        world.faulty.next(Operation::Get, ROOT, Fault::Unavailable);
    }
    assert_eq!(drive(&mut archive).await.unwrap_err().kind(), ShipErrorKind::Retry);
    assert!(archive.pending.is_some());
    drive(&mut archive).await.unwrap();
    assert!(archive.pending.is_none());
    all_comes_back(&world, archive.handle()).await;
    world.verified().await;
}

#[tokio::test(start_paused = true)]
async fn groups_are_written_replaced_and_read() {
    let mut world = World::new();
    world.rules.object_bytes = 1000;
    let mut archive = world.archive(1);
    world.produce(700);
    drive(&mut archive).await.unwrap();
    let root = archive.handle().root().unwrap();
    assert!(!root.groups.is_empty() && root.groups.iter().map(|group| group.count).sum::<u32>() > 300, "{root:?}");
    all_comes_back(&world, archive.handle()).await;
    world.pass(120_000);
    drive(&mut archive).await.unwrap();
    let report = world.verified().await;
    assert_eq!(report.objects, report.partitions[0].objects + root.groups.len() as u64 + 1, "replaced groups went");
    // Retention looks into the first group.
    archive.handle().set_rules(Rules { retention_bytes: Some(200_000), ..world.rules });
    drive(&mut archive).await.unwrap();
    let start = archive.handle().start().unwrap();
    assert!(start > Offset(100) && start < end(archive.handle()), "{start}");
    world.pass(120_000);
    drive(&mut archive).await.unwrap();
    let report = world.verified().await;
    assert!(report.partitions[0].bytes < 210_000, "{report:?}");
    let kept = world.log.content();
    let read = world.read_all(archive.handle()).await;
    assert!(kept.ends_with(&read) && read.len() > 150, "{}", read.len());
}

#[tokio::test(start_paused = true)]
async fn retention_condemns_first_and_deletes_after_the_grace() {
    let mut world = World::new();
    world.rules.retention_ms = Some(10_000);
    let mut archive = world.archive(1);
    world.produce(20);
    world.time.store(1, std::sync::atomic::Ordering::Relaxed);
    drive(&mut archive).await.unwrap();
    let objects = world.verified().await.objects;
    world.pass(20_000);
    drive(&mut archive).await.unwrap();
    assert_eq!(archive.handle().start(), archive.handle().durable_end());
    assert_eq!(world.verified().await.objects, objects, "the grace is not over");
    world.pass(70_000);
    drive(&mut archive).await.unwrap();
    assert_eq!(world.verified().await.objects, 1, "only the root is left");
}

#[tokio::test(start_paused = true)]
async fn deletion_leaves_nothing_behind() {
    let mut world = World::new();
    world.rules.object_bytes = 1000;
    let mut archive = world.archive(1);
    world.produce(300);
    drive(&mut archive).await.unwrap();
    archive.handle().delete();
    world.faulty.next(Operation::Delete, OBJECTS, Fault::LostReply);
    assert!(drive(&mut archive).await.is_err());
    for _ in 0..4 {
        world.pass(26 * 3_600_000);
        drive(&mut archive).await.unwrap();
    }
    let report = world.verified().await;
    assert_eq!((report.objects, report.partitions.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_local_copy_saves_the_look_and_is_never_trusted() {
    let world = World::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("root-copy");
    let open = |epoch: i32| {
        let config = ArchiveConfig { copy: Some(path.clone()), ..world.config(epoch, 5) };
        PartitionArchive::open(config, Arc::clone(&world.log))
    };
    world.produce(10);
    let (mut first, _) = open(1);
    drive(&mut first).await.unwrap();
    let old_copy = std::fs::read(&path).unwrap();
    let reads = world.meter.requests(Operation::Get);
    let (mut second, handle) = open(2);
    assert_eq!(handle.durable_end(), Some(world.log.bounds().end), "known before any request");
    second.hold().await.unwrap();
    assert_eq!(world.meter.requests(Operation::Get), reads, "taken over without a look");
    drive(&mut second).await.unwrap();
    // An old copy leads to a refused swap, and then to the bucket.
    world.produce(10);
    drive(&mut second).await.unwrap();
    std::fs::write(&path, &old_copy).unwrap();
    let (mut third, handle) = open(3);
    drive(&mut third).await.unwrap();
    all_comes_back(&world, &handle).await;
    // A torn one is none.
    std::fs::write(&path, &old_copy[..old_copy.len() / 2]).unwrap();
    let (mut fourth, handle) = open(4);
    assert_eq!(handle.durable_end(), None);
    drive(&mut fourth).await.unwrap();
    all_comes_back(&world, &handle).await;
    // A bucket that lost what the copy knows is not begun anew.
    world.store.delete(&[first.config.prefix.root()]).await.unwrap();
    let (mut fifth, _) = open(5);
    world.produce(1);
    assert_eq!(drive(&mut fifth).await.unwrap_err().kind(), ShipErrorKind::Halted);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_ends_before_the_tier_is_not_led() {
    let world = World::new();
    world.produce(10);
    drive(&mut world.archive(1)).await.unwrap();
    let short = World::new();
    short.produce(1);
    let (mut archive, _) = PartitionArchive::open(world.config(2, 2), Arc::clone(&short.log));
    assert_eq!(drive(&mut archive).await.unwrap_err().kind(), ShipErrorKind::Halted);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_local_batch_is_not_shipped() {
    let world = World::new();
    world.produce(1);
    let mut damaged = world.log.content().remove(0).to_vec();
    damaged[7] = 4; // It begins at offset 4, and its checksum does not cover that; one record's byte it does.
    *damaged.last_mut().unwrap() ^= 1;
    world.log.append(Bytes::from(damaged), Timestamp(1));
    world.log.roll();
    let mut archive = world.archive(1);
    assert_eq!(drive(&mut archive).await.unwrap_err().kind(), ShipErrorKind::Retry);
    assert_eq!(world.verified().await.partitions[0].objects, 0);
}

#[tokio::test(start_paused = true)]
async fn points_are_reached_in_order() {
    let world = World::new();
    let seen = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let hooks = Hooks::new({
        let seen = Arc::clone(&seen);
        move |point| seen.lock().push(point)
    });
    let (mut archive, _) = PartitionArchive::open(ArchiveConfig { hooks, ..world.config(1, 1) }, world.log.clone());
    world.produce(2);
    drive(&mut archive).await.unwrap();
    let expected = [Point::AfterSwap, Point::AfterRegister, Point::AfterPut, Point::AfterSwap];
    assert_eq!(seen.lock().as_slice(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_slept_for_days_makes_no_key_again() {
    let world = World::new();
    let mut first = world.archive(1);
    first.hold().await.unwrap();
    world.produce(3);
    world.faulty.next(Operation::Put, ROOT, Fault::Hang);
    die(first).await;
    // The second writer learns of the dead ids, and sleeps in its first request to occupy one.
    let mut second = world.archive(2);
    second.hold().await.unwrap();
    let rows: Vec<_> = second.root().unwrap().foreign().copied().collect();
    assert!(!rows.is_empty());
    let mut third = world.archive(3);
    for _ in 0..3 {
        drive(&mut third).await.unwrap();
        world.pass(26 * 3_600_000);
    }
    let before = world.verified().await.objects;
    assert_eq!(second.occupy(&rows).await.unwrap_err().kind(), ShipErrorKind::Halted);
    assert_eq!(world.verified().await.objects, before);
}

#[tokio::test(start_paused = true)]
async fn an_idle_partition_asks_nothing_and_takes_no_root() {
    let world = World::new();
    let directory = tempfile::tempdir().unwrap();
    let copy = Some(directory.path().join("root-copy"));
    let rules = Rules { retention_ms: Some(3_600_000), ..world.rules };
    let open = |epoch: i32| {
        let config = ArchiveConfig { copy: copy.clone(), rules, ..world.config(epoch, 5) };
        PartitionArchive::open(config, Arc::clone(&world.log)).0
    };
    let asked = || Operation::ALL.iter().map(|operation| world.meter.requests(*operation)).sum::<u64>();
    let mut first = open(1);
    drive(&mut first).await.unwrap();
    assert_eq!((asked(), first.rest()), (0, Rest::Until(None)), "an empty log needs no root");
    world.produce(10);
    drive(&mut first).await.unwrap();
    let before = asked();
    let mut second = open(2);
    drive(&mut second).await.unwrap();
    assert_eq!((asked(), second.handle().is_held()), (before, false));
    let Rest::Until(Some(due)) = second.rest() else { panic!("retention comes") };
    world.pass(due.0 - world.now().0 - 1);
    drive(&mut second).await.unwrap();
    assert_eq!(asked(), before, "not before its time");
    world.pass(1);
    drive(&mut second).await.unwrap();
    assert!(asked() > before && second.handle().is_held());
}

#[tokio::test(start_paused = true)]
async fn an_archive_is_restless_while_its_log_moves_and_hears_the_next_move() {
    let world = World::new();
    let rules = Rules { rpo_ms: Some(60_000), object_bytes: 1 << 20, ..world.rules };
    let config = ArchiveConfig { rules, ..world.config(1, 1) };
    let (mut archive, handle) = PartitionArchive::open(config, Arc::clone(&world.log));
    let rung = Arc::new(std::sync::atomic::AtomicU64::new(0));
    handle.set_alarm(Box::new({
        let rung = Arc::clone(&rung);
        move |_| {
            rung.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }));
    let rung = || rung.load(std::sync::atomic::Ordering::Relaxed);
    drive(&mut archive).await.unwrap();
    assert_eq!(archive.rest(), Rest::Until(None));
    world.append();
    handle.log_moved();
    handle.log_moved();
    assert_eq!(rung(), 1, "one call for all moves until it looks");
    handle.begin();
    drive(&mut archive).await.unwrap();
    assert_eq!(archive.rest(), Rest::Restless);
    handle.begin();
    drive(&mut archive).await.unwrap();
    assert_eq!(archive.rest(), Rest::Until(Some(world.now().plus_ms(60_000))));
    world.append();
    handle.log_moved();
    assert_eq!(rung(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_before_it_was_shipped_is_never_shipped() {
    let world = World::new();
    world.produce(10);
    let mut archive = world.archive(1);
    drive(&mut archive).await.unwrap();
    world.produce(10);
    // In the middle of a batch that is not shipped yet.
    world.log.advance_log_start(Offset(62));
    let puts = world.meter.requests(Operation::Put);
    drive(&mut archive).await.unwrap();
    let root = archive.handle().root().unwrap();
    assert_eq!((root.start, root.log_start, root.end), (Offset(62), Offset(62), Offset(80)));
    let content = world.log.content();
    assert_eq!(world.read_all(archive.handle()).await, content[15..], "from the batch that holds the start");
    let shipped: u64 = root.entries.iter().map(|entry| entry.length).sum();
    assert_eq!(shipped, content[15..].iter().map(|batch| batch.len() as u64).sum::<u64>());
    assert!(world.meter.requests(Operation::Put) > puts);
    world.verified().await;
    world.pass(120_000);
    drive(&mut archive).await.unwrap();
    let report = world.verified().await;
    assert_eq!(report.objects, report.partitions[0].objects + 1, "what was cold is freed: {report:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_start_hears_when_it_is_durable_or_cannot_be() {
    let world = World::new();
    world.produce(10);
    let mut archive = world.archive(1);
    drive(&mut archive).await.unwrap();
    let handle = archive.handle().clone();
    assert!(handle.reaches_start(Offset(0)).await);
    world.log.advance_log_start(Offset(20));
    let (reached, driven) = tokio::join!(handle.reaches_start(Offset(20)), drive(&mut archive));
    driven.unwrap();
    assert!(reached && handle.root().unwrap().log_start == Offset(20));
    world.log.advance_log_start(Offset(30));
    world.faulty.outage(Outage::Begins);
    let (reached, driven) = tokio::join!(handle.reaches_start(Offset(30)), drive(&mut archive));
    assert!(!reached && driven.is_err(), "the store is away");
    assert!(!handle.reaches_start(Offset(30)).await, "and is known to be");
    world.faulty.outage(Outage::Ends);
    drive(&mut archive).await.unwrap();
    assert!(handle.reaches_start(Offset(30)).await);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_partition_is_purged_by_one_who_has_no_log_of_it() {
    let world = World::new();
    world.produce(20);
    let mut first = world.archive(1);
    drive(&mut first).await.unwrap();
    drop(first);
    let config = world.config(2, 102);
    let (mut purge, handle) = PartitionArchive::open(config, Arc::new(MemLog::new()));
    handle.delete();
    drive(&mut purge).await.unwrap();
    assert_eq!((handle.root().unwrap().state, handle.halted()), (State::Deleted, None));
    world.pass(120_000);
    drive(&mut purge).await.unwrap();
    let keys = world.verified().await;
    assert_eq!(keys.partitions.iter().map(|partition| partition.objects).sum::<u64>(), 0, "{keys:?}");
    // A day later nothing of it is left, not even the root.
    world.pass(26 * 3_600_000);
    drive(&mut purge).await.unwrap();
    assert!(world.store.load(&purge.config.prefix.root(), Class::Background).await.unwrap().is_none());
}
