//! What tools ask about groups: DescribeGroups, ListGroups, DeleteGroups, OffsetDelete.

use broker_wire::messages::delete_groups_request::DeleteGroupsRequest;
use broker_wire::messages::describe_groups_request::DescribeGroupsRequest;
use broker_wire::messages::describe_groups_response::DescribedGroup;
use broker_wire::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use broker_wire::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use broker_wire::messages::list_groups_request::ListGroupsRequest;
use broker_wire::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use broker_wire::messages::{ConsumerProtocolSubscription, DescribeGroupsResponse, OffsetDeleteResponse};
use bytes::Bytes;

use crate::groups::{commit, commit_errors, fetch_offsets, fetched, started};
use crate::support::requests::{create, join_request, member_id, only, only_member, sync_request};
use crate::support::{Client, Server};

/// READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
const OPERATIONS: i32 = 8 + 64 + 256 + 1024 + 2048;

/// A stable group with one static member, who is assigned `all`.
pub(crate) fn stable(client: &mut Client, group: &str) -> (String, i32) {
    let join = JoinGroupRequest { group_instance_id: Some("one".into()), ..join_request(group, "") };
    let joined = client.call(9, &join);
    assert_eq!((joined.error_code, &*joined.leader), (0, &*joined.member_id));
    let member = joined.member_id.to_string();
    let sync = sync_request(5, group, (&member, joined.generation_id), &[(&member, b"all")]);
    assert_eq!(client.call(5, &sync).error_code, 0);
    (member, joined.generation_id)
}

pub(crate) fn leave(client: &mut Client, group: &str, member: &str) {
    let leaving = MemberIdentity { member_id: member.into(), ..Default::default() };
    let request = LeaveGroupRequest { group_id: group.into(), members: vec![leaving], ..Default::default() };
    let left = client.call(5, &request);
    assert_eq!((left.error_code, only(left.members).error_code), (0, 0));
}

fn describe_request(groups: &[&str]) -> DescribeGroupsRequest {
    let groups = groups.iter().map(|group| (*group).into()).collect();
    DescribeGroupsRequest { groups, include_authorized_operations: false }
}

pub(crate) fn describe(client: &mut Client, group: &str) -> DescribedGroup {
    let answer: DescribeGroupsResponse = client.call(6, &describe_request(&[group]));
    only(answer.groups)
}

/// Group, protocol type, state and type of each.
fn list(client: &mut Client, version: i16, request: &ListGroupsRequest) -> Vec<[String; 4]> {
    let answer = client.call(version, request);
    assert_eq!(answer.error_code, 0);
    let row = |group: broker_wire::messages::list_groups_response::ListedGroup| {
        [group.group_id, group.protocol_type, group.group_state, group.group_type].map(|text| text.to_string())
    };
    let mut rows: Vec<_> = answer.groups.into_iter().map(row).collect();
    rows.sort_unstable();
    rows
}

fn delete(client: &mut Client, version: i16, groups: &[&str]) -> Vec<(String, i16)> {
    let groups_names = groups.iter().map(|group| (*group).into()).collect();
    let answer = client.call(version, &DeleteGroupsRequest { groups_names });
    answer.results.into_iter().map(|result| (result.group_id.to_string(), result.error_code)).collect()
}

fn delete_offsets(client: &mut Client, group: &str, rows: &[(&str, &[i32])]) -> OffsetDeleteResponse {
    let topic = |(name, partitions): &(&str, &[i32])| OffsetDeleteRequestTopic {
        name: (*name).into(),
        partitions: partitions
            .iter()
            .map(|partition_index| OffsetDeleteRequestPartition { partition_index: *partition_index })
            .collect(),
    };
    let request = OffsetDeleteRequest { group_id: group.into(), topics: rows.iter().map(topic).collect() };
    client.call(0, &request)
}

fn delete_errors(answer: OffsetDeleteResponse) -> Vec<i16> {
    assert_eq!(answer.error_code, 0);
    answer.topics.into_iter().flat_map(|topic| topic.partitions).map(|row| row.error_code).collect()
}

pub(crate) fn describe_version(client: &mut Client, version: i16) {
    let group = format!("described-{version}");
    let (member, _) = stable(client, &group);
    let request =
        DescribeGroupsRequest { include_authorized_operations: version >= 3, ..describe_request(&[&group, "nobody"]) };
    let answer = client.call(version, &request);
    let [found, missing] = &answer.groups[..] else { panic!("{answer:?}") };
    assert_eq!((found.error_code, &*found.group_id, &*found.group_state), (0, &*group, "Stable"));
    assert_eq!((&*found.protocol_type, &*found.protocol_data), ("consumer", "range"));
    let seen = only(found.members.clone());
    assert_eq!((&*seen.member_id, &*seen.client_id, &*seen.client_host), (&*member, "tests", "/127.0.0.1"));
    assert_eq!(seen.group_instance_id.as_deref(), (version >= 4).then_some("one"));
    assert_eq!((&seen.member_metadata[..], &seen.member_assignment[..]), (&b"subscription"[..], &b"all"[..]));
    assert_eq!(found.authorized_operations, if version >= 3 { OPERATIONS } else { i32::MIN });
    let is_error = version >= 6;
    assert_eq!((missing.error_code, &*missing.group_state), (if is_error { 69 } else { 0 }, "Dead"));
    assert_eq!(missing.error_message.as_deref(), is_error.then_some("Group nobody not found."));
    assert_eq!(missing.members.len(), 0);
}

pub(crate) fn list_version(client: &mut Client, version: i16) {
    let group = format!("listed-{version}");
    stable(client, &group);
    let told = |text: &str, first| if version >= first { text.to_owned() } else { String::new() };
    let row = [group.clone(), "consumer".to_owned(), told("Stable", 4), told("classic", 5)];
    assert!(list(client, version, &ListGroupsRequest::default()).contains(&row));
}

pub(crate) fn delete_version(client: &mut Client, version: i16) {
    let group = format!("gone-{version}");
    let (member, _) = stable(client, &group);
    let (used, nobody) = ((group.clone(), 68), ("nobody".to_owned(), 69));
    assert_eq!(delete(client, version, &[&group, "nobody"]), [used, nobody]);
    leave(client, &group, &member);
    assert_eq!(delete(client, version, &[&group, &group]), [(group.clone(), 0)]);
    assert_eq!(&*describe(client, &group).group_state, "Dead");
}

pub(crate) fn offset_delete_version(client: &mut Client, version: i16) {
    assert_eq!(version, 0);
    assert_eq!(commit_errors(client, &commit("forgets", ("", -1), "world", &[(0, 5)])), [0]);
    assert_eq!(delete_errors(delete_offsets(client, "forgets", &[("world", &[0])])), [0]);
    assert_eq!(fetched(client.call(9, &fetch_offsets(9, "forgets", None))), []);
}

/// A subscription as consumers write it.
fn subscription(topics: &[&str]) -> Bytes {
    let topics = topics.iter().map(|topic| (*topic).into()).collect();
    ConsumerProtocolSubscription { topics, ..Default::default() }.encode_prefixed(1).unwrap()
}

/// The only member of a stable group that subscribes to these topics.
fn subscribed(client: &mut Client, group: &str, topics: &[&str]) -> (String, i32) {
    let join = |member: &str| JoinGroupRequest {
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata: subscription(topics) }],
        ..join_request(group, member)
    };
    let member = client.call(9, &join("")).member_id.to_string();
    let joined = client.call(9, &join(&member));
    assert_eq!(joined.error_code, 0);
    let sync = sync_request(5, group, (&member, joined.generation_id), &[(&member, b"all")]);
    assert_eq!(client.call(5, &sync).error_code, 0);
    (member, joined.generation_id)
}

#[test]
fn a_group_is_described_in_each_of_its_states() {
    let server = Server::with(&["group.initial.rebalance.delay.ms=600000"]);
    let mut client = server.connect();
    let coordinator = broker_wire::messages::FindCoordinatorRequest { key: "g".into(), ..Default::default() };
    assert_eq!(client.call(0, &coordinator).error_code, 0);
    assert_eq!(&*describe(&mut client, "g").group_state, "Dead");
    let member = member_id(&mut client, "g");
    let pending = describe(&mut client, "g");
    assert_eq!(
        (pending.error_code, &*pending.group_state, pending.members.len()),
        (0, "Empty", 0),
        "an id is no member"
    );
    let waiting = client.send(9, &join_request("g", &member));
    let mut other = server.connect();
    // The join was read before it: both go through the same queue.
    let joined = loop {
        let seen = describe(&mut other, "g");
        if &*seen.group_state != "Empty" {
            break seen;
        }
    };
    assert_eq!(
        (&*joined.group_state, &*joined.protocol_type, &*joined.protocol_data),
        ("PreparingRebalance", "consumer", "")
    );
    assert_eq!(only(joined.members).member_metadata.len(), 0, "nothing is chosen yet");
    leave(&mut other, "g", &member);
    assert_eq!(client.receive::<JoinGroupRequest>(&waiting).error_code, 25);
    let empty = describe(&mut other, "g");
    assert_eq!((&*empty.group_state, &*empty.protocol_type, empty.members.len()), ("Empty", "consumer", 0));
}

#[test]
fn a_group_that_completes_shows_members_without_metadata() {
    let (_server, mut client, _) = started();
    let (member, generation) = only_member(&mut client, "g");
    let completing = describe(&mut client, "g");
    assert_eq!((&*completing.group_state, &*completing.protocol_data), ("CompletingRebalance", ""));
    let seen = only(completing.members);
    assert_eq!((&*seen.member_id, seen.member_metadata.len(), seen.member_assignment.len()), (&*member, 0, 0));
    let sync = sync_request(5, "g", (&member, generation), &[(&member, b"mine")]);
    assert_eq!(client.call(5, &sync).error_code, 0);
    assert_eq!(&*describe(&mut client, "g").group_state, "Stable");
}

#[test]
fn groups_are_listed_by_state_and_type_also_after_a_crash() {
    let (mut server, mut client, _) = started();
    let (member, _) = stable(&mut client, "left");
    leave(&mut client, "left", &member);
    stable(&mut client, "stable");
    assert_eq!(commit_errors(&mut client, &commit("simple", ("", -1), "t", &[(0, 1)])), [0]);
    let row = |group: &str, kind: &str, state: &str| [group, kind, state, "classic"].map(str::to_owned);
    let (left, simple) = (row("left", "consumer", "Empty"), row("simple", "", "Empty"));
    let stable = row("stable", "consumer", "Stable");
    let filter = |states: &[&str], types: &[&str]| ListGroupsRequest {
        states_filter: states.iter().map(|state| (*state).into()).collect(),
        types_filter: types.iter().map(|kind| (*kind).into()).collect(),
    };
    // After the crash no coordinator runs until it is asked.
    server.kill_and_restart();
    let mut client = server.connect();
    for (request, expected) in [
        (filter(&[], &[]), vec![left.clone(), simple.clone(), stable.clone()]),
        (filter(&["empty", " STABLE"], &[]), vec![left.clone(), simple.clone(), stable.clone()]),
        (filter(&["Empty"], &["Classic"]), vec![left, simple]),
        (filter(&["Stable"], &["consumer", "CLASSIC"]), vec![stable]),
        (filter(&["NoState"], &[]), vec![]),
        (filter(&[], &["consumer"]), vec![]),
        (filter(&[], &["nothing"]), vec![]),
    ] {
        assert_eq!(list(&mut client, 5, &request), expected, "{request:?}");
    }
}

#[test]
fn without_a_coordinator_no_group_is_listed_and_none_found() {
    let server = Server::start();
    let mut client = server.connect();
    assert_eq!(list(&mut client, 5, &ListGroupsRequest::default()), Vec::<[String; 4]>::new());
    assert_eq!(describe(&mut client, "g").error_code, 16, "NOT_COORDINATOR, as long as there is none");
    assert_eq!(delete(&mut client, 2, &["g"]), [("g".to_owned(), 16)]);
}

#[test]
fn a_deleted_group_is_gone_with_its_offsets_for_good() {
    let (mut server, mut client, topic) = started();
    assert_eq!(commit_errors(&mut client, &commit("g", ("", -1), "t", &[(0, 7)])), [0]);
    let (member, generation) = stable(&mut client, "g");
    assert_eq!(commit_errors(&mut client, &commit("g", (&member, generation), "t", &[(1, 8)])), [0]);
    leave(&mut client, "g", &member);
    assert_eq!(delete(&mut client, 2, &["g"]), [("g".to_owned(), 0)]);
    server.kill_and_restart();
    let mut client = server.connect();
    assert_eq!(describe(&mut client, "g").error_code, 69);
    assert_eq!(fetched(client.call(9, &fetch_offsets(9, "g", None))), []);
    assert_eq!(fetched(client.call(9, &fetch_offsets(9, "g", Some(&topic))))[0].2, -1);
    // A group of which there is only a promised id can go too, and the id with it.
    let member = member_id(&mut client, "new");
    assert_eq!(delete(&mut client, 2, &["new"]), [("new".to_owned(), 0)]);
    assert_eq!(client.call(9, &join_request("new", &member)).error_code, 25);
}

#[test]
fn offsets_are_deleted_of_what_nobody_subscribes_to() {
    let (_server, mut client, _) = started();
    create(&mut client, "other", 1, &[]);
    let (member, generation) = subscribed(&mut client, "g", &["t"]);
    let who = (member.as_str(), generation);
    assert_eq!(commit_errors(&mut client, &commit("g", who, "t", &[(0, 1)])), [0]);
    assert_eq!(commit_errors(&mut client, &commit("g", who, "other", &[(0, 2)])), [0]);
    let answer = delete_offsets(&mut client, "g", &[("t", &[0, 9, 1]), ("other", &[0]), ("nothing", &[0])]);
    assert_eq!(delete_errors(answer), [86, 3, 86, 0, 3]);
    assert_eq!(fetched(client.call(9, &fetch_offsets(9, "g", None))).len(), 1);
    leave(&mut client, "g", &member);
    assert_eq!(delete_errors(delete_offsets(&mut client, "g", &[("t", &[0, 2])])), [0, 0]);
    assert_eq!(fetched(client.call(9, &fetch_offsets(9, "g", None))), []);
    assert_eq!(&*describe(&mut client, "g").group_state, "Empty");
}

#[test]
fn offsets_of_some_groups_are_not_deleted() {
    let (_server, mut client, _) = started();
    for (group, error) in [("", 24), ("nobody", 69)] {
        let answer = delete_offsets(&mut client, group, &[("t", &[0])]);
        assert_eq!((answer.error_code, answer.topics.len()), (error, 0), "{group:?}");
    }
    // What a group of another protocol reads is not known here.
    let join = |member: &str| JoinGroupRequest { protocol_type: "connect".into(), ..join_request("workers", member) };
    let member = client.call(9, &join("")).member_id.to_string();
    assert_eq!(client.call(9, &join(&member)).error_code, 0);
    assert_eq!(delete_offsets(&mut client, "workers", &[("t", &[0])]).error_code, 68);
    // Nor is what consumers read whose subscription cannot be read.
    let (member, generation) = stable(&mut client, "opaque");
    assert_eq!(commit_errors(&mut client, &commit("opaque", (&member, generation), "t", &[(0, 1)])), [0]);
    assert_eq!(delete_errors(delete_offsets(&mut client, "opaque", &[("t", &[0])])), [86]);
    // A simple group stands without offsets, too.
    assert_eq!(commit_errors(&mut client, &commit("simple", ("", -1), "t", &[(0, 1)])), [0]);
    assert_eq!(delete_errors(delete_offsets(&mut client, "simple", &[("t", &[0, 1])])), [0, 0]);
    let simple = describe(&mut client, "simple");
    assert_eq!((&*simple.group_state, &*simple.protocol_type), ("Empty", ""));
}
