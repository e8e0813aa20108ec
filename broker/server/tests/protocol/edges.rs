//! Requests that are legal and rare: names that collide, the same thing asked twice, members with a name of their own.

use broker_model::TopicId;
use broker_wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use broker_wire::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use broker_wire::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use broker_wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use broker_wire::messages::{FindCoordinatorRequest, HeartbeatRequest, InitProducerIdRequest, JoinGroupRequest};

use crate::support::requests::{
    BY_NAME, append, batch, creatable, create, create_request, fetch_request, heads_of, join_request, only, partitions,
    produce_request,
};
use crate::support::{Client, Server};

fn create_error(client: &mut Client, topic: CreatableTopic) -> i16 {
    only(client.call(7, &create_request(vec![topic])).topics).error_code
}

#[test]
fn names_that_differ_in_dots_only_collide() {
    let server = Server::start();
    let mut client = server.connect();
    create(&mut client, "a.b", 1, &[]);
    assert_eq!(create_error(&mut client, creatable("a_b", 1, &[])), 17);
    assert_eq!(create_error(&mut client, creatable("a-b", 1, &[])), 0);
    assert_eq!(create_error(&mut client, creatable("A.B", 1, &[])), 0, "case counts");
}

#[test]
fn a_count_beside_an_assignment_is_refused() {
    let server = Server::start();
    let mut client = server.connect();
    let assignments = vec![CreatableReplicaAssignment { partition_index: 0, broker_ids: vec![1] }];
    let both = CreatableTopic { assignments, ..creatable("t", 3, &[]) };
    assert_eq!(create_error(&mut client, both), 42);
}

#[test]
fn metadata_finds_topics_by_id() {
    let server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[]);
    let by_id = |topic_id| MetadataRequestTopic { topic_id, name: None };
    let topics = Some(vec![by_id(topic.id), by_id(TopicId([9; 16]))]);
    let answer = client.call(12, &MetadataRequest { topics, allow_auto_topic_creation: true, ..Default::default() });
    let rows: Vec<(i16, Option<&str>)> =
        answer.topics.iter().map(|topic| (topic.error_code, topic.name.as_deref())).collect();
    assert_eq!(rows, [(0, Some("t")), (100, None)]);
    let nothing = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    assert_eq!(client.call(12, &nothing).topics.len(), 0, "an empty list asks for none");
}

#[test]
fn a_topic_that_a_deletion_names_three_times_is_deleted_once() {
    let server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[]);
    let by_name = DeleteTopicState { name: Some("t".into()), ..Default::default() };
    let by_id = DeleteTopicState { name: None, topic_id: topic.id };
    let topics = vec![by_name.clone(), by_id, by_name];
    let answer = client.call(6, &DeleteTopicsRequest { topics, timeout_ms: 1000, ..Default::default() });
    let mut errors: Vec<i16> = answer.responses.iter().map(|row| row.error_code).collect();
    errors.sort_unstable();
    assert_eq!(errors, [0, 42], "the name is refused once, the id counts");
    let after = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: Some("t".into()), ..Default::default() }]),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    assert_eq!(only(client.call(12, &after).topics).error_code, 3);
}

#[test]
fn one_request_may_name_a_partition_twice() {
    let server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[]);
    let rows = [(0, Some(batch(&["a"]))), (0, Some(batch(&["b"])))];
    let answer = client.call(BY_NAME, &produce_request(BY_NAME, &topic, &rows));
    assert!(only(answer.responses).partition_responses.iter().all(|row| row.error_code == 0));
    let data = partitions(client.call(BY_NAME, &fetch_request(BY_NAME, &topic, &[(0, 0), (0, 1)])));
    assert_eq!(data.iter().map(|data| heads_of(data).len()).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn a_large_answer_arrives_whole_at_a_slow_reader() {
    let server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 4, &[]);
    let value = "z".repeat(900_000);
    for turn in 0..32 {
        append(&mut client, &topic, turn % 4, batch(&[&value]));
    }
    let mut request = fetch_request(BY_NAME, &topic, &[(0, 0), (1, 0), (2, 0), (3, 0)]);
    for asked in &mut request.topics[0].partitions {
        asked.partition_max_bytes = 50 << 20;
    }
    // Nothing is read until two answers of 29 MB wait, and another client asked something.
    let sent = [client.send(BY_NAME, &request), client.send(BY_NAME, &request)];
    append(&mut server.connect(), &topic, 0, batch(&["other"]));
    for sent in sent {
        let data = partitions(client.receive::<broker_wire::messages::FetchRequest>(&sent));
        assert!(data.iter().all(|data| heads_of(data).len() >= 8));
    }
}

#[test]
fn a_static_member_comes_back_and_its_old_self_is_fenced() {
    let server = Server::start();
    let mut client = server.connect();
    let coordinator = FindCoordinatorRequest { key: "g".into(), ..Default::default() };
    assert_eq!(client.call(0, &coordinator).error_code, 0);
    let join = JoinGroupRequest { group_instance_id: Some("desk".into()), ..join_request("g", "") };
    let first = client.call(9, &join);
    assert_eq!(first.error_code, 0, "a static member gets its id at once");
    let sync = crate::support::requests::sync_request(5, "g", (&first.member_id, first.generation_id), &[]);
    assert_eq!(client.call(5, &sync).error_code, 0);
    let second = client.call(9, &join);
    assert_eq!(second.error_code, 0);
    assert_ne!(second.member_id, first.member_id);
    let beat = |member_id: &broker_wire::Str, generation_id| HeartbeatRequest {
        group_id: "g".into(),
        generation_id,
        member_id: member_id.clone(),
        group_instance_id: Some("desk".into()),
    };
    assert_eq!(client.call(4, &beat(&first.member_id, first.generation_id)).error_code, 82, "FENCED_INSTANCE_ID");
    let leaving = MemberIdentity { member_id: "".into(), group_instance_id: Some("desk".into()), reason: None };
    let leave = LeaveGroupRequest { group_id: "g".into(), members: vec![leaving], ..Default::default() };
    assert_eq!(only(client.call(5, &leave).members).error_code, 0, "an administrator removes it by its name");
    assert_eq!(client.call(4, &beat(&second.member_id, second.generation_id)).error_code, 25);
}

#[test]
fn producer_ids_are_never_given_twice() {
    let mut server = Server::start();
    let mut last = -1;
    for _ in 0..3 {
        let mut client = server.connect();
        for _ in 0..3 {
            let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
            let given = client.call(5, &request).producer_id;
            assert!(given > last, "{given} after {last}");
            last = given;
        }
        server.kill_and_restart();
    }
}
