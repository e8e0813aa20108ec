//! CreateTopics, DeleteTopics and Metadata: what is made, what is refused and how that is said.

use broker_model::TopicId;
use broker_wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest};
use broker_wire::messages::create_topics_response::CreatableTopicResult;
use broker_wire::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use broker_wire::messages::delete_topics_response::DeletableTopicResult;
use broker_wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};

use crate::support::requests::{append, batch, creatable, create, create_request, fetch, only, ranges_of};
use crate::support::{Client, Server};

fn create_one(client: &mut Client, topic: CreatableTopic) -> CreatableTopicResult {
    only(client.call(7, &create_request(vec![topic])).topics)
}

fn delete(client: &mut Client, topic: DeleteTopicState) -> DeletableTopicResult {
    only(client.call(6, &DeleteTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() }).responses)
}

fn named(name: &str) -> DeleteTopicState {
    DeleteTopicState { name: Some(name.into()), ..Default::default() }
}

fn errors_of(responses: Vec<DeletableTopicResult>) -> Vec<(Option<String>, i16)> {
    responses.into_iter().map(|row| (row.name.map(|name| name.to_string()), row.error_code)).collect()
}

fn metadata_error(client: &mut Client, name: &str) -> i16 {
    let topics = Some(vec![MetadataRequestTopic { name: Some(name.into()), ..Default::default() }]);
    let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
    only(client.call(12, &request).topics).error_code
}

#[test]
fn validate_only_answers_and_makes_nothing() {
    let server = Server::start();
    let mut client = server.connect();
    let topics = vec![creatable("t", 3, &[]), creatable("bad name", 3, &[])];
    let request = CreateTopicsRequest { validate_only: true, ..create_request(topics) };
    let answer = client.call(7, &request);
    let errors: Vec<i16> = answer.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!((errors, answer.topics[0].num_partitions), (vec![0, 17], 3));
    assert_eq!(metadata_error(&mut client, "t"), 3);
}

#[test]
fn what_cannot_be_made_is_refused_with_a_reason() {
    let server = Server::start();
    let mut client = server.connect();
    create(&mut client, "there", 1, &[]);
    let long = "x".repeat(250);
    let cases = [
        (creatable("there", 1, &[]), 36, "there"),
        (creatable("", 1, &[]), 17, ""),
        (creatable(".", 1, &[]), 17, ""),
        (creatable("..", 1, &[]), 17, ""),
        (creatable("a/b", 1, &[]), 17, ""),
        (creatable(&long, 1, &[]), 17, "249"),
        (creatable("t", 0, &[]), 37, ""),
        (creatable("t", -2, &[]), 37, ""),
        (CreatableTopic { replication_factor: 2, ..creatable("t", 1, &[]) }, 38, ""),
        (CreatableTopic { replication_factor: 0, ..creatable("t", 1, &[]) }, 38, ""),
        (creatable("t", 1, &[("retention.ms", "soon")]), 40, "retention.ms"),
        (creatable("t", 1, &[("retention.ms", "-5")]), 40, "retention.ms"),
        (creatable("t", 1, &[("cleanup.policy", "burn")]), 40, "cleanup.policy"),
        (creatable("t", 1, &[("no.such.key", "1")]), 40, "Unknown topic config name: no.such.key"),
        (creatable("t", 1, &[("compression.type", "brotli")]), 40, "compression.type"),
        (creatable("there", 1, &[("no.such.key", "1")]), 36, "Topic 'there' already exists."),
        (creatable("__cluster_metadata", 1, &[]), 42, "prohibited"),
        (CreatableTopic { replication_factor: 3, ..creatable("t", 0, &[]) }, 37, "non-positive"),
    ];
    for (topic, error, word) in cases {
        let shown = format!("{topic:?}");
        let refused = create_one(&mut client, topic);
        let message = refused.error_message.as_deref().unwrap_or_default();
        assert_eq!((refused.error_code, refused.topic_id), (error, TopicId::ZERO), "{shown}: {message}");
        assert!(!message.is_empty() && message.contains(word), "{shown}: {message}");
    }
    assert_eq!(metadata_error(&mut client, "t"), 3);
}

#[test]
fn a_name_that_stands_twice_in_a_request_is_answered_once() {
    let server = Server::start();
    let mut client = server.connect();
    let topics = vec![creatable("twice", 1, &[]), creatable("once", 1, &[]), creatable("twice", 2, &[])];
    let answer = client.call(7, &create_request(topics));
    let mut rows: Vec<(&str, i16)> = answer.topics.iter().map(|topic| (&*topic.name, topic.error_code)).collect();
    rows.sort_unstable();
    assert_eq!(rows, [("once", 0), ("twice", 42)]);
    assert_eq!(metadata_error(&mut client, "twice"), 3);
}

#[test]
fn minus_one_means_the_brokers_default() {
    let server = Server::with(&["num.partitions=4"]);
    let mut client = server.connect();
    let asked = CreatableTopic { num_partitions: -1, replication_factor: -1, ..creatable("t", 1, &[]) };
    let made = create_one(&mut client, asked);
    assert_eq!((made.error_code, made.num_partitions, made.replication_factor), (0, 4, 1));
}

#[test]
fn an_assignment_by_hand_names_this_broker() {
    let server = Server::start();
    let mut client = server.connect();
    let assigned = |name: &str, rows: &[(i32, &[i32])]| CreatableTopic {
        num_partitions: -1,
        replication_factor: -1,
        assignments: rows
            .iter()
            .map(|(partition_index, brokers)| CreatableReplicaAssignment {
                partition_index: *partition_index,
                broker_ids: brokers.to_vec(),
            })
            .collect(),
        ..creatable(name, 1, &[])
    };
    let made = create_one(&mut client, assigned("t", &[(1, &[1]), (0, &[1])]));
    assert_eq!((made.error_code, made.num_partitions, made.replication_factor), (0, 2, 1));
    for rows in [&[(0, &[2][..])][..], &[(0, &[1, 2])], &[(0, &[1]), (2, &[1])], &[(0, &[1]), (0, &[1])], &[(0, &[])]] {
        let refused = create_one(&mut client, assigned("other", rows));
        assert_eq!(refused.error_code, 39, "{rows:?}: {:?}", refused.error_message);
    }
}

#[test]
fn topics_are_deleted_by_name_and_by_id() {
    let server = Server::start();
    let mut client = server.connect();
    let one = create(&mut client, "one", 1, &[]);
    let two = create(&mut client, "two", 1, &[]);
    let deleted = delete(&mut client, named("one"));
    assert_eq!((deleted.error_code, deleted.topic_id), (0, one.id));
    let deleted = delete(&mut client, DeleteTopicState { name: None, topic_id: two.id });
    assert_eq!((deleted.error_code, deleted.name.as_deref()), (0, Some("two")));
    for name in ["one", "two"] {
        assert_eq!(metadata_error(&mut client, name), 3);
        assert_eq!(delete(&mut client, named(name)).error_code, 3);
    }
    let gone = delete(&mut client, DeleteTopicState { name: None, topic_id: two.id });
    assert_eq!((gone.error_code, gone.name), (100, None));
}

#[test]
fn a_topic_that_is_named_twice_or_in_two_ways_is_not_deleted() {
    let server = Server::start();
    let mut client = server.connect();
    let one = create(&mut client, "one", 1, &[]);
    let both = DeleteTopicState { name: Some("one".into()), topic_id: one.id };
    let topics = vec![named("one"), named("nobody"), named("one"), DeleteTopicState::default(), both];
    let answer = client.call(6, &DeleteTopicsRequest { topics, timeout_ms: 1000, ..Default::default() });
    let named = |name: &str| Some(name.to_owned());
    let expected = [(named("one"), 42), (named("nobody"), 3), (None, 42), (named("one"), 42)];
    assert_eq!(errors_of(answer.responses), expected);
    let id = || DeleteTopicState { name: None, topic_id: one.id };
    let request = DeleteTopicsRequest { topics: vec![id(), id()], timeout_ms: 1000, ..Default::default() };
    assert_eq!(errors_of(client.call(6, &request).responses), [(None, 42)]);
    assert_eq!(metadata_error(&mut client, "one"), 0);
}

#[test]
fn where_topics_cannot_be_deleted_the_request_says_so_in_its_version() {
    let server = Server::with(&["delete.topic.enable=false"]);
    let mut client = server.connect();
    create(&mut client, "t", 1, &[]);
    assert_eq!(delete(&mut client, named("t")).error_code, 73);
    for (version, error) in [(2, 42), (3, 73)] {
        let request = DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 1000, ..Default::default() };
        assert_eq!(only(client.call(version, &request).responses).error_code, error);
    }
}

#[test]
fn internal_topics_are_not_deleted() {
    let server = Server::start();
    let mut client = server.connect();
    let request = broker_wire::messages::FindCoordinatorRequest { key: "g".into(), ..Default::default() };
    assert_eq!(client.call(0, &request).error_code, 0);
    let asked = MetadataRequestTopic { name: Some("__consumer_offsets".into()), ..Default::default() };
    let answer = client.call(12, &MetadataRequest { topics: Some(vec![asked]), ..Default::default() });
    let offsets = only(answer.topics);
    assert_eq!((offsets.is_internal, offsets.partitions.len()), (true, 3));
    assert_ne!(delete(&mut client, named("__consumer_offsets")).error_code, 0);
    assert_ne!(delete(&mut client, DeleteTopicState { name: None, topic_id: offsets.topic_id }).error_code, 0);
    assert_eq!(metadata_error(&mut client, "__consumer_offsets"), 0);
}

#[test]
fn one_refused_deletion_does_not_stop_the_others() {
    let server = Server::start();
    let mut client = server.connect();
    create(&mut client, "t", 1, &[]);
    let request = broker_wire::messages::FindCoordinatorRequest { key: "g".into(), ..Default::default() };
    assert_eq!(client.call(0, &request).error_code, 0);
    let topics = vec![named("nobody"), named("t"), named("__consumer_offsets")];
    let answer = client.call(6, &DeleteTopicsRequest { topics, timeout_ms: 1000, ..Default::default() });
    let errors: Vec<(&str, i16)> =
        answer.responses.iter().map(|row| (row.name.as_deref().unwrap_or_default(), row.error_code)).collect();
    assert_eq!(errors, [("nobody", 3), ("t", 0), ("__consumer_offsets", 17)]);
}

#[test]
fn a_topic_that_is_made_again_begins_at_0() {
    let mut server = Server::start();
    let mut client = server.connect();
    let first = create(&mut client, "t", 1, &[]);
    append(&mut client, &first, 0, batch(&["old", "old", "old"]));
    assert_eq!(delete(&mut client, named("t")).error_code, 0);
    let second = create(&mut client, "t", 1, &[]);
    assert_ne!(first.id, second.id);
    assert_eq!(fetch(&mut client, &second, 0, 0).high_watermark, 0);
    assert_eq!(append(&mut client, &second, 0, batch(&["new"])), 0);
    server.kill_and_restart();
    let mut client = server.connect();
    let data = fetch(&mut client, &second, 0, 0);
    assert_eq!((data.high_watermark, ranges_of(&data)), (1, vec![(0, 0)]));
}

#[test]
fn metadata_makes_topics_only_when_it_may() {
    let server = Server::start();
    let mut client = server.connect();
    let ask = |client: &mut Client, name: &str| {
        let topics = Some(vec![MetadataRequestTopic { name: Some(name.into()), ..Default::default() }]);
        only(client.call(12, &MetadataRequest { topics, ..Default::default() }).topics)
    };
    assert_eq!(metadata_error(&mut client, "made"), 3);
    let made = ask(&mut client, "made");
    assert_eq!((made.error_code, made.partitions.is_empty()), (0, false));
    assert_eq!(metadata_error(&mut client, "made"), 0);
    assert_eq!(ask(&mut client, "not a name").error_code, 17);
    let strict = Server::with(&["auto.create.topics.enable=false"]);
    assert_eq!(ask(&mut strict.connect(), "made").error_code, 3);
}
