//! The entry point of the rules: which input goes where, and what follows when a batch is in the log, or refused.
//!
//! What waits for the log: the assignment of a group (all who sync are
//! answered when its record is committed), and every output of a step that writes (the driver parks it).
//!
//! Start at [`GroupMachine`]'s `step`.

use std::sync::Arc;

use broker_model::machine::{CallId, Effects, Input, Machine, Record, RecordError, Refusal, Violation};
use broker_model::{ErrorCode, Offset, Timestamp};

use crate::live::{Arrival, Live, LiveGroup, LiveMember, Phase, Synced, Waiting, Writing};
use crate::records::{self, Change};
use crate::request::{Output, Protocol, Request};
use crate::settings::{RETRY_MS, Settings};
use crate::state::{Groups, KeptMember};
use crate::turn::Turn;
use crate::{housekeeping, join, member, offsets, rebalance, tools};

/// The coordinator of the groups of one partition of `__consumer_offsets`.
#[derive(Clone, Debug, Default)]
pub struct GroupMachine {
    settings: Arc<Settings>,
}

impl GroupMachine {
    /// A machine with these settings.
    #[must_use]
    pub fn new(settings: Settings) -> GroupMachine {
        GroupMachine { settings: Arc::new(settings) }
    }
}

impl Machine for GroupMachine {
    type Hard = Groups;
    type Soft = Live;
    type Request = Request;
    type Output = Output;

    fn step(&self, hard: &Groups, live: &mut Live, now: Timestamp, input: Input<Request>) -> Effects<Output> {
        let mut turn = Turn { settings: &self.settings, hard, now, effects: Effects::none() };
        match input {
            Input::Request(call, request) => ask(&mut turn, live, call, request),
            Input::Tick => {
                rebalance::tick(&mut turn, live);
                housekeeping::tick(&mut turn, live);
            }
            Input::Appended(items) => each_change(&items, |change| appended(&mut turn, live, change)),
            Input::Refused(why, items) => {
                let housekeeping = &mut live.housekeeping;
                housekeeping.due = housekeeping.due.max(now.plus_ms(RETRY_MS));
                housekeeping.from = None;
                each_change(&items, |change| refused(&mut turn, live, why, change));
            }
        }
        turn.effects
    }

    fn apply(&self, hard: &mut Groups, _: Offset, record: &Record) -> Result<(), RecordError> {
        match records::read(record)? {
            Change::Offset(group, at, Some(kept)) => {
                hard.change(&group, |group| drop(group.offsets.insert(at, kept)));
            }
            Change::Offset(group, at, None) => hard.change(&group, |group| drop(group.offsets.remove(&at))),
            Change::Group(group, meta) => hard.change(&group, |group| group.meta = meta),
            Change::Unknown => {}
        }
        Ok(())
    }

    /// Nobody knows when a member was last heard: each gets a whole session.
    fn recover(&self, hard: &Groups, now: Timestamp) -> Live {
        let mut live = Live::new(now.plus_ms(self.settings.retention_check_ms));
        for (id, _) in hard.iter() {
            if let Some(mut group) = recover_group(hard, id, now, &mut live.next_order) {
                if group.members.len() > self.settings.members_max {
                    rebalance::shrink(&mut group, now);
                }
                live.groups.insert(id.to_owned(), group);
                live.settle(id, hard);
            }
        }
        live
    }

    fn next_deadline(&self, _: &Groups, live: &Live) -> Option<Timestamp> {
        Some(live.next_deadline())
    }

    fn check(&self, hard: &Groups) -> Result<(), Violation> {
        hard.check()
    }

    fn records(&self, hard: &Groups) -> Vec<Record> {
        let mut out = Vec::new();
        for (id, group) in hard.iter() {
            out.extend(group.meta.as_ref().map(|meta| records::group(id, Some(meta))));
            let offsets = group.offsets.iter();
            out.extend(offsets.map(|((topic, partition), kept)| records::offset(id, topic, *partition, Some(kept))));
        }
        out
    }

    fn callers(&self, live: Live) -> Vec<CallId> {
        let members = live.groups.values().flat_map(|group| group.members.values());
        let call = |member: &LiveMember| match member.waiting {
            Waiting::Join(call, _) | Waiting::Sync(call) => Some(call),
            Waiting::None => None,
        };
        members.filter_map(call).collect()
    }
}

fn ask(turn: &mut Turn<'_>, live: &mut Live, call: CallId, request: Request) {
    match request {
        Request::Join(request) => join::join(turn, live, call, request),
        Request::Sync(request) => member::sync(turn, live, call, request),
        Request::Heartbeat(request) => member::heartbeat(turn, live, call, &request),
        Request::Leave(request) => member::leave(turn, live, call, request),
        Request::CommitOffsets(request) => offsets::commit(turn, live, call, request),
        Request::FetchOffsets(groups) => offsets::fetch(turn, call, groups),
        Request::DeleteOffsets(request) => offsets::delete(turn, live, call, request),
        Request::List => tools::list(turn, live, call),
        Request::Describe(groups) => tools::describe(turn, live, call, groups),
        Request::Delete(groups) => tools::delete(turn, live, call, groups),
        Request::TopicsDeleted(topics) => housekeeping::topics_deleted(turn, live, call, topics),
    }
}

fn each_change(items: &[(Offset, Record)], mut then: impl FnMut(Change)) {
    for (_, record) in items {
        then(records::read(record).expect("the machine can read what it wrote"));
    }
}

/// A committed group record ends the wait for an assignment. A committed offset changes nothing that is soft.
fn appended(turn: &mut Turn<'_>, live: &mut Live, change: Change) {
    let Change::Group(id, meta) = change else { return };
    if let (Some(group), Some(meta)) = (live.groups.get_mut(&id), meta) {
        let is_awaited = group.phase == Phase::Completing { writing: Writing::Yes };
        if is_awaited && group.generation == meta.generation {
            group.phase = Phase::Stable;
            for kept in meta.members {
                if let Some(member) = group.members.get_mut(&kept.member) {
                    member.assignment = kept.assignment;
                }
            }
            member::answer_syncs(turn, group, ErrorCode::None);
        }
    }
    live.settle(&id, turn.hard);
}

/// A refused assignment means another rebalance; a refused end of a group is written again later.
fn refused(turn: &mut Turn<'_>, live: &mut Live, why: Refusal, change: Change) {
    let Change::Group(id, meta) = change else { return };
    let Some(group) = live.groups.get_mut(&id) else { return };
    let is_awaited = group.phase == Phase::Completing { writing: Writing::Yes };
    if is_awaited && meta.is_some_and(|meta| meta.generation == group.generation) {
        let error = match why {
            Refusal::TooLarge => ErrorCode::UnknownServerError,
            Refusal::NotLeader => ErrorCode::NotCoordinator,
            Refusal::Conflict | Refusal::Unavailable => ErrorCode::CoordinatorNotAvailable,
        };
        member::answer_syncs(turn, group, error);
        rebalance::prepare(turn, &id, group);
    } else if group.phase == Phase::Empty && !turn.hard.is_written_empty(&id, group.generation) {
        group.retry_at = Some(turn.now.plus_ms(RETRY_MS));
    }
    live.settle(&id, turn.hard);
}

/// A group that was written with members is stable, until they are heard to be otherwise.
fn recover_group(hard: &Groups, id: &str, now: Timestamp, next_order: &mut u64) -> Option<LiveGroup> {
    let meta = hard.meta(id).filter(|meta| !meta.members.is_empty())?;
    let mut group = LiveGroup::new(Some(meta));
    group.phase = Phase::Stable;
    group.protocol = meta.protocol.clone();
    group.leader = meta.leader.clone();
    for kept in &meta.members {
        let member = recover_member(kept, meta.protocol.as_deref().unwrap_or(""), now, *next_order);
        *next_order += 1;
        group.statics.extend(kept.instance.clone().map(|instance| (instance, kept.member.clone())));
        group.members.insert(kept.member.clone(), member);
    }
    group.note_subscriptions();
    Some(group)
}

fn recover_member(kept: &KeptMember, protocol: &str, now: Timestamp, order: u64) -> LiveMember {
    LiveMember {
        instance: kept.instance.clone(),
        client_id: kept.client_id.clone(),
        client_host: kept.client_host.clone(),
        session_timeout_ms: kept.session_timeout_ms,
        rebalance_timeout_ms: kept.rebalance_timeout_ms,
        protocols: vec![Protocol { name: protocol.to_owned(), metadata: kept.subscription.clone() }],
        assignment: kept.assignment.clone(),
        session_end: now.plus_ms(i64::from(kept.session_timeout_ms.max(1))),
        waiting: Waiting::None,
        synced: Synced::Yes,
        arrival: Arrival::Known,
        order,
    }
}
