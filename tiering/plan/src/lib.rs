//! What to do next for one partition's tier: `(root, facts, rules, now)` to actions. Pure: the same input gives the same
//! actions, and nothing is remembered between calls.
//!
//! Every action is safe to carry out late or not at all: each ends in a swap of the root that the planner saw, and a swap
//! of another root fails. Actions are given in the order in which they should be tried; where only one swap is made per
//! round, the first ones win.
//!
//! Not decided here: where exactly a batch ends (the caller lists pieces of whole batches), how requests are retried, and
//! whether this process still leads.
//!
//! Start reading at [`plan`], then [`cut`], [`retention`] and [`collect`]; [`due`] says how long a plan holds.

pub mod collect;
pub mod cut;
mod due;
pub mod retention;

use broker_model::limits::{GROUP_ENTRIES, OBJECTS_PER_COMMIT_MAX, ROOT_ENTRIES_BYTES_MAX};
use broker_model::{Offset, Timestamp};
use std::collections::BTreeSet;
use tiering_manifest::{Condemned, Group, ObjectId, ObjectKind, ObjectName, Occupied, Registered, Root, State};

pub use cut::Cut;
pub use due::due;
pub use retention::{LocalFacts, LocalSegment, local_start};

/// Entry bytes beyond which a group is written: a quarter of the bound stays free, so that shipping never waits for it.
pub const GROUP_AT_ENTRY_BYTES: usize = ROOT_ENTRIES_BYTES_MAX / 4 * 3;
/// No entry of this version is longer than this in the root, in bytes.
const ENTRY_BYTES_MAX: usize = 384;

const _: () = assert!(GROUP_AT_ENTRY_BYTES + OBJECTS_PER_COMMIT_MAX * ENTRY_BYTES_MAX <= ROOT_ENTRIES_BYTES_MAX);

/// A run of whole batches that is not shipped yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The offset after the run's last batch.
    pub end: Offset,
    /// Bytes of the run.
    pub bytes: u64,
}

/// What the planner must know of the local log and of this process.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The first offset that the local log holds.
    pub local_start: Offset,
    /// The first offset that a consumer may read (it moves with DeleteRecords).
    pub log_start: Offset,
    /// Nothing at or beyond this offset may be shipped: the last stable offset.
    pub stable_end: Offset,
    /// The end of the last closed segment.
    pub closed_end: Offset,
    /// Runs of whole batches from the root's end on, in order, below `stable_end`. Need not reach it: what is listed is
    /// what can be cut now.
    pub pieces: &'a [Piece],
    /// Bytes of the local log from the root's end on, shipped or not yet stable.
    pub unshipped_bytes: u64,
    /// When the first byte beyond the root's end was appended.
    pub oldest_unshipped: Option<Timestamp>,
    /// The content of the root's first group, where the caller has it.
    pub first_group: Option<&'a Group>,
    /// Own ids under which a PUT was signed whose outcome this process no longer waits for.
    pub abandoned: &'a BTreeSet<ObjectId>,
    /// Own ids that are being written right now.
    pub in_flight: &'a BTreeSet<ObjectId>,
}

/// The settings that hold for the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Bytes of a full object (`strata.tier.object.bytes`).
    pub object_bytes: u64,
    /// How old the oldest unshipped byte may become (`strata.tier.rpo.ms`).
    pub rpo_ms: Option<i64>,
    /// `retention.ms`, None for without end.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`, None for without end.
    pub retention_bytes: Option<u64>,
    /// How long an id may be used after it was registered.
    pub id_life_ms: i64,
    /// How long something stays in the bucket after no root refers to it: for readers with an older root, and so that a
    /// repeated PUT of the same object arrives while the object still stands in its way. Longer than any request lives.
    pub grace_ms: i64,
    /// Whether more is shipped at all (`remote.log.copy.disable` says no). What is there expires as ever.
    pub copies: bool,
    /// Ids that are kept registered when nothing is to be shipped.
    pub spare_ids: usize,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Swap in more registered ids. Needed only where no other swap of this round can carry it.
    Register {
        /// Ids for data objects.
        data: usize,
        /// Ids for groups.
        groups: usize,
        /// Their deadline.
        deadline: Timestamp,
    },
    /// Put these ranges as objects, then commit them with one swap.
    Ship(Vec<Cut>),
    /// Write the oldest `entries` of the root to a group, together with the last group's live entries where it says so.
    Group {
        /// The group whose live entries come first, and whose file the new one replaces.
        replaces: Option<ObjectName>,
        /// How many of the root's entries.
        entries: usize,
        /// When a replaced file may be deleted.
        delete_after: Timestamp,
    },
    /// Read the root's first group, keep it, and plan again: retention must look into it.
    OpenFirstGroup(ObjectName),
    /// Move the log start offset, and condemn what lies below it.
    AdvanceStart {
        /// The new log start offset.
        to: Offset,
        /// When the objects may be deleted.
        delete_after: Timestamp,
    },
    /// Create an empty object under each of these names, if absent, then swap with `occupy`.
    Occupy(Vec<Registered>),
    /// Swap with `release`: ids of this writer that are too old to be used, and never were.
    Release(Vec<ObjectId>),
    /// Delete the objects of these names, then swap with `vacate`.
    Vacate(Vec<Occupied>),
    /// Delete what these rows name, then swap with `forget`.
    Destroy(Vec<Condemned>),
    /// Delete the root: the partition is deleted and nothing of it is left.
    DeleteRoot,
    /// The local log begins beyond the root's end: what lies between is in neither tier. Shipping stops; a human must
    /// decide whether to move the start.
    Gap {
        /// The root's end.
        tier_end: Offset,
        /// Where the local log begins.
        local_start: Offset,
    },
}

/// What to do now for this partition, by the writer that holds `root`.
#[must_use]
pub fn plan(root: &Root, facts: &Facts<'_>, rules: &Rules, now: Timestamp) -> Vec<Action> {
    let mut actions = Vec::new();
    if root.state == State::Deleted {
        collect::purge(root, now, &mut actions);
        return actions;
    }
    // Beyond the root's end lies what was deleted before it was shipped: the root's end moves first, and nothing of it goes.
    let is_deleted_beyond = facts.log_start > root.end;
    if facts.local_start <= root.end && !is_deleted_beyond && rules.copies {
        ship(root, facts, rules, now, &mut actions);
    } else if !is_deleted_beyond && rules.copies {
        actions.push(Action::Gap { tier_end: root.end, local_start: facts.local_start });
    }
    group(root, facts, rules, now, &mut actions);
    retention::expire(root, facts, rules, now, &mut actions);
    collect::collect(root, facts, now, &mut actions);
    actions
}

/// How old the oldest unshipped byte is, in milliseconds: the metric by which a stalled upload is seen.
#[must_use]
pub fn lag_ms(facts: &Facts<'_>, now: Timestamp) -> i64 {
    facts.oldest_unshipped.map_or(0, |oldest| now.0.saturating_sub(oldest.0).max(0))
}

/// The ids of this kind that may be used now, smallest first.
pub fn free_ids<'a>(
    root: &'a Root,
    facts: &'a Facts<'_>,
    kind: ObjectKind,
    now: Timestamp,
) -> impl Iterator<Item = &'a Registered> {
    root.usable(kind).filter(move |row| {
        row.deadline > now && !facts.in_flight.contains(&row.id) && !facts.abandoned.contains(&row.id)
    })
}

/// How many more ids to register with the next swap, when `backlog` objects wait to be shipped: data, groups.
#[must_use]
pub fn ids_wanted(root: &Root, facts: &Facts<'_>, rules: &Rules, backlog: usize, now: Timestamp) -> (usize, usize) {
    let target = backlog.clamp(rules.spare_ids.max(1), OBJECTS_PER_COMMIT_MAX);
    let data = target.saturating_sub(free_ids(root, facts, ObjectKind::Data, now).count());
    let groups = usize::from(free_ids(root, facts, ObjectKind::Group, now).next().is_none());
    (data, groups)
}

fn ship(root: &Root, facts: &Facts<'_>, rules: &Rules, now: Timestamp, actions: &mut Vec<Action>) {
    let cuts = cut::cuts(root.end, facts, rules, now);
    let room = ROOT_ENTRIES_BYTES_MAX.saturating_sub(root.entries_bytes()) / ENTRY_BYTES_MAX;
    let free = free_ids(root, facts, ObjectKind::Data, now).count();
    let no_group_id = free_ids(root, facts, ObjectKind::Group, now).next().is_none();
    // A commit brings the ids of the next objects with it, and a partition at rest needs none.
    if !cuts.is_empty() && free == 0 || root.entries_bytes() > GROUP_AT_ENTRY_BYTES && no_group_id {
        let (data, groups) = ids_wanted(root, facts, rules, cuts.len(), now);
        actions.push(Action::Register { data, groups, deadline: now.plus_ms(rules.id_life_ms) });
    }
    let count = cuts.len().min(room).min(free).min(OBJECTS_PER_COMMIT_MAX);
    if count > 0 {
        actions.push(Action::Ship(cuts.into_iter().take(count).collect()));
    }
}

fn group(root: &Root, facts: &Facts<'_>, rules: &Rules, now: Timestamp, actions: &mut Vec<Action>) {
    let no_id = free_ids(root, facts, ObjectKind::Group, now).next().is_none();
    if root.entries_bytes() <= GROUP_AT_ENTRY_BYTES || no_id {
        return;
    }
    let entries = root.entries.len().min(GROUP_ENTRIES);
    let last = root.groups.last();
    let last = last.filter(|last| (last.count - last.skip) as usize + entries <= GROUP_ENTRIES);
    let replaces = last.map(|last| last.name);
    actions.push(Action::Group { replaces, entries, delete_after: now.plus_ms(rules.grace_ms) });
}

#[cfg(test)]
mod tests;
