//! The protocol's operations on stores that fail and on stores that differ.

use std::ops::Range;

use async_trait::async_trait;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, Error, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions, PutResult,
    RenameOptions, Result,
};

use super::*;
use crate::{Fault, Faulty, Limited, Limits, Operation, Outage, StoreConfig};

/// The ways in which stores that speak S3 differ from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quirk {
    /// Ceph RGW 16: `If-Match` with the quotes that the store itself gave is refused.
    WantsBareTags,
    /// LocalStack, MinIO: a swap of an absent key is 404, not 412.
    AbsentIs404,
    /// Garage 2: conditions are ignored.
    IgnoresConditions,
}

#[derive(Debug)]
struct Quirky(InMemory, Quirk);

impl std::fmt::Display for Quirky {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.1)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Quirky {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut opts: PutOptions) -> Result<PutResult> {
        if self.1 == Quirk::IgnoresConditions {
            opts.mode = PutMode::Overwrite;
        }
        if let (Quirk::WantsBareTags, PutMode::Update(version)) = (self.1, &mut opts.mode) {
            let tag = version.e_tag.take().unwrap();
            let matching = if tag.starts_with('"') { "\"no match\"".to_owned() } else { format!("\"{tag}\"") };
            version.e_tag = Some(matching);
        }
        let result = self.0.put_opts(location, payload, opts.clone()).await;
        match (self.1, opts.mode, result) {
            (Quirk::AbsentIs404, PutMode::Update(_), Err(Error::Precondition { path, source })) => {
                Err(Error::NotFound { path, source })
            }
            (_, _, result) => result,
        }
    }

    async fn put_multipart_opts(&self, at: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.0.rename_opts(from, to, options).await
    }
}

const KEY: &str = "a/manifest.json";
const TAIL: Class = Class::TailUpload;

fn faulty() -> (Faulty, Store) {
    let faulty = Faulty::new(Arc::new(InMemory::new()));
    (faulty.clone(), Store::new(Arc::new(faulty), "root/prefix"))
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

async fn created(store: &Store, content: &'static str) -> Version {
    match store.swap(KEY, None, &bytes(content), TAIL).await {
        Ok(Swap::Done(version)) => version,
        other => panic!("the key was absent: {other:?}"),
    }
}

async fn holds(store: &Store) -> Option<Bytes> {
    store.load(KEY, TAIL).await.unwrap().map(|found| found.bytes)
}

#[tokio::test]
async fn a_swap_holds_the_version_it_expects() {
    let (_, store) = faulty();
    let one = created(&store, "one").await;
    let Swap::Done(two) = store.swap(KEY, Some(&one), &bytes("two"), TAIL).await.unwrap() else { panic!() };
    let stale = store.swap(KEY, Some(&one), &bytes("three"), TAIL).await.unwrap();
    assert_eq!(stale, Swap::Conflict(Some(Versioned { bytes: bytes("two"), version: two })));
    let again = store.swap(KEY, None, &bytes("new"), TAIL).await.unwrap();
    assert!(matches!(again, Swap::Conflict(Some(found)) if found.bytes == bytes("two")));
}

#[tokio::test]
async fn a_lost_reply_of_a_swap_is_a_success() {
    let (faulty, store) = faulty();
    faulty.next(Operation::Put, KEY, Fault::LostReply);
    let one = created(&store, "one").await;
    faulty.next(Operation::Put, KEY, Fault::LostReply);
    assert!(matches!(store.swap(KEY, Some(&one), &bytes("two"), TAIL).await, Ok(Swap::Done(_))));
    assert_eq!((holds(&store).await, faulty.unmet()), (Some(bytes("two")), 0));
}

#[tokio::test]
async fn a_lost_reply_and_a_lost_read_are_resolved_by_the_same_swap() {
    let (faulty, store) = faulty();
    let one = created(&store, "one").await;
    faulty.next(Operation::Put, KEY, Fault::LostReply);
    faulty.next(Operation::Get, KEY, Fault::Unavailable);
    assert!(matches!(store.swap(KEY, Some(&one), &bytes("two"), TAIL).await, Ok(Swap::Done(_))));
}

#[tokio::test]
async fn a_late_swap_cannot_take_effect_after_its_own_retry() {
    let (faulty, store) = faulty();
    let one = created(&store, "one").await;
    faulty.next(Operation::Put, KEY, Fault::Late);
    let Ok(Swap::Done(two)) = store.swap(KEY, Some(&one), &bytes("two"), TAIL).await else { panic!() };
    assert!(matches!(store.swap(KEY, Some(&two), &bytes("three"), TAIL).await, Ok(Swap::Done(_))));
    let late = faulty.release().await;
    assert!(late.iter().all(|(_, result)| result.is_err()) && late.len() == 1);
    assert_eq!(holds(&store).await, Some(bytes("three")));
}

#[tokio::test]
async fn a_swap_without_any_answer_is_indeterminate() {
    let (faulty, store) = faulty();
    let one = created(&store, "one").await;
    faulty.outage(Outage::Begins);
    let error = store.swap(KEY, Some(&one), &bytes("two"), TAIL).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Indeterminate);
    assert_eq!(store.load(KEY, TAIL).await.unwrap_err().kind(), StoreErrorKind::Unreachable);
    faulty.outage(Outage::Ends);
    assert!(matches!(store.swap(KEY, Some(&one), &bytes("two"), TAIL).await, Ok(Swap::Done(_))));
}

#[tokio::test]
async fn a_409_is_tried_again() {
    let (faulty, store) = faulty();
    faulty.next(Operation::Put, KEY, Fault::ConflictToRetry);
    let one = created(&store, "one").await;
    faulty.next(Operation::Put, KEY, Fault::ConflictToRetry);
    assert!(matches!(store.swap(KEY, Some(&one), &bytes("two"), TAIL).await, Ok(Swap::Done(_))));
    faulty.next(Operation::Put, "objects/1", Fault::ConflictToRetry);
    let put = store.put_object("objects/1", "body footer".into(), &bytes("footer"), TAIL).await.unwrap();
    assert_eq!(put, Put::Stored);
}

#[tokio::test]
async fn tags_without_quotes_are_found_out() {
    let store = Store::new(Arc::new(Quirky(InMemory::new(), Quirk::WantsBareTags)), "");
    let one = created(&store, "one").await;
    assert!(one.as_str().starts_with('"'));
    let two = match store.swap(KEY, Some(&one), &bytes("two"), TAIL).await {
        Ok(Swap::Done(version)) => version,
        other => panic!("{other:?}"),
    };
    assert!(matches!(store.swap(KEY, Some(&one), &bytes("three"), TAIL).await, Ok(Swap::Conflict(Some(_)))));
    assert!(matches!(store.swap(KEY, Some(&two), &bytes("three"), TAIL).await, Ok(Swap::Done(_))));
}

#[tokio::test]
async fn a_swap_of_an_absent_key_is_a_conflict_on_every_store() {
    let stores: [Arc<dyn ObjectStore>; 2] =
        [Arc::new(InMemory::new()), Arc::new(Quirky(InMemory::new(), Quirk::AbsentIs404))];
    for inner in stores {
        let store = Store::new(inner, "");
        let gone = Version::new("\"gone\"");
        let outcome = store.swap(KEY, Some(&gone), &bytes("two"), TAIL).await;
        assert_eq!(outcome.unwrap(), Swap::Conflict(None));
    }
}

#[tokio::test]
async fn an_object_is_known_again_by_length_and_tail() {
    let (faulty, store) = faulty();
    let put = |key: &'static str, body: &'static str| {
        let store = store.clone();
        async move { store.put_object(key, body.into(), &bytes("footer"), TAIL).await }
    };
    faulty.next(Operation::Put, "objects/1", Fault::LostReply);
    assert_eq!(put("objects/1", "body footer").await.unwrap(), Put::Stored);
    assert_eq!(put("objects/1", "body footer").await.unwrap(), Put::Stored);
    assert_eq!(put("objects/1", "longer body footer").await.unwrap(), Put::Occupied { bytes: 11 });
    store.put_object("objects/2", PutPayload::new(), &Bytes::new(), TAIL).await.unwrap();
    assert_eq!(put("objects/2", "body footer").await.unwrap(), Put::Occupied { bytes: 0 });
    faulty.outage(Outage::Begins);
    assert_eq!(put("objects/3", "body footer").await.unwrap_err().kind(), StoreErrorKind::Indeterminate);
}

#[tokio::test]
async fn a_cut_body_is_never_taken_for_the_whole() {
    let (faulty, store) = faulty();
    created(&store, "0123456789").await;
    faulty.next(Operation::Get, KEY, Fault::Torn);
    let whole = store.load(KEY, TAIL).await.unwrap().unwrap();
    assert_eq!(whole.bytes, bytes("0123456789"), "a connection that breaks once is asked once more");
    for (fault, times) in [(Fault::Torn, 2), (Fault::Short, 1)] {
        (0..times).for_each(|_| faulty.next(Operation::Get, KEY, fault));
        assert_eq!(store.load(KEY, TAIL).await.unwrap_err().kind(), StoreErrorKind::Unreachable, "{fault:?}");
        faulty.next(Operation::Get, KEY, fault);
        assert_eq!(store.read(KEY, 2..8, TAIL).await.unwrap_err().kind(), StoreErrorKind::Unreachable, "{fault:?}");
    }
    assert_eq!(store.read(KEY, 2..8, TAIL).await.unwrap(), bytes("234567"));
    assert_eq!(store.read(KEY, 8..12, TAIL).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
}

#[tokio::test]
async fn deleting_twice_and_listing() {
    let (faulty, store) = faulty();
    created(&store, "one").await;
    faulty.next(Operation::Delete, KEY, Fault::LostReply);
    assert!(store.delete(&[KEY.to_owned()]).await.is_err());
    let rows = |store: Store| async move { store.list("").unwrap().try_collect::<Vec<_>>().await.unwrap() };
    assert_eq!(rows(store.clone()).await, []);
    store.delete(&[KEY.to_owned()]).await.unwrap();
    created(&store, "one").await;
    assert_eq!(rows(store.clone()).await, [Listed { key: KEY.to_owned(), bytes: 3 }]);
}

#[tokio::test]
async fn a_full_pool_of_cold_reads_does_not_stop_uploads() {
    let limits = Limits { requests: [1, 1, 1], bytes: [1 << 20; 3] };
    let store = Store::new(Arc::new(Limited::new(InMemory::new(), limits)), "");
    created(&store, "0123456789").await;
    let mut options = GetOptions::default();
    options.extensions.insert(Class::ColdRead);
    let held = store.inner().get_opts(&store.path(KEY).unwrap(), options).await.unwrap();
    let mut second = Box::pin(store.read(KEY, 0..4, Class::ColdRead));
    assert!(futures::poll!(second.as_mut()).is_pending(), "the pool has one turn, and it is taken");
    store.read(KEY, 0..4, TAIL).await.unwrap();
    drop(held);
    assert_eq!(second.await.unwrap(), bytes("0123"));
}

#[tokio::test]
async fn the_probe_refuses_a_store_that_ignores_conditions() {
    let config = StoreConfig::new("memory:///");
    let now = broker_model::Timestamp(0);
    let store = Store::new(Arc::new(Quirky(InMemory::new(), Quirk::IgnoresConditions)), "");
    let found = crate::probe(&config, &store, now, 7, crate::probe::MissingBucket::Refuse).await;
    assert!(found.unreachable.is_none(), "{found:?}");
    let has = |text: &str| found.broken.iter().any(|promise| promise.contains(text));
    assert!(has("second conditional create") && has("16 racing conditional creates"), "{found:?}");
    assert!(has("with a wrong ETag") && has("clock"), "{found:?}");
    assert_eq!(store.list("").unwrap().count().await, 0, "the probe leaves nothing behind");
}

#[tokio::test]
async fn the_probe_takes_an_outage_for_an_outage() {
    let (faulty, store) = faulty();
    faulty.outage(Outage::Begins);
    let config = StoreConfig::new("memory:///");
    let missing = crate::probe::MissingBucket::Refuse;
    let found = crate::probe(&config, &store, broker_model::Timestamp(0), 7, missing).await;
    assert!(found.unreachable.is_some_and(|error| error.kind().is_retriable()) && found.broken.is_empty());
}

#[tokio::test]
async fn nothing_is_signed_when_the_time_is_over() {
    let (faulty, store) = faulty();
    let asked = std::sync::atomic::AtomicU32::new(0);
    let once = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
    faulty.next(Operation::Put, "objects/1", Fault::Unavailable);
    let body = || PutPayload::from_static(b"body footer");
    let error = store.put_object_while("objects/1", (body(), &bytes("footer")), TAIL, &once).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Indeterminate);
    let error = store.put_object_while("objects/1", (body(), &bytes("footer")), TAIL, &once).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unreachable);
    assert_eq!(store.size("objects/1", TAIL).await.unwrap(), None);
}
