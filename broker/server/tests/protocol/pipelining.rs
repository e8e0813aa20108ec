//! Many requests at once on one connection: their effects and their replies keep the order in which they were sent.

use std::io::Write;

use broker_wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use broker_wire::messages::{FetchRequest, FindCoordinatorRequest, HeartbeatRequest, ProduceRequest};

use crate::support::requests::{
    BY_NAME, append, batch, create, fetch, long_poll, only, partitions, produce_request, ranges_of,
};
use crate::support::{Sent, Server};

/// What was sent, and what its reply must say.
enum Expected {
    Produced(Sent, i64),
    Topics(Sent),
    Fetched(Sent, i64),
    UnknownMember(Sent),
}

#[test]
fn thirty_two_requests_at_once_are_answered_in_their_order() {
    let server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[]);
    let coordinator = FindCoordinatorRequest { key: "g".into(), ..Default::default() };
    assert_eq!(client.call(0, &coordinator).error_code, 0);
    let (mut frames, mut expected) = (Vec::new(), Vec::new());
    // Each round fetches what its own second produce writes, so that the fetch is woken by a request behind it.
    for round in 0..8 {
        let produced = produce_request(BY_NAME, &topic, &[(0, Some(batch(&["v"])))]);
        let named = MetadataRequestTopic { name: Some("t".into()), ..Default::default() };
        let beat = HeartbeatRequest { group_id: "g".into(), member_id: "nobody".into(), ..Default::default() };
        let (bytes, sent) = client.frame(9, &MetadataRequest { topics: Some(vec![named]), ..Default::default() });
        frames.extend(bytes);
        expected.push(Expected::Topics(sent));
        let (bytes, sent) = client.frame(BY_NAME, &long_poll(&topic, round, 1));
        frames.extend(bytes);
        expected.push(Expected::Fetched(sent, round));
        let (bytes, sent) = client.frame(4, &beat);
        frames.extend(bytes);
        expected.push(Expected::UnknownMember(sent));
        let (bytes, sent) = client.frame(BY_NAME, &produced);
        frames.extend(bytes);
        expected.push(Expected::Produced(sent, round));
    }
    assert_eq!(expected.len(), 32);
    client.stream.write_all(&frames).unwrap();
    for expected in expected {
        match expected {
            Expected::Topics(sent) => {
                assert_eq!(only(client.receive::<MetadataRequest>(&sent).topics).error_code, 0);
            }
            Expected::UnknownMember(sent) => assert_eq!(client.receive::<HeartbeatRequest>(&sent).error_code, 25),
            Expected::Fetched(sent, offset) => {
                let data = only(partitions(client.receive::<FetchRequest>(&sent)));
                assert_eq!(ranges_of(&data).first(), Some(&(offset, offset)));
            }
            Expected::Produced(sent, offset) => {
                let answer = client.receive::<ProduceRequest>(&sent);
                let answer = only(only(answer.responses).partition_responses);
                assert_eq!((answer.error_code, answer.base_offset), (0, offset));
            }
        }
    }
}

#[test]
fn acks_0_gets_no_reply_and_keeps_its_place() {
    let server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[]);
    let acknowledged = produce_request(BY_NAME, &topic, &[(0, Some(batch(&["a"])))]);
    let silent = ProduceRequest { acks: 0, ..produce_request(BY_NAME, &topic, &[(0, Some(batch(&["s", "s"])))]) };
    let (mut frames, mut expected) = (Vec::new(), Vec::new());
    for round in 0..8 {
        frames.extend(client.frame(BY_NAME, &silent).0);
        let (bytes, sent) = client.frame(BY_NAME, &acknowledged);
        frames.extend(bytes);
        expected.push((sent, 3 * round + 2));
    }
    client.stream.write_all(&frames).unwrap();
    for (sent, offset) in expected {
        let answer = only(only(client.receive::<ProduceRequest>(&sent).responses).partition_responses);
        assert_eq!((answer.error_code, answer.base_offset), (0, offset));
    }
    assert_eq!(fetch(&mut client, &topic, 0, 0).high_watermark, 24);
}

#[test]
fn acks_1_and_all_are_answered_alike() {
    let server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[]);
    assert_eq!(append(&mut client, &topic, 0, batch(&["all"])), 0);
    let one = ProduceRequest { acks: 1, ..produce_request(BY_NAME, &topic, &[(0, Some(batch(&["one"])))]) };
    let answer = only(only(client.call(BY_NAME, &one).responses).partition_responses);
    assert_eq!((answer.error_code, answer.base_offset), (0, 1));
}
