//! The protocol's side of the hot path: a frame's head, Produce and Fetch requests in, their responses out.
//!
//! `dispatch` is what the server does between a whole frame and its handler: head, service table, decoded body. Handlers
//! need a broker and are not measured here.

use std::hint::black_box;

use benchmarks_micro::{BATCH_BYTES, batch};
use broker_model::TopicId;
use broker_records::Codec;
use broker_wire::advertised::Service;
use broker_wire::frame::Prelude;
use broker_wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use broker_wire::messages::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use broker_wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use broker_wire::messages::produce_response::{PartitionProduceResponse, ProduceResponse, TopicProduceResponse};
use broker_wire::{ApiKey, Encoder, Records, RequestBody, RequestHead, Str, encode_response};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};

/// What Kafka's 4.3 clients negotiate with Strata: both name topics by id.
const PRODUCE_VERSION: i16 = 13;
const FETCH_VERSION: i16 = 18;
const TOPIC: TopicId = TopicId([7; 16]);

/// A whole request without its length.
fn request(api: ApiKey, version: i16, body: impl FnOnce(&mut Encoder)) -> Bytes {
    let head = RequestHead {
        api_key: api.code(),
        version,
        correlation_id: 7,
        client_id: Some(Str::from_utf8(Bytes::from_static(b"benchmark")).expect("it is text")),
    };
    let mut out = Encoder::new();
    head.encode(&mut out).expect("the head is valid");
    body(&mut out);
    let (bytes, _) = out.finish();
    bytes
}

fn produce(partitions: i32, records: &Bytes) -> Bytes {
    let data = |index| PartitionProduceData { index, records: Some(Records::Bytes(records.clone())) };
    let topic_data = vec![TopicProduceData {
        name: Str::default(),
        topic_id: TOPIC,
        partition_data: (0..partitions).map(data).collect(),
    }];
    let body = ProduceRequest { transactional_id: None, acks: 1, timeout_ms: 30_000, topic_data };
    request(ApiKey::Produce, PRODUCE_VERSION, |out| body.encode(out, PRODUCE_VERSION).expect("the request is valid"))
}

fn fetch(partitions: i32) -> Bytes {
    let wanted = |partition| FetchPartition {
        partition,
        fetch_offset: 1_000_000,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let topics =
        vec![FetchTopic { topic: Str::default(), topic_id: TOPIC, partitions: (0..partitions).map(wanted).collect() }];
    let body = FetchRequest { max_wait_ms: 500, min_bytes: 1, max_bytes: 50 << 20, topics, ..FetchRequest::default() };
    request(ApiKey::Fetch, FETCH_VERSION, |out| body.encode(out, FETCH_VERSION).expect("the request is valid"))
}

/// From a whole frame to what a handler gets.
fn dispatch(frame: &Bytes) -> RequestBody {
    let (head, body) = RequestHead::parse(frame.clone()).expect("the head is valid");
    match head.service() {
        Service::Serve(api) => RequestBody::decode(api, head.version, body).expect("the body is valid"),
        other => unreachable!("the request is served, not {other:?}"),
    }
}

fn requests(criterion: &mut Criterion) {
    let frame = fetch(1);
    criterion.bench_function("prelude", |bencher| bencher.iter(|| Prelude::parse(black_box(&frame))));
    let mut group = criterion.benchmark_group("dispatch");
    let records = batch(Codec::None, 1024, BATCH_BYTES);
    let small = batch(Codec::None, 1024, 1);
    for (name, frame, partitions) in [
        ("produce 128 KiB", produce(1, &records), 1),
        ("produce one record", produce(1, &small), 1),
        ("produce one record each", produce(100, &small), 100),
        ("fetch", fetch(1), 1),
        ("fetch", fetch(100), 100),
    ] {
        group.throughput(Throughput::Elements(1));
        group.bench_with_input(BenchmarkId::new(name, partitions), &frame, |bencher, frame| {
            bencher.iter(|| dispatch(black_box(frame)));
        });
    }
    group.finish();
}

fn produced(partitions: i32) -> ProduceResponse {
    let stored =
        |index| PartitionProduceResponse { index, base_offset: 1_000_000, ..PartitionProduceResponse::default() };
    let partition_responses = (0..partitions).map(stored).collect();
    let responses = vec![TopicProduceResponse { name: Str::default(), topic_id: TOPIC, partition_responses }];
    ProduceResponse { responses, ..ProduceResponse::default() }
}

fn fetched(partitions: i32) -> FetchResponse {
    let data = |partition_index| PartitionData {
        partition_index,
        high_watermark: 2_000_000,
        last_stable_offset: 2_000_000,
        records: Some(Records::Hole(1 << 20)),
        ..PartitionData::default()
    };
    let partitions = (0..partitions).map(data).collect();
    let responses = vec![FetchableTopicResponse { topic: Str::default(), topic_id: TOPIC, partitions }];
    FetchResponse { responses, ..FetchResponse::default() }
}

fn responses(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for partitions in [1, 100] {
        let body = produced(partitions);
        group.bench_with_input(BenchmarkId::new("produce", partitions), &body, |bencher, body| {
            let encode =
                || encode_response(ApiKey::Produce, PRODUCE_VERSION, 7, |out| body.encode(out, PRODUCE_VERSION));
            bencher.iter(|| encode().expect("the response is valid"));
        });
        let body = fetched(partitions);
        group.bench_with_input(BenchmarkId::new("fetch", partitions), &body, |bencher, body| {
            let encode = || encode_response(ApiKey::Fetch, FETCH_VERSION, 7, |out| body.encode(out, FETCH_VERSION));
            bencher.iter(|| encode().expect("the response is valid"));
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    requests(&mut criterion);
    responses(&mut criterion);
    criterion.final_summary();
}
