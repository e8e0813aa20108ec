//! What the coordinator may forget: members that are joining, deadlines, callers who wait.
//!
//! A group is here while it has members or awaits some. Deadlines are indexed per group, so that the next one is found
//! without a walk. An index entry may be early (a heartbeat only moves a deadline away and leaves it alone); the tick
//! that finds nothing due puts it right.
//!
//! What is here is changed by the rules in the sibling modules only; this module has the structure.

use std::collections::{BTreeMap, BTreeSet};

use broker_model::machine::CallId;
use broker_model::{ErrorCode, Timestamp};

use crate::request::{GroupState, LeaderReturn, Protocol};
use crate::state::{Groups, KeptMeta};
use crate::subscription::{self, CONSUMER};

/// The soft state of the machine.
#[derive(Debug)]
pub struct Live {
    pub(crate) groups: BTreeMap<String, LiveGroup>,
    pub(crate) deadlines: BTreeSet<(Timestamp, String)>,
    pub(crate) housekeeping: Housekeeping,
    /// Numbers members by the order in which they came.
    pub(crate) next_order: u64,
}

/// When offsets that expired and offsets of deleted topics are looked for, and how far the walk has come.
#[derive(Debug)]
pub(crate) struct Housekeeping {
    pub(crate) due: Timestamp,
    pub(crate) from: Option<String>,
    /// From then on a walk takes empty groups too, and not only what is of deleted topics.
    pub(crate) groups_due: Timestamp,
    /// With the time at which they were: what is committed later is of another topic of the name.
    pub(crate) deleted_topics: BTreeMap<String, Timestamp>,
}

/// What a group does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Empty,
    Preparing { until: Timestamp, initial: Option<InitialDelay> },
    Completing { writing: Writing },
    Stable,
}

/// The leader's assignment is on its way into the log, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    No,
    Yes,
}

/// The first rebalance of an empty group waits for more members, and again while they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InitialDelay {
    pub(crate) remaining_ms: i64,
    pub(crate) newcomers: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct LiveGroup {
    pub(crate) phase: Phase,
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: Option<String>,
    pub(crate) members: BTreeMap<String, LiveMember>,
    pub(crate) statics: BTreeMap<String, String>,
    /// The topics that the members of this generation subscribe to, where that is known.
    pub(crate) subscribed: Option<BTreeSet<String>>,
    /// Member ids that were handed out and not come again, with the end of their session.
    pub(crate) pending: BTreeMap<String, Timestamp>,
    /// Who has not synced by then is dropped.
    pub(crate) sync_until: Option<Timestamp>,
    /// The record of the empty group was refused: when to write it again.
    pub(crate) retry_at: Option<Timestamp>,
    indexed: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub(crate) struct LiveMember {
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Vec<u8>,
    pub(crate) session_end: Timestamp,
    pub(crate) waiting: Waiting,
    pub(crate) synced: Synced,
    pub(crate) arrival: Arrival,
    pub(crate) order: u64,
}

/// Whether the member has been in a generation. The first join of a member that has not may run out while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    New,
    Known,
}

/// The caller who waits for this member. While one does, the session of a known member does not run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    None,
    Join(CallId, LeaderReturn),
    Sync(CallId),
}

/// Whether the member has asked for the assignment of this generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Synced {
    No,
    Yes,
}

impl Live {
    pub(crate) fn new(due: Timestamp) -> Live {
        let housekeeping = Housekeeping { due, from: None, groups_due: due, deleted_topics: BTreeMap::new() };
        Live { groups: BTreeMap::new(), deadlines: BTreeSet::new(), housekeeping, next_order: 0 }
    }

    /// Brings the index up to date after a change of this group, and forgets it where nothing is left of it but what the
    /// log knows.
    pub(crate) fn settle(&mut self, id: &str, hard: &Groups) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let is_idle = group.members.is_empty() && group.pending.is_empty();
        if is_idle && hard.is_written_empty(id, group.generation) {
            if let Some(due) = group.indexed {
                self.deadlines.remove(&(due, id.to_owned()));
            }
            self.groups.remove(id);
            return;
        }
        let due = group.due();
        if due != group.indexed {
            let old = std::mem::replace(&mut group.indexed, due);
            if let Some(old) = old {
                self.deadlines.remove(&(old, id.to_owned()));
            }
            self.deadlines.extend(due.map(|due| (due, id.to_owned())));
        }
    }

    pub(crate) fn next_deadline(&self) -> Timestamp {
        let group = self.deadlines.first().map(|(due, _)| *due);
        group.map_or(self.housekeeping.due, |due| due.min(self.housekeeping.due))
    }

    /// The groups that may have something due.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<String> {
        self.deadlines.iter().take_while(|(due, _)| *due <= now).map(|(_, id)| id.clone()).collect()
    }
}

impl LiveGroup {
    /// An empty group, which goes on counting where the log says.
    pub(crate) fn new(kept: Option<&KeptMeta>) -> LiveGroup {
        LiveGroup {
            phase: Phase::Empty,
            generation: kept.map_or(0, |meta| meta.generation),
            protocol_type: kept.map_or(String::new(), |meta| meta.protocol_type.clone()),
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            subscribed: None,
            pending: BTreeMap::new(),
            sync_until: None,
            retry_at: None,
            indexed: None,
        }
    }

    pub(crate) fn state(&self) -> GroupState {
        match self.phase {
            Phase::Empty => GroupState::Empty,
            Phase::Preparing { .. } => GroupState::PreparingRebalance,
            Phase::Completing { .. } => GroupState::CompletingRebalance,
            Phase::Stable => GroupState::Stable,
        }
    }

    /// The member is one of the group, and speaks for its static id if it names one.
    pub(crate) fn check_known(&self, member: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(holder) if holder != member => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    pub(crate) fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// How long a rebalance waits: as long as the most patient member.
    pub(crate) fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_timeout_ms)).max().unwrap_or(0)
    }

    /// Bytes of what the members say and are assigned.
    pub(crate) fn bytes(&self) -> usize {
        self.members.values().map(LiveMember::bytes).sum()
    }

    /// Bytes of what the members are assigned.
    pub(crate) fn assigned_bytes(&self) -> usize {
        self.members.values().map(|member| member.assignment.len()).sum()
    }

    /// True if offsets of this topic are in use: a member subscribes to it, or may. Only consumers do.
    pub(crate) fn uses(&self, topic: &str) -> bool {
        let is_live = self.phase != Phase::Empty && self.protocol_type == CONSUMER;
        is_live && self.subscribed.as_ref().is_none_or(|topics| topics.contains(topic))
    }

    /// Remembers what the members subscribe to, by the chosen assignor's metadata.
    pub(crate) fn note_subscriptions(&mut self) {
        let protocol = self.protocol.as_deref().unwrap_or("");
        let said: Vec<&[u8]> = self.members.values().map(|member| member.said(protocol)).collect();
        self.subscribed = subscription::of_group(&self.protocol_type, said.into_iter());
    }

    /// Members whose join waits.
    pub(crate) fn joining(&self) -> usize {
        self.members.values().filter(|member| matches!(member.waiting, Waiting::Join(..))).count()
    }

    fn due(&self) -> Option<Timestamp> {
        let phase = match self.phase {
            Phase::Preparing { until, .. } => Some(until),
            Phase::Empty | Phase::Completing { .. } | Phase::Stable => None,
        };
        let sessions = self.members.values().filter(|member| member.can_run_out());
        let sessions = sessions.map(|member| member.session_end).min();
        let pending = self.pending.values().min().copied();
        [phase, sessions, pending, self.sync_until, self.retry_at].into_iter().flatten().min()
    }
}

impl LiveMember {
    /// What the member says to this assignor.
    pub(crate) fn said(&self, protocol: &str) -> &[u8] {
        let known = self.protocols.iter().find(|known| known.name == protocol);
        known.map_or(&[], |known| &known.metadata)
    }

    /// What the member says to this assignor, to be kept.
    pub(crate) fn metadata(&self, protocol: &str) -> Vec<u8> {
        self.said(protocol).to_vec()
    }

    /// True if its session counts now.
    pub(crate) fn can_run_out(&self) -> bool {
        self.waiting == Waiting::None || self.arrival == Arrival::New
    }

    pub(crate) fn heard(&mut self, now: Timestamp) {
        self.session_end = now.plus_ms(self.session_timeout_ms.into());
    }

    pub(crate) fn bytes(&self) -> usize {
        let said: usize = self.protocols.iter().map(|protocol| protocol.name.len() + protocol.metadata.len()).sum();
        said + self.assignment.len() + self.client_id.len() + self.client_host.len()
    }
}
