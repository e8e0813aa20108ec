//! Where objects begin and end. Ranges follow one another from the root's end; an object never holds part of a piece.
//!
//! A full object is cut as soon as its bytes are there. A smaller one is cut only up to a point that must be shipped: the
//! end of the last closed segment, or, when the oldest byte waited for `rpo_ms`, everything that is stable. Segment ends
//! are no object borders: many small segments share an object, and a large one has several.

use broker_model::limits::OBJECTS_PER_COMMIT_MAX;
use broker_model::{Offset, Timestamp};

use crate::{Facts, Rules};

/// The next offset range to put as one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The first offset.
    pub base: Offset,
    /// The offset after the last.
    pub end: Offset,
    /// Bytes of the batches.
    pub bytes: u64,
}

/// The next ranges, at most one commit's worth.
#[must_use]
pub fn cuts(from: Offset, facts: &Facts<'_>, rules: &Rules, now: Timestamp) -> Vec<Cut> {
    let due = must_ship_below(facts, rules, now);
    let mut cuts: Vec<Cut> = Vec::new();
    let mut open: Option<Cut> = None;
    let mut at = from;
    for piece in facts.pieces {
        if piece.end <= at || piece.end > facts.stable_end || cuts.len() == OBJECTS_PER_COMMIT_MAX {
            break;
        }
        let alone = Cut { base: at, end: piece.end, bytes: piece.bytes };
        open = match open {
            Some(cut) if cut.bytes.saturating_add(piece.bytes) <= rules.object_bytes => {
                Some(Cut { end: piece.end, bytes: cut.bytes + piece.bytes, ..cut })
            }
            Some(full) => {
                cuts.push(full);
                Some(alone)
            }
            None => Some(alone),
        };
        if open.is_some_and(|cut| cut.bytes >= rules.object_bytes) {
            cuts.extend(open.take());
        }
        at = piece.end;
    }
    // What is left is smaller than an object: it goes when it must, whole, so that a due tail is one object and not two.
    if let Some(rest) = open.filter(|rest| rest.base < due && cuts.len() < OBJECTS_PER_COMMIT_MAX) {
        cuts.extend(shorten(rest, due, facts));
    }
    cuts.truncate(OBJECTS_PER_COMMIT_MAX);
    cuts
}

/// The offset below which everything is to be shipped now, however small the object.
fn must_ship_below(facts: &Facts<'_>, rules: &Rules, now: Timestamp) -> Offset {
    let late = match (rules.rpo_ms, facts.oldest_unshipped) {
        (Some(rpo_ms), Some(oldest)) => oldest.plus_ms(rpo_ms) <= now,
        _ => false,
    };
    if late { facts.stable_end } else { facts.closed_end.min(facts.stable_end) }
}

/// The part of a range that lies below `due`, on the border of a piece.
fn shorten(rest: Cut, due: Offset, facts: &Facts<'_>) -> Option<Cut> {
    let mut cut = Cut { end: rest.base, bytes: 0, ..rest };
    for piece in facts.pieces.iter().filter(|piece| piece.end > rest.base && piece.end <= due.min(rest.end)) {
        cut.end = piece.end;
        cut.bytes += piece.bytes;
    }
    (cut.end > cut.base).then_some(cut)
}
