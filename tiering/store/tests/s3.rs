//! The same against a real S3 server. `STRATA_TEST_S3` names its endpoint, `STRATA_TEST_S3_ACCESS_KEY` and
//! `STRATA_TEST_S3_SECRET_KEY` the credentials; `tests/run` sets them. Without them the tests say that they are skipped.
#![expect(clippy::disallowed_methods, reason = "the server is named by the environment, and the probe compares clocks")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

use broker_model::Timestamp;
use bytes::Bytes;
use futures::StreamExt;
use tiering_store::probe::MissingBucket;
use tiering_store::{Class, Put, S3Config, StoreConfig, StoreErrorKind, Swap, open, probe};

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Timestamp(i64::try_from(since.as_millis()).expect("fits"))
}

fn config(test: &str) -> Option<StoreConfig> {
    let Ok(endpoint) = std::env::var("STRATA_TEST_S3") else {
        eprintln!("SKIPPED {test}: STRATA_TEST_S3 names no S3 server");
        return None;
    };
    let mut config = StoreConfig::new(&format!("s3://strata-store-tests/{test}-{}", now().0));
    config.s3 = S3Config {
        endpoint: Some(endpoint),
        access_key: Some(std::env::var("STRATA_TEST_S3_ACCESS_KEY").unwrap_or_else(|_| "test".to_owned())),
        secret_key: Some(std::env::var("STRATA_TEST_S3_SECRET_KEY").unwrap_or_else(|_| "test".to_owned())),
        ..S3Config::default()
    };
    Some(config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_probe_finds_the_server_safe_and_leaves_nothing_behind() {
    let Some(config) = config("probe") else { return };
    let (store, _) = open(&config).unwrap();
    let found = probe(&config, &store, now(), 1, MissingBucket::Create).await;
    assert!(found.is_good(), "{found:?}");
    assert_eq!(store.list("").unwrap().count().await, 0);
}

#[tokio::test]
async fn a_missing_bucket_is_reported_and_not_made() {
    let Some(mut config) = config("missing") else { return };
    config.url = "s3://strata-no-such-bucket/prefix".to_owned();
    let (store, _) = open(&config).unwrap();
    let found = probe(&config, &store, now(), 1, MissingBucket::Refuse).await;
    assert!(found.unreachable.is_some_and(|error| error.kind() == StoreErrorKind::NotFound));
}

#[tokio::test]
async fn nobody_answers_and_the_probe_says_so() {
    let mut config = StoreConfig::new("s3://bucket/prefix");
    config.s3.endpoint = Some("http://127.0.0.1:1".to_owned());
    config.s3.access_key = Some("key".to_owned());
    config.s3.secret_key = Some("secret".to_owned());
    let (store, _) = open(&config).unwrap();
    let found = probe(&config, &store, now(), 1, MissingBucket::Create).await;
    assert_eq!(found.unreachable.map(|error| error.kind()), Some(StoreErrorKind::Unreachable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn objects_and_roots_go_there_and_back() {
    let Some(config) = config("objects") else { return };
    let (store, _) = open(&config).unwrap();
    let ready = probe(&config, &store, now(), 2, MissingBucket::Create).await;
    assert!(ready.is_good(), "{ready:?}");
    // 3 MiB in 4 KiB parts, as a mapped file gives them.
    let part = Bytes::from(vec![7u8; 4096]);
    let footer = Bytes::from_static(b"footer");
    let body: object_store::PutPayload =
        std::iter::repeat_n(part, 768).chain(std::iter::once(footer.clone())).collect();
    let class = Class::TailUpload;
    assert_eq!(store.put_object("t/objects/1", body.clone(), &footer, class).await.unwrap(), Put::Stored);
    assert_eq!(store.put_object("t/objects/1", body, &footer, class).await.unwrap(), Put::Stored);
    let other = object_store::PutPayload::from_static(b"other footer");
    let refused = store.put_object("t/objects/1", other, &footer, class).await.unwrap();
    assert_eq!(refused, Put::Occupied { bytes: 3 * (1 << 20) + 6 });
    let empty = object_store::PutPayload::new();
    assert_eq!(store.put_object("t/objects/2", empty, &Bytes::new(), class).await.unwrap(), Put::Stored);
    assert_eq!(store.size("t/objects/2", class).await.unwrap(), Some(0));
    assert_eq!(store.size("t/objects/3", class).await.unwrap(), None);
    assert_eq!(store.read("t/objects/1", (3 << 20) - 1..(3 << 20) + 3, class).await.unwrap(), "\u{7}foo");
    let Swap::Done(one) = store.swap("t/root", None, &Bytes::from_static(b"1"), class).await.unwrap() else {
        panic!("the key is absent");
    };
    let gone = store.swap("t/none", Some(&one), &Bytes::from_static(b"2"), class).await.unwrap();
    assert_eq!(gone, Swap::Conflict(None));
    assert!(matches!(store.swap("t/root", Some(&one), &Bytes::from_static(b"2"), class).await.unwrap(), Swap::Done(_)));
    let keys: Vec<String> = ["t/objects/1", "t/objects/2", "t/root", "t/none"].map(str::to_owned).to_vec();
    store.delete(&keys).await.unwrap();
    assert_eq!(store.list("").unwrap().count().await, 0);
}
