//! Swaps of the root: the only place where the manifest changes.
//!
//! A swap is noted as pending, with its bytes, before it is sent. While it is pending the only thing that this archive
//! does is to send the identical bytes again.

use std::sync::Arc;

use bytes::Bytes;
use tiering_manifest::root::SwapOutcome;
use tiering_manifest::{ChangeError, Draft, ObjectKind, Root, State};
use tiering_store::{Class, StoreError, StoreErrorKind, Swap, Version, Versioned};

use super::{Held, PartitionArchive, Point, ShipError, copy};
use crate::LocalLog;
use crate::invariants::{self, Promise};

/// A swap that was sent, or is about to be.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    root: Arc<Root>,
    bytes: Bytes,
    expected: Option<Version>,
}

impl<L: LocalLog> PartitionArchive<L> {
    /// Swaps in the draft's root.
    pub(super) async fn commit(&mut self, draft: Draft) -> Result<(), ShipError> {
        let expected = self.held.as_ref().map(|held| held.version.clone());
        self.swap(draft.finish()?, expected).await?;
        if self.held.is_some() {
            return Ok(());
        }
        let key = self.config.prefix.root();
        Err(StoreError::new(StoreErrorKind::Conflict, "swap", &key, "the version changed, the root did not").into())
    }

    async fn swap(&mut self, root: Root, expected: Option<Version>) -> Result<(), ShipError> {
        let bytes = Bytes::from(root.encode());
        self.pending = Some(Pending { root: Arc::new(root), bytes, expected });
        self.resolve().await
    }

    /// Sends the pending swap, again where it was sent before, until it is known what became of it.
    pub(super) async fn resolve(&mut self) -> Result<(), ShipError> {
        let Some(pending) = self.pending.clone() else { return Ok(()) };
        let key = self.config.prefix.root();
        let class = Class::TailUpload;
        match self.config.store.swap(&key, pending.expected.as_ref(), &pending.bytes, class).await? {
            Swap::Done(version) => self.applied(&pending, version),
            Swap::Conflict(stored) => self.conflict(&pending, stored),
        }
    }

    fn applied(&mut self, pending: &Pending, version: Version) -> Result<(), ShipError> {
        self.pending = None;
        if let Some(path) = &self.config.copy {
            // Only a hint: a disk that is full must not stop what frees it.
            if let Err(error) = copy::write(path, &pending.bytes, &version) {
                tracing::warn!(partition = %self.handle.partition(), %error, "cannot write the local copy of the root");
            }
        }
        self.handle.durable(&pending.root);
        self.fence = Some(Arc::clone(&pending.root));
        self.held = Some(Held { root: Arc::clone(&pending.root), version });
        self.config.hooks.reach(Point::AfterSwap);
        Ok(())
    }

    /// The swap did not happen and never will. Whose is the root that is stored?
    fn conflict(&mut self, pending: &Pending, stored: Option<Versioned>) -> Result<(), ShipError> {
        let Some(stored) = stored else {
            self.pending = None;
            let broken = invariants::note(Promise::Tier4, "the root is gone from the bucket".to_owned());
            return Err(ShipError::Halted { reason: broken.to_string() });
        };
        let root = self.decode(&stored.bytes)?;
        match pending.root.outcome(&root) {
            SwapOutcome::Applied => self.applied(pending, stored.version),
            SwapOutcome::NotApplied => {
                self.pending = None;
                self.fence(&root)?;
                // Ids that the swap would have committed were signed: they are not used again.
                let stands = |id| pending.root.registered.iter().any(|row| row.id == id);
                let consumed = root.registered.iter().filter(|row| row.writer == self.config.writer);
                self.abandoned.extend(consumed.map(|row| row.id).filter(|id| !stands(*id)));
                self.known = Some(Held { root: Arc::new(root), version: stored.version });
                self.held = None;
                Ok(())
            }
            SwapOutcome::Lost => {
                self.pending = None;
                Err(self.lost(&root))
            }
        }
    }

    fn lost(&self, stored: &Root) -> ShipError {
        let reason = format!(
            "another writer holds the root: {} (sequence {}), this one is {}",
            stored.writer, stored.sequence, self.config.writer
        );
        ShipError::Halted { reason }
    }

    pub(super) fn decode(&self, bytes: &[u8]) -> Result<Root, ShipError> {
        Root::decode(bytes).map_err(|source| ShipError::Decode { key: self.config.prefix.root(), source })
    }

    /// Makes sure that this incarnation holds the root: takes it over, or makes the first one.
    pub(super) async fn hold(&mut self) -> Result<(), ShipError> {
        // Each turn either holds the root or learns a newer one; a store that never agrees with itself ends it.
        for _ in 0..4 {
            if self.held.is_some() || self.purged {
                return Ok(());
            }
            match self.known.take() {
                Some(known) if self.log_reaches(&known.root) => {
                    let draft = self.take_over(&known.root)?;
                    self.swap(draft.finish()?, Some(known.version)).await?;
                }
                _ => self.look().await?,
            }
        }
        Err(ShipError::Halted { reason: "the store refuses a swap and shows an unchanged root".to_owned() })
    }

    /// Looks at the bucket, and begins with what is there.
    async fn look(&mut self) -> Result<(), ShipError> {
        let key = self.config.prefix.root();
        let Some(stored) = self.config.store.load(&key, Class::TailUpload).await? else {
            if self.fence.is_some() {
                let broken = invariants::note(Promise::Tier4, "the bucket lost a root that it had".to_owned());
                return Err(ShipError::Halted { reason: broken.to_string() });
            }
            if self.handle.deletion_wanted() {
                // Nothing was ever archived: nothing is there to be purged.
                self.purged = true;
                return Ok(());
            }
            let (prefix, bounds) = (&self.config.prefix, self.log.bounds());
            let start = bounds.local_start.max(bounds.log_start);
            let draft = Root::create(prefix.topic(), prefix.partition(), self.config.writer, start);
            let draft = self.with_ids(draft)?;
            return self.swap(draft.finish()?, None).await;
        };
        let root = self.decode(&stored.bytes)?;
        self.fence(&root)?;
        if !self.log_reaches(&root) {
            let reason = format!("the log ends before the tier, which ends at {}: begin the log there", root.end);
            return Err(ShipError::Halted { reason });
        }
        self.known = Some(Held { root: Arc::new(root), version: stored.version });
        Ok(())
    }

    /// What is stored must be what this replica knew, or succeed it.
    fn fence(&mut self, stored: &Root) -> Result<(), ShipError> {
        let Some(known) = &self.fence else { return Ok(()) };
        invariants::root_succeeds(stored, known).map_err(|broken| ShipError::Halted { reason: broken.to_string() })
    }

    fn log_reaches(&self, root: &Root) -> bool {
        // A partition that is to go needs no log any more.
        let is_going = root.state == State::Deleted || self.handle.deletion_wanted();
        is_going || self.log.bounds().end >= root.end
    }

    fn take_over(&self, root: &Root) -> Result<Draft, ShipError> {
        let draft = root.take_over(&self.config.writer).map_err(|error| match error {
            ChangeError::Fenced { .. } => self.lost(root),
            other => ShipError::Change(other),
        })?;
        if root.state == State::Deleted { Ok(draft) } else { self.with_ids(draft) }
    }

    /// The first ids travel with the swap that takes the root.
    fn with_ids(&self, draft: Draft) -> Result<Draft, ShipError> {
        let rules = self.handle.rules();
        let deadline = (self.config.clock)().plus_ms(rules.id_life_ms);
        let draft = draft.register(ObjectKind::Data, rules.spare_ids.max(1), deadline)?;
        Ok(draft.register(ObjectKind::Group, 1, deadline)?)
    }
}
