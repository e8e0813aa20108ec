//! Collection: no object stays in the bucket that nobody will ever read, and none is deleted that somebody still may.
//!
//! A dead writer's registered ids are occupied, so that its late PUT fails; occupied keys go when no PUT can be late any
//! more; condemned objects go after their grace. Nothing here lists the bucket.

use broker_model::Timestamp;
use tiering_manifest::{Occupied, Registered, Root};

use crate::{Action, Facts};

/// Rows that one action carries, so that one swap stays small.
pub const ROWS_PER_ACTION: usize = 256;

pub(crate) fn collect(root: &Root, facts: &Facts<'_>, now: Timestamp, actions: &mut Vec<Action>) {
    let own = root.registered.iter().filter(|row| row.writer == root.writer);
    let abandoned = own.clone().filter(|row| facts.abandoned.contains(&row.id));
    push_occupy(root.foreign().chain(abandoned), actions);
    let unused = own
        .filter(|row| row.deadline <= now && !facts.abandoned.contains(&row.id) && !facts.in_flight.contains(&row.id));
    let unused: Vec<_> = unused.map(|row| row.id).take(ROWS_PER_ACTION).collect();
    if !unused.is_empty() {
        actions.push(Action::Release(unused));
    }
    sweep(root, now, actions);
}

/// A deleted partition: every registered id is occupied, also this writer's own, until nothing is left but the root.
pub(crate) fn purge(root: &Root, now: Timestamp, actions: &mut Vec<Action>) {
    if root.is_purged() {
        actions.push(Action::DeleteRoot);
        return;
    }
    push_occupy(root.registered.iter(), actions);
    sweep(root, now, actions);
}

fn push_occupy<'a>(rows: impl Iterator<Item = &'a Registered>, actions: &mut Vec<Action>) {
    let rows: Vec<Registered> = rows.take(ROWS_PER_ACTION).copied().collect();
    if !rows.is_empty() {
        actions.push(Action::Occupy(rows));
    }
}

fn sweep(root: &Root, now: Timestamp, actions: &mut Vec<Action>) {
    let past: Vec<Occupied> = root.occupied_past(now).take(ROWS_PER_ACTION).copied().collect();
    if !past.is_empty() {
        actions.push(Action::Vacate(past));
    }
    let due: Vec<_> = root.due(now).take(ROWS_PER_ACTION).cloned().collect();
    if !due.is_empty() {
        actions.push(Action::Destroy(due));
    }
}
