//! Everything that makes the archive smaller: the log start offset, ids of dead writers, objects that no root refers to,
//! and in the end the partition itself. The order is always: the root says so first, then time passes, then the object
//! goes, then the root forgets it.

use broker_model::{Offset, Timestamp};
use bytes::Bytes;
use object_store::PutPayload;
use tiering_manifest::{ChangeError, Condemned, Doom, Group, ObjectId, ObjectName, Occupied, Registered, State};
use tiering_store::Class;

use super::{PartitionArchive, ShipError};
use crate::LocalLog;

/// How long after it was begun an occupation may still write; far less than a row stays listed.
const OCCUPY_MS_MAX: i64 = 60 * 60 * 1000;
const _: () = assert!(OCCUPY_MS_MAX * 2 < tiering_manifest::limits::LATE_PUT_MS);

impl<L: LocalLog> PartitionArchive<L> {
    /// Reads the root's first group and keeps it for the next plan.
    pub(super) async fn open_first_group(&mut self, name: ObjectName) -> Result<bool, ShipError> {
        let root = self.root()?;
        let Some(first) = root.groups.first().filter(|first| first.name == name) else { return Ok(false) };
        self.first_group = Some(self.read_group(first).await?);
        Ok(true)
    }

    /// Moves the log start offset, and condemns what lies below it.
    pub(super) async fn advance_start(&mut self, to: Offset, delete_after: Timestamp) -> Result<bool, ShipError> {
        let root = self.root()?;
        let group = self.first_group.as_ref().filter(|content| is_first(&root, content));
        let draft = root.draft(&self.config.writer)?.advance_start(to, group, delete_after)?;
        let (before, after) = (root.as_ref(), draft.root());
        if (before.start, before.log_start, before.end) == (after.start, after.log_start, after.end) {
            return Ok(false);
        }
        self.commit(draft).await?;
        Ok(true)
    }

    /// Takes the keys of ids that nobody may use any more, so that a late PUT fails.
    pub(super) async fn occupy(&mut self, rows: &[Registered]) -> Result<bool, ShipError> {
        // A collector that was stopped for a day must not make keys again that its successor has vacated meanwhile: it
        // holds the root after this moment, and writes only shortly after it.
        let last = (self.config.clock)().plus_ms(OCCUPY_MS_MAX);
        self.writer_is_still_us().await?;
        let may_sign = || (self.config.clock)() < last;
        for row in rows {
            let key = self.config.prefix.object(&row.name());
            let empty = (PutPayload::new(), &Bytes::new());
            // Stored: the key is ours and empty. Occupied: the late object is there. Either way no PUT can succeed now.
            self.config.store.put_object_while(&key, empty, Class::Background, &may_sign).await?;
        }
        let ids: Vec<ObjectId> = rows.iter().map(|row| row.id).collect();
        let draft = self.root()?.draft(&self.config.writer)?.occupy(&ids, (self.config.clock)())?;
        self.commit(draft).await?;
        for id in &ids {
            self.abandoned.remove(id);
        }
        Ok(true)
    }

    /// Drops ids that were never used.
    pub(super) async fn release(&mut self, ids: &[ObjectId]) -> Result<bool, ShipError> {
        let draft = self.root()?.draft(&self.config.writer)?.release(ids)?;
        self.commit(draft).await?;
        Ok(true)
    }

    /// Deletes what stands under occupied keys that no PUT can reach any more.
    pub(super) async fn vacate(&mut self, rows: &[Occupied]) -> Result<bool, ShipError> {
        self.writer_is_still_us().await?;
        let keys: Vec<String> = rows.iter().map(|row| self.config.prefix.object(&row.name)).collect();
        self.config.store.delete(&keys).await?;
        let draft = self.root()?.draft(&self.config.writer)?.vacate(rows, (self.config.clock)())?;
        self.commit(draft).await?;
        Ok(true)
    }

    /// Deletes what condemned rows name.
    pub(super) async fn destroy(&mut self, rows: &[Condemned]) -> Result<bool, ShipError> {
        self.writer_is_still_us().await?;
        for row in rows {
            let mut keys = match row.doom {
                Doom::File => Vec::new(),
                Doom::Members { first, last } | Doom::FileAndMembers { first, last } => {
                    self.members(&row.key, first, last).await?
                }
            };
            self.config.store.delete(&keys).await?;
            keys.clear();
            if !matches!(row.doom, Doom::Members { .. }) {
                self.config.store.delete(&[self.config.prefix.join(&row.key)]).await?;
            }
        }
        let draft = self.root()?.draft(&self.config.writer)?.forget(rows, (self.config.clock)())?;
        self.commit(draft).await?;
        Ok(true)
    }

    /// The keys of a condemned group's members. A group that is gone already has no members left: they went before it.
    async fn members(&self, key: &str, first: u32, last: u32) -> Result<Vec<String>, ShipError> {
        let key = self.config.prefix.join(key);
        let Some(found) = self.config.store.load(&key, Class::Background).await? else { return Ok(Vec::new()) };
        let group = Group::decode(&found.bytes).map_err(|source| ShipError::Decode { key, source })?;
        let members = group.entries.into_iter().skip(first as usize).take(last.saturating_sub(first) as usize);
        Ok(members.map(|entry| self.config.prefix.join(&entry.key)).collect())
    }

    /// Before anything is deleted the root is looked at again: a writer that lost its right must not delete what its
    /// successor may refer to.
    async fn writer_is_still_us(&self) -> Result<(), ShipError> {
        let key = self.config.prefix.root();
        let gone = || ShipError::Halted { reason: "the root is gone from the bucket".to_owned() };
        let stored = self.config.store.load(&key, Class::Background).await?.ok_or_else(gone)?;
        let root = self.decode(&stored.bytes)?;
        if root == *self.root()? {
            return Ok(());
        }
        let reason = format!("another writer holds the root: {} (sequence {})", root.writer, root.sequence);
        Err(ShipError::Halted { reason })
    }

    /// Marks the partition deleted. False when it is already.
    pub(super) async fn mark_deleted(&mut self) -> Result<bool, ShipError> {
        let root = self.root()?;
        if root.state == State::Deleted {
            return Ok(false);
        }
        // Own ids that were never signed need no occupying: nothing can come late.
        let unused: Vec<ObjectId> = root
            .registered
            .iter()
            .filter(|row| row.writer == root.writer && !self.abandoned.contains(&row.id))
            .map(|row| row.id)
            .collect();
        let now = (self.config.clock)();
        let draft = root.draft(&self.config.writer)?.release(&unused)?;
        match draft.mark_deleted(now) {
            Ok(draft) => self.commit(draft).await?,
            // The plan carries out what is condemned already; then there is room.
            Err(ChangeError::Full(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    /// The last delete of a partition.
    pub(super) async fn delete_root(&mut self) -> Result<(), ShipError> {
        self.writer_is_still_us().await?;
        self.config.store.delete(&[self.config.prefix.root()]).await?;
        self.held = None;
        self.purged = true;
        if let Some(path) = &self.config.copy
            && let Err(error) = std::fs::remove_file(path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "cannot remove the local copy of a deleted partition's root");
        }
        Ok(())
    }
}

fn is_first(root: &tiering_manifest::Root, content: &Group) -> bool {
    root.groups.first().is_some_and(|first| {
        content.entries.len() == first.count as usize
            && content.entries.get(first.skip as usize).is_some_and(|entry| entry.base == first.base)
    })
}
