//! Where a partition's root comes from, and which entry holds an offset. Groups are read when they are needed, and a few
//! are kept decoded.

use std::collections::VecDeque;
use std::sync::Arc;

use broker_model::{Offset, Timestamp, TopicPartition};
use parking_lot::{Mutex, RwLock};
use tiering_manifest::{Entry, Group, GroupRef, PartitionPrefix, Root};
use tiering_store::Class;

use super::ColdError;
use super::object::{Fetcher, wrong};
use crate::ArchiveHandle;
use crate::invariants;

/// Decoded groups that one partition keeps.
const GROUPS_KEPT: usize = 4;

#[derive(Debug)]
enum Origin {
    Archive(ArchiveHandle),
    Bucket(PartitionPrefix, RwLock<Option<Arc<Root>>>),
}

/// A partition that can be read.
#[derive(Debug)]
pub(super) struct Source {
    origin: Origin,
    groups: Mutex<VecDeque<(GroupRef, Arc<Group>)>>,
}

impl Source {
    pub(super) fn archive(handle: ArchiveHandle) -> Source {
        Source { origin: Origin::Archive(handle), groups: Mutex::default() }
    }

    pub(super) fn bucket(prefix: PartitionPrefix) -> Source {
        Source { origin: Origin::Bucket(prefix, RwLock::new(None)), groups: Mutex::default() }
    }

    pub(super) fn prefix(&self) -> &PartitionPrefix {
        match &self.origin {
            Origin::Archive(handle) => handle.prefix(),
            Origin::Bucket(prefix, _) => prefix,
        }
    }

    fn unknown(&self) -> ColdError {
        let prefix = self.prefix();
        ColdError::Unknown(TopicPartition { topic: prefix.topic(), partition: prefix.partition() })
    }

    /// The root as it is known; read where none is.
    pub(super) async fn root(&self, fetcher: &Fetcher) -> Result<Arc<Root>, ColdError> {
        let known = match &self.origin {
            Origin::Archive(handle) => handle.root(),
            Origin::Bucket(_, root) => root.read().clone(),
        };
        match known {
            Some(root) => Ok(root),
            None => self.reload(fetcher).await,
        }
    }

    /// The newest root. An archive in this process knows it; else the bucket is asked.
    pub(super) async fn reload(&self, fetcher: &Fetcher) -> Result<Arc<Root>, ColdError> {
        if let Origin::Archive(handle) = &self.origin
            && handle.is_held()
            && let Some(root) = handle.root()
        {
            return Ok(root);
        }
        let key = self.prefix().root();
        let Some(stored) = fetcher.store.load(&key, Class::ColdRead).await? else { return Err(self.unknown()) };
        let root = Root::decode(&stored.bytes).map_err(|error| wrong(&key, &error.to_string()))?;
        let root = Arc::new(root);
        if let Origin::Bucket(_, known) = &self.origin {
            let mut known = known.write();
            // A store that answers with an older root must not take data back that was already shown.
            if let Some(before) = known.as_ref()
                && root.succeeds(before).is_err()
            {
                if before.sequence > root.sequence && before.writer >= root.writer {
                    return Ok(Arc::clone(before));
                }
                let broken = invariants::root_succeeds(&root, before).err().map(|broken| broken.to_string());
                return Err(wrong(&key, &broken.unwrap_or_default()).into());
            }
            *known = Some(Arc::clone(&root));
        }
        Ok(root)
    }

    /// The entry that holds this offset, which lies inside of the root.
    pub(super) async fn entry(&self, fetcher: &Fetcher, root: &Root, offset: Offset) -> Result<Entry, ColdError> {
        let found = match group_of(root, offset) {
            Some(group) => {
                let content = self.group(fetcher, group).await?;
                holding(content.entries.get(group.skip as usize..).unwrap_or_default(), offset)
            }
            None => holding(&root.entries, offset),
        };
        found.ok_or_else(|| wrong(&self.prefix().root(), &format!("no entry holds offset {offset}")).into())
    }

    /// The same, where it can be had without a request.
    pub(super) fn entry_in_memory(&self, root: &Root, offset: Offset) -> Option<Entry> {
        match group_of(root, offset) {
            None => holding(&root.entries, offset),
            Some(group) => {
                let kept = self.groups.lock();
                let (_, content) = kept.iter().find(|(known, _)| known.name == group.name)?;
                holding(content.entries.get(group.skip as usize..)?, offset)
            }
        }
    }

    /// The first entry from `at` on that has a record at or after `time`, and may have one before `before`.
    pub(super) async fn entry_by_time(
        &self,
        fetcher: &Fetcher,
        root: &Root,
        at: Offset,
        (time, before): (Timestamp, Timestamp),
    ) -> Result<Option<Entry>, ColdError> {
        let wanted = |entry: &&Entry| {
            let is_later = entry.min_timestamp >= before && entry.min_timestamp != Timestamp::NONE;
            entry.end > at && entry.max_timestamp >= time && !is_later
        };
        let first = root.groups.partition_point(|group| group.end <= at);
        let groups = root.groups.get(first..).unwrap_or_default();
        for group in groups.iter().filter(|group| group.max_timestamp >= time) {
            let content = self.group(fetcher, group).await?;
            let live = content.entries.get(group.skip as usize..).unwrap_or_default();
            if let Some(entry) = live.iter().find(wanted) {
                return Ok(Some(entry.clone()));
            }
        }
        Ok(root.entries.iter().find(wanted).cloned())
    }

    pub(super) async fn group(&self, fetcher: &Fetcher, group: &GroupRef) -> Result<Arc<Group>, ColdError> {
        if let Some((_, content)) = self.groups.lock().iter().find(|(known, _)| known.name == group.name) {
            return Ok(Arc::clone(content));
        }
        let key = self.prefix().object(&group.name);
        let bytes = fetcher.store.read(&key, 0..u64::from(group.file_length), Class::ColdRead).await?;
        let content = Group::open(&bytes, group).map_err(|error| wrong(&key, &error.to_string()))?;
        let content = Arc::new(content);
        let mut kept = self.groups.lock();
        kept.retain(|(known, _)| known.name != group.name);
        kept.push_back((group.clone(), Arc::clone(&content)));
        if kept.len() > GROUPS_KEPT {
            kept.pop_front();
        }
        Ok(content)
    }
}

fn group_of(root: &Root, offset: Offset) -> Option<&GroupRef> {
    let at = root.groups.partition_point(|group| group.end <= offset);
    root.groups.get(at)
}

fn holding(entries: &[Entry], offset: Offset) -> Option<Entry> {
    let at = entries.partition_point(|entry| entry.end <= offset);
    entries.get(at).filter(|entry| entry.base <= offset).cloned()
}
