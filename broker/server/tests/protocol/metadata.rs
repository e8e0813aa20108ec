//! Metadata: what is asked twice, by id, in old versions, or does not exist.

use broker_model::TopicId;
use broker_wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use broker_wire::messages::metadata_response::MetadataResponse;

use crate::support::requests::{create, only};
use crate::support::{Client, Server};

const UNKNOWN: i16 = 3;
const INVALID_TOPIC: i16 = 17;
const INVALID_REQUEST: i16 = 42;
const UNKNOWN_ID: i16 = 100;
const TOPIC_OPERATIONS: i32 = 3576;
const CLUSTER_OPERATIONS: i32 = 8096;

fn named(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic { name: Some(name.into()), ..Default::default() }
}

fn ask(client: &mut Client, version: i16, topics: Vec<MetadataRequestTopic>) -> MetadataResponse {
    let declines = version < 4;
    let request = MetadataRequest { topics: Some(topics), allow_auto_topic_creation: declines, ..Default::default() };
    client.call(version, &request)
}

fn rows(answer: &MetadataResponse) -> Vec<(i16, Option<&str>, bool)> {
    answer.topics.iter().map(|topic| (topic.error_code, topic.name.as_deref(), topic.is_internal)).collect()
}

#[test]
fn a_topic_is_told_once_and_ids_win_over_names() {
    let server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[]);
    create(&mut client, "other", 1, &[]);
    let by_id = |id| MetadataRequestTopic { topic_id: id, name: None };
    let answer = ask(&mut client, 13, vec![named("t"), named("other"), named("t")]);
    assert_eq!(rows(&answer), [(0, Some("t"), false), (0, Some("other"), false)]);
    let answer = ask(&mut client, 12, vec![by_id(topic.id), named("other"), by_id(topic.id)]);
    assert_eq!(rows(&answer), [(0, Some("t"), false)]);
    let stranger = TopicId([9; 16]);
    let answer = ask(&mut client, 12, vec![by_id(stranger)]);
    assert_eq!((rows(&answer), answer.topics[0].topic_id), (vec![(UNKNOWN_ID, None, false)], stranger));
    for version in 10..=13 {
        let answer = ask(&mut client, version, vec![by_id(TopicId::ZERO)]);
        let error = if version >= 13 { INVALID_REQUEST } else { 0 };
        assert_eq!((rows(&answer), answer.error_code), (vec![(INVALID_REQUEST, Some(""), false)], error));
        assert_eq!((answer.brokers.len(), answer.cluster_id, answer.controller_id), (0, None, -1));
    }
    for illegal in [by_id(topic.id), MetadataRequestTopic { topic_id: topic.id, ..named("t") }] {
        let name = illegal.name.clone();
        let answer = ask(&mut client, 11, vec![illegal]);
        assert_eq!(rows(&answer), [(INVALID_REQUEST, Some(name.as_deref().unwrap_or_default()), false)]);
        assert_eq!(answer.brokers.len(), 0);
    }
}

#[test]
fn what_does_not_exist_is_made_only_if_client_and_broker_want_it() {
    let server = Server::with(&["num.partitions=2"]);
    let mut client = server.connect();
    let asked = || vec![named("new"), named("not legal!"), named("__transaction_state")];
    let declined = [
        (UNKNOWN, Some("new"), false),
        (INVALID_TOPIC, Some("not legal!"), false),
        (UNKNOWN, Some("__transaction_state"), true),
    ];
    assert_eq!(rows(&ask(&mut client, 12, asked())), declined);
    assert!(ask(&mut client, 12, asked()).topics.iter().all(|topic| topic.topic_id == TopicId::ZERO));
    // What cannot decline asks for it.
    let made = ask(&mut client, 3, vec![named("new"), named("not legal!")]);
    assert_eq!(rows(&made), [(0, Some("new"), false), (INVALID_TOPIC, Some("not legal!"), false)]);
    assert_eq!(made.topics[0].partitions.len(), 2);
    let strict = Server::with(&["auto.create.topics.enable=false"]);
    let mut client = strict.connect();
    assert_eq!(rows(&ask(&mut client, 3, vec![named("new")])), [(UNKNOWN, Some("new"), false)]);
}

#[test]
fn operations_are_told_where_they_are_asked() {
    let server = Server::start();
    let mut client = server.connect();
    create(&mut client, "t", 1, &[]);
    for version in 8..=13 {
        for (topic, cluster) in [(false, false), (true, version <= 10)] {
            let request = MetadataRequest {
                topics: None,
                include_topic_authorized_operations: topic,
                include_cluster_authorized_operations: cluster,
                ..Default::default()
            };
            let answer = client.call(version, &request);
            let expected = |asked, all| if asked { all } else { i32::MIN };
            assert_eq!(answer.cluster_authorized_operations, expected(cluster, CLUSTER_OPERATIONS));
            assert_eq!(only(answer.topics).topic_authorized_operations, expected(topic, TOPIC_OPERATIONS));
        }
    }
}
