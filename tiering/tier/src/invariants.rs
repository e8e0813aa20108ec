//! The tier's promises as named checks (ARCHITECTURE.md has the list). Tests and the simulation call them; production
//! calls them at the same places and counts: [`violations`] must stay 0 for ever.
//!
//! TIER-1 and TIER-4 are checked on every root by `tiering_manifest::invariants`, before it is sent and after it is read.

use std::sync::atomic::{AtomicU64, Ordering};

use broker_model::Offset;
use tiering_manifest::Root;

/// The promises that are checked here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// The ranges of the manifest are contiguous.
    Tier1,
    /// Local data goes only below what a durable root covers.
    Tier2,
    /// An error of a cold read is never emptiness or a gap.
    Tier3,
    /// A writer that lost its right changes nothing; no key is written twice.
    Tier4,
    /// Every object is named.
    Tier5,
    /// What is in the bucket is what is in the leader's log.
    Tier6,
}

impl Promise {
    /// All promises, in the order of their counters.
    pub const ALL: [Promise; 6] =
        [Promise::Tier1, Promise::Tier2, Promise::Tier3, Promise::Tier4, Promise::Tier5, Promise::Tier6];

    /// The promise's ID.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Promise::Tier1 => "TIER-1",
            Promise::Tier2 => "TIER-2",
            Promise::Tier3 => "TIER-3",
            Promise::Tier4 => "TIER-4",
            Promise::Tier5 => "TIER-5",
            Promise::Tier6 => "TIER-6",
        }
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", promise.id())]
pub struct Broken {
    /// Which.
    pub promise: Promise,
    /// How.
    pub detail: String,
}

static COUNTS: [AtomicU64; 6] = [const { AtomicU64::new(0) }; 6];

/// How often a promise was found broken since the process began.
#[must_use]
pub fn violations(promise: Promise) -> u64 {
    COUNTS[promise as usize].load(Ordering::Relaxed)
}

/// Counts and reports a broken promise.
pub fn note(promise: Promise, detail: String) -> Broken {
    COUNTS[promise as usize].fetch_add(1, Ordering::Relaxed);
    tracing::error!(promise = promise.id(), detail, "a promise of the tier is broken");
    Broken { promise, detail }
}

/// TIER-1: the tier ends where the local log can go on, and begins where it says.
///
/// # Errors
/// There is a gap between the tier and the local log.
pub fn tier_reaches_local(root: &Root, local_start: Offset) -> Result<(), Broken> {
    if let Err(violation) = root.check() {
        return Err(note(Promise::Tier1, violation.to_string()));
    }
    if local_start > root.end && root.log_start < local_start {
        return Err(note(Promise::Tier1, format!("the tier ends at {}, the log begins at {local_start}", root.end)));
    }
    Ok(())
}

/// TIER-2: what was deleted locally is covered by a durable root, or lies below the log start offset.
///
/// # Errors
/// It is not.
pub fn local_delete_is_covered(durable: Option<&Root>, local_start: Offset, log_start: Offset) -> Result<(), Broken> {
    let covered = durable.map_or(Offset::ZERO, |root| root.end);
    if local_start <= covered.max(log_start) {
        return Ok(());
    }
    Err(note(Promise::Tier2, format!("local data below {local_start} is gone, the tier covers up to {covered}")))
}

/// TIER-3: what a cold read returned begins with the batch that contains the offset, and has no gap.
///
/// # Errors
/// It does not, or it is empty.
pub fn read_is_gapless(from: Offset, next: Offset, heads: &[(Offset, Offset)]) -> Result<(), Broken> {
    let mut expected = None;
    for (base, end) in heads {
        let follows = expected.map_or(*base <= from && from < *end, |expected| expected == *base);
        if !follows {
            return Err(note(Promise::Tier3, format!("a read at {from} gave a batch {base}..{end}")));
        }
        expected = Some(*end);
    }
    if expected == Some(next) { Ok(()) } else { Err(note(Promise::Tier3, format!("a read at {from} gave nothing"))) }
}

/// TIER-4: of two roots that were seen one after the other, the later one is a successor.
///
/// # Errors
/// It is not.
pub fn root_succeeds(later: &Root, earlier: &Root) -> Result<(), Broken> {
    match later.succeeds(earlier) {
        Ok(_) => Ok(()),
        Err(conflict) => Err(note(Promise::Tier4, conflict.to_string())),
    }
}

/// TIER-5: no object is there that is not named.
///
/// # Errors
/// The first that is not.
pub fn all_named(unnamed: &[String]) -> Result<(), Broken> {
    match unnamed.first() {
        None => Ok(()),
        Some(first) => {
            Err(note(Promise::Tier5, format!("{} objects are named by nothing, such as {first}", unnamed.len())))
        }
    }
}
