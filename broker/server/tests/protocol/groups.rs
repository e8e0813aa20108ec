//! Groups over the wire: two members through joins, assignments, commits and leaves, and offsets that outlive a crash.
//!
//! What must happen in an order is sent on one connection: requests take their places in the coordinator's queue in the
//! order of arrival, so that a join can wait for another one behind it.

use std::io::Write;

use broker_wire::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use broker_wire::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use broker_wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use broker_wire::messages::{
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, OffsetFetchRequest, OffsetFetchResponse,
    SyncGroupRequest,
};

use crate::support::requests::{Topic, create, join_request, member_id, only, only_member, sync_request};
use crate::support::{Client, Server};

/// Topic, partition, offset and metadata of a committed offset.
type Row = (String, i32, i64, String);

pub(crate) fn started() -> (Server, Client, Topic) {
    let server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 3, &[]);
    let request = FindCoordinatorRequest { key: "g".into(), ..Default::default() };
    assert_eq!(client.call(0, &request).error_code, 0);
    (server, client, topic)
}

pub(crate) fn beat(group: &str, member: &str, generation_id: i32) -> HeartbeatRequest {
    HeartbeatRequest { group_id: group.into(), generation_id, member_id: member.into(), group_instance_id: None }
}

pub(crate) fn commit(
    group: &str,
    (member, generation): (&str, i32),
    topic: &str,
    rows: &[(i32, i64)],
) -> OffsetCommitRequest {
    let row = |(partition, offset): &(i32, i64)| OffsetCommitRequestPartition {
        partition_index: *partition,
        committed_offset: *offset,
        committed_metadata: Some("note".into()),
        ..Default::default()
    };
    OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: generation,
        member_id: member.into(),
        topics: vec![OffsetCommitRequestTopic {
            name: topic.into(),
            partitions: rows.iter().map(row).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

pub(crate) fn commit_errors(client: &mut Client, request: &OffsetCommitRequest) -> Vec<i16> {
    only(client.call(9, request).topics).partitions.iter().map(|row| row.error_code).collect()
}

/// Asks for partition 0 of a topic, or for all that the group has.
pub(crate) fn fetch_offsets(version: i16, group: &str, topic: Option<&Topic>) -> OffsetFetchRequest {
    if version < 8 {
        let row = |topic: &Topic| OffsetFetchRequestTopic { name: topic.name.into(), partition_indexes: vec![0] };
        let topics = topic.map(|topic| vec![row(topic)]);
        return OffsetFetchRequest { group_id: group.into(), topics, ..Default::default() };
    }
    let row = |topic: &Topic| OffsetFetchRequestTopics {
        name: if version >= 10 { "".into() } else { topic.name.into() },
        topic_id: if version >= 10 { topic.id } else { Default::default() },
        partition_indexes: vec![0],
    };
    let topics = topic.map(|topic| vec![row(topic)]);
    let asked = OffsetFetchRequestGroup { group_id: group.into(), topics, ..Default::default() };
    OffsetFetchRequest { groups: vec![asked], ..Default::default() }
}

/// What an answer of any version has, without errors.
pub(crate) fn fetched(answer: OffsetFetchResponse) -> Vec<Row> {
    assert_eq!(answer.error_code, 0);
    let text = |text: Option<broker_wire::Str>| text.map(|text| text.to_string()).unwrap_or_default();
    let mut rows = Vec::new();
    for topic in answer.topics {
        for row in topic.partitions {
            assert_eq!(row.error_code, 0);
            rows.push((topic.name.to_string(), row.partition_index, row.committed_offset, text(row.metadata)));
        }
    }
    for group in answer.groups {
        assert_eq!(group.error_code, 0);
        for topic in group.topics {
            for row in topic.partitions {
                assert_eq!(row.error_code, 0);
                rows.push((topic.name.to_string(), row.partition_index, row.committed_offset, text(row.metadata)));
            }
        }
    }
    rows
}

#[test]
fn two_members_go_through_a_whole_life() {
    let (_server, mut client, topic) = started();
    let (first, generation) = only_member(&mut client, "g");
    assert_eq!(generation, 1);
    let alone = sync_request(5, "g", (&first, 1), &[(&first, b"all")]);
    assert_eq!(client.call(5, &alone).error_code, 0);
    assert_eq!(client.call(4, &beat("g", &first, 1)).error_code, 0);

    // The second one joins; the first learns it by its heartbeat, and joins again.
    let second = member_id(&mut client, "g");
    let (mut frames, join_second) = client.frame(9, &join_request("g", &second));
    let (bytes, beat_first) = client.frame(4, &beat("g", &first, 1));
    frames.extend(bytes);
    let (bytes, join_first) = client.frame(9, &join_request("g", &first));
    frames.extend(bytes);
    client.stream.write_all(&frames).unwrap();
    let of_second = client.receive::<JoinGroupRequest>(&join_second);
    assert_eq!(client.receive::<HeartbeatRequest>(&beat_first).error_code, 27, "REBALANCE_IN_PROGRESS");
    let of_first = client.receive::<JoinGroupRequest>(&join_first);
    assert_eq!((of_second.error_code, of_second.generation_id, of_second.members.len()), (0, 2, 0));
    assert_eq!((of_first.error_code, of_first.generation_id, of_first.members.len()), (0, 2, 2));
    assert!(of_first.leader == first.as_str() && of_second.leader == first.as_str());

    // The follower's sync waits for the leader's.
    let (mut frames, sync_second) = client.frame(5, &sync_request(5, "g", (&second, 2), &[]));
    let assignments: [(&str, &'static [u8]); 2] = [(&first, b"one"), (&second, b"two")];
    let (bytes, sync_first) = client.frame(5, &sync_request(5, "g", (&first, 2), &assignments));
    frames.extend(bytes);
    client.stream.write_all(&frames).unwrap();
    assert_eq!(&client.receive::<SyncGroupRequest>(&sync_second).assignment[..], b"two");
    assert_eq!(&client.receive::<SyncGroupRequest>(&sync_first).assignment[..], b"one");

    // Commits are of members of this generation.
    assert_eq!(commit_errors(&mut client, &commit("g", (&second, 2), "t", &[(0, 42)])), [0]);
    assert_eq!(commit_errors(&mut client, &commit("g", (&second, 1), "t", &[(0, 43)])), [22]);
    assert_eq!(commit_errors(&mut client, &commit("g", ("nobody", 2), "t", &[(0, 44)])), [25]);
    assert_eq!(commit_errors(&mut client, &commit("g", ("", -1), "t", &[(0, 45)])), [25], "not an empty group");
    for version in 1..=10 {
        let name = if version >= 10 { "" } else { "t" };
        let rows = fetched(client.call(version, &fetch_offsets(version, "g", Some(&topic))));
        assert_eq!(rows, [(name.to_owned(), 0, 42, "note".to_owned())], "v{version}");
    }

    // The first one leaves, and the second is told.
    let leaving = MemberIdentity { member_id: first.as_str().into(), ..Default::default() };
    let leave = LeaveGroupRequest { group_id: "g".into(), members: vec![leaving], ..Default::default() };
    let left = client.call(5, &leave);
    assert_eq!((left.error_code, only(left.members).error_code), (0, 0));
    assert_eq!(client.call(4, &beat("g", &second, 2)).error_code, 27);
    let again = client.call(9, &join_request("g", &second));
    assert_eq!((again.error_code, again.generation_id, again.members.len()), (0, 3, 1));
    assert_eq!(only(client.call(5, &leave).members).error_code, 25, "who has left is not known");
}

#[test]
fn requests_that_do_not_fit_are_refused() {
    let (_server, mut client, _) = started();
    let (member, generation) = only_member(&mut client, "g");
    assert_eq!(client.call(4, &beat("g", &member, generation + 1)).error_code, 22);
    assert_eq!(client.call(4, &beat("g", "nobody", generation)).error_code, 25);
    assert_eq!(client.call(4, &beat("unknown", &member, generation)).error_code, 25);
    let sync = sync_request(5, "g", (&member, generation + 1), &[]);
    assert_eq!(client.call(5, &sync).error_code, 22);
    assert_eq!(client.call(9, &join_request("", "")).error_code, 24);
    let short = JoinGroupRequest { session_timeout_ms: 1, ..join_request("other", "") };
    assert_eq!(client.call(9, &short).error_code, 26);
    let mut foreign = join_request("g", "");
    foreign.protocols[0].name = "other".into();
    assert_eq!(client.call(3, &foreign).error_code, 23);
    let stranger = client.call(9, &join_request("g", "not-a-member"));
    assert_eq!(stranger.error_code, 25);
}

#[test]
fn commits_name_topics_that_are_there() {
    let (_server, mut client, _) = started();
    let standalone = ("", -1);
    assert_eq!(commit_errors(&mut client, &commit("s", standalone, "t", &[(0, 1), (9, 1), (2, 5)])), [0, 3, 0]);
    assert_eq!(commit_errors(&mut client, &commit("s", standalone, "nobody", &[(0, 1)])), [3]);
    let mut by_id = commit("s", standalone, "", &[(0, 1)]);
    by_id.topics[0].topic_id = broker_model::TopicId([9; 16]);
    assert_eq!(only(only(client.call(10, &by_id).topics).partitions).error_code, 100);
    let mut rows = fetched(client.call(9, &fetch_offsets(9, "s", None)));
    rows.sort_unstable();
    let row = |partition, offset| ("t".to_owned(), partition, offset, "note".to_owned());
    assert_eq!(rows, [row(0, 1), row(2, 5)]);
}

#[test]
fn all_offsets_of_a_group_are_found_and_outlive_a_crash() {
    let (mut server, mut client, topic) = started();
    create(&mut client, "other", 1, &[]);
    assert_eq!(commit_errors(&mut client, &commit("s", ("", -1), "t", &[(0, 7), (1, 8)])), [0, 0]);
    assert_eq!(commit_errors(&mut client, &commit("s", ("", -1), "t", &[(0, 9)])), [0]);
    assert_eq!(commit_errors(&mut client, &commit("s", ("", -1), "other", &[(0, 3)])), [0]);
    let row = |topic: &str, partition, offset| (topic.to_owned(), partition, offset, "note".to_owned());
    let expected = [row("other", 0, 3), row("t", 0, 9), row("t", 1, 8)];
    let check = |client: &mut Client| {
        for version in 2..=9 {
            let mut rows = fetched(client.call(version, &fetch_offsets(version, "s", None)));
            rows.sort_unstable();
            assert_eq!(rows, expected, "v{version}");
        }
        let by_id = fetched(client.call(10, &fetch_offsets(10, "s", Some(&topic))));
        assert_eq!(by_id, [row("", 0, 9)]);
        assert_eq!(fetched(client.call(9, &fetch_offsets(9, "nobody", None))), []);
        let none = fetched(client.call(9, &fetch_offsets(9, "nobody", Some(&topic))));
        assert_eq!(none, [("t".to_owned(), 0, -1, String::new())]);
    };
    check(&mut client);
    server.kill_and_restart();
    check(&mut server.connect());
}

#[test]
fn a_member_of_before_the_crash_is_still_a_member() {
    let (mut server, mut client, _) = started();
    let (member, generation) = only_member(&mut client, "g");
    let sync = sync_request(5, "g", (&member, generation), &[(&member, b"mine")]);
    assert_eq!(client.call(5, &sync).error_code, 0);
    server.kill_and_restart();
    let mut client = server.connect();
    assert_eq!(client.call(4, &beat("g", &member, generation)).error_code, 0);
    let synced = client.call(5, &sync_request(5, "g", (&member, generation), &[]));
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"mine"[..]));
}

#[test]
fn coordinators_of_other_kinds_are_refused_for_good() {
    let (_server, mut client, _) = started();
    for version in 1..=6 {
        let batched = version >= 4;
        let request = FindCoordinatorRequest {
            key: if batched { "".into() } else { "t".into() },
            key_type: 1,
            coordinator_keys: if batched { vec!["t".into()] } else { Vec::new() },
        };
        let answer = client.call(version, &request);
        let error = if batched { only(answer.coordinators).error_code } else { answer.error_code };
        assert!(![0, 14, 15, 16].contains(&error), "v{version}: {error} would be retried");
    }
    let nameless = FindCoordinatorRequest::default();
    assert_eq!(client.call(3, &nameless).error_code, 0, "the group without a name has a coordinator, too");
}
