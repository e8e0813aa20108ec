//! What must hold of every root, as named functions. They run before each swap, at each load, and in `strata tier verify`;
//! the simulator runs them after each step.
//!
//! TIER-1: the ranges are contiguous from start to end. TIER-4: no id and no key is used twice. Sizes: every list is
//! within its bound. What needs more than a root (that objects exist, that local data is covered, that nothing else is in
//! the bucket) is checked where the store is at hand.

use std::collections::BTreeSet;

use broker_model::Offset;
use broker_model::limits::{GROUP_ENTRIES, ROOT_ENTRIES_BYTES_MAX};

use crate::entry::{Doom, Entry, GroupRef};
use crate::group::Group;
use crate::keys::{ObjectKind, ObjectName};
use crate::limits::{CONDEMNED_MAX, GROUPS_MAX, OCCUPIED_MAX, REGISTERED_MAX, RELATIVE_KEY_BYTES_MAX};
use crate::root::{Root, State};

/// An invariant does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{id} does not hold: {detail}")]
pub struct Violation {
    /// The promise, as the architecture names it.
    pub id: &'static str,
    /// What was found.
    pub detail: String,
}

const TIER_1: &str = "TIER-1";
const TIER_4: &str = "TIER-4";
const SIZES: &str = "SIZES";

fn violation<T>(id: &'static str, detail: String) -> Result<T, Violation> {
    Err(Violation { id, detail })
}

/// All invariants of a root.
///
/// # Errors
/// The first that does not hold.
pub fn check(root: &Root) -> Result<(), Violation> {
    sizes(root)?;
    ranges_contiguous(root)?;
    ids_below_next(root)?;
    keys_once(root)
}

/// TIER-1: groups and entries follow one another without gap or overlap, from `start` to `end`, and the log start offset
/// lies between.
///
/// # Errors
/// The first gap or overlap.
pub fn ranges_contiguous(root: &Root) -> Result<(), Violation> {
    if root.start < Offset::ZERO || root.start > root.log_start || root.log_start > root.end {
        let detail = format!("start {}, log start {}, end {}", root.start, root.log_start, root.end);
        return violation(TIER_1, detail);
    }
    if root.state == State::Deleted && !(root.groups.is_empty() && root.entries.is_empty()) {
        return violation(TIER_1, "a deleted partition has ranges".to_owned());
    }
    let mut at = root.start;
    for group in &root.groups {
        if group.skip >= group.count {
            return violation(TIER_1, format!("group {} has no live entry", group.name));
        }
        at = follows(at, group.base, group.end)?;
    }
    for entry in &root.entries {
        at = follows(at, entry.base, entry.end)?;
    }
    if at != root.end {
        return violation(TIER_1, format!("the ranges end at {at}, the root at {}", root.end));
    }
    Ok(())
}

/// TIER-1 within a group's file.
///
/// # Errors
/// The first gap or overlap.
pub fn entries_contiguous(entries: &[Entry]) -> Result<(), Violation> {
    let Some(mut at) = entries.first().map(|entry| entry.base) else { return Ok(()) };
    for entry in entries {
        at = follows(at, entry.base, entry.end)?;
    }
    Ok(())
}

/// TIER-1 across a group: the file holds what the root says of it.
///
/// # Errors
/// What differs.
pub fn group_matches(group: &GroupRef, content: &Group) -> Result<(), Violation> {
    entries_contiguous(&content.entries)?;
    let file = (group.file_length, group.file_crc);
    match content.reference_to(group.name, file, group.skip) {
        Some(reference) if reference == *group => Ok(()),
        _ => violation(TIER_1, format!("group {} does not hold what the root says", group.name)),
    }
}

fn follows(at: Offset, base: Offset, end: Offset) -> Result<Offset, Violation> {
    if base != at || end <= base {
        return violation(TIER_1, format!("range {base}..{end} where {at} is next"));
    }
    Ok(end)
}

/// TIER-4: every id that the root names was given out by it.
///
/// # Errors
/// The first name that was not, or that is of the wrong kind.
pub fn ids_below_next(root: &Root) -> Result<(), Violation> {
    let below = |name: ObjectName, kind: Option<ObjectKind>| {
        let right_kind = match kind {
            Some(kind) => name.kind == kind,
            None => matches!(name.kind, ObjectKind::Data | ObjectKind::Group),
        };
        if name.id >= root.next_id || !right_kind {
            return violation(TIER_4, format!("{name} is no name of this root"));
        }
        Ok(())
    };
    let parse = |key: &str| {
        key.parse::<ObjectName>()
            .map_err(|_| Violation { id: TIER_4, detail: format!("key {key:?} is no name of this format") })
    };
    for group in &root.groups {
        below(group.name, Some(ObjectKind::Group))?;
    }
    for entry in &root.entries {
        below(parse(&entry.key)?, Some(ObjectKind::Data))?;
    }
    for row in &root.registered {
        below(row.name(), None)?;
    }
    for row in &root.occupied {
        below(row.name, None)?;
    }
    for row in &root.condemned {
        let of_members = !matches!(row.doom, Doom::File);
        below(parse(&row.key)?, of_members.then_some(ObjectKind::Group))?;
    }
    Ok(())
}

/// TIER-4: no id stands for two objects. Only a group may be named twice: by the row that deletes some of its members, and
/// by the reference or the row that deletes the file.
///
/// # Errors
/// The first id that does.
pub fn keys_once(root: &Root) -> Result<(), Violation> {
    let mut ids = BTreeSet::new();
    let mut once = |key: String| match key.parse::<ObjectName>() {
        Ok(name) if ids.insert(name.id) => Ok(()),
        _ => violation(TIER_4, format!("{key} is named twice")),
    };
    for group in &root.groups {
        once(group.name.to_string())?;
    }
    for entry in &root.entries {
        once(entry.key.clone())?;
    }
    for row in &root.registered {
        once(row.name().to_string())?;
    }
    for row in &root.occupied {
        once(row.name.to_string())?;
    }
    for row in root.condemned.iter().filter(|row| !matches!(row.doom, Doom::Members { .. })) {
        once(row.key.clone())?;
    }
    for row in &root.condemned {
        if let Doom::Members { first, last } | Doom::FileAndMembers { first, last } = row.doom
            && first >= last
        {
            return violation(TIER_4, format!("{} has no members {first}..{last}", row.key));
        }
    }
    Ok(())
}

/// Every list is within its bound.
///
/// # Errors
/// The first that is not.
pub fn sizes(root: &Root) -> Result<(), Violation> {
    let lists = [
        ("groups", root.groups.len(), GROUPS_MAX),
        ("registered ids", root.registered.len(), REGISTERED_MAX),
        ("occupied keys", root.occupied.len(), OCCUPIED_MAX),
        ("condemned rows", root.condemned.len(), CONDEMNED_MAX),
        ("entry bytes", root.entries_bytes(), ROOT_ENTRIES_BYTES_MAX),
    ];
    for (name, found, bound) in lists {
        if found > bound {
            return violation(SIZES, format!("{found} {name}, at most {bound}"));
        }
    }
    if let Some(group) = root.groups.iter().find(|group| group.count as usize > GROUP_ENTRIES) {
        return violation(SIZES, format!("group {} has {} entries", group.name, group.count));
    }
    if let Some(entry) = root.entries.iter().find(|entry| entry.key.len() > RELATIVE_KEY_BYTES_MAX) {
        return violation(SIZES, format!("key {:?} is too long", entry.key));
    }
    Ok(())
}
