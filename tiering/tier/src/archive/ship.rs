//! Objects: register → put → commit. Ids were registered by an earlier swap; up to eight objects are put, and one swap
//! commits those that stand, and registers the ids of the next ones.

use broker_model::Timestamp;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use object_store::PutPayload;
use tiering_manifest::{
    Entry, Group, GroupRef, NewObject, ObjectKind, ObjectName, Registered, Root, StoredGroup, crc32c,
};
use tiering_plan::{Cut, Rules};
use tiering_store::{Class, Put, StoreError};

use super::{PartitionArchive, Point, ShipError};
use crate::{LocalLog, body};

impl<L: LocalLog> PartitionArchive<L> {
    /// Puts these ranges, and commits what stands of them.
    pub(super) async fn ship(&mut self, cuts: &[Cut]) -> Result<bool, ShipError> {
        let root = self.root()?;
        let now = (self.config.clock)();
        let ids: Vec<Registered> = self.free_ids(ObjectKind::Data, now);
        let jobs: Vec<(Cut, Registered)> = cuts.iter().copied().zip(ids).collect();
        if jobs.is_empty() {
            return Ok(false);
        }
        self.config.hooks.reach(Point::AfterRegister);
        self.in_flight.extend(jobs.iter().map(|(_, id)| id.id));
        let mut objects = Vec::new();
        let mut failure = None;
        {
            let this = &*self;
            let mut puts: Vec<BoxFuture<'_, Result<NewObject, ShipError>>> = Vec::new();
            for (cut, id) in &jobs {
                puts.push(Box::pin(this.put_one(&root, cut, id)));
            }
            let mut puts = futures::stream::iter(puts).buffered(this.config.puts_in_flight.max(1));
            // Ranges follow one another: the first that failed ends what can be committed.
            while let Some(put) = puts.next().await {
                match put {
                    Ok(object) => objects.push(object),
                    Err(error) => {
                        failure = Some(error);
                        break;
                    }
                }
            }
        }
        // What is not committed now was perhaps signed, and will be occupied.
        self.abandoned.append(&mut self.in_flight);
        for object in &objects {
            self.abandoned.remove(&object.id);
        }
        if !objects.is_empty() {
            self.config.hooks.reach(Point::AfterPut);
            self.commit_objects(objects).await?;
        }
        failure.map_or(Ok(true), Err)
    }

    async fn put_one(&self, root: &Root, cut: &Cut, id: &Registered) -> Result<NewObject, ShipError> {
        let body = body::build(self.log.as_ref(), root, cut, id)?;
        let key = self.config.prefix.object(&id.name());
        let content = (body.payload, &body.footer.bytes);
        let may_sign = || self.signable(id);
        match self.config.store.put_object_while(&key, content, Class::TailUpload, &may_sign).await? {
            Put::Stored => Ok(NewObject { id: id.id, entry: body.entry }),
            Put::Occupied { bytes } => {
                let reason = format!("{key} is taken by another writer ({bytes} bytes): this one has lost its right");
                Err(ShipError::Halted { reason })
            }
        }
    }

    /// No PUT is signed after the deadline of its id.
    fn signable(&self, id: &Registered) -> bool {
        (self.config.clock)() < id.deadline
    }

    async fn commit_objects(&mut self, objects: Vec<NewObject>) -> Result<(), ShipError> {
        let root = self.root()?;
        let (count, bytes) = (objects.len(), objects.iter().map(|object| object.entry.length).sum());
        let ids: Vec<_> = objects.iter().map(|object| object.id).collect();
        // Until the swap is resolved these ids are neither free nor abandoned: the pending swap keeps everything else off.
        let now = (self.config.clock)();
        let draft = root.draft(&self.config.writer)?.commit(objects)?;
        let (data, groups) = {
            let (rules, bounds) = (self.handle.rules(), self.log.bounds());
            let facts = self.facts(&bounds, &[], (0, None));
            tiering_plan::ids_wanted(draft.root(), &facts, &rules, self.objects_waiting(draft.root(), &rules), now)
        };
        let deadline = now.plus_ms(self.handle.rules().id_life_ms);
        let draft = draft.register(ObjectKind::Data, data, deadline)?.register(ObjectKind::Group, groups, deadline)?;
        let result = self.commit(draft).await;
        if result.is_err() && self.pending.is_none() {
            self.abandoned.extend(ids);
        }
        result?;
        self.handle.shipped(count, bytes);
        Ok(())
    }

    /// About how many objects still wait when the tier ends where this root says.
    fn objects_waiting(&self, root: &Root, rules: &Rules) -> usize {
        let waiting = self.backlog.pieces.iter().filter(|piece| piece.end > root.end);
        let bytes: u64 = waiting.map(|piece| piece.bytes).sum();
        usize::try_from(bytes.div_ceil(rules.object_bytes.max(1))).unwrap_or(usize::MAX)
    }

    /// Swaps in more ids.
    pub(super) async fn register(
        &mut self,
        data: usize,
        groups: usize,
        deadline: Timestamp,
    ) -> Result<bool, ShipError> {
        let draft = self.root()?.draft(&self.config.writer)?;
        let draft = draft.register(ObjectKind::Data, data, deadline)?.register(ObjectKind::Group, groups, deadline)?;
        self.commit(draft).await?;
        Ok(true)
    }

    /// Writes the oldest entries to a group.
    pub(super) async fn write_group(
        &mut self,
        replaces: Option<ObjectName>,
        entries: usize,
        delete_after: Timestamp,
    ) -> Result<bool, ShipError> {
        let root = self.root()?;
        let Some(id) = self.free_ids(ObjectKind::Group, (self.config.clock)()).into_iter().next() else {
            return Ok(false);
        };
        let mut content: Vec<Entry> = Vec::new();
        if let Some(last) = root.groups.last().filter(|last| Some(last.name) == replaces) {
            let old = self.read_group(last).await?;
            content.extend(old.entries.into_iter().skip(last.skip as usize));
        }
        content.extend(root.entries.iter().take(entries).cloned());
        let group = Group { topic: root.topic, partition: root.partition, entries: content };
        let file = Bytes::from(group.encode());
        self.in_flight.insert(id.id);
        let key = self.config.prefix.object(&id.name());
        let payload = PutPayload::from_bytes(file.clone());
        let may_sign = || self.signable(&id);
        let put = self.config.store.put_object_while(&key, (payload, &file), Class::TailUpload, &may_sign).await;
        self.abandoned.append(&mut self.in_flight);
        if let Put::Occupied { .. } = put? {
            return Err(ShipError::Halted { reason: format!("{key} is taken by another writer") });
        }
        let length = u32::try_from(file.len()).expect("a group file is below its limit");
        let stored = StoredGroup { id: id.id, length, crc: crc32c(&file) };
        let draft = root.draft(&self.config.writer)?.group_up(&group, stored, delete_after)?;
        self.abandoned.remove(&id.id);
        let result = self.commit(draft).await;
        if result.is_err() && self.pending.is_none() {
            self.abandoned.insert(id.id);
        }
        result?;
        Ok(true)
    }

    /// Reads a group's file.
    pub(super) async fn read_group(&self, group: &GroupRef) -> Result<Group, ShipError> {
        let key = self.config.prefix.object(&group.name);
        let bytes = self.config.store.read(&key, 0..u64::from(group.file_length), Class::Background).await;
        let bytes = bytes.map_err(|error: StoreError| ShipError::Store(error))?;
        Group::open(&bytes, group).map_err(|source| ShipError::Decode { key, source })
    }

    fn free_ids(&self, kind: ObjectKind, now: Timestamp) -> Vec<Registered> {
        let Some(held) = &self.held else { return Vec::new() };
        let unused = |row: &&Registered| {
            row.deadline > now && !self.abandoned.contains(&row.id) && !self.in_flight.contains(&row.id)
        };
        held.root.usable(kind).filter(unused).copied().collect()
    }
}
