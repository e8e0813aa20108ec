//! The loop: it ships when woken, waits out an outage, pauses, and says when it dies.

use broker_model::Offset;
use tiering_store::Outage;

use super::*;
use crate::testing::{World, partition};

fn uploader(world: &World) -> Uploader {
    Uploader::new(UploaderConfig::default(), world.clock())
}

async fn settle() {
    tokio::time::sleep(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn it_ships_when_woken_and_waits_out_an_outage() {
    let world = World::new();
    let uploader = uploader(&world);
    uploader.add(world.archive(1));
    settle().await;
    let handle = uploader.handle(&partition()).unwrap();
    assert_eq!((handle.durable_end(), handle.is_held()), (None, false), "an empty log needs no root");
    world.faulty.outage(Outage::Begins);
    world.produce(10);
    handle.log_moved();
    settle().await;
    let stats = uploader.stats();
    assert!(stats.errors > 1 && stats.backlog_bytes > 0 && stats.oldest_unshipped.is_some(), "{stats:?}");
    world.faulty.outage(Outage::Ends);
    settle().await;
    assert_eq!(handle.durable_end(), Some(Offset(40)));
    uploader.stop().await;
    assert_eq!(uploader.stats(), UploaderStats::default());
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_and_a_resume_goes_on() {
    let world = World::new();
    let uploader = uploader(&world);
    uploader.pause();
    uploader.add(world.archive(1));
    world.produce(10);
    settle().await;
    assert_eq!(world.meter.requests(tiering_store::Operation::Put), 0);
    uploader.resume();
    settle().await;
    assert_eq!(uploader.handle(&partition()).unwrap().durable_end(), Some(Offset(40)));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panics_halts_its_archive_loudly() {
    let world = World::new();
    let uploader = uploader(&world);
    let hooks = crate::Hooks::new(|_| panic!("on purpose"));
    let config = crate::ArchiveConfig { hooks, ..world.config(1, 1) };
    world.produce(1);
    uploader.add(PartitionArchive::open(config, Arc::clone(&world.log)).0);
    settle().await;
    assert_eq!(uploader.stats().halted, 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_told_of_every_move_misses_none() {
    let world = World::new();
    let uploader = uploader(&world);
    uploader.add(world.archive(1));
    let handle = uploader.handle(&partition()).unwrap();
    for round in 1..50 {
        world.produce(1);
        handle.log_moved();
        // Between two looks, during them, and long after.
        tokio::time::sleep(Duration::from_millis(round * round)).await;
    }
    settle().await;
    assert_eq!(handle.durable_end(), Some(world.log.bounds().end));
    assert_eq!(uploader.stats().errors, 0);
}

#[tokio::test(start_paused = true)]
async fn of_two_archives_of_one_partition_the_later_runs() {
    let world = World::new();
    let uploader = uploader(&world);
    world.produce(5);
    uploader.add(world.archive(1));
    uploader.add(world.archive(2));
    settle().await;
    world.produce(5);
    uploader.handle(&partition()).unwrap().log_moved();
    settle().await;
    let stats = uploader.stats();
    assert_eq!((stats.partitions, stats.halted, stats.backlog_bytes), (1, 0, 0), "{stats:?}");
    uploader.remove(&partition()).await;
    assert!(uploader.handle(&partition()).is_none());
}
