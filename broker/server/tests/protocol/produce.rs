//! Produce: what is taken, what is refused and with which code, idempotent producers, and bytes that stay as they were sent.

use broker_model::{LeaderEpoch, Offset, Timestamp};
use broker_records::{BATCH_HEAD_BYTES, BatchBuilder, Codec, verify};
use broker_wire::messages::produce_response::BatchIndexAndErrorMessage;
use broker_wire::messages::{InitProducerIdRequest, ProduceRequest};
use bytes::Bytes;

use crate::support::requests::{
    BY_ID, BY_NAME, TIME, Topic, append, batch, batch_at, batch_of, bytes_of, create, fetch, heads_of, only, produce,
    produce_request,
};
use crate::support::{Client, Server};

fn started(configs: &[(&str, &str)]) -> (Server, Client, Topic) {
    let server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, configs);
    (server, client, topic)
}

/// The error of each partition that was asked.
fn errors(client: &mut Client, version: i16, request: &ProduceRequest) -> Vec<i16> {
    let answer = client.call(version, request);
    let rows = answer.responses.into_iter().flat_map(|topic| topic.partition_responses);
    rows.map(|row| row.error_code).collect()
}

fn changed(batch: &Bytes, at: usize, to: u8) -> Bytes {
    let mut bytes = batch.to_vec();
    bytes[at] = to;
    Bytes::from(bytes)
}

#[test]
fn batches_that_are_not_whole_or_not_right_are_refused() {
    let (_server, mut client, topic) = started(&[]);
    let good = batch(&["a", "b"]);
    let last = good.len() - 1;
    let transactional = {
        let mut builder = BatchBuilder::new(Codec::None)
            .producer(broker_model::ProducerId(1), broker_model::ProducerEpoch(0), broker_model::Sequence(0))
            .transactional();
        builder.push(Timestamp(TIME), None, None, &[]);
        builder.finish(Offset::ZERO, LeaderEpoch(-1))
    };
    let cases = [
        ("a byte of the records differs", changed(&good, last, good[last] ^ 1), 2),
        ("the checksum differs", changed(&good, 17, good[17] ^ 1), 2),
        ("cut short", good.slice(..last), 87),
        ("only a part of the head", good.slice(..40), 87),
        ("magic 1", changed(&good, 16, 1), 87),
        ("magic 0", changed(&good, 16, 0), 87),
        ("magic 3", changed(&good, 16, 3), 2),
        ("two batches", Bytes::from([good.clone(), good.clone()].concat()), 87),
        ("transactional", transactional, 48),
    ];
    for (what, records, error) in cases {
        let answer = produce(&mut client, &topic, 0, records);
        assert_eq!((answer.error_code, answer.base_offset), (error, -1), "{what}: {:?}", answer.error_message);
        assert!(answer.error_message.is_some(), "{what}: the client is told what is wrong");
    }
    let null = produce_request(BY_NAME, &topic, &[(0, None)]);
    assert_eq!(errors(&mut client, BY_NAME, &null), [87]);
    let empty = produce_request(BY_NAME, &topic, &[(0, Some(Bytes::new()))]);
    assert_ne!(errors(&mut client, BY_NAME, &empty), [0]);
    assert_eq!(append(&mut client, &topic, 0, good), 0, "nothing of all that was stored");
}

#[test]
fn an_error_that_has_no_reply_ends_the_connection() {
    let (server, mut client, topic) = started(&[]);
    let good = batch(&["a"]);
    let damaged = changed(&good, 17, good[17] ^ 1);
    for (partition, records) in [(0, damaged), (7, good.clone())] {
        let mut silent = server.connect();
        let request = ProduceRequest { acks: 0, ..produce_request(BY_NAME, &topic, &[(partition, Some(records))]) };
        let _unread = silent.send(BY_NAME, &request);
        assert!(silent.is_closed(), "partition {partition}: how else should the client hear of it");
    }
    assert_eq!(append(&mut client, &topic, 0, good), 0, "nothing was stored, and others go on");
}

#[test]
fn requests_that_ask_for_what_is_not_served_are_refused() {
    let (_server, mut client, topic) = started(&[]);
    let good = produce_request(BY_NAME, &topic, &[(0, Some(batch(&["a"])))]);
    for acks in [2, -2, i16::MAX, i16::MIN] {
        let request = ProduceRequest { acks, ..good.clone() };
        assert_eq!(errors(&mut client, BY_NAME, &request), [21], "acks {acks}");
    }
    let transactional = ProduceRequest { transactional_id: Some("t".into()), ..good };
    assert_eq!(errors(&mut client, BY_NAME, &transactional), [53]);
    let nobody = Topic { name: "nobody", id: broker_model::TopicId([9; 16]) };
    for (version, error) in [(BY_NAME, 3), (BY_ID, 100)] {
        let request = produce_request(version, &nobody, &[(0, Some(batch(&["a"])))]);
        assert_eq!(errors(&mut client, version, &request), [error]);
    }
    let rows = [(7, Some(batch(&["a"]))), (0, Some(batch(&["a"]))), (-1, Some(batch(&["a"])))];
    let request = produce_request(BY_NAME, &topic, &rows);
    assert_eq!(errors(&mut client, BY_NAME, &request), [3, 0, 3], "one partition does not stop another");
}

#[test]
fn internal_topics_are_not_written_by_producers() {
    let (_server, mut client, _) = started(&[]);
    let request = broker_wire::messages::FindCoordinatorRequest { key: "g".into(), ..Default::default() };
    assert_eq!(client.call(0, &request).error_code, 0);
    let offsets = Topic { name: "__consumer_offsets", id: broker_model::TopicId::ZERO };
    assert_eq!(produce(&mut client, &offsets, 0, batch(&["a"])).error_code, 17);
}

#[test]
fn a_batch_beyond_max_message_bytes_is_refused() {
    let (_server, mut client, topic) = started(&[("max.message.bytes", "1000")]);
    let overhead = batch(&[""]).len();
    assert_eq!(produce(&mut client, &topic, 0, batch(&[&"x".repeat(1000)])).error_code, 10);
    assert_eq!(append(&mut client, &topic, 0, batch(&[&"x".repeat(990 - overhead)])), 0);
}

#[test]
fn timestamps_beyond_their_bounds_are_refused() {
    let (_server, mut client, topic) = started(&[("message.timestamp.before.max.ms", "3600000")]);
    let far = 4_000_000_000_000;
    for first in [0, TIME, far] {
        let answer = produce(&mut client, &topic, 0, batch_at(Codec::None, first, &["a", "b"]));
        assert_eq!(answer.error_code, 32, "{first}");
        assert_eq!(answer.base_offset, -1);
    }
    let free = create(&mut client, "free", 1, &[]);
    assert_eq!(append(&mut client, &free, 0, batch_at(Codec::None, 0, &["a"])), 0, "the past is free by default");
    assert_eq!(produce(&mut client, &free, 0, batch_at(Codec::None, far, &["a"])).error_code, 32);
}

#[test]
fn a_topic_may_stamp_the_time_of_the_append() {
    let (_server, mut client, topic) = started(&[("message.timestamp.type", "LogAppendTime")]);
    for codec in [Codec::None, Codec::Lz4] {
        let answer = produce(&mut client, &topic, 0, batch_at(codec, 5, &["a", "b"]));
        assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
        assert!(answer.log_append_time_ms > TIME);
        let data = fetch(&mut client, &topic, 0, answer.base_offset);
        let head = only(heads_of(&data));
        assert!(head.is_log_append_time());
        assert_eq!((head.max_timestamp.0, head.base_timestamp.0), (answer.log_append_time_ms, 5));
        verify(&bytes_of(&data)).expect("the checksum is of the new head");
    }
}

#[test]
fn each_codecs_bytes_are_stored_as_they_were_sent() {
    let (_server, mut client, topic) = started(&[]);
    let values = ["many words, ".repeat(50), "many words, ".repeat(70)];
    let values = values.each_ref().map(String::as_str);
    for (turn, codec) in (0i64..).zip([Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd]) {
        let sent = batch_at(codec, TIME, &values);
        assert_eq!(append(&mut client, &topic, 0, sent.clone()), 2 * turn);
        let data = fetch(&mut client, &topic, 0, 2 * turn);
        let stored = bytes_of(&data);
        assert_eq!(stored.len(), sent.len());
        assert_eq!(stored.slice(BATCH_HEAD_BYTES..), sent.slice(BATCH_HEAD_BYTES..), "{codec:?}");
        assert_eq!(only(heads_of(&data)).codec().unwrap(), codec);
        verify(&stored).unwrap();
    }
}

#[test]
fn an_idempotent_producers_retry_gets_its_first_answer_also_after_a_crash() {
    let (mut server, mut client, topic) = started(&[]);
    let asked = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    let producer = client.call(5, &asked).producer_id;
    assert!(producer >= 0);
    append(&mut client, &topic, 0, batch(&["of another"]));
    for (sequence, offset) in [(0, 1), (2, 3), (4, 5)] {
        assert_eq!(append(&mut client, &topic, 0, batch_of(producer, sequence, &["a", "b"])), offset);
    }
    check_retries(&mut client, &topic, producer);
    server.kill_and_restart();
    let mut client = server.connect();
    check_retries(&mut client, &topic, producer);
    assert_eq!(append(&mut client, &topic, 0, batch_of(producer, 6, &["c"])), 7, "and the sequence goes on");
    assert!(client.call(5, &asked).producer_id > producer, "ids are not given twice");
}

fn check_retries(client: &mut Client, topic: &Topic, producer: i64) {
    for (sequence, offset) in [(4, 5), (0, 1), (2, 3)] {
        assert_eq!(append(client, topic, 0, batch_of(producer, sequence, &["a", "b"])), offset);
    }
    for sequence in [5, 7, 100] {
        let answer = produce(client, topic, 0, batch_of(producer, sequence, &["a", "b"]));
        assert_eq!((answer.error_code, answer.base_offset), (45, -1), "sequence {sequence}");
    }
    assert_eq!(fetch(client, topic, 0, 0).high_watermark, 7, "nothing was stored twice");
}

#[test]
fn a_producer_that_is_not_known_may_begin_anywhere() {
    let (_server, mut client, topic) = started(&[]);
    assert_eq!(append(&mut client, &topic, 0, batch_of(12_345, 17, &["a"])), 0);
    assert_eq!(append(&mut client, &topic, 0, batch_of(12_345, 18, &["b"])), 1);
}

#[test]
fn compacted_topics_want_keys() {
    let (_server, mut client, topic) = started(&[("cleanup.policy", "compact")]);
    let mut builder = BatchBuilder::new(Codec::None);
    for key in [Some(&b"k"[..]), None, Some(b"k"), None] {
        builder.push(Timestamp(TIME), key, Some(b"v"), &[]);
    }
    let answer = produce(&mut client, &topic, 0, builder.finish(Offset::ZERO, LeaderEpoch(-1)));
    assert_eq!(answer.error_code, 87);
    assert_eq!(told_of(&answer.record_errors), [1, 3], "the client is told which records");
}

#[test]
fn each_record_of_a_time_that_is_not_taken_is_named_also_in_compressed_batches() {
    let (_server, mut client, topic) = started(&[("message.timestamp.before.max.ms", "315360000000")]);
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(codec);
        for time in [1, TIME, 2, TIME] {
            builder.push(Timestamp(time), None, Some(b"v"), &[]);
        }
        let answer = produce(&mut client, &topic, 0, builder.finish(Offset::ZERO, LeaderEpoch(-1)));
        assert_eq!((answer.error_code, told_of(&answer.record_errors)), (32, vec![0, 2]), "{codec:?}");
    }
}

fn told_of(records: &[BatchIndexAndErrorMessage]) -> Vec<i32> {
    assert!(records.iter().all(|record| record.batch_index_error_message.is_some()));
    records.iter().map(|record| record.batch_index).collect()
}
