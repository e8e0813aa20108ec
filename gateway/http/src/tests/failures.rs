//! Broken sources, damaged batches, slow readers and greedy peers: an answer that is cut must look cut.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::Request;
use broker_model::{Offset, TopicId};
use broker_records::{BatchBuilder, BatchHead, Codec};
use bytes::Bytes;
use tower::ServiceExt as _;

use super::client::{get, send};
use super::world::{Row, World, build, place};
use crate::ColdOnly;
use crate::app::{REPLAYS_MAX, app};
use crate::query::Query;
use crate::replay::{Replay, Stats};
use crate::source::SourceError;

const RECORDS: &str = "/v1/topics/flights/records";

#[tokio::test]
async fn an_error_in_the_stream_is_its_last_line_and_cuts_the_body() {
    let world = World::plain(400, 10);
    world.source.tier(place(0), Offset(4000), Offset(4000));
    let unavailable = SourceError::Unavailable("the store does not answer".to_owned());
    // Reads of one MiB begin at 0 and then where the first ends.
    let first = crate::ColdSource::read_cold(&*world.source, place(0), Offset(0), 1 << 20).await.unwrap();
    let mut world = world;
    let rest: Vec<Row> = (4000..4001).map(Row::plain).collect();
    assert_eq!(first.next, Offset(4000));
    world.append(Codec::None, rest);
    world.source.fail_at(place(0), Offset(4000), unavailable);
    let server = world.serve().await;
    let answer = get(server, RECORDS).await;
    assert_eq!(answer.status, 200);
    assert!(!answer.whole, "the end mark of a chunked body must be missing");
    let last = answer.lines().pop().unwrap();
    assert_eq!(last["error"]["status"], 503);
    let detail = last["error"]["detail"].as_str().unwrap();
    assert!(detail.contains("partition 0 at offset 4000: it cannot be read at the moment"), "{detail}");
    assert!(detail.contains("Go on later"), "{detail}");
    assert_eq!(answer.rows().len(), 4000);

    // Once the store is back, the cursor of the error line brings what is missing.
    world.source.heal();
    let cursor = last["error"]["cursor"].as_str().unwrap();
    let answer = get(server, &format!("{RECORDS}?cursor={cursor}")).await;
    assert!(answer.whole);
    assert_eq!(answer.rows().len(), 1);
}

#[tokio::test]
async fn a_damaged_batch_is_an_error_also_when_its_head_says_skip() {
    for (query, at) in [("", 70), ("", 30), ("?from_time=99999", 70), ("?from_time=99999", 36)] {
        let world = World::plain(1, 10);
        let mut batch = build(BatchBuilder::new(Codec::None), &[Row::plain(10)]).to_vec();
        batch[at] ^= 0x40;
        let mut head = BatchHead::parse(&batch).unwrap();
        head.max_timestamp = broker_model::Timestamp(i64::MAX);
        world.source.append(place(0), head, Bytes::from(batch));
        let answer = get(world.serve().await, &format!("{RECORDS}{query}")).await;
        assert!(!answer.whole, "{query} {at}");
        let last = answer.lines().pop().unwrap();
        assert_eq!(last["error"]["type"], "urn:strata:problem:damaged", "{query} {at}");
    }
}

#[tokio::test]
async fn what_retention_deletes_meanwhile_is_told() {
    let world = World::plain(20, 10);
    let server = world.serve().await;
    let cursor = get(server, &format!("{RECORDS}?limit=5")).await.lines().pop().unwrap()["cursor"].clone();
    world.source.delete_below(place(0), Offset(100));
    let answer = get(server, &format!("{RECORDS}?cursor={}", cursor.as_str().unwrap())).await;
    assert_eq!((answer.status, answer.whole), (410, true));
    assert!(answer.detail().contains("offsets 5 to 100 of partition 0 were deleted"), "{}", answer.detail());
    // A new replay begins at what is left, and says so.
    let answer = get(server, RECORDS).await;
    assert_eq!(answer.lines()[0]["ranges"][0]["from"], 100);
    assert_eq!(answer.rows().len(), 100);
}

#[tokio::test]
async fn local_data_that_is_freed_between_plan_and_read_comes_from_the_bucket() {
    let world = World::plain(20, 10);
    let stats = Arc::new(Stats::default());
    let replay = Replay::plan(world.sources(), "flights", Query::default(), stats).await.unwrap();
    world.source.tier(place(0), Offset(150), Offset(150));
    let mut lines = replay.lines();
    let mut text = Vec::new();
    while let Some(chunk) = lines.next().await {
        text.extend_from_slice(&chunk.unwrap());
    }
    let rows = String::from_utf8(text).unwrap().lines().filter(|line| line.contains("\"offset\"")).count();
    assert_eq!(rows, 200);
    assert_eq!(world.source.reads(), (1, 1));
}

#[tokio::test]
async fn a_slow_reader_holds_a_bounded_number_of_chunks() {
    // 64 MiB of lines, one record of 64 KiB in each batch.
    let mut world = World::new(1);
    let row = Row { value: Some(vec![b'x'; 64 << 10]), ..Row::plain(0) };
    for offset in 0..1024 {
        world.append(Codec::None, vec![Row { offset, ..row.clone() }]);
    }
    let stats = Arc::new(Stats::default());
    let mut lines =
        Replay::plan(world.sources(), "flights", Query::default(), Arc::clone(&stats)).await.unwrap().lines();
    assert!(lines.next().await.is_some());
    // The task gets every turn it can use: it must stand still by itself.
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    let written = stats.bytes.load(Ordering::Relaxed);
    assert!(written < 6 * (64 << 10) + 65_536, "{written} bytes were made for a reader that took one chunk");
    drop(lines);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.source.reads().1, 1, "a reader that went away ends the replay");
}

#[tokio::test]
async fn cursors_of_another_topic_or_future_are_refused() {
    let world = World::plain(2, 5);
    let server = world.serve().await;
    let other = TopicId([9; 16]);
    for (cursor, status) in [
        (format!("0:3~0:10~{other}"), 409),
        ("0:3~0:11".to_owned(), 503),
        ("1:0".to_owned(), 404),
        ("0:3~1:4".to_owned(), 409),
    ] {
        let answer = get(server, &format!("{RECORDS}?cursor={cursor}")).await;
        assert_eq!(answer.status, status, "{cursor}: {answer:?}");
        assert_eq!(answer.kind, "application/problem+json");
    }
    world.source.create("flights", other, 1);
    let answer = get(server, &format!("{RECORDS}?cursor=0:3~0:10~{}", super::world::TOPIC)).await;
    assert_eq!(answer.status, 409);
    assert!(answer.detail().contains("that one was deleted"), "{}", answer.detail());
}

#[tokio::test]
async fn replays_beyond_the_limit_are_refused() {
    let world = World::plain(1, 1);
    let app = app(world.state());
    let request = || Request::get(RECORDS).body(Body::empty()).unwrap();
    let mut running = Vec::new();
    for _ in 0..REPLAYS_MAX {
        running.push(app.clone().oneshot(request()).await.unwrap());
    }
    assert!(running.iter().all(|answer| answer.status() == 200));
    assert_eq!(app.clone().oneshot(request()).await.unwrap().status(), 503);
    running.pop();
    assert_eq!(app.oneshot(request()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_head_beyond_the_limits_closes_only_its_connection() {
    let server = World::plain(1, 1).serve().await;
    let long = format!("GET /health HTTP/1.1\r\nHost: test\r\nx: {}\r\n\r\n", "y".repeat(300 << 10));
    assert!([0, 431].contains(&send(server, &long, usize::MAX).await.status));
    let many = format!("GET /health HTTP/1.1\r\nHost: test\r\n{}\r\n", "a: b\r\n".repeat(100));
    assert_eq!(send(server, &many, usize::MAX).await.status, 431);
    assert_eq!(get(server, "/health").await.status, 200);
}

#[tokio::test]
async fn a_bucket_without_a_broker_replays_too() {
    let world = World::plain(20, 10);
    world.source.tier(place(0), Offset(150), Offset(150));
    let hot = ColdOnly::new(crate::HotSource::topics(&*world.source), world.source.clone());
    let sources = crate::Sources { hot: Arc::new(hot), cold: Some(world.source.clone()) };
    let server = super::world::serve_state(Arc::new(crate::GatewayState::new(sources))).await;
    let answer = get(server, RECORDS).await;
    assert!(answer.whole);
    assert_eq!(answer.rows().len(), 150);
    assert_eq!(world.source.reads().1, 0);
}
