//! Kills at every request, lost replies, late PUTs and two writers: OUT-1 holds after each.

use std::sync::Arc;

use broker_model::{Offset, PartitionIndex};
use object_store::memory::InMemory;
use tiering_store::{Fault, FaultPlan, Faulty, Operation, Store};

use super::world::{NOW, SMALL, Stopping, World, read_table, table_prefix, topic};
use crate::{ExportErrorKind, Range, RangeExport, export_range};

const BOTH: [PartitionIndex; 2] = [PartitionIndex(0), PartitionIndex(1)];

fn world() -> World {
    let mut world = World::new();
    world.ship(0, 60);
    world.ship(1, 25);
    world
}

#[tokio::test]
async fn a_kill_at_any_request_doubles_and_loses_nothing() {
    let flights = topic();
    let mut killed = 0;
    for at in 0.. {
        let mut ended = true;
        for after in [false, true] {
            let world = world();
            let stopping = Stopping::new();
            let store = stopping.store();
            stopping.arm(at, after);
            let mut exporter = world.exporter(&store, 1);
            tokio::select! {
                done = exporter.run_once(&flights, &BOTH, NOW) => { done.unwrap(); }
                () = stopping.stopped() => { killed += 1; ended = false; }
            }
            drop(exporter);
            // The next process is killed too, at another place, and the one after it finishes.
            stopping.arm(at % 5, !after);
            let mut exporter = world.exporter(&store, 2);
            tokio::select! {
                done = exporter.run_once(&flights, &BOTH, NOW) => { done.unwrap(); }
                () = stopping.stopped() => killed += 1,
            }
            drop(exporter);
            stopping.disarm();
            let mut exporter = world.exporter(&store, 3);
            exporter.run_once(&topic(), &BOTH, NOW).await.unwrap();
            assert_eq!(read_table(&store, &table_prefix()).await, world.rows, "killed at {at}, after: {after}");
            // A day later nothing is left but the table.
            let late = NOW.plus_ms(3 * 24 * 3600 * 1000);
            exporter.run_once(&topic(), &BOTH, late).await.unwrap();
            assert!(exporter.root(topic().id).unwrap().occupied.is_empty());
            assert_eq!(read_table(&store, &table_prefix()).await, world.rows);
        }
        if ended {
            break;
        }
    }
    assert!(killed > 40, "{killed}");
}

#[tokio::test]
async fn a_run_that_is_dropped_goes_on_in_the_same_process() {
    let flights = topic();
    for at in 0..24 {
        for after in [false, true] {
            let world = world();
            let stopping = Stopping::new();
            let store = stopping.store();
            let mut exporter = world.exporter(&store, 1);
            stopping.arm(at, after);
            tokio::select! {
                done = exporter.run_once(&flights, &BOTH, NOW) => { done.unwrap(); }
                () = stopping.stopped() => {}
            }
            stopping.disarm();
            exporter.run_once(&topic(), &BOTH, NOW).await.unwrap();
            assert_eq!(read_table(&store, &table_prefix()).await, world.rows, "dropped at {at}, after: {after}");
        }
    }
}

#[tokio::test]
async fn faults_by_chance_double_and_lose_nothing() {
    for seed in 0..60 {
        println!("seed {seed}");
        let world = world();
        let faulty = Faulty::new(Arc::new(InMemory::new()));
        let store = Store::new(Arc::new(faulty.clone()), "lake");
        faulty.plan(FaultPlan { seed, unavailable: 7, lost_reply: 6, late: 9, torn: 11, delay: 0 });
        let mut epoch = 1;
        let mut exporter = world.exporter(&store, epoch);
        let mut now = NOW;
        loop {
            now = now.plus_ms(20 * 60 * 1000);
            let done = exporter.run_once(&topic(), &BOTH, now).await;
            if seed % 3 == 0 {
                faulty.release().await;
            }
            match done {
                Ok(_) => break,
                Err(error) if error.kind() == ExportErrorKind::Retry => {}
                // A late swap of one's own can look like another writer's: a halt, and a new writer.
                Err(error) if error.kind() == ExportErrorKind::Fenced => {
                    epoch += 1;
                    exporter = world.exporter(&store, epoch);
                }
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
        faulty.plan(FaultPlan::default());
        faulty.release().await;
        assert_eq!(read_table(&store, &table_prefix()).await, world.rows, "seed {seed}");
    }
}

#[tokio::test]
async fn a_late_put_of_a_dead_writer_fails() {
    let world = world();
    let faulty = Faulty::new(Arc::new(InMemory::new()));
    let store = Store::new(Arc::new(faulty.clone()), "");
    // The PUT of the first file never takes effect while its writer lives.
    for _ in 0..16 {
        faulty.next(Operation::Put, "data/", Fault::Late);
    }
    let error = world.exporter(&store, 1).run_once(&topic(), &BOTH, NOW).await.unwrap_err();
    assert_eq!(error.kind(), ExportErrorKind::Retry);
    while faulty.unmet() > 0 {
        let _ = store
            .put_object(
                "data/x",
                object_store::PutPayload::new(),
                &bytes::Bytes::new(),
                tiering_store::Class::Background,
            )
            .await;
    }
    world.exporter(&store, 2).run_once(&topic(), &BOTH, NOW).await.unwrap();
    let late = faulty.release().await;
    assert!(late.iter().filter(|(path, _)| path.as_ref().starts_with("tables/")).all(|(_, result)| result.is_err()));
    store.delete(&["data/x".to_owned()]).await.unwrap();
    assert_eq!(read_table(&store, &table_prefix()).await, world.rows);
}

#[tokio::test]
async fn an_older_writer_is_fenced_and_changes_nothing() {
    let mut world = world();
    let store = Stopping::new().store();
    let mut old = world.exporter(&store, 1);
    old.run_once(&topic(), &BOTH, NOW).await.unwrap();
    world.ship(0, 90);
    let mut new = world.exporter(&store, 2);
    new.run_once(&topic(), &BOTH, NOW).await.unwrap();
    world.ship(0, 120);
    for _ in 0..2 {
        let error = old.run_once(&topic(), &BOTH, NOW).await.unwrap_err();
        assert_eq!(error.kind(), ExportErrorKind::Fenced, "{error}");
    }
    // Also one that starts late.
    let error = world.exporter(&store, 1).run_once(&topic(), &BOTH, NOW).await.unwrap_err();
    assert_eq!(error.kind(), ExportErrorKind::Fenced, "{error}");
    new.run_once(&topic(), &BOTH, NOW).await.unwrap();
    assert_eq!(read_table(&store, &table_prefix()).await, world.rows);
}

#[tokio::test]
async fn a_single_export_that_was_killed_goes_on() {
    for at in 0..30 {
        let world = world();
        let stopping = Stopping::new();
        let store = stopping.store();
        let ranges = vec![Range { partition: PartitionIndex(0), from: Offset(5), to: Offset(55) }];
        let generation = tiering_manifest::Generation(1);
        let request = RangeExport { id: "x".to_owned(), topic: topic(), ranges, generation, nonce: 5 };
        stopping.arm(at, at % 2 == 0);
        tokio::select! {
            done = export_range(&store, &*world.source, &request, SMALL, NOW) => { done.unwrap(); }
            () = stopping.stopped() => {}
        }
        stopping.disarm();
        let request = RangeExport { nonce: 6, ..request };
        export_range(&store, &*world.source, &request, SMALL, NOW).await.unwrap();
        let expect: Vec<_> =
            world.rows.iter().filter(|row| row.partition == 0 && (5..55).contains(&row.offset)).cloned().collect();
        assert_eq!(read_table(&store, "exports/x/").await, expect, "killed at {at}");
    }
}
