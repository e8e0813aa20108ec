//! The small answers: listings, probes, metrics and messages.

use std::sync::Arc;

use broker_model::Offset;
use serde_json::json;

use super::client::{get, send};
use super::world::{TOPIC, World, place, serve_state};
use crate::app::{GatewayState, NotReady};
use crate::metrics::Family;

#[tokio::test]
async fn listings_tell_where_partitions_begin_and_end() {
    let world = World::plain(2, 10);
    world.source.tier(place(0), Offset(10), Offset(10));
    let server = world.serve().await;
    let topics = get(server, "/v1/topics").await.json();
    assert_eq!(topics, json!({"topics": [{"name": "flights", "id": TOPIC.to_string(), "partitions": 1}]}));
    let topic = get(server, "/v1/topics/flights").await.json();
    let partition = json!({"partition": 0, "log_start": 0, "local_start": 10, "high_watermark": 20, "tiered_end": 10});
    assert_eq!(topic, json!({"name": "flights", "id": TOPIC.to_string(), "partitions": [partition]}));
}

#[tokio::test]
async fn refusals_are_problems_that_say_what_to_do() {
    let server = World::plain(1, 1).serve().await;
    for (path, status, expect) in [
        ("/v1/topics/flight/records", 404, "Did you mean flights?"),
        ("/v1/topics/flight", 404, "Did you mean flights?"),
        ("/v1/topics/zebra/records", 404, "there is no topic \"zebra\"."),
        ("/v1/topics/flights/records?partition=1", 404, "numbered from 0 to 0"),
        ("/v1/topics/flights/records?from_tme=1", 400, "Did you mean from_time?"),
        ("/v1/topics/flights/records?limit=no", 400, "Parameter limit has the value \"no\""),
        ("/v1/topics/%ff/records", 400, "A topic's name has letters"),
        ("/v1/topic", 404, "Did you mean /v1/topics?"),
    ] {
        let answer = get(server, path).await;
        assert_eq!((answer.status, answer.kind.as_str()), (status, "application/problem+json"), "{path}");
        assert!(answer.detail().contains(expect), "{path}: {}", answer.detail());
        assert_eq!(answer.json()["status"], status);
    }
    let post = "POST /health HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let answer = send(server, post, usize::MAX).await;
    assert_eq!((answer.status, answer.json()["title"].as_str()), (405, Some("The method is not served here.")));
}

#[tokio::test]
async fn probes_and_metrics_answer() {
    let world = World::plain(1, 3);
    let reason = NotReady { component: "tier".to_owned(), detail: "the store is unsafe.".to_owned() };
    let state = GatewayState::new(world.sources())
        .with_metrics(|| vec![Family::gauge("strata_lag", "Lag.").with(&[("topic", "flights")], 4.0)])
        .with_readiness(move || vec![reason.clone()]);
    let server = serve_state(Arc::new(state)).await;
    assert_eq!(get(server, "/health").await.json(), json!({"status": "live"}));
    let answer = get(server, "/ready").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["reasons"], json!([{"component": "tier", "detail": "the store is unsafe."}]));
    assert_eq!(get(server, "/v1/topics/flights/records").await.rows().len(), 3);
    let metrics = get(server, "/metrics").await;
    assert!(metrics.kind.starts_with("text/plain; version=0.0.4"), "{}", metrics.kind);
    for expect in
        ["strata_lag{topic=\"flights\"} 4\n", "strata_replay_rows_total 3\n", "strata_replays_failed_total 0\n"]
    {
        assert!(metrics.body.contains(expect), "{expect}: {}", metrics.body);
    }
    let server = world.serve().await;
    assert_eq!(get(server, "/ready").await.json(), json!({"status": "ready"}));
}
