//! Members over the wire beyond the plain life of a group: static ones, batches of leaves, protocols that must be named,
//! subscriptions that change, and offsets of those who are no members.

use broker_wire::messages::heartbeat_request::HeartbeatRequest;
use broker_wire::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use broker_wire::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use broker_wire::messages::offset_commit_request::OffsetCommitRequest;
use broker_wire::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use broker_wire::messages::sync_group_request::SyncGroupRequest;
use broker_wire::messages::{ConsumerProtocolSubscription, JoinGroupResponse};

use crate::group_admin::{describe, leave, stable};
use crate::groups::{beat, commit, commit_errors, fetch_offsets, fetched, started};
use crate::support::requests::{create, join_request, member_id, only, only_member, sync_request};
use crate::support::{Client, Server};

fn join_as(group: &str, member: &str, instance: &str) -> JoinGroupRequest {
    JoinGroupRequest { group_instance_id: Some(instance.into()), ..join_request(group, member) }
}

fn come_back(client: &mut Client, version: i16) -> JoinGroupResponse {
    client.call(version, &join_as("g", "", "one"))
}

fn leave_all(client: &mut Client, group: &str, members: &[(&str, Option<&str>)]) -> Vec<i16> {
    let members = members.iter().map(|(member, instance)| MemberIdentity {
        member_id: (*member).into(),
        group_instance_id: instance.map(Into::into),
        reason: Some("it is removed by a tool".into()),
    });
    let request = LeaveGroupRequest { group_id: group.into(), members: members.collect(), ..Default::default() };
    let left = client.call(5, &request);
    assert_eq!(left.error_code, 0);
    left.members.into_iter().map(|member| member.error_code).collect()
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_also_after_the_brokers_crash() {
    let (mut server, mut client, _) = started();
    let (first, generation) = stable(&mut client, "g");
    let second = come_back(&mut client, 9);
    assert_eq!((second.error_code, second.generation_id, second.skip_assignment), (0, generation, true));
    assert!(second.member_id != first.as_str() && second.leader == second.member_id);
    assert_eq!(only(second.members).member_id, second.member_id, "it goes on leading");
    server.kill_and_restart();
    let mut client = server.connect();
    let third = come_back(&mut client, 9);
    assert_eq!((third.error_code, third.generation_id, third.skip_assignment), (0, generation, true));
    let mut sync = sync_request(5, "g", (&third.member_id, generation), &[]);
    sync.group_instance_id = Some("one".into());
    let synced = client.call(5, &sync);
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"all"[..]));
    // Whoever was there before is fenced in all that it does.
    let id = Some("one".into());
    let before = HeartbeatRequest { group_instance_id: id.clone(), ..beat("g", &second.member_id, generation) };
    assert_eq!(client.call(4, &before).error_code, 82);
    let sync = SyncGroupRequest { member_id: second.member_id.clone(), ..sync };
    assert_eq!(client.call(5, &sync).error_code, 82);
    let row = commit("g", (&second.member_id, generation), "t", &[(0, 1)]);
    assert_eq!(commit_errors(&mut client, &OffsetCommitRequest { group_instance_id: id, ..row }), [82]);
    assert_eq!(client.call(9, &join_as("g", &second.member_id, "one")).error_code, 82);
    assert_eq!(leave_all(&mut client, "g", &[(&second.member_id, Some("one"))]), [82]);
    assert_eq!(&*describe(&mut client, "g").group_state, "Stable");
}

#[test]
fn an_old_client_that_comes_back_does_not_lead() {
    let (_server, mut client, _) = started();
    let (first, generation) = stable(&mut client, "g");
    let second = come_back(&mut client, 8);
    assert_eq!((second.error_code, second.generation_id, second.members.len()), (0, generation, 0));
    assert!(second.leader == first.as_str() && second.member_id != first.as_str());
}

#[test]
fn a_static_member_whose_topics_changed_makes_a_rebalance() {
    let (_server, mut client, _) = started();
    let join = |member: &str, topics: &[&str], owned: i32| {
        let topics = topics.iter().map(|topic| (*topic).into()).collect();
        let user_data = Some(owned.to_be_bytes().to_vec().into());
        let said = ConsumerProtocolSubscription { topics, user_data, ..Default::default() };
        let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata: said.encode_prefixed(1).unwrap() };
        JoinGroupRequest { protocols: vec![protocol], ..join_as("g", member, "one") }
    };
    let joined = client.call(9, &join("", &["a", "b"], 7));
    let sync = sync_request(5, "g", (&joined.member_id, joined.generation_id), &[]);
    assert_eq!(client.call(5, &sync).error_code, 0);
    let same = client.call(9, &join("", &["b", "a"], 8));
    assert_eq!((same.error_code, same.generation_id), (0, joined.generation_id), "what it owned is no reason");
    let other = client.call(9, &join("", &["b", "c"], 8));
    assert_eq!((other.error_code, other.generation_id), (0, joined.generation_id + 1));
    assert!(!other.skip_assignment);
    // A member that says something else rebalances too, static or not.
    let sync = sync_request(5, "g", (&other.member_id, other.generation_id), &[]);
    assert_eq!(client.call(5, &sync).error_code, 0);
    let again = client.call(9, &join(&other.member_id, &["b", "c", "d"], 8));
    assert_eq!((again.error_code, again.generation_id), (0, other.generation_id + 1));
}

#[test]
fn several_members_leave_at_once_each_with_its_answer() {
    let (_server, mut client, _) = started();
    let (_, _) = stable(&mut client, "g");
    let pending = member_id(&mut client, "g");
    let asked = [("", Some("nobody")), ("", None), (pending.as_str(), None), ("stranger", None), ("", Some("one"))];
    assert_eq!(leave_all(&mut client, "g", &asked), [25, 25, 0, 25, 0]);
    assert_eq!(&*describe(&mut client, "g").group_state, "Empty");
    assert_eq!(leave_all(&mut client, "unknown", &asked[..2]), [25, 25]);
    let nameless = LeaveGroupRequest { group_id: "".into(), ..Default::default() };
    assert_eq!(client.call(5, &nameless).error_code, 24);
}

#[test]
fn a_group_needs_a_name_and_a_sync_its_protocol() {
    let (_server, mut client, _) = started();
    let (member, generation) = only_member(&mut client, "g");
    let sync = sync_request(5, "g", (&member, generation), &[]);
    for wrong in [
        SyncGroupRequest { protocol_type: None, ..sync.clone() },
        SyncGroupRequest { protocol_name: None, ..sync.clone() },
        SyncGroupRequest { protocol_type: Some("connect".into()), ..sync.clone() },
        SyncGroupRequest { protocol_name: Some("sticky".into()), ..sync.clone() },
    ] {
        assert_eq!(client.call(5, &wrong).error_code, 23);
    }
    let old = sync_request(4, "g", (&member, generation), &[]);
    assert_eq!(client.call(4, &old).error_code, 0, "older versions do not say");
    assert_eq!(client.call(5, &SyncGroupRequest { group_id: "".into(), ..sync }).error_code, 24);
    assert_eq!(client.call(4, &beat("", &member, generation)).error_code, 24);
}

#[test]
fn a_full_group_takes_no_new_members_but_those_it_has() {
    let server = Server::with(&["group.max.size=1"]);
    let mut client = server.connect();
    let coordinator = broker_wire::messages::FindCoordinatorRequest { key: "g".into(), ..Default::default() };
    assert_eq!(client.call(0, &coordinator).error_code, 0);
    let (member, generation) = stable(&mut client, "g");
    let refused = client.call(9, &join_request("g", ""));
    assert_eq!((refused.error_code, &*refused.member_id), (81, ""));
    assert_eq!(come_back(&mut client, 9).generation_id, generation, "its static member may come back");
    assert_eq!(client.call(4, &beat("g", &member, generation)).error_code, 25);
}

#[test]
fn a_commit_to_a_group_that_is_not_there_hears_it_by_version() {
    let (_server, mut client, _) = started();
    let request = commit("nobody", ("someone", 3), "t", &[(0, 1)]);
    for version in 2..=9 {
        let error = only(only(client.call(version, &request).topics).partitions).error_code;
        assert_eq!(error, if version >= 9 { 69 } else { 22 }, "v{version}");
    }
    // What is wrong with a partition is said before what is wrong with the group.
    assert_eq!(commit_errors(&mut client, &commit("nobody", ("someone", 3), "t", &[(0, 1), (9, 1)])), [69, 3]);
    let long = "\u{1F600}".repeat(2048);
    let mut request = commit("simple", ("", -1), "t", &[(0, 1)]);
    request.topics[0].partitions[0].committed_metadata = Some(long.as_str().into());
    assert_eq!(commit_errors(&mut client, &request), [0], "4096 of Java's characters");
    request.topics[0].partitions[0].committed_metadata = Some(format!("{long}x").as_str().into());
    assert_eq!(commit_errors(&mut client, &request), [12]);
}

#[test]
fn an_offset_with_a_retention_of_its_own_is_kept_through_a_crash() {
    let (mut server, mut client, _) = started();
    let retained =
        |retention_time_ms| OffsetCommitRequest { retention_time_ms, ..commit("s", ("", -1), "t", &[(0, 7)]) };
    for version in 2..=4 {
        assert_eq!(only(only(client.call(version, &retained(3_600_000)).topics).partitions).error_code, 0);
    }
    server.kill_and_restart();
    let mut client = server.connect();
    let row = |offset| [("t".to_owned(), 0, offset, "note".to_owned())];
    assert_eq!(fetched(client.call(9, &fetch_offsets(9, "s", None))), row(7));
}

#[test]
fn offsets_of_several_groups_are_fetched_at_once() {
    let (_server, mut client, topic) = started();
    let other = create(&mut client, "other", 1, &[]);
    assert_eq!(commit_errors(&mut client, &commit("one", ("", -1), "t", &[(0, 1)])), [0]);
    assert_eq!(commit_errors(&mut client, &commit("two", ("", -1), "t", &[(0, 2)])), [0]);
    assert_eq!(commit_errors(&mut client, &commit("two", ("", -1), "other", &[(0, 3)])), [0]);
    let (member, generation) = only_member(&mut client, "members");
    assert_eq!(commit_errors(&mut client, &commit("members", (&member, generation), "t", &[(0, 9)])), [27]);
    for version in 8..=10 {
        let by_id = version >= 10;
        let named = |topic: &crate::support::requests::Topic| OffsetFetchRequestTopics {
            name: if by_id { "".into() } else { topic.name.into() },
            topic_id: if by_id { topic.id } else { Default::default() },
            partition_indexes: vec![0],
        };
        let group =
            |group: &str, topics| OffsetFetchRequestGroup { group_id: group.into(), topics, ..Default::default() };
        let groups = vec![
            group("one", Some(vec![named(&other), named(&topic)])),
            group("two", None),
            group("members", Some(vec![named(&topic)])),
            group("nobody", None),
        ];
        let answer = client.call(version, &OffsetFetchRequest { groups, require_stable: true, ..Default::default() });
        let mut offsets = Vec::new();
        for group in answer.groups {
            assert_eq!(group.error_code, 0);
            let rows = group.topics.iter().map(|topic| {
                let name = if topic.topic_id == other.id || &*topic.name == "other" { "other" } else { "t" };
                assert_eq!(by_id, topic.topic_id != broker_model::TopicId::ZERO);
                (name, only(topic.partitions.clone()).committed_offset)
            });
            offsets.push(rows.collect::<Vec<_>>());
        }
        let expected: [&[(&str, i64)]; 4] = [&[("other", -1), ("t", 1)], &[("other", 3), ("t", 2)], &[("t", -1)], &[]];
        assert_eq!(offsets, expected, "v{version}");
    }
    leave(&mut client, "members", &member);
}
