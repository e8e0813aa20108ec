//! JoinGroup: who gets in, as whom, and whether that means a rebalance.
//!
//! Checks first (names, session timeout, room, protocols), then by what the member is: new, promised an id, known,
//! or a static member that came back. Bounds answer GROUP_MAX_SIZE_REACHED or INVALID_REQUEST; nothing grows without one.

use broker_model::ErrorCode;
use broker_model::machine::CallId;

use crate::live::{Arrival, Live, LiveGroup, LiveMember, Phase, Synced, Waiting};
use crate::rebalance::{
    accept_join, after_arrival, hang_up, keep, prepare, refuse_join, remove, try_complete, vote, wait_for_join,
};
use crate::records;
use crate::request::{Assignment, FirstJoin, Join, LeaderReturn, Output};
use crate::settings::{
    GROUP_BYTES_MAX, GROUPS_MAX, NAME_BYTES_MAX, NEW_MEMBER_JOIN_MS, PENDING_MEMBERS_MAX, PROTOCOLS_MAX, Settings,
};
use crate::subscription;
use crate::turn::Turn;

/// JoinGroup.
pub(crate) fn join(turn: &mut Turn<'_>, live: &mut Live, call: CallId, request: Join) {
    if let Err(error) = enter(turn, live, call, &request) {
        let member = if error == ErrorCode::GroupMaxSizeReached { "" } else { &request.member };
        turn.reply(call, refuse_join(error, member));
    }
    live.settle(&request.group, turn.hard);
}

/// An error is the answer; without one, the member was answered or waits.
fn enter(turn: &mut Turn<'_>, live: &mut Live, call: CallId, request: &Join) -> Result<(), ErrorCode> {
    check_request(turn.settings, request)?;
    let id = &request.group;
    if !live.groups.contains_key(id) {
        if !request.member.is_empty() {
            return Err(ErrorCode::UnknownMemberId);
        }
        if live.groups.len() >= GROUPS_MAX {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        live.groups.insert(id.clone(), LiveGroup::new(turn.hard.meta(id)));
    }
    let group = live.groups.get_mut(id).expect("it was just made");
    if !has_room(turn.settings, group, request) {
        // Where a group must shrink, the last to come again do not get in.
        group.pending.remove(&request.member);
        remove(turn, group, &request.member);
        try_complete(turn, id, group);
        return Err(ErrorCode::GroupMaxSizeReached);
    }
    check_protocols(group, request)?;
    let order = live.next_order;
    live.next_order += 1;
    if request.member.is_empty() {
        enter_unnamed(turn, group, call, (request, order))
    } else {
        enter_named(turn, group, call, (request, order))
    }
}

fn check_request(settings: &Settings, request: &Join) -> Result<(), ErrorCode> {
    let Join { group, member, instance, client_id, client_host, unique, protocol_type, protocols, .. } = request;
    if group.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let names = [group, member, client_id, client_host, protocol_type, instance.as_ref().unwrap_or(member)];
    let names = names.into_iter().chain(protocols.iter().map(|protocol| &protocol.name));
    if names.map(String::len).max() > Some(NAME_BYTES_MAX)
        || unique.len() > NAME_BYTES_MAX / 2
        || protocols.len() > PROTOCOLS_MAX
        || instance.as_ref().is_some_and(String::is_empty)
    {
        return Err(ErrorCode::InvalidRequest);
    }
    if !(settings.session_timeout_ms_min..=settings.session_timeout_ms_max).contains(&request.session_timeout_ms) {
        return Err(ErrorCode::InvalidSessionTimeout);
    }
    Ok(())
}

/// The group has room for the member. While it rebalances, those count who have come, and not those who may.
fn has_room(settings: &Settings, group: &LiveGroup, request: &Join) -> bool {
    let known = request.instance.as_ref().and_then(|instance| group.statics.get(instance)).unwrap_or(&request.member);
    let old = group.members.get(known);
    let is_full = match group.phase {
        Phase::Empty => false,
        Phase::Preparing { .. } => {
            let is_waiting = old.is_some_and(|old| matches!(old.waiting, Waiting::Join(..)));
            !is_waiting && group.joining() >= settings.members_max
        }
        Phase::Completing { .. } | Phase::Stable => old.is_none() && group.members.len() >= settings.members_max,
    };
    let said: usize = request.protocols.iter().map(|protocol| protocol.name.len() + protocol.metadata.len()).sum();
    !is_full && group.bytes() - old.map_or(0, LiveMember::bytes) + said <= GROUP_BYTES_MAX
}

/// The member speaks the group's type of protocol, and can do an assignor that all members can.
fn check_protocols(group: &LiveGroup, request: &Join) -> Result<(), ErrorCode> {
    let can = |member: &LiveMember, name: &str| member.protocols.iter().any(|protocol| protocol.name == name);
    let can_all = |name: &str| group.members.values().all(|member| can(member, name));
    let is_consistent = match group.phase {
        Phase::Empty => !request.protocol_type.is_empty() && !request.protocols.is_empty(),
        Phase::Preparing { .. } | Phase::Completing { .. } | Phase::Stable => {
            group.protocol_type == request.protocol_type && request.protocols.iter().any(|own| can_all(&own.name))
        }
    };
    if is_consistent { Ok(()) } else { Err(ErrorCode::InconsistentGroupProtocol) }
}

type Newcomer<'a> = (&'a Join, u64);

fn enter_unnamed(
    turn: &mut Turn<'_>,
    group: &mut LiveGroup,
    call: CallId,
    newcomer: Newcomer<'_>,
) -> Result<(), ErrorCode> {
    let (request, _) = newcomer;
    let prefix = request.instance.as_ref().unwrap_or(&request.client_id);
    let member = format!("{prefix}-{}", request.unique);
    if group.members.contains_key(&member) || group.pending.contains_key(&member) {
        return Err(ErrorCode::UnknownMemberId); // The suffix was not fresh; the next one is.
    }
    if let Some(instance) = &request.instance {
        return match group.statics.get(instance).cloned() {
            Some(old) => replace_static(turn, group, (&old, member), (call, request)),
            None => add(turn, group, (member, call), newcomer),
        };
    }
    match request.first_join {
        FirstJoin::Direct => add(turn, group, (member, call), newcomer),
        FirstJoin::IdRequired if group.pending.len() >= PENDING_MEMBERS_MAX => Err(ErrorCode::GroupMaxSizeReached),
        FirstJoin::IdRequired => {
            let end = turn.now.plus_ms(request.session_timeout_ms.into());
            group.pending.insert(member.clone(), end);
            turn.reply(call, refuse_join(ErrorCode::MemberIdRequired, &member));
            Ok(())
        }
    }
}

fn enter_named(
    turn: &mut Turn<'_>,
    group: &mut LiveGroup,
    call: CallId,
    newcomer: Newcomer<'_>,
) -> Result<(), ErrorCode> {
    let (request, _) = newcomer;
    if group.pending.contains_key(&request.member) && request.instance.is_none() {
        group.pending.remove(&request.member);
        return add(turn, group, (request.member.clone(), call), newcomer);
    }
    group.check_known(&request.member, request.instance.as_deref())?;
    let is_leader = group.is_leader(&request.member);
    let member = group.members.get_mut(&request.member).expect("it was just seen");
    let is_unchanged = member.protocols == request.protocols;
    let answers_at_once = match group.phase {
        // Its answer was lost.
        Phase::Completing { .. } => is_unchanged,
        // A leader that comes again wants to assign anew.
        Phase::Stable => is_unchanged && !is_leader,
        Phase::Preparing { .. } => false,
        Phase::Empty => return Err(ErrorCode::UnknownMemberId),
    };
    update(member, request);
    if answers_at_once {
        hang_up(turn, member, &request.member, ErrorCode::RebalanceInProgress);
        member.waiting = Waiting::None;
        member.heard(turn.now);
        turn.reply(call, accept_join(group, &request.member));
        return Ok(());
    }
    wait_for_join(turn, &request.member, member, (call, request.leader_return));
    come_again(turn, &request.group, group);
    Ok(())
}

/// A member of the group joins again, which is no newcomer for the initial delay.
fn come_again(turn: &mut Turn<'_>, id: &str, group: &mut LiveGroup) {
    match group.phase {
        Phase::Preparing { .. } => try_complete(turn, id, group),
        Phase::Empty | Phase::Completing { .. } | Phase::Stable => prepare(turn, id, group),
    }
}

fn add(
    turn: &mut Turn<'_>,
    group: &mut LiveGroup,
    (id, call): (String, CallId),
    (request, order): Newcomer<'_>,
) -> Result<(), ErrorCode> {
    let mut member = LiveMember {
        instance: request.instance.clone(),
        client_id: String::new(),
        client_host: String::new(),
        session_timeout_ms: 0,
        rebalance_timeout_ms: 0,
        protocols: Vec::new(),
        assignment: Vec::new(),
        session_end: turn.now,
        waiting: Waiting::Join(call, request.leader_return),
        synced: Synced::No,
        arrival: Arrival::New,
        order,
    };
    update(&mut member, request);
    member.session_end = turn.now.plus_ms(NEW_MEMBER_JOIN_MS);
    if group.members.is_empty() {
        group.protocol_type = request.protocol_type.clone();
    }
    group.statics.extend(request.instance.clone().map(|instance| (instance, id.clone())));
    group.members.insert(id, member);
    after_arrival(turn, &request.group, group);
    Ok(())
}

fn update(member: &mut LiveMember, request: &Join) {
    member.client_id.clone_from(&request.client_id);
    member.client_host.clone_from(&request.client_host);
    member.session_timeout_ms = request.session_timeout_ms;
    member.rebalance_timeout_ms = request.rebalance_timeout_ms.max(0);
    member.protocols.clone_from(&request.protocols);
}

/// A static member came back under a new member id; whoever held the static id before is fenced.
fn replace_static(
    turn: &mut Turn<'_>,
    group: &mut LiveGroup,
    (old, new): (&str, String),
    (call, request): (CallId, &Join),
) -> Result<(), ErrorCode> {
    let mut member = group.members.remove(old).expect("a static id names a member");
    hang_up(turn, &member, old, ErrorCode::FencedInstanceId);
    (member.waiting, member.arrival) = (Waiting::None, Arrival::Known);
    let was_leader = group.is_leader(old);
    let protocol = group.protocol.clone();
    let said = member.metadata(protocol.as_deref().unwrap_or(""));
    update(&mut member, request);
    let says = member.said(protocol.as_deref().unwrap_or(""));
    let wants_other = subscription::differs(&group.protocol_type, &said, says);
    member.heard(turn.now);
    group.statics.extend(member.instance.clone().map(|instance| (instance, new.clone())));
    if was_leader {
        group.leader = Some(new.clone());
    }
    group.members.insert(new.clone(), member);
    if group.phase == Phase::Stable && !wants_other && vote(group) == protocol {
        // It gets what it had, and the generation holds. A successor must know the new id.
        let meta = keep(turn, group);
        turn.write(records::group(&request.group, Some(&meta)));
        turn.reply(call, welcome_back(group, old, &new, request.leader_return));
        return Ok(());
    }
    let member = group.members.get_mut(&new).expect("it was just put there");
    member.waiting = Waiting::Join(call, request.leader_return);
    come_again(turn, &request.group, group);
    Ok(())
}

/// A leader that came back is told to skip the assignment or, where its version cannot be, that another leads.
fn welcome_back(group: &LiveGroup, old: &str, new: &str, leader_return: LeaderReturn) -> Output {
    let mut output = accept_join(group, new);
    if let Output::Joined(joined) = &mut output
        && group.is_leader(new)
    {
        match leader_return {
            LeaderReturn::SkipAssignment => joined.assignment = Assignment::Skip,
            LeaderReturn::AsFollower => {
                joined.leader = old.to_owned();
                joined.members.clear();
            }
        }
    }
    output
}
