//! Asks a store, before anything depends on it, whether it can be reached and whether it keeps the promises that the
//! archive stands on. Some stores answer 200 to a conditional write and write anyway: such a store loses data when two
//! leaders overlap, and nothing but a test finds it out.
//!
//! The promises are tried with the client of the data path itself; the AWS SDK only looks after the bucket and sends a
//! checksum that is wrong on purpose. All scratch objects lie under one key prefix and are deleted at the end, also when
//! a check failed. A failing request makes the store unreachable, not unsafe.
//!
//! Start reading at [`probe()`].

mod bucket;

use std::sync::Arc;

use broker_model::Timestamp;
use bytes::Bytes;
use object_store::{GetOptions, ObjectStore, PutPayload};
use tokio::task::JoinSet;

use crate::store::{Put, Swap, Version};
use crate::{Class, Store, StoreConfig, StoreError, StoreErrorKind, StoreUrl};

pub use bucket::MissingBucket;

/// Writers that race for one key.
const RACERS: usize = 16;
/// A store whose clock differs more refuses signatures, or soon will.
const CLOCK_SKEW_MS_MAX: i64 = 5 * 60 * 1000;

/// What the probe found.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Why the store cannot be used now, where it cannot.
    pub unreachable: Option<StoreError>,
    /// The promises that the store broke, in words. Empty for a safe store, and for one that was not reached.
    pub broken: Vec<String>,
}

impl Probe {
    /// True where shipping may begin.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.unreachable.is_none() && self.broken.is_empty()
    }
}

/// Tries the store. `now` is the caller's clock. `nonce` makes the scratch keys this prober's own: one that gives the same
/// at each start sweeps what a killed start left.
pub async fn probe(config: &StoreConfig, store: &Store, now: Timestamp, nonce: u64, missing: MissingBucket) -> Probe {
    let mut broken = Vec::new();
    let unreachable = match run(config, store, now, (nonce, missing), &mut broken).await {
        Ok(()) => None,
        Err(error) if error.kind() == StoreErrorKind::Unsafe => {
            broken.push(error.to_string());
            None
        }
        Err(error) => Some(error),
    };
    Probe { unreachable, broken }
}

async fn run(
    config: &StoreConfig,
    store: &Store,
    now: Timestamp,
    (nonce, missing): (u64, MissingBucket),
    broken: &mut Vec<String>,
) -> Result<(), StoreError> {
    let url = StoreUrl::parse(&config.url)
        .map_err(|e| StoreError::new(StoreErrorKind::Invalid, "open", &config.url, &e.to_string()))?;
    let scratch = format!("probe-{nonce:016x}/");
    if let StoreUrl::S3 { bucket, .. } = &url {
        bucket::ensure(&config.s3, bucket, missing).await?;
    }
    // A probe that was killed left its keys: the same prober sweeps them when it starts again.
    sweep(store, &scratch).await?;
    let mut result = promises(store, &scratch, now, broken).await;
    if let (Ok(()), StoreUrl::S3 { bucket, .. }) = (&result, &url) {
        let path = store.path(&format!("{scratch}checksum"))?;
        match bucket::refuses_wrong_checksum(&config.s3, bucket, path.as_ref()).await {
            Ok(true) => {}
            Ok(false) => broken.push("an object whose checksum is wrong was accepted".to_owned()),
            Err(error) => result = Err(error),
        }
    }
    result.and(sweep(store, &scratch).await)
}

async fn sweep(store: &Store, scratch: &str) -> Result<(), StoreError> {
    let names = ["create", "create-race", "swap", "swap-race", "absent", "range", "checksum"];
    let keys: Vec<String> = names.iter().map(|name| format!("{scratch}{name}")).collect();
    store.delete(&keys).await
}

/// The promises that every store must keep, tried on scratch keys.
async fn promises(store: &Store, scratch: &str, now: Timestamp, broken: &mut Vec<String>) -> Result<(), StoreError> {
    let key = |name: &str| format!("{scratch}{name}");
    creates_once(store, &key("create"), broken).await?;
    one_creator(store, &key("create-race"), broken).await?;
    swaps(store, &key("swap"), &key("absent"), broken).await?;
    one_swapper(store, &key("swap-race"), broken).await?;
    reads_ranges(store, &key("range"), broken).await?;
    keeps_time(store, &key("range"), now, broken).await
}

async fn create(store: &Store, key: &str, bytes: &Bytes) -> Result<bool, StoreError> {
    match store.put_if(key, None, bytes.clone(), Class::Background).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == StoreErrorKind::Conflict => Ok(false),
        Err(error) => Err(error),
    }
}

async fn creates_once(store: &Store, key: &str, broken: &mut Vec<String>) -> Result<(), StoreError> {
    let (first, second) = (Bytes::from_static(b"first"), Bytes::from_static(b"second"));
    if !create(store, key, &first).await? {
        broken.push("a conditional create (If-None-Match: *) of an absent key was refused".to_owned());
    }
    if create(store, key, &second).await? {
        broken.push("a second conditional create (If-None-Match: *) of the same key was accepted".to_owned());
    }
    let found = store.load(key, Class::Background).await?;
    if broken.is_empty() && found.is_none_or(|found| found.bytes != first) {
        broken.push("what was created is not what is read".to_owned());
    }
    Ok(())
}

async fn one_creator(store: &Store, key: &str, broken: &mut Vec<String>) -> Result<(), StoreError> {
    let mut racers = JoinSet::new();
    for racer in 0..RACERS {
        let (store, key) = (store.clone(), key.to_owned());
        racers.spawn(async move { create(&store, &key, &Bytes::from(format!("racer {racer}"))).await });
    }
    let winners = count_winners(racers).await?;
    if winners != 1 {
        broken.push(format!("of {RACERS} racing conditional creates {winners} were accepted, not 1"));
    }
    Ok(())
}

async fn swaps(store: &Store, key: &str, absent: &str, broken: &mut Vec<String>) -> Result<(), StoreError> {
    let class = Class::Background;
    let created = store.swap(key, None, &Bytes::from_static(b"{\"probe\":1}"), class).await?;
    let Swap::Done(version) = created else {
        broken.push("a conditional create of an absent key was refused".to_owned());
        return Ok(());
    };
    let stranger = Version::new("\"00000000000000000000000000000000\"");
    for (name, wrong) in [(key, stranger.clone()), (key, stranger.bare()), (absent, stranger)] {
        match store.put_if(name, Some(&wrong), Bytes::from_static(b"{\"probe\":2}"), class).await {
            Ok(_) => {
                let what = if name == absent { "of an absent key" } else { "with a wrong ETag" };
                broken.push(format!("a conditional swap (If-Match) {what} was accepted"));
            }
            Err(error) if matches!(error.kind(), StoreErrorKind::Conflict | StoreErrorKind::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    if !broken.is_empty() {
        return Ok(());
    }
    match store.swap(key, Some(&version), &Bytes::from_static(b"{\"probe\":3}"), class).await {
        Ok(Swap::Done(_)) => {}
        Ok(Swap::Conflict(_)) | Err(_) => {
            broken.push("a conditional swap (If-Match) with the right ETag was refused".to_owned());
        }
    }
    Ok(())
}

async fn one_swapper(store: &Store, key: &str, broken: &mut Vec<String>) -> Result<(), StoreError> {
    let Swap::Done(version) = store.swap(key, None, &Bytes::from_static(b"{\"race\":0}"), Class::Background).await?
    else {
        return Ok(());
    };
    let mut racers = JoinSet::new();
    for racer in 1..=RACERS {
        let (store, key, version) = (store.clone(), key.to_owned(), version.clone());
        racers.spawn(async move {
            let bytes = Bytes::from(format!("{{\"race\":{racer}}}"));
            let swapped = store.swap(&key, Some(&version), &bytes, Class::Background).await;
            swapped.map(|outcome| matches!(outcome, Swap::Done(_)))
        });
    }
    let winners = count_winners(racers).await?;
    if winners != 1 {
        broken.push(format!("of {RACERS} racing conditional swaps {winners} were accepted, not 1"));
    }
    Ok(())
}

async fn count_winners(mut racers: JoinSet<Result<bool, StoreError>>) -> Result<usize, StoreError> {
    let mut winners = 0;
    while let Some(ended) = racers.join_next().await {
        match ended.expect("a racer does not panic") {
            Ok(won) => winners += usize::from(won),
            Err(error) => return Err(error),
        }
    }
    Ok(winners)
}

async fn reads_ranges(store: &Store, key: &str, broken: &mut Vec<String>) -> Result<(), StoreError> {
    let content: Bytes = (0..10_000u32).flat_map(u32::to_be_bytes).collect::<Vec<u8>>().into();
    let tail = content.slice(content.len() - 64..);
    let put = store.put_object(key, PutPayload::from_bytes(content.clone()), &tail, Class::Background).await?;
    let range = 12_345u64..23_456;
    let found = store.read(key, range.clone(), Class::Background).await?;
    if put != Put::Stored || found != content.slice(12_345..23_456) {
        broken.push(format!("reading bytes {range:?} of an object did not give those bytes"));
    }
    Ok(())
}

async fn keeps_time(store: &Store, key: &str, now: Timestamp, broken: &mut Vec<String>) -> Result<(), StoreError> {
    let options = GetOptions { head: true, ..GetOptions::default() };
    let inner: &Arc<dyn ObjectStore> = store.inner();
    let found = inner.get_opts(&store.path(key)?, options).await;
    let found = found.map_err(|error| StoreError::read("head", key, &error))?;
    let skew = found.meta.last_modified.timestamp_millis().saturating_sub(now.0);
    if skew.saturating_abs() > CLOCK_SKEW_MS_MAX {
        broken.push(format!("the store's clock differs from this machine's by {} seconds", skew / 1000));
    }
    Ok(())
}
