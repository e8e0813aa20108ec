//! Reads while the store fails, lies and loses.

use std::time::Duration;

use tiering_store::{Fault, Operation, Outage};

use super::*;
use crate::testing::{World, drive, partition};

async fn shipped(batches: i64) -> (World, ArchiveHandle) {
    let world = World::new();
    world.produce(batches);
    let mut archive = world.archive(1);
    drive(&mut archive).await.unwrap();
    (world, archive.handle().clone())
}

#[tokio::test(start_paused = true)]
async fn a_read_begins_with_the_batch_that_holds_the_offset() {
    let (world, handle) = shipped(20).await;
    let reader = world.reader().await;
    reader.attach(&handle);
    let content = world.log.content();
    for (from, first) in [(0, 0), (1, 0), (3, 0), (4, 1), (41, 10), (79, 19)] {
        let read = reader.read(&partition(), Offset(from), 1).await.unwrap();
        assert_eq!(read.batches, [content[first].clone()], "{from}");
    }
    let whole = reader.read(&partition(), Offset(0), usize::MAX).await.unwrap();
    assert_eq!((whole.batches, whole.next), (content, Offset(80)));
    let tail = reader.tail(&partition()).await.unwrap();
    assert_eq!((tail.end, tail.epochs[0].epoch, tail.epochs[0].start), (Offset(80), LeaderEpoch(1), Offset(0)));
    let beyond = reader.read(&partition(), Offset(80), 1).await.unwrap_err();
    assert_eq!(beyond.kind(), ColdErrorKind::BeyondEnd);
    assert_eq!(reader.leader_epoch_for(&partition(), Offset(3)).await.unwrap(), LeaderEpoch(1));
}

#[tokio::test(start_paused = true)]
async fn an_outage_in_the_middle_is_an_error_and_never_a_gap() {
    let (world, handle) = shipped(40).await;
    let reader = world.reader().await;
    reader.attach(&handle);
    let first = reader.read(&partition(), Offset(0), 2000).await.unwrap();
    // Let what was read ahead arrive, so that the rest is really behind the outage.
    tokio::time::sleep(Duration::from_millis(10)).await;
    world.faulty.outage(Outage::Begins);
    let (mut at, mut batches) = (first.next, first.batches);
    let failed = loop {
        match reader.read(&partition(), at, 2000).await {
            Ok(read) => {
                at = read.next;
                batches.extend(read.batches);
            }
            Err(error) => break error,
        }
    };
    assert_eq!(failed.kind(), ColdErrorKind::Retry);
    world.faulty.outage(Outage::Ends);
    while at < Offset(160) {
        let read = reader.read(&partition(), at, 2000).await.unwrap();
        at = read.next;
        batches.extend(read.batches);
    }
    assert_eq!(batches, world.log.content());
}

#[tokio::test(start_paused = true)]
async fn damage_on_the_way_is_read_again_and_damage_that_stays_is_a_loss() {
    let (world, handle) = shipped(3).await;
    let reader = world.reader().await;
    reader.attach(&handle);
    reader.read(&partition(), Offset(0), 1).await.unwrap();
    for faults in [vec![Fault::Flipped], vec![Fault::Flipped, Fault::Flipped], vec![Fault::Torn], vec![Fault::Short]] {
        let reader = world.reader().await;
        reader.attach(&handle);
        for fault in &faults {
            world.faulty.next(Operation::Get, "objects/", *fault);
        }
        let read = reader.read(&partition(), Offset(0), 1).await.map_err(|error| error.kind());
        match faults.as_slice() {
            [Fault::Flipped] => assert!(read.is_ok()),
            [Fault::Flipped, _] => assert_eq!(read, Err(ColdErrorKind::Lost)),
            _ => assert_eq!(read, Err(ColdErrorKind::Retry)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_gone_is_looked_for_with_a_fresh_root() {
    let world = World::new();
    world.produce(20);
    let mut archive = world.archive(1);
    drive(&mut archive).await.unwrap();
    bucket::describe_topic(
        &world.store,
        &TopicFile { name: "flights".to_owned(), id: crate::testing::TOPIC, partitions: 1, configs: BTreeMap::new() },
    )
    .await
    .unwrap();
    let cache = BlockCache::open(&crate::CacheConfig::default()).await.unwrap();
    let reader =
        TierReader::open_bucket(world.store.clone(), cache, ReaderConfig { readahead_blocks: 0 }).await.unwrap();
    assert_eq!(reader.topics().len(), 1);
    assert_eq!(reader.bounds(&partition()).await.unwrap().end, Offset(80));
    // Retention deletes what the reader's root still names.
    world.log.advance_log_start(Offset(40));
    drive(&mut archive).await.unwrap();
    world.pass(120_000);
    drive(&mut archive).await.unwrap();
    let below = reader.read(&partition(), Offset(0), 1).await.unwrap_err();
    assert_eq!(below.kind(), ColdErrorKind::BelowStart, "{below}");
    assert_eq!(reader.bounds(&partition()).await.unwrap().log_start, Offset(40));
    // Somebody deletes what the newest root names: that is a loss, and says so.
    let entry = archive.handle().root().unwrap().entries.last().unwrap().clone();
    let key = archive.handle().prefix().join(&entry.key);
    world.store.delete(&[key]).await.unwrap();
    let lost = reader.read(&partition(), entry.base, 1).await.unwrap_err();
    assert_eq!(lost.kind(), ColdErrorKind::Lost, "{lost}");
    assert!(!crate::verify(&world.store, crate::VerifyDepth::Footers).await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_bucket_reader_sees_new_data_after_a_refresh_and_never_goes_back() {
    let (world, _) = shipped(10).await;
    let mut archive = world.archive(2);
    drive(&mut archive).await.unwrap();
    let reader = world.reader().await;
    let source = Source::bucket(archive.handle().prefix().clone());
    reader.shared.sources.write().insert(partition(), Arc::new(source));
    assert_eq!(reader.bounds(&partition()).await.unwrap().end, Offset(40));
    world.produce(10);
    drive(&mut archive).await.unwrap();
    assert_eq!(reader.bounds(&partition()).await.unwrap().end, Offset(40));
    reader.refresh(&partition()).await.unwrap();
    assert_eq!(reader.bounds(&partition()).await.unwrap().end, Offset(80));
    let unknown = TopicPartition { partition: PartitionIndex(9), ..partition() };
    assert_eq!(reader.bounds(&unknown).await.unwrap_err().kind(), ColdErrorKind::Unknown);
}

#[tokio::test(start_paused = true)]
async fn records_are_found_by_time() {
    let (world, handle) = shipped(20).await;
    let reader = world.reader().await;
    reader.attach(&handle);
    for (time, offset) in [(-5, 0), (0, 0), (1, 1), (10, 1), (11, 2), (405, 41), (790, 79)] {
        let hit = reader.offset_for_time(&partition(), Timestamp(time)).await.unwrap().unwrap();
        assert_eq!((hit.offset, hit.timestamp), (Offset(offset), Timestamp(10 * offset)), "{time}");
    }
    assert_eq!(reader.offset_for_time(&partition(), Timestamp(791)).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_was_dropped_fills_the_cache_all_the_same() {
    let (world, handle) = shipped(3).await;
    let reader = world.reader().await;
    reader.attach(&handle);
    world.faulty.next(Operation::Get, "objects/", Fault::Delay(5_000));
    let partition = partition();
    let waited = tokio::time::timeout(Duration::from_millis(500), reader.read(&partition, Offset(0), 1)).await;
    assert!(waited.is_err(), "the client gave up");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let gets = world.meter.requests(Operation::Get);
    reader.read(&partition, Offset(0), 1).await.unwrap();
    assert!(world.meter.requests(Operation::Get) <= gets + 1, "the index came from the cache");
}
