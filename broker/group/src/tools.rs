//! What tools ask: ListGroups, DescribeGroups, DeleteGroups.
//!
//! A group is known if it has members, awaits some, or has a record or offsets in the log.

use std::collections::BTreeSet;

use broker_model::ErrorCode;
use broker_model::machine::CallId;

use crate::live::{Live, LiveGroup, LiveMember, Phase};
use crate::records;
use crate::request::{DescribedGroup, DescribedMember, GroupState, ListedGroup, Output};
use crate::turn::Turn;

/// ListGroups.
pub(crate) fn list(turn: &mut Turn<'_>, live: &Live, call: CallId) {
    let kept = turn.hard.iter().map(|(id, _)| id);
    let ids: BTreeSet<&str> = kept.chain(live.groups.keys().map(String::as_str)).collect();
    let listed = ids.into_iter().map(|id| {
        let (state, protocol_type) = look(turn, live, id);
        ListedGroup { group: id.to_owned(), protocol_type, state }
    });
    let output = Output::Listed(listed.collect());
    turn.reply(call, output);
}

fn look(turn: &Turn<'_>, live: &Live, id: &str) -> (GroupState, String) {
    match (live.groups.get(id), turn.hard.get(id)) {
        (Some(group), _) => (group.state(), group.protocol_type.clone()),
        (None, Some(kept)) => {
            let protocol_type = kept.meta.as_ref().map_or(String::new(), |meta| meta.protocol_type.clone());
            (GroupState::Empty, protocol_type)
        }
        (None, None) => (GroupState::Dead, String::new()),
    }
}

/// DescribeGroups.
pub(crate) fn describe(turn: &mut Turn<'_>, live: &Live, call: CallId, groups: Vec<String>) {
    let described = groups.into_iter().map(|id| {
        let (state, protocol_type) = look(turn, live, &id);
        let group = live.groups.get(&id);
        let stable = group.filter(|group| group.phase == Phase::Stable);
        let protocol = stable.and_then(|group| group.protocol.clone()).unwrap_or_default();
        let members = group.map_or_else(Vec::new, |group| describe_members(group, &protocol));
        DescribedGroup { group: id, state, protocol_type, protocol, members }
    });
    let output = Output::Described(described.collect());
    turn.reply(call, output);
}

fn describe_members(group: &LiveGroup, protocol: &str) -> Vec<DescribedMember> {
    let is_stable = group.phase == Phase::Stable;
    let describe = |(id, member): (&String, &LiveMember)| DescribedMember {
        member: id.clone(),
        instance: member.instance.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        metadata: if is_stable { member.metadata(protocol) } else { Vec::new() },
        assignment: member.assignment.clone(),
    };
    group.members.iter().map(describe).collect()
}

/// DeleteGroups: a group goes with its offsets, if it has no members.
pub(crate) fn delete(turn: &mut Turn<'_>, live: &mut Live, call: CallId, groups: Vec<String>) {
    let mut gone = BTreeSet::new();
    let mut results = Vec::new();
    for id in groups {
        let is_in_use = live.groups.get(&id).is_some_and(|group| group.phase != Phase::Empty);
        let is_known = live.groups.contains_key(&id) || turn.hard.get(&id).is_some();
        let error = if is_in_use {
            ErrorCode::NonEmptyGroup
        } else if is_known && gone.insert(id.clone()) {
            bury(turn, live, &id);
            ErrorCode::None
        } else {
            ErrorCode::GroupIdNotFound
        };
        results.push((id, error));
    }
    turn.reply(call, Output::Deleted(results));
}

/// Writes the end of a group without members. Ids that were promised to some are not known any more.
fn bury(turn: &mut Turn<'_>, live: &mut Live, id: &str) {
    if let Some(kept) = turn.hard.get(id) {
        for (topic, partition) in kept.offsets.keys() {
            turn.write(records::offset(id, topic, *partition, None));
        }
    }
    let group = live.groups.get_mut(id);
    // The record of a group that became empty may still be on its way.
    if turn.hard.meta(id).is_some() || group.as_ref().is_some_and(|group| group.generation > 0) {
        turn.write(records::group(id, None));
    }
    if let Some(group) = group {
        group.pending.clear();
        group.generation = 0;
    }
    live.settle(id, turn.hard);
}
