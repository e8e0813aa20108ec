//! A local directory gives the promises of S3: the probe finds nothing broken, also when many race, and a second handle
//! on the same directory is bound by the same locks.
#![expect(clippy::disallowed_methods, reason = "the probe compares the directory's clock with the real one")]

use broker_model::Timestamp;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tiering_store::probe::MissingBucket;
use tiering_store::{Class, Operation, Store, StoreConfig, Swap, open, probe};

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Timestamp(i64::try_from(since.as_millis()).expect("fits"))
}

fn config(directory: &std::path::Path) -> StoreConfig {
    StoreConfig::new(&format!("file://{}", directory.join("bucket").display()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_probe_finds_a_directory_safe_and_leaves_it_empty() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let (store, meter) = open(&config).unwrap();
    let found = probe(&config, &store, now(), 1, MissingBucket::Refuse).await;
    assert!(found.is_good(), "{found:?}");
    assert_eq!(store.list("").unwrap().count().await, 0);
    let left: Vec<_> = std::fs::read_dir(directory.path().join("bucket")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(meter.requests(Operation::Put) > 32);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_handles_swap_one_root_without_a_lost_update() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let stores: Vec<Store> = (0..2).map(|_| open(&config).unwrap().0).collect();
    let first = Bytes::from_static(b"0");
    stores[0].swap("root.json", None, &first, Class::TailUpload).await.unwrap();
    // Each task adds its own line 25 times; whoever loses a swap reads again.
    let tasks = (0..4usize).map(|task| {
        let store = stores[task % 2].clone();
        tokio::spawn(async move {
            for line in 0..25 {
                loop {
                    let found = store.load("root.json", Class::TailUpload).await.unwrap().unwrap();
                    let mut next = found.bytes.to_vec();
                    next.extend_from_slice(format!("\n{task} {line}").as_bytes());
                    let swap = store.swap("root.json", Some(&found.version), &next.into(), Class::TailUpload).await;
                    if let Swap::Done(_) = swap.unwrap() {
                        break;
                    }
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let found = stores[1].load("root.json", Class::TailUpload).await.unwrap().unwrap();
    assert_eq!(found.bytes.split(|byte| *byte == b'\n').count(), 101);
    let rows: Vec<_> = stores[0].list("").unwrap().try_collect().await.unwrap();
    assert_eq!(rows.len(), 1, "no staged file stays: {rows:?}");
}
