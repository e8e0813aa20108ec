//! Fills, their owners, and the disk tier.

use std::time::Duration;

use super::*;

fn failure() -> StoreError {
    StoreError::new(StoreErrorKind::Unreachable, "read", "key", "503")
}

#[tokio::test]
async fn a_fill_outlives_the_reader_that_gave_up() {
    let cache = BlockCache::open(&CacheConfig::default()).await.unwrap();
    let key = BlockKey::new("objects/1", 0);
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let mut reader = Box::pin(cache.get(key, 10, || async move {
        wait.await.unwrap();
        Ok(Bytes::from_static(b"block"))
    }));
    assert!(tokio::time::timeout(Duration::from_millis(20), &mut reader).await.is_err());
    drop(reader);
    go.send(()).unwrap();
    // Whoever asks now joins the fill, or finds its block: no second request is made.
    let block = cache.get(key, 10, || async { panic!("the first fill goes on") }).await.unwrap();
    assert_eq!((block, cache.stats().fills), (Bytes::from_static(b"block"), 1));
}

#[tokio::test]
async fn many_readers_share_one_fill_and_its_error() {
    let cache = BlockCache::open(&CacheConfig::default()).await.unwrap();
    let key = BlockKey::new("objects/1", 0);
    let readers = (0..20).map(|_| cache.get(key, 10, || async { Err(failure()) }));
    let outcomes = futures::future::join_all(readers).await;
    assert!(outcomes.iter().all(Result::is_err));
    assert_eq!(cache.stats().fills, 1);
    let again = cache.get(key, 10, || async { Ok(Bytes::from_static(b"block")) }).await;
    assert_eq!(again.unwrap(), "block");
}

#[tokio::test]
async fn a_fill_that_panics_does_not_block_the_next() {
    let cache = BlockCache::open(&CacheConfig::default()).await.unwrap();
    let key = BlockKey::new("objects/1", 0);
    assert!(cache.get(key, 10, || async { panic!("on purpose") }).await.is_err());
    assert_eq!(cache.get(key, 10, || async { Ok(Bytes::from_static(b"block")) }).await.unwrap(), "block");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_tier_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let config =
        CacheConfig { directory: Some(directory.path().join("cache")), disk_bytes: 64 << 20, ..CacheConfig::default() };
    let block = |n: u32| Bytes::from(n.to_be_bytes().repeat(64 << 10));
    let cache = BlockCache::open(&config).await.unwrap();
    for n in 0..16 {
        cache.get(BlockKey::new("objects/1", n), 256 << 10, move || async move { Ok(block(n)) }).await.unwrap();
    }
    cache.close().await;
    drop(cache);
    let cache = BlockCache::open(&config).await.unwrap();
    for n in 0..16 {
        let found = cache.get(BlockKey::new("objects/1", n), 256 << 10, move || async move { Ok(block(n)) }).await;
        assert_eq!(found.unwrap(), block(n));
    }
    assert!(cache.stats().hits >= 12, "most blocks come from the disk: {:?}", cache.stats());
    assert_ne!(BlockKey::new("objects/1", 0).object, BlockKey::new("objects/2", 0).object);
}
