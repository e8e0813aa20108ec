//! The classic group protocol: members that join, sync, beat and leave, rightly and wrongly.
//!
//! A group has four members with a lane each, because a member that joins may have to wait for the others. Timeouts are
//! long: nobody is thrown out by the clock within a sequence.

use broker_wire::messages::consumer_protocol_subscription::ConsumerProtocolSubscription;
use broker_wire::messages::join_group_request::JoinGroupRequestProtocol;
use broker_wire::messages::leave_group_request::MemberIdentity;
use broker_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use broker_wire::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest,
    LeaveGroupRequest, ListGroupsRequest, SyncGroupRequest,
};
use broker_wire::{ApiKey, Encoder, RequestBody, Str};
use bytes::Bytes;

use super::Plan;
use crate::step::View;

const MEMBERS: u8 = 4;

/// A group in a request: mostly one of the sequence's.
#[derive(Clone, Copy, Debug)]
pub(super) enum Group {
    Slot(u8),
    Literal(&'static str),
}

impl Group {
    pub(super) fn text(self, view: &View<'_>) -> Str {
        match self {
            Group::Slot(slot) => view.group(slot),
            Group::Literal(text) => Str::from_static(text),
        }
    }
}

/// A group's name.
pub(super) fn group(plan: &mut Plan<'_>) -> Group {
    match plan.dice.below(30) {
        0 | 1 => Group::Slot(9),
        2..8 => Group::Slot(1),
        _ => Group::Slot(0),
    }
}

/// Who a request says it is from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Who {
    pub(super) group: Group,
    /// The slot of the member, over all groups.
    pub(super) slot: u8,
    id: Id,
    generation_off: i32,
    instance: Option<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Id {
    Own,
    Empty,
    Unknown,
}

impl Who {
    pub(super) fn member_id(self, view: &View<'_>) -> Str {
        match self.id {
            Id::Own => view.member(self.slot),
            Id::Empty => Str::default(),
            Id::Unknown => Str::from_static("nobody-of-this-name"),
        }
    }

    pub(super) fn generation(self, view: &View<'_>) -> i32 {
        view.generation(self.slot).wrapping_add(self.generation_off)
    }

    pub(super) fn instance(self) -> Option<Str> {
        self.instance.map(|number| Str::from(format!("instance-{number}")))
    }
}

/// A member, mostly as it is.
pub(super) fn who(plan: &mut Plan<'_>) -> Who {
    // All sequences share the group without a name, so that nothing may live in it.
    let group = if plan.dice.percent(2) { Group::Literal("") } else { group(plan) };
    let number = plan.dice.weighted(&[(6, 0), (4, 1), (2, 2), (1, 3)]);
    let slot = number + if matches!(group, Group::Slot(1)) { MEMBERS } else { 0 };
    // Members 2 and 3 are static; sometimes another one says so.
    let mut instance = (number >= 2).then_some(number);
    if plan.dice.percent(6) {
        instance = plan.dice.of(&[None, Some(2), Some(3), Some(9)]);
    }
    Who {
        group,
        slot,
        id: plan.dice.weighted(&[(40, Id::Own), (2, Id::Empty), (2, Id::Unknown)]),
        generation_off: plan.dice.weighted(&[(40, 0), (2, 1), (2, -1), (1, 100)]),
        instance,
    }
}

/// Any request about groups.
pub(super) fn groups(plan: &mut Plan<'_>) {
    match plan.dice.below(40) {
        0..14 => join(plan),
        14..22 => sync(plan),
        22..28 => heartbeat(plan),
        28..31 => leave(plan),
        31..34 => describe(plan),
        34 | 35 => list(plan),
        36 => delete(plan),
        _ => find(plan),
    }
}

/// One that may be damaged.
pub(super) fn rough(plan: &mut Plan<'_>) {
    match plan.dice.below(4) {
        0 => heartbeat(plan),
        1 => describe(plan),
        2 => list(plan),
        _ => find(plan),
    }
}

fn join(plan: &mut Plan<'_>) {
    let who = who(plan);
    let session_timeout_ms = plan.dice.weighted(&[(30, 60_000), (1, 5_999), (1, 0), (1, 1_800_001), (1, 1_800_000)]);
    let protocol_type = plan.dice.weighted(&[(30, "consumer"), (1, ""), (1, "connect")]);
    let names: &'static [&'static str] = plan.dice.weighted(&[
        (20, &["range"][..]),
        (6, &["range", "roundrobin"]),
        (6, &["roundrobin", "range"]),
        (2, &["sticky"]),
        (1, &[]),
    ]);
    let topic = plan.topic();
    let garbage = plan.dice.percent(8);
    let reason = plan.dice.percent(20).then_some("a reason");
    let made = plan.add("join-group", ApiKey::JoinGroup, move |view| {
        let metadata = if garbage { Bytes::from_static(b"?") } else { subscription(view.topic(topic)) };
        let protocol =
            |name: &&'static str| JoinGroupRequestProtocol { name: Str::from_static(name), metadata: metadata.clone() };
        RequestBody::JoinGroup(JoinGroupRequest {
            group_id: who.group.text(view),
            session_timeout_ms,
            rebalance_timeout_ms: 120_000,
            member_id: who.member_id(view),
            group_instance_id: who.instance(),
            protocol_type: Str::from_static(protocol_type),
            protocols: names.iter().map(protocol).collect(),
            reason: reason.map(Str::from_static),
        })
    });
    let Some(step) = made else { return };
    step.lane = 1 + who.slot;
    step.slot = who.slot;
}

fn subscription(topic: Str) -> Bytes {
    let body = ConsumerProtocolSubscription { topics: vec![topic], ..Default::default() };
    let mut out = Encoder::new();
    out.i16(0);
    match body.encode(&mut out, 0) {
        Ok(()) => out.finish().0,
        Err(_) => Bytes::new(),
    }
}

fn sync(plan: &mut Plan<'_>) {
    let who = who(plan);
    let others = plan.dice.weighted(&[(10, true), (2, false)]);
    let protocol_type = plan.dice.weighted(&[(20, Some("consumer")), (3, None), (1, Some("x"))]);
    let protocol_name = plan.dice.weighted(&[(20, Some("range")), (3, None), (1, Some("sticky"))]);
    let made = plan.add("sync-group", ApiKey::SyncGroup, move |view| {
        let first = if who.slot >= MEMBERS { MEMBERS } else { 0 };
        let known = (first..first + MEMBERS).map(|slot| (slot, view.member(slot)));
        let assignments = known
            .filter(|(_, member)| others && !member.is_empty())
            .map(|(slot, member_id)| SyncGroupRequestAssignment { member_id, assignment: Bytes::from(vec![slot; 4]) });
        RequestBody::SyncGroup(SyncGroupRequest {
            group_id: who.group.text(view),
            generation_id: who.generation(view),
            member_id: who.member_id(view),
            group_instance_id: who.instance(),
            protocol_type: protocol_type.map(Str::from_static),
            protocol_name: protocol_name.map(Str::from_static),
            assignments: assignments.collect(),
        })
    });
    let Some(step) = made else { return };
    step.lane = 1 + who.slot;
}

fn heartbeat(plan: &mut Plan<'_>) {
    let who = who(plan);
    plan.add("heartbeat", ApiKey::Heartbeat, move |view| {
        RequestBody::Heartbeat(HeartbeatRequest {
            group_id: who.group.text(view),
            generation_id: who.generation(view),
            member_id: who.member_id(view),
            group_instance_id: who.instance(),
        })
    });
}

fn leave(plan: &mut Plan<'_>) {
    let (first, second) = (who(plan), who(plan));
    let count = plan.dice.weighted(&[(8, 1), (3, 2), (1, 0)]);
    let reason = plan.dice.percent(30).then_some("a reason");
    plan.add("leave-group", ApiKey::LeaveGroup, move |view| {
        let member = |who: &Who| MemberIdentity {
            member_id: who.member_id(view),
            group_instance_id: who.instance(),
            reason: reason.map(Str::from_static),
        };
        RequestBody::LeaveGroup(LeaveGroupRequest {
            group_id: first.group.text(view),
            member_id: first.member_id(view),
            members: [first, second].iter().take(count).map(member).collect(),
        })
    });
}

fn describe(plan: &mut Plan<'_>) {
    let count = plan.dice.weighted(&[(6, 1), (2, 2), (1, 0)]);
    let names: Vec<Group> = (0..count).map(|_| group(plan)).collect();
    let authorized = plan.dice.percent(30);
    plan.add("describe-groups", ApiKey::DescribeGroups, move |view| {
        RequestBody::DescribeGroups(DescribeGroupsRequest {
            groups: names.iter().map(|name| name.text(view)).collect(),
            include_authorized_operations: authorized,
        })
    });
}

fn list(plan: &mut Plan<'_>) {
    let states: &'static [&'static str] =
        plan.dice.weighted(&[(5, &[][..]), (2, &["Stable"]), (2, &["empty", "PreparingRebalance"]), (1, &["x"])]);
    let types: &'static [&'static str] =
        plan.dice.weighted(&[(5, &[][..]), (2, &["classic"]), (1, &["Consumer"]), (1, &["x"])]);
    plan.add("list-groups", ApiKey::ListGroups, move |_| {
        let list = |names: &[&'static str]| names.iter().map(|name| Str::from_static(name)).collect();
        RequestBody::ListGroups(ListGroupsRequest { states_filter: list(states), types_filter: list(types) })
    });
}

fn delete(plan: &mut Plan<'_>) {
    let count = plan.dice.weighted(&[(6, 1), (2, 2), (1, 0)]);
    let names: Vec<Group> = (0..count).map(|_| group(plan)).collect();
    plan.add("delete-groups", ApiKey::DeleteGroups, move |view| {
        let groups_names = names.iter().map(|name| name.text(view)).collect();
        RequestBody::DeleteGroups(DeleteGroupsRequest { groups_names })
    });
}

fn find(plan: &mut Plan<'_>) {
    let key_type = plan.dice.weighted(&[(14, 0), (1, 3), (1, -1)]);
    let mut names: Vec<Group> = (0..plan.dice.weighted(&[(6, 1), (2, 2), (1, 0)])).map(|_| group(plan)).collect();
    if plan.dice.percent(10) {
        names = vec![Group::Literal("")];
    }
    plan.add("find-coordinator", ApiKey::FindCoordinator, move |view| {
        let coordinator_keys: Vec<Str> = names.iter().map(|name| name.text(view)).collect();
        let key = coordinator_keys.first().cloned().unwrap_or_default();
        RequestBody::FindCoordinator(FindCoordinatorRequest { key, key_type, coordinator_keys })
    });
}
