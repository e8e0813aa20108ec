//! What a member of a group says: SyncGroup, Heartbeat, LeaveGroup.
//!
//! The leader's assignment is written first; all who sync are answered when it is committed. A heartbeat only moves the
//! session's end, which the index of deadlines learns when the old end comes.

use broker_model::ErrorCode;
use broker_model::machine::CallId;

use crate::live::{Live, LiveGroup, Phase, Synced, Waiting, Writing};
use crate::rebalance::{after_removal, answer_sync, hang_up, keep, remove};
use crate::records;
use crate::request::{self, Leave, LeavingMember, Left, MemberRef, Output, Sync};
use crate::settings::GROUP_BYTES_MAX;
use crate::turn::Turn;

/// SyncGroup.
pub(crate) fn sync(turn: &mut Turn<'_>, live: &mut Live, call: CallId, request: Sync) {
    let id = request.who.group.clone();
    if id.is_empty() {
        return turn.reply(call, answer_sync(ErrorCode::InvalidGroupId));
    }
    let result = match live.groups.get_mut(&id) {
        Some(group) => sync_in(turn, group, call, request),
        None => Err(ErrorCode::UnknownMemberId),
    };
    if let Err(error) = result {
        turn.reply(call, answer_sync(error));
    }
    live.settle(&id, turn.hard);
}

fn sync_in(turn: &mut Turn<'_>, group: &mut LiveGroup, call: CallId, request: Sync) -> Result<(), ErrorCode> {
    check_speaker(group, &request.who)?;
    let differs = |said: &Option<String>, known: Option<&str>| said.as_deref().is_some_and(|said| Some(said) != known);
    if differs(&request.protocol_type, Some(&group.protocol_type))
        || differs(&request.protocol, group.protocol.as_deref())
    {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    let is_leader = group.is_leader(&request.who.member);
    let member = group.members.get_mut(&request.who.member).expect("it was just seen");
    match group.phase {
        Phase::Empty => return Err(ErrorCode::UnknownMemberId),
        Phase::Preparing { .. } => return Err(ErrorCode::RebalanceInProgress),
        Phase::Stable => {
            member.synced = Synced::Yes;
            member.heard(turn.now);
            let assignment = member.assignment.clone();
            turn.reply(call, synced(group, assignment));
        }
        Phase::Completing { writing } => {
            let assigned: usize = request.assignments.iter().map(|(_, bytes)| bytes.len()).sum();
            if is_leader && assigned + group.bytes() - group.assigned_bytes() > GROUP_BYTES_MAX {
                return Err(ErrorCode::UnknownServerError);
            }
            let member = group.members.get_mut(&request.who.member).expect("it was just seen");
            hang_up(turn, member, &request.who.member, ErrorCode::RebalanceInProgress);
            member.synced = Synced::Yes;
            member.waiting = Waiting::Sync(call);
            if is_leader && writing == Writing::No {
                group.phase = Phase::Completing { writing: Writing::Yes };
                write_assignment(turn, group, request);
            }
        }
    }
    if group.members.values().all(|member| member.synced == Synced::Yes) {
        group.sync_until = None;
    }
    Ok(())
}

/// The group with what the leader says; who is not named is assigned nothing.
fn write_assignment(turn: &mut Turn<'_>, group: &LiveGroup, request: Sync) {
    let mut meta = keep(turn, group);
    meta.members.iter_mut().for_each(|kept| kept.assignment.clear());
    for (member, assignment) in request.assignments {
        if let Ok(at) = meta.members.binary_search_by(|kept| kept.member.cmp(&member))
            && let Some(kept) = meta.members.get_mut(at)
        {
            kept.assignment = assignment;
        }
    }
    turn.write(records::group(&request.who.group, Some(&meta)));
}

/// Answers all who wait for the assignment.
pub(crate) fn answer_syncs(turn: &mut Turn<'_>, group: &mut LiveGroup, error: ErrorCode) {
    let mut waiting = Vec::new();
    for member in group.members.values_mut() {
        if let Waiting::Sync(call) = member.waiting {
            member.waiting = Waiting::None;
            member.heard(turn.now);
            waiting.push((call, member.assignment.clone()));
        }
    }
    for (call, assignment) in waiting {
        let output = if error == ErrorCode::None { synced(group, assignment) } else { answer_sync(error) };
        turn.reply(call, output);
    }
}

fn synced(group: &LiveGroup, assignment: Vec<u8>) -> Output {
    let (protocol_type, protocol) = (Some(group.protocol_type.clone()), group.protocol.clone());
    Output::Synced(request::Synced { error: ErrorCode::None, protocol_type, protocol, assignment })
}

/// A member of this generation.
fn check_speaker(group: &LiveGroup, who: &MemberRef) -> Result<(), ErrorCode> {
    group.check_known(&who.member, who.instance.as_deref())?;
    if who.generation == group.generation { Ok(()) } else { Err(ErrorCode::IllegalGeneration) }
}

/// Heartbeat.
pub(crate) fn heartbeat(turn: &mut Turn<'_>, live: &mut Live, call: CallId, who: &MemberRef) {
    let error = match live.groups.get_mut(&who.group) {
        Some(group) => beat(turn, group, who),
        None if who.group.is_empty() => ErrorCode::InvalidGroupId,
        None => ErrorCode::UnknownMemberId,
    };
    turn.reply(call, Output::Heartbeat(error));
}

fn beat(turn: &Turn<'_>, group: &mut LiveGroup, who: &MemberRef) -> ErrorCode {
    if let Err(error) = check_speaker(group, who) {
        return error;
    }
    if let Some(member) = group.members.get_mut(&who.member) {
        member.heard(turn.now);
    }
    match group.phase {
        Phase::Preparing { .. } => ErrorCode::RebalanceInProgress,
        Phase::Empty => ErrorCode::UnknownMemberId,
        Phase::Completing { .. } | Phase::Stable => ErrorCode::None,
    }
}

/// The member of this generation may commit now; its session goes on.
pub(crate) fn check_commit(turn: &Turn<'_>, group: &mut LiveGroup, who: &MemberRef) -> Result<(), ErrorCode> {
    check_speaker(group, who)?;
    if matches!(group.phase, Phase::Completing { .. }) {
        return Err(ErrorCode::RebalanceInProgress);
    }
    if let Some(member) = group.members.get_mut(&who.member) {
        member.heard(turn.now);
    }
    Ok(())
}

/// LeaveGroup.
pub(crate) fn leave(turn: &mut Turn<'_>, live: &mut Live, call: CallId, request: Leave) {
    let Leave { group: id, members } = request;
    if id.is_empty() {
        return turn.reply(call, Output::Left(Left { error: ErrorCode::InvalidGroupId, members: Vec::new() }));
    }
    let mut results = Vec::new();
    match live.groups.get_mut(&id) {
        None => results.extend(members.into_iter().map(|member| (member, ErrorCode::UnknownMemberId))),
        Some(group) => {
            let before = group.members.len() + group.pending.len();
            for member in members {
                let error = leave_one(turn, group, &member).err().unwrap_or(ErrorCode::None);
                results.push((member, error));
            }
            if group.members.len() + group.pending.len() < before {
                after_removal(turn, &id, group);
            }
        }
    }
    turn.reply(call, Output::Left(Left { error: ErrorCode::None, members: results }));
    live.settle(&id, turn.hard);
}

fn leave_one(turn: &mut Turn<'_>, group: &mut LiveGroup, leaving: &LeavingMember) -> Result<(), ErrorCode> {
    let LeavingMember { member, instance } = leaving;
    if group.pending.remove(member).is_some() {
        return Ok(());
    }
    let holder = match instance {
        // A tool removes a static member by its instance alone.
        Some(instance) if member.is_empty() => group.statics.get(instance).cloned(),
        _ => {
            group.check_known(member, instance.as_deref())?;
            Some(member.clone())
        }
    };
    remove(turn, group, &holder.ok_or(ErrorCode::UnknownMemberId)?);
    Ok(())
}
