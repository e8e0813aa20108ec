//! How a group comes from one generation to the next: preparing, completing, electing, voting; and what time does to it.
//!
//! Empty → preparing → completing → stable → preparing …; a group whose last member goes is empty at once. Completing
//! begins when all members have joined and none is pending, or when the rebalance has waited long enough: dynamic members
//! who did not come are dropped then, static ones are kept until their session or the sync timeout ends.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use broker_model::machine::CallId;
use broker_model::{ErrorCode, Timestamp};

use crate::live::{Arrival, InitialDelay, Live, LiveGroup, LiveMember, Phase, Synced, Waiting, Writing};
use crate::records;
use crate::request::{self, Assignment, Joined, JoinedMember, LeaderReturn, Output};
use crate::state::{KeptMember, KeptMeta};
use crate::turn::Turn;

/// All that is due, in all groups.
pub(crate) fn tick(turn: &mut Turn<'_>, live: &mut Live) {
    for id in live.due(turn.now) {
        if let Some(group) = live.groups.get_mut(&id) {
            tick_group(turn, &id, group);
        }
        live.settle(&id, turn.hard);
    }
}

fn tick_group(turn: &mut Turn<'_>, id: &str, group: &mut LiveGroup) {
    let now = turn.now;
    let is_overdue = |member: &LiveMember| member.can_run_out() && member.session_end <= now;
    let mut gone: Vec<String> =
        group.members.iter().filter(|(_, member)| is_overdue(member)).map(|(id, _)| id.clone()).collect();
    if group.sync_until.is_some_and(|until| until <= now) {
        group.sync_until = None;
        let late = group.members.iter().filter(|(id, member)| member.synced == Synced::No && !gone.contains(*id));
        let late: Vec<String> = late.map(|(id, _)| id.clone()).collect();
        gone.extend(late);
    }
    let pending = group.pending.len();
    group.pending.retain(|_, end| *end > now);
    if !gone.is_empty() {
        gone.iter().for_each(|member| remove(turn, group, member));
        after_removal(turn, id, group);
    } else if group.pending.len() < pending {
        try_complete(turn, id, group);
    }
    if group.retry_at.is_some_and(|at| at <= now) {
        group.retry_at = None;
        if group.phase == Phase::Empty && !turn.hard.is_written_empty(id, group.generation) {
            write_empty(turn, id, group);
        }
    }
    if let Phase::Preparing { until, initial } = group.phase.clone()
        && until <= now
    {
        match initial {
            Some(InitialDelay { remaining_ms, newcomers: 1.. }) if remaining_ms > 0 => {
                let delay_ms = remaining_ms.min(turn.settings.initial_rebalance_delay_ms.into()).max(1);
                let initial = Some(InitialDelay { remaining_ms: remaining_ms - delay_ms, newcomers: 0 });
                group.phase = Phase::Preparing { until: now.plus_ms(delay_ms), initial };
            }
            _ => complete(turn, id, group),
        }
    }
}

/// Asks all members to join again. Who waits for an assignment hears so.
pub(crate) fn prepare(turn: &mut Turn<'_>, id: &str, group: &mut LiveGroup) {
    let is_unassigned = matches!(group.phase, Phase::Completing { .. });
    for member in group.members.values_mut() {
        if is_unassigned {
            member.assignment.clear();
        }
        if let Waiting::Sync(call) = member.waiting {
            turn.reply(call, answer_sync(ErrorCode::RebalanceInProgress));
            member.waiting = Waiting::None;
            member.heard(turn.now);
        }
        member.synced = Synced::No;
    }
    group.sync_until = None;
    group.retry_at = None;
    let (total_ms, delay_ms) = (group.rebalance_timeout_ms(), i64::from(turn.settings.initial_rebalance_delay_ms));
    let is_first = group.phase == Phase::Empty;
    group.phase = if is_first && delay_ms > 0 {
        let initial = Some(InitialDelay { remaining_ms: (total_ms - delay_ms).max(0), newcomers: 0 });
        Phase::Preparing { until: turn.now.plus_ms(delay_ms), initial }
    } else {
        Phase::Preparing { until: turn.now.plus_ms(total_ms.max(1)), initial: None }
    };
    if is_first && delay_ms == 0 {
        // The first rebalance waits for its delay, and not for those who were only promised an id.
        return complete(turn, id, group);
    }
    try_complete(turn, id, group);
}

/// A group that was loaded with more members than it may have now: all join again, and the last to come do not get in.
pub(crate) fn shrink(group: &mut LiveGroup, now: Timestamp) {
    group.members.values_mut().for_each(|member| member.synced = Synced::No);
    group.phase = Phase::Preparing { until: now.plus_ms(group.rebalance_timeout_ms().max(1)), initial: None };
}

/// A member came, or came again.
pub(crate) fn after_arrival(turn: &mut Turn<'_>, id: &str, group: &mut LiveGroup) {
    match &mut group.phase {
        Phase::Preparing { initial, .. } => {
            if let Some(initial) = initial {
                initial.newcomers += 1;
            }
            try_complete(turn, id, group);
        }
        Phase::Empty | Phase::Completing { .. } | Phase::Stable => prepare(turn, id, group),
    }
}

/// Members were removed.
pub(crate) fn after_removal(turn: &mut Turn<'_>, id: &str, group: &mut LiveGroup) {
    match group.phase {
        Phase::Stable | Phase::Completing { .. } => prepare(turn, id, group),
        Phase::Preparing { .. } => try_complete(turn, id, group),
        Phase::Empty => {}
    }
}

/// Removes a member; its caller, if one waits, hears that it is not known any more.
pub(crate) fn remove(turn: &mut Turn<'_>, group: &mut LiveGroup, id: &str) {
    let Some(member) = group.members.remove(id) else { return };
    hang_up(turn, &member, "", ErrorCode::UnknownMemberId);
    if let Some(instance) = &member.instance {
        group.statics.remove(instance);
    }
    if group.is_leader(id) {
        group.leader = None;
    }
}

/// Answers who waits for this member with an error.
pub(crate) fn hang_up(turn: &mut Turn<'_>, member: &LiveMember, id: &str, error: ErrorCode) {
    match member.waiting {
        Waiting::Join(call, _) => turn.reply(call, refuse_join(error, id)),
        Waiting::Sync(call) => turn.reply(call, answer_sync(error)),
        Waiting::None => {}
    }
}

pub(crate) fn try_complete(turn: &mut Turn<'_>, id: &str, group: &mut LiveGroup) {
    let Phase::Preparing { initial, .. } = &group.phase else { return };
    let is_joined = |member: &LiveMember| matches!(member.waiting, Waiting::Join(..));
    let is_complete = initial.is_none() && group.pending.is_empty() && group.members.values().all(is_joined);
    if group.members.is_empty() {
        become_empty(turn, id, group);
    } else if is_complete {
        complete(turn, id, group);
    }
}

fn complete(turn: &mut Turn<'_>, id: &str, group: &mut LiveGroup) {
    let is_joined = |member: &LiveMember| matches!(member.waiting, Waiting::Join(..));
    let absent = group.members.iter().filter(|(_, member)| !is_joined(member) && member.instance.is_none());
    let absent: Vec<String> = absent.map(|(id, _)| id.clone()).collect();
    absent.iter().for_each(|member| remove(turn, group, member));
    if group.members.is_empty() {
        return become_empty(turn, id, group);
    }
    let timeout_ms = group.rebalance_timeout_ms().max(1);
    let mut joined = group.members.iter().filter(|(_, member)| is_joined(member));
    let has_leader = joined.clone().any(|(id, _)| group.is_leader(id));
    if !has_leader {
        let first = joined.by_ref().min_by_key(|(_, member)| member.order).map(|(id, _)| id.clone());
        if first.is_none() {
            // Only static members that are away: wait until they come or their sessions end.
            group.phase = Phase::Preparing { until: turn.now.plus_ms(timeout_ms), initial: None };
            return;
        }
        group.leader = first;
    }
    group.generation = next_generation(group.generation);
    group.protocol = vote(group);
    group.note_subscriptions();
    group.phase = Phase::Completing { writing: Writing::No };
    group.sync_until = Some(turn.now.plus_ms(timeout_ms));
    group.retry_at = None;
    let mut waiting = Vec::new();
    for (id, member) in &mut group.members {
        member.synced = Synced::No;
        member.arrival = Arrival::Known;
        if let Waiting::Join(call, _) = std::mem::replace(&mut member.waiting, Waiting::None) {
            member.heard(turn.now);
            waiting.push((call, id.clone()));
        }
    }
    for (call, id) in waiting {
        turn.reply(call, accept_join(group, &id));
    }
}

fn next_generation(generation: i32) -> i32 {
    generation.checked_add(1).unwrap_or(1)
}

/// The last member is gone. The group goes on counting, so its end is a generation too.
fn become_empty(turn: &mut Turn<'_>, id: &str, group: &mut LiveGroup) {
    group.generation = next_generation(group.generation);
    group.phase = Phase::Empty;
    (group.protocol, group.leader, group.subscribed, group.sync_until) = (None, None, None, None);
    write_empty(turn, id, group);
}

fn write_empty(turn: &mut Turn<'_>, id: &str, group: &LiveGroup) {
    let meta = keep(turn, group);
    turn.write(records::group(id, Some(&meta)));
}

/// The group as the log is to keep it.
pub(crate) fn keep(turn: &Turn<'_>, group: &LiveGroup) -> KeptMeta {
    let protocol = group.protocol.as_deref().unwrap_or("");
    let member = |(id, member): (&String, &LiveMember)| KeptMember {
        member: id.clone(),
        instance: member.instance.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        session_timeout_ms: member.session_timeout_ms,
        subscription: member.metadata(protocol),
        assignment: member.assignment.clone(),
    };
    KeptMeta {
        protocol_type: group.protocol_type.clone(),
        generation: group.generation,
        protocol: group.protocol.clone(),
        leader: group.leader.clone(),
        state_at: turn.now,
        members: group.members.iter().map(member).collect(),
    }
}

/// Each member votes for the first of its assignors that all can do; of equals the first by name wins.
pub(crate) fn vote(group: &LiveGroup) -> Option<String> {
    let can = |member: &LiveMember, name: &str| member.protocols.iter().any(|protocol| protocol.name == name);
    let can_all = |name: &str| group.members.values().all(|member| can(member, name));
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for member in group.members.values() {
        let choice = member.protocols.iter().find(|protocol| can_all(&protocol.name));
        if let Some(choice) = choice {
            *votes.entry(&choice.name).or_default() += 1;
        }
    }
    let winner = votes.into_iter().max_by_key(|(name, votes)| (*votes, Reverse(*name)));
    winner.map(|(name, _)| name.to_owned())
}

/// The answer to a member of the current generation; the leader hears of all members.
pub(crate) fn accept_join(group: &LiveGroup, id: &str) -> Output {
    let protocol = group.protocol.as_deref().unwrap_or("");
    let joined = |(id, member): (&String, &LiveMember)| JoinedMember {
        member: id.clone(),
        instance: member.instance.clone(),
        metadata: member.metadata(protocol),
    };
    let members = if group.is_leader(id) { group.members.iter().map(joined).collect() } else { Vec::new() };
    Output::Joined(Joined {
        error: ErrorCode::None,
        generation: group.generation,
        protocol_type: Some(group.protocol_type.clone()),
        protocol: group.protocol.clone(),
        leader: group.leader.clone().unwrap_or_default(),
        assignment: Assignment::Compute,
        member: id.to_owned(),
        members,
    })
}

/// An error to who wanted to join.
pub(crate) fn refuse_join(error: ErrorCode, member: &str) -> Output {
    Output::Joined(Joined {
        error,
        generation: -1,
        protocol_type: None,
        protocol: None,
        leader: String::new(),
        assignment: Assignment::Compute,
        member: member.to_owned(),
        members: Vec::new(),
    })
}

/// An error to who wanted to sync.
pub(crate) fn answer_sync(error: ErrorCode) -> Output {
    Output::Synced(request::Synced { error, protocol_type: None, protocol: None, assignment: Vec::new() })
}

/// The member's caller waits for the rebalance from now on; one who waited already is sent away.
pub(crate) fn wait_for_join(turn: &mut Turn<'_>, id: &str, member: &mut LiveMember, by: (CallId, LeaderReturn)) {
    hang_up(turn, member, id, ErrorCode::RebalanceInProgress);
    member.waiting = Waiting::Join(by.0, by.1);
}
