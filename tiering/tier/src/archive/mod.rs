//! One led partition's archive: it holds the root, and everything that changes the root or the objects under it happens
//! in [`PartitionArchive::step`], one at a time.
//!
//! Invariants: at most one swap is unresolved, and until it is resolved nothing else is done, above all nothing is
//! deleted (the swap may still take effect and name what would be deleted). An id under which a PUT was signed is
//! committed or abandoned, never used again. A root that is not one's own halts the archive for good (TIER-4).
//!
//! Cancelling a step between two awaits is as if the process died there: the next step finds out what happened.
//!
//! An archive that has nothing to do sleeps ([`PartitionArchive::rest`]), and until it has something, it does not even take
//! its root: an idle partition costs no request and does not open its log.
//!
//! What to do is decided by `tiering_plan::plan`. Start reading at [`PartitionArchive::step`], then `commit.rs` for the
//! swap, `ship.rs` for the objects, `collect.rs` for the rest.

mod collect;
mod commit;
mod copy;
mod error;
mod handle;
mod ship;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use broker_model::{Offset, Timestamp};
use tiering_manifest::{Group, ObjectId, PartitionPrefix, Root, State, Writer};
use tiering_plan::{Action, Facts, Piece, Rules};
use tiering_store::{Store, Version};

use crate::{Clock, LocalBounds, LocalLog};
use commit::Pending;

pub use error::{ShipError, ShipErrorKind};
pub use handle::{ArchiveHandle, ArchiveStats};

/// A named point of the commit protocol, for tests that kill the process there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Ids are registered, nothing is put.
    AfterRegister,
    /// Objects are put, the root is not swapped.
    AfterPut,
    /// The root is swapped, nothing local is deleted.
    AfterSwap,
}

/// Called at each [`Point`]. The default does nothing.
#[derive(Clone, Default)]
pub struct Hooks(Option<Arc<dyn Fn(Point) + Send + Sync>>);

impl Hooks {
    /// Calls this at each point.
    pub fn new(call: impl Fn(Point) + Send + Sync + 'static) -> Hooks {
        Hooks(Some(Arc::new(call)))
    }

    fn reach(&self, point: Point) {
        if let Some(call) = &self.0 {
            call(point);
        }
    }
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hooks").field(&self.0.is_some()).finish()
    }
}

/// What an archive is made of.
#[derive(Clone)]
pub struct ArchiveConfig {
    /// The bucket.
    pub store: Store,
    /// The partition's directory.
    pub prefix: PartitionPrefix,
    /// This incarnation of the leader.
    pub writer: Writer,
    /// Where the local copy of the root is kept; None for nowhere.
    pub copy: Option<PathBuf>,
    /// The clock.
    pub clock: Clock,
    /// Settings that hold at first.
    pub rules: Rules,
    /// Objects of this partition that are put at the same time.
    pub puts_in_flight: usize,
    /// Fail points.
    pub hooks: Hooks,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something: take another step.
    Worked,
    /// Nothing is to be done now.
    Idle,
    /// The partition is deleted, and so is its root: the archive is over.
    Purged,
}

/// How long an archive with nothing to do may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The log moves, or cannot be told: look again soon.
    Restless,
    /// Until its handle is told of something, or this time has come.
    Until(Option<Timestamp>),
}

/// A root that is stored, and its version.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) root: Arc<Root>,
    pub(crate) version: Version,
}

/// What was found between the root's end and the stable end, so that a backlog is scanned once.
#[derive(Debug, Default)]
struct Backlog {
    pieces: Vec<Piece>,
    scanned_to: Offset,
}

/// One led partition's archive. See the module.
pub struct PartitionArchive<L: LocalLog> {
    config: ArchiveConfig,
    log: Arc<L>,
    handle: ArchiveHandle,
    held: Option<Held>,
    /// The stored root as far as is known, to be taken over.
    known: Option<Held>,
    /// The newest root that this replica knows: what is stored must be it, or succeed it.
    fence: Option<Arc<Root>>,
    pending: Option<Pending>,
    abandoned: BTreeSet<ObjectId>,
    in_flight: BTreeSet<ObjectId>,
    first_group: Option<Group>,
    backlog: Backlog,
    /// The root was deleted: there is nothing to hold any more.
    purged: bool,
    /// When time alone brings something to do, as of the last step.
    due: Option<Timestamp>,
    /// The log as the last plan saw it.
    planned: Option<LocalBounds>,
    /// The log as it was when the archive last asked to rest.
    seen: Option<LocalBounds>,
}

impl<L: LocalLog> PartitionArchive<L> {
    /// An archive, and the handle by which others see it. Makes no request: a local copy of the root is read, so that
    /// cold reads can begin; the right to write is taken by the first step.
    pub fn open(config: ArchiveConfig, log: Arc<L>) -> (PartitionArchive<L>, ArchiveHandle) {
        let known = config.copy.as_deref().and_then(|path| copy::read(path, &config.prefix));
        let handle = ArchiveHandle::new(&config, known.as_ref().map(|held| Arc::clone(&held.root)));
        let archive = PartitionArchive {
            config,
            log,
            handle: handle.clone(),
            held: None,
            fence: known.as_ref().map(|held| Arc::clone(&held.root)),
            known,
            pending: None,
            abandoned: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            first_group: None,
            backlog: Backlog::default(),
            purged: false,
            due: None,
            planned: None,
            seen: None,
        };
        (archive, handle)
    }

    /// The handle.
    #[must_use]
    pub fn handle(&self) -> &ArchiveHandle {
        &self.handle
    }

    /// One round: takes the root where it is not held yet, resolves a swap whose reply was lost, and then carries out what
    /// the plan says for now.
    ///
    /// # Errors
    /// [`ShipErrorKind::Retry`]: take a step later. [`ShipErrorKind::Halted`]: never again, a human must look.
    pub async fn step(&mut self) -> Result<Step, ShipError> {
        let result = self.round().await;
        match &result {
            Ok(_) => self.handle.recovered(),
            Err(error) => self.handle.failed(error),
        }
        result
    }

    async fn round(&mut self) -> Result<Step, ShipError> {
        if let Some(reason) = self.handle.halted() {
            return Err(ShipError::Halted { reason });
        }
        if self.purged {
            return Ok(Step::Purged);
        }
        // A step that was cancelled may have signed these, and nobody waits for them any more.
        self.abandoned.append(&mut self.in_flight);
        if self.needs_no_root() {
            return Ok(Step::Idle);
        }
        self.log.ready()?;
        self.note_backlog();
        self.resolve().await?;
        self.hold().await?;
        if self.purged {
            return Ok(Step::Purged);
        }
        if self.handle.deletion_wanted() && self.mark_deleted().await? {
            return Ok(Step::Worked);
        }
        let actions = self.plan()?;
        let mut worked = false;
        let ships = actions.iter().any(|action| matches!(action, Action::Ship(_)));
        for action in actions {
            match action {
                // Ids for the next objects travel with the commit of these.
                Action::Register { .. } if ships => continue,
                Action::Gap { tier_end, local_start } => self.handle.gap(tier_end, local_start),
                Action::DeleteRoot => {
                    self.delete_root().await?;
                    return Ok(Step::Purged);
                }
                action => worked |= self.carry_out(action).await?,
            }
        }
        Ok(if worked { Step::Worked } else { Step::Idle })
    }

    /// True where the root is not held and nothing is to be done that needs it: the log never had anything, or the root of
    /// which this replica knows covers it, and time has brought nothing yet.
    fn needs_no_root(&mut self) -> bool {
        let is_free = self.held.is_none() && self.pending.is_none() && self.abandoned.is_empty();
        if !is_free || self.handle.deletion_wanted() {
            return false;
        }
        let Some(bounds) = self.log.bounds_at_rest() else { return false };
        self.planned = Some(bounds);
        let Some(known) = &self.known else {
            self.due = None;
            return self.fence.is_none() && (bounds.log_start, bounds.end) == (Offset::ZERO, Offset::ZERO);
        };
        let root = &known.root;
        if root.state != State::Active || bounds.end != root.end {
            return false;
        }
        let (rules, now) = (self.handle.rules(), (self.config.clock)());
        let facts = self.facts(&bounds, &[], (0, None));
        if !tiering_plan::plan(root, &facts, &rules, now).is_empty() {
            return false;
        }
        let due = tiering_plan::due(root, &facts, &rules, now);
        self.due = due;
        true
    }

    /// Also while the store does not answer, what waits for it can be seen.
    fn note_backlog(&self) {
        if self.held.is_none() {
            let from = self.known.as_ref().map_or_else(|| self.log.bounds().local_start, |known| known.root.end);
            let (bytes, oldest) = self.log.unshipped(from);
            self.handle.backlog(bytes, oldest);
        }
    }

    /// How long the archive may sleep after a step that found nothing to do.
    pub fn rest(&mut self) -> Rest {
        let Some(now) = self.log.bounds_at_rest() else { return Rest::Restless };
        let shipped = self.held.as_ref().or(self.known.as_ref()).map_or(Offset::ZERO, |held| held.root.end);
        let is_behind = now.end > shipped;
        let moved = self.seen.replace(now) != Some(now);
        if self.planned != Some(now) || is_behind && (moved || now.stable_end < now.end) {
            return Rest::Restless;
        }
        self.handle.listen();
        // What was appended before somebody listened rang nothing.
        if self.log.bounds_at_rest() == Some(now) { Rest::Until(self.due) } else { Rest::Restless }
    }

    async fn carry_out(&mut self, action: Action) -> Result<bool, ShipError> {
        match action {
            Action::Ship(cuts) => self.ship(&cuts).await,
            Action::Register { data, groups, deadline } => self.register(data, groups, deadline).await,
            Action::Group { replaces, entries, delete_after } => {
                self.write_group(replaces, entries, delete_after).await
            }
            Action::OpenFirstGroup(name) => self.open_first_group(name).await,
            Action::AdvanceStart { to, delete_after } => self.advance_start(to, delete_after).await,
            Action::Occupy(rows) => self.occupy(&rows).await,
            Action::Release(ids) => self.release(&ids).await,
            Action::Vacate(rows) => self.vacate(&rows).await,
            Action::Destroy(rows) => self.destroy(&rows).await,
            Action::Gap { .. } | Action::DeleteRoot => Ok(false),
        }
    }

    fn plan(&mut self) -> Result<Vec<Action>, ShipError> {
        let root = self.root()?;
        let (bounds, rules) = (self.log.bounds(), self.handle.rules());
        self.planned = Some(bounds);
        if bounds.local_start <= root.end {
            self.scan(root.end, bounds.stable_end, &rules)?;
        } else {
            self.backlog = Backlog::default();
        }
        let (unshipped_bytes, oldest_unshipped) = self.log.unshipped(root.end);
        self.handle.backlog(unshipped_bytes, oldest_unshipped);
        let facts = self.facts(&bounds, &self.backlog.pieces, (unshipped_bytes, oldest_unshipped));
        let now = (self.config.clock)();
        let actions = tiering_plan::plan(&root, &facts, &rules, now);
        let due = tiering_plan::due(&root, &facts, &rules, now);
        self.due = due;
        Ok(actions)
    }

    fn facts<'a>(
        &'a self,
        bounds: &LocalBounds,
        pieces: &'a [Piece],
        (unshipped_bytes, oldest_unshipped): (u64, Option<Timestamp>),
    ) -> Facts<'a> {
        Facts {
            local_start: bounds.local_start,
            log_start: bounds.log_start,
            stable_end: bounds.stable_end,
            closed_end: bounds.closed_end,
            pieces,
            unshipped_bytes,
            oldest_unshipped,
            first_group: self.first_group.as_ref(),
            abandoned: &self.abandoned,
            in_flight: &self.in_flight,
        }
    }

    /// Keeps the list of pieces from the root's end on, at most a commit's worth, without reading any head twice.
    fn scan(&mut self, from: Offset, stable_end: Offset, rules: &Rules) -> Result<(), ShipError> {
        self.backlog.pieces.retain(|piece| piece.end > from);
        if self.backlog.pieces.is_empty() || self.backlog.scanned_to < from {
            self.backlog = Backlog { pieces: Vec::new(), scanned_to: from };
        }
        let most = rules.object_bytes.saturating_mul(broker_model::limits::OBJECTS_PER_COMMIT_MAX as u64);
        let have: u64 = self.backlog.pieces.iter().map(|piece| piece.bytes).sum();
        if have < most && self.backlog.scanned_to < stable_end {
            let more = self.log.pieces(self.backlog.scanned_to, stable_end, most - have)?;
            if let Some(last) = more.last() {
                self.backlog.scanned_to = last.end;
            }
            self.backlog.pieces.extend(more);
        }
        Ok(())
    }

    fn root(&self) -> Result<Arc<Root>, ShipError> {
        let held = self.held.as_ref().ok_or_else(|| ShipError::Halted { reason: "the root is not held".to_owned() })?;
        Ok(Arc::clone(&held.root))
    }
}

#[cfg(test)]
mod tests;
