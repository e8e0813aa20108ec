//! Fetch: long polls, sizes, the ends of a log, leader epochs, and the borders of batches.

use std::io::Write;
use std::net::Shutdown;

use broker_wire::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use broker_wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use broker_wire::messages::{FetchRequest, ProduceRequest};
use bytes::Bytes;

use crate::support::requests::{
    BY_ID, BY_NAME, Topic, append, batch, bytes_of, create, fetch, fetch_request, heads_of, long_poll, only,
    partitions, produce_request, ranges_of,
};
use crate::support::{Client, Server};

fn started(partitions: i32, configs: &[(&str, &str)]) -> (Server, Client, Topic) {
    let server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", partitions, configs);
    (server, client, topic)
}

fn produced(topic: &Topic, values: &[&str]) -> ProduceRequest {
    produce_request(BY_NAME, topic, &[(0, Some(batch(values)))])
}

#[test]
fn a_long_poll_is_woken_by_an_append_behind_it() {
    let (_server, mut client, topic) = started(1, &[]);
    let (mut frames, polled) = client.frame(BY_NAME, &long_poll(&topic, 0, 1));
    let (bytes, sent) = client.frame(BY_NAME, &produced(&topic, &["a"]));
    frames.extend(bytes);
    client.stream.write_all(&frames).unwrap();
    assert_eq!(ranges_of(&only(partitions(client.receive::<FetchRequest>(&polled)))), [(0, 0)]);
    let answer = client.receive::<ProduceRequest>(&sent);
    assert_eq!(only(only(answer.responses).partition_responses).base_offset, 0);
}

#[test]
fn a_long_poll_is_woken_by_an_append_of_another_connection() {
    let (server, mut reader, topic) = started(1, &[]);
    let mut writer = server.connect();
    for offset in 0..50 {
        let polled = reader.send(BY_NAME, &long_poll(&topic, offset, 1));
        assert_eq!(append(&mut writer, &topic, 0, batch(&["a"])), offset);
        assert_eq!(ranges_of(&only(partitions(reader.receive::<FetchRequest>(&polled)))), [(offset, offset)]);
    }
}

#[test]
fn a_long_poll_waits_for_min_bytes() {
    let (_server, mut client, topic) = started(1, &[]);
    let one = i32::try_from(batch(&["a"]).len()).unwrap();
    let (mut frames, polled) = client.frame(BY_NAME, &long_poll(&topic, 0, one + 1));
    let mut sent = Vec::new();
    for _ in 0..2 {
        let (bytes, produce) = client.frame(BY_NAME, &produced(&topic, &["a"]));
        frames.extend(bytes);
        sent.push(produce);
    }
    client.stream.write_all(&frames).unwrap();
    assert_eq!(ranges_of(&only(partitions(client.receive::<FetchRequest>(&polled)))), [(0, 0), (1, 1)]);
    for produce in sent {
        client.receive::<ProduceRequest>(&produce);
    }
}

#[test]
fn a_poll_whose_time_is_over_gives_what_there_is() {
    let (_server, mut client, topic) = started(1, &[]);
    let patience =
        |offset| FetchRequest { max_wait_ms: 50, min_bytes: 1 << 20, ..fetch_request(BY_NAME, &topic, &[(0, offset)]) };
    append(&mut client, &topic, 0, batch(&["a"]));
    assert_eq!(ranges_of(&only(partitions(client.call(BY_NAME, &patience(0))))), [(0, 0)]);
    let data = only(partitions(client.call(BY_NAME, &patience(1))));
    assert_eq!((data.error_code, bytes_of(&data).len(), data.high_watermark), (0, 0, 1));
}

/// A partition that shows nothing before it is synced shows it whatever the producer waits for, and also if it has gone.
#[test]
fn a_long_poll_sees_every_produce_also_where_each_one_is_flushed() {
    let (server, mut reader, topic) = started(1, &[("flush.messages", "1")]);
    for (offset, acks) in (0..).zip([1, 0, -1, 0, 1, -1]) {
        let polled = reader.send(BY_NAME, &long_poll(&topic, offset, 1));
        let mut writer = server.connect();
        let _unread = writer.send(BY_NAME, &ProduceRequest { acks, ..produced(&topic, &["a"]) });
        writer.stream.shutdown(Shutdown::Write).unwrap();
        let data = only(partitions(reader.receive::<FetchRequest>(&polled)));
        assert_eq!(ranges_of(&data), [(offset, offset)], "acks {acks}");
    }
}

#[test]
fn the_first_batch_is_whole_and_later_partitions_give_what_fits() {
    let (_server, mut client, topic) = started(3, &[]);
    let big = "x".repeat(1000);
    let sent = batch(&[&big]);
    for partition in 0..3 {
        append(&mut client, &topic, partition, sent.clone());
        append(&mut client, &topic, partition, sent.clone());
    }
    let size = i32::try_from(sent.len()).unwrap();
    let rows = [(0, 0), (1, 0), (2, 0)];
    let mut counts = |max_bytes, of_partition| {
        let mut request = FetchRequest { max_bytes, ..fetch_request(BY_NAME, &topic, &rows) };
        for asked in request.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            asked.partition_max_bytes = of_partition;
        }
        let data = partitions(client.call(BY_NAME, &request));
        assert!(data.iter().all(|data| data.error_code == 0 && data.high_watermark == 2));
        data.iter().map(|data| heads_of(data).len()).collect::<Vec<_>>()
    };
    assert_eq!(counts(1 << 20, 1 << 20), [2, 2, 2]);
    assert_eq!(counts(1, 1 << 20), [1, 0, 0], "the first batch is whole though it is larger");
    assert_eq!(counts(1 << 20, 1), [1, 0, 0], "also where the partition's bound is too small");
    assert_eq!(counts(1 << 20, size), [1, 1, 1]);
    assert_eq!(counts(1 << 20, 2 * size - 1), [1, 1, 1], "no batch is cut");
    assert_eq!(counts(3 * size, 1 << 20), [2, 1, 0]);
    assert_eq!(counts(3 * size - 1, 1 << 20), [2, 0, 0]);
    assert_eq!(counts(0, 1 << 20), [1, 0, 0]);
}

#[test]
fn an_offset_in_the_middle_of_a_batch_gives_the_whole_batch() {
    let (_server, mut client, topic) = started(1, &[]);
    append(&mut client, &topic, 0, batch(&["0", "1", "2"]));
    append(&mut client, &topic, 0, batch(&["3"]));
    append(&mut client, &topic, 0, batch(&["4", "5"]));
    for (offset, ranges) in [
        (0, vec![(0, 2), (3, 3), (4, 5)]),
        (2, vec![(0, 2), (3, 3), (4, 5)]),
        (3, vec![(3, 3), (4, 5)]),
        (4, vec![(4, 5)]),
        (5, vec![(4, 5)]),
        (6, Vec::new()),
    ] {
        let data = fetch(&mut client, &topic, 0, offset);
        assert_eq!((data.error_code, ranges_of(&data)), (0, ranges), "from {offset}");
    }
}

#[test]
fn offsets_outside_of_the_log_are_told() {
    let (_server, mut client, topic) = started(1, &[]);
    append(&mut client, &topic, 0, batch(&["0", "1"]));
    for offset in [-1, -2, i64::MIN, 3, i64::MAX] {
        let data = fetch(&mut client, &topic, 0, offset);
        assert_eq!((data.error_code, bytes_of(&data).len()), (1, 0), "from {offset}");
    }
    assert_eq!(fetch(&mut client, &topic, 0, 2).error_code, 0);
    assert_eq!(fetch(&mut client, &topic, 1, 0).error_code, 3, "a partition that is not there");
    assert_eq!(fetch(&mut client, &topic, -1, 0).error_code, 3);
}

#[test]
fn one_partitions_error_answers_at_once_and_leaves_the_others() {
    let (_server, mut client, topic) = started(2, &[]);
    append(&mut client, &topic, 1, batch(&["a"]));
    let request = FetchRequest {
        max_wait_ms: crate::support::LONG_POLL_MS,
        min_bytes: 1 << 20,
        ..fetch_request(BY_NAME, &topic, &[(0, 7), (1, 0)])
    };
    let data = partitions(client.call(BY_NAME, &request));
    let seen: Vec<(i16, usize)> = data.iter().map(|data| (data.error_code, heads_of(data).len())).collect();
    assert_eq!(seen, [(1, 0), (0, 1)]);
}

#[test]
fn a_claimed_leader_epoch_is_checked_and_grows_with_each_start() {
    let (mut server, mut client, topic) = started(1, &[]);
    append(&mut client, &topic, 0, batch(&["a"]));
    let before = leader_epoch(&mut client);
    server.kill_and_restart();
    let mut client = server.connect();
    let now = leader_epoch(&mut client);
    assert!(now > before, "{before} then {now}");
    for (claimed, error) in [(-1, 0), (now, 0), (before, 74), (now + 1, 75), (i32::MAX, 75)] {
        let mut request = fetch_request(BY_NAME, &topic, &[(0, 0)]);
        request.topics[0].partitions[0].current_leader_epoch = claimed;
        let data = only(partitions(client.call(BY_NAME, &request)));
        assert_eq!((data.error_code, heads_of(&data).len()), (error, usize::from(error == 0)), "epoch {claimed}");
    }
    append(&mut client, &topic, 0, batch(&["b"]));
    let epochs: Vec<i32> = heads_of(&fetch(&mut client, &topic, 0, 0)).iter().map(|head| head.leader_epoch.0).collect();
    assert_eq!(epochs, [before, now], "each batch says the epoch in which it was written");
}

fn leader_epoch(client: &mut Client) -> i32 {
    let named = MetadataRequestTopic { name: Some("t".into()), ..Default::default() };
    let answer = client.call(12, &MetadataRequest { topics: Some(vec![named]), ..Default::default() });
    only(only(answer.topics).partitions).leader_epoch
}

#[test]
fn topics_that_are_not_there_and_sessions_are_refused() {
    let (_server, mut client, topic) = started(1, &[]);
    let nobody = Topic { name: "nobody", id: broker_model::TopicId([9; 16]) };
    let by_id = only(partitions(client.call(BY_ID, &fetch_request(BY_ID, &nobody, &[(0, 0)]))));
    assert_eq!(by_id.error_code, 100);
    assert_eq!(fetch(&mut client, &nobody, 0, 0).error_code, 3);
    for version in [7, BY_NAME, 18] {
        let request = FetchRequest { session_id: 5, session_epoch: 1, ..fetch_request(version, &topic, &[(0, 0)]) };
        let answer = client.call(version, &request);
        assert_eq!((answer.error_code, answer.session_id, answer.responses.len()), (70, 0, 0));
    }
}

#[test]
fn a_sessions_topic_that_is_deleted_was_known_by_its_id() {
    let (_server, mut client, topic) = started(1, &[]);
    let nobody = Topic { name: "nobody", id: broker_model::TopicId([9; 16]) };
    let mut first = fetch_request(BY_ID, &topic, &[(0, 0)]);
    first.topics.extend(fetch_request(BY_ID, &nobody, &[(0, 0)]).topics);
    let session_id = client.call(BY_ID, &FetchRequest { session_epoch: 0, ..first }).session_id;
    let state = DeleteTopicState { name: Some("t".into()), ..Default::default() };
    let delete = DeleteTopicsRequest { topics: vec![state], timeout_ms: 5_000, ..Default::default() };
    assert_eq!(only(client.call(6, &delete).responses).error_code, 0);
    let next = FetchRequest { session_id, session_epoch: 1, topics: Vec::new(), ..fetch_request(BY_ID, &topic, &[]) };
    let answer = client.call(BY_ID, &next);
    let error = |topic: &Topic| {
        let row = answer.responses.iter().find(|row| row.topic_id == topic.id);
        row.map(|row| row.partitions[0].error_code)
    };
    assert_eq!((error(&topic), error(&nobody)), (Some(3), Some(100)));
}

#[test]
fn an_isolation_level_that_is_none_is_refused_in_every_version() {
    let (_server, mut client, topic) = started(1, &[]);
    append(&mut client, &topic, 0, batch(&["a"]));
    for version in [4, 7, BY_ID] {
        for (isolation_level, error) in [(0, 0), (1, 0), (2, 42), (-1, 42)] {
            let request = FetchRequest { isolation_level, ..fetch_request(version, &topic, &[(0, 0)]) };
            let answer = client.call(version, &request);
            assert_eq!(answer.error_code, if version >= 7 { error } else { 0 });
            let data = only(only(answer.responses).partitions);
            assert_eq!((data.error_code, bytes_of(&data).is_empty()), (error, error != 0));
        }
    }
}

#[test]
fn a_fetch_of_nothing_is_answered_at_once() {
    let (_server, mut client, topic) = started(1, &[]);
    let request = FetchRequest { topics: Vec::new(), ..long_poll(&topic, 0, 1) };
    assert_eq!(client.call(BY_NAME, &request).responses, []);
}

#[test]
fn what_was_fetched_is_what_was_sent_across_many_segments() {
    let (_server, mut client, topic) = started(1, &[("segment.bytes", "1048576")]);
    let value = "y".repeat(300_000);
    let sent = batch(&[&value]);
    for offset in 0..12 {
        assert_eq!(append(&mut client, &topic, 0, sent.clone()), offset);
    }
    let mut offset = 0;
    while offset < 12 {
        let data = fetch(&mut client, &topic, 0, offset);
        let bytes = bytes_of(&data);
        let batches: Vec<(broker_records::BatchHead, Bytes)> = broker_records::batches(&bytes)
            .map(|batch| batch.map(|(head, whole)| (head, bytes.slice_ref(whole))).unwrap())
            .collect();
        assert!(!batches.is_empty());
        for (head, whole) in batches {
            assert_eq!((head.base_offset.0, whole.len()), (offset, sent.len()));
            assert_eq!(
                whole.slice(17..),
                sent.slice(17..),
                "all but offset, length, epoch and magic is the producer's"
            );
            offset += 1;
        }
    }
}
