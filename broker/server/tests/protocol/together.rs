//! Many at once: appends that meet, syncs that are shared, fetches that wait for the same or for several partitions, and
//! fetch sessions (KIP-227).

use std::thread;

use broker_wire::messages::fetch_request::ForgottenTopic;
use broker_wire::messages::{FetchRequest, ProduceRequest};

use crate::support::Server;
use crate::support::requests::{
    BY_ID, BY_NAME, Topic, append, batch, bytes_of, create, fetch, fetch_request, heads_of, long_poll, only,
    partitions, produce_request, ranges_of,
};

const WRITERS: i64 = 8;
const REQUESTS: i64 = 300;
const IN_FLIGHT: usize = 12;

/// Writers on connections of their own, each with several requests in flight, to one partition.
fn write_together(server: &Server, topic: Topic) {
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let mut client = server.connect();
            scope.spawn(move || {
                let mut sent = std::collections::VecDeque::new();
                let mut last = -1;
                for number in 0..REQUESTS {
                    let value = format!("{writer}:{number}");
                    let request = produce_request(BY_NAME, &topic, &[(0, Some(batch(&[&value])))]);
                    sent.push_back(client.send(BY_NAME, &request));
                    while sent.len() == IN_FLIGHT || (number + 1 == REQUESTS && !sent.is_empty()) {
                        let oldest = sent.pop_front().unwrap();
                        let answer =
                            only(only(client.receive::<ProduceRequest>(&oldest).responses).partition_responses);
                        assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
                        assert!(answer.base_offset > last, "a connection's batches keep their order");
                        last = answer.base_offset;
                    }
                }
            });
        }
    });
}

/// Everything is there once, without a gap, and each writer's records in its order.
fn assert_all_there(server: &Server, topic: Topic) {
    let mut client = server.connect();
    let (mut next, mut numbers) = (0, vec![0; usize::try_from(WRITERS).unwrap()]);
    while next < WRITERS * REQUESTS {
        let data = fetch(&mut client, &topic, 0, next);
        for batch in broker_records::batches(&bytes_of(&data)) {
            let (head, bytes) = batch.unwrap();
            assert_eq!(head.base_offset.0, next);
            next = head.next_offset().0;
            let decoded = broker_records::decode(bytes, 1 << 20).unwrap();
            let record = only(decoded.records().collect::<Vec<_>>()).unwrap();
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            let (writer, number) = value.split_once(':').unwrap();
            let expected = numbers.get_mut(writer.parse::<usize>().unwrap()).unwrap();
            assert_eq!(number.parse::<i64>().unwrap(), *expected);
            *expected += 1;
        }
    }
    assert_eq!(next, WRITERS * REQUESTS);
}

#[test]
fn appends_that_meet_keep_the_order_of_each_connection() {
    let server = Server::start();
    let topic = create(&mut server.connect(), "t", 1, &[]);
    write_together(&server, topic);
    assert_all_there(&server, topic);
}

#[test]
fn syncs_that_are_shared_acknowledge_all_and_lose_nothing() {
    let mut server = Server::start();
    let topic = create(&mut server.connect(), "t", 1, &[("flush.messages", "1")]);
    write_together(&server, topic);
    server.kill_and_restart();
    assert_all_there(&server, topic);
}

#[test]
fn a_fetch_counts_the_bytes_of_all_its_partitions() {
    let server = Server::start();
    let (mut reader, mut writer) = (server.connect(), server.connect());
    let topic = create(&mut writer, "t", 3, &[]);
    let one = i32::try_from(batch(&["a"]).len()).unwrap();
    let rows = [(0, 0), (1, 0), (2, 0)];
    let request =
        FetchRequest { max_wait_ms: 120_000, min_bytes: 2 * one + 1, ..fetch_request(BY_NAME, &topic, &rows) };
    let polled = reader.send(BY_NAME, &request);
    for partition in [2, 0, 1] {
        append(&mut writer, &topic, partition, batch(&["a"]));
    }
    let found = partitions(reader.receive::<FetchRequest>(&polled));
    assert_eq!(found.iter().map(ranges_of).collect::<Vec<_>>(), [[(0, 0)], [(0, 0)], [(0, 0)]]);
}

#[test]
fn all_who_wait_for_a_partition_are_woken_and_nobody_else() {
    let server = Server::start();
    let mut writer = server.connect();
    let topic = create(&mut writer, "t", 2, &[]);
    let mut readers: Vec<_> = (0..200).map(|_| server.connect()).collect();
    let sent: Vec<_> = readers.iter_mut().map(|reader| reader.send(BY_NAME, &long_poll(&topic, 0, 1))).collect();
    let mut bystander = server.connect();
    let patience = FetchRequest { max_wait_ms: 300, min_bytes: 1, ..fetch_request(BY_NAME, &topic, &[(1, 0)]) };
    let waiting = bystander.send(BY_NAME, &patience);
    append(&mut writer, &topic, 0, batch(&["a"]));
    for (reader, sent) in readers.iter_mut().zip(&sent) {
        assert_eq!(ranges_of(&only(partitions(reader.receive::<FetchRequest>(sent)))), [(0, 0)]);
    }
    assert_eq!(bytes_of(&only(partitions(bystander.receive::<FetchRequest>(&waiting)))).len(), 0);
}

#[test]
fn a_session_says_only_what_changed() {
    for version in [BY_NAME, BY_ID] {
        let server = Server::start();
        let mut client = server.connect();
        let topic = create(&mut client, "t", 3, &[]);
        append(&mut client, &topic, 1, batch(&["a"]));
        let full = fetch_request(version, &topic, &[(0, 0), (1, 0), (2, 0)]);
        let first = client.call(version, &FetchRequest { session_epoch: 0, ..full.clone() });
        let session_id = first.session_id;
        assert_ne!(session_id, 0);
        assert_eq!(partitions(first).len(), 3, "a session begins with all");
        let mut epoch = 0;
        let mut next = |client: &mut crate::support::Client, request: FetchRequest| {
            epoch += 1;
            let answer = client.call(version, &FetchRequest { session_id, session_epoch: epoch, ..request });
            assert_eq!(answer.session_id, session_id);
            partitions(answer)
        };
        let nothing = FetchRequest { topics: Vec::new(), ..full.clone() };
        let again = only(next(&mut client, nothing.clone()));
        assert_eq!((again.partition_index, ranges_of(&again)), (1, vec![(0, 0)]), "it was not read beyond");
        let beyond = fetch_request(version, &topic, &[(1, 1)]);
        assert_eq!(next(&mut client, beyond).len(), 0);
        append(&mut client, &topic, 2, batch(&["b"]));
        let changed = only(next(&mut client, nothing.clone()));
        assert_eq!((changed.partition_index, heads_of(&changed).len()), (2, 1));
        let mut forgotten = ForgottenTopic { partitions: vec![2], ..Default::default() };
        if version == BY_ID {
            forgotten.topic_id = topic.id
        } else {
            forgotten.topic = topic.name.into()
        }
        let forget = FetchRequest { forgotten_topics_data: vec![forgotten], ..nothing.clone() };
        assert_eq!(next(&mut client, forget).len(), 0);
        let stale = FetchRequest { session_id, session_epoch: 1, ..nothing.clone() };
        assert_eq!(client.call(version, &stale).error_code, 71, "INVALID_FETCH_SESSION_EPOCH");
        let closed = FetchRequest { session_id, session_epoch: -1, ..full.clone() };
        assert_eq!(client.call(version, &closed).session_id, 0);
        let gone = FetchRequest { session_id, session_epoch: 9, ..nothing };
        assert_eq!(client.call(version, &gone).error_code, 70, "FETCH_SESSION_ID_NOT_FOUND");
    }
}
