//! A change of a root in the making. Each method makes one change and returns the draft; [`Draft::finish`] checks the
//! invariants. However many changes a draft takes, it is one swap and one sequence number.
//!
//! Rules that hold here, so that no caller can break them: an object is committed under the id that was registered for
//! it, and where the root ends; a row that names an object leaves the root only for another row that names it, or when
//! the caller says that the object is gone; ids are never given twice.
//!
//! Times are the caller's `now` plus its grace: nothing here knows a clock.

use broker_model::limits::{GROUP_ENTRIES, ROOT_ENTRIES_BYTES_MAX};
use broker_model::{Offset, Timestamp};

use crate::entry::{Condemned, Doom, Entry, Occupied, Registered};
use crate::error::ChangeError;
use crate::group::Group;
use crate::keys::ObjectKind;
use crate::limits::{CONDEMNED_MAX, GROUPS_MAX, LATE_PUT_MS, OCCUPIED_MAX, REGISTERED_MAX};
use crate::root::{Root, State};
use crate::writer::{ObjectId, Writer};

/// An object that was put and verified, to be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewObject {
    /// The registered id whose name the object has.
    pub id: ObjectId,
    /// The range.
    pub entry: Entry,
}

/// A group file that was put and verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredGroup {
    /// The registered id whose name the file has.
    pub id: ObjectId,
    /// Bytes of the file as stored.
    pub length: u32,
    /// CRC32C of the file as stored.
    pub crc: u32,
}

/// A change of a root in the making.
#[derive(Clone, Debug)]
#[must_use = "a draft changes nothing until its root is swapped in"]
pub struct Draft {
    pub(crate) root: Root,
}

impl Draft {
    pub(crate) fn of(root: Root) -> Draft {
        Draft { root }
    }

    /// The root as changed so far.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The root to swap in.
    ///
    /// # Errors
    /// The changes break an invariant: a bug.
    pub fn finish(self) -> Result<Root, ChangeError> {
        self.root.check()?;
        Ok(self.root)
    }

    /// Registers `count` ids for objects of this kind. No PUT under them may be signed after the deadline.
    ///
    /// # Errors
    /// The list is full, the partition is deleted, or the kind is none of a partition.
    pub fn register(mut self, kind: ObjectKind, count: usize, deadline: Timestamp) -> Result<Draft, ChangeError> {
        self.must_be_active()?;
        if !matches!(kind, ObjectKind::Data | ObjectKind::Group) {
            return Err(ChangeError::Argument("a partition registers data objects and groups"));
        }
        if self.root.registered.len().saturating_add(count) > REGISTERED_MAX {
            return Err(ChangeError::Full("registered ids"));
        }
        for _ in 0..count {
            let id = self.root.next_id;
            self.root.next_id = ObjectId(id.0 + 1);
            self.root.registered.push(Registered { id, kind, writer: self.root.writer, deadline });
        }
        Ok(self)
    }

    /// Commits objects of this writer that continue where the root ends, in the order of their offsets.
    ///
    /// # Errors
    /// An id is not registered by this writer, a range does not continue, or a group must be written first.
    pub fn commit(self, objects: Vec<NewObject>) -> Result<Draft, ChangeError> {
        let writer = self.root.writer;
        self.append(objects, |row| row.writer == writer)
    }

    /// Commits objects that a dead writer put. The caller has read them, and found that they hold what its own log holds.
    ///
    /// # Errors
    /// As [`Draft::commit`]; and where an id is this writer's own.
    pub fn adopt(self, objects: Vec<NewObject>) -> Result<Draft, ChangeError> {
        let writer = self.root.writer;
        self.append(objects, |row| row.writer != writer)
    }

    fn append(mut self, objects: Vec<NewObject>, may_use: impl Fn(&Registered) -> bool) -> Result<Draft, ChangeError> {
        self.must_be_active()?;
        for NewObject { id, entry } in objects {
            let row = self.take_registered(id, ObjectKind::Data, &may_use)?;
            if entry.key != row.name().to_string() {
                return Err(ChangeError::Argument("an object has the name of its registered id"));
            }
            if entry.base != self.root.end {
                return Err(ChangeError::NotContiguous { expected: self.root.end.0, found: entry.base.0 });
            }
            self.root.end = entry.end;
            self.root.entries.push(entry);
        }
        if self.root.entries_bytes() > ROOT_ENTRIES_BYTES_MAX {
            return Err(ChangeError::GroupFirst);
        }
        Ok(self)
    }

    /// Puts the oldest entries into a group file that was stored. The group either begins with the first entry of the
    /// root, or with the live entries of the last group, whose file it replaces: that one is condemned.
    ///
    /// # Errors
    /// The group is not made of these entries, or its id is not registered by this writer.
    pub fn group_up(
        mut self,
        group: &Group,
        stored: StoredGroup,
        delete_after: Timestamp,
    ) -> Result<Draft, ChangeError> {
        self.must_be_active()?;
        let writer = self.root.writer;
        let row = self.take_registered(stored.id, ObjectKind::Group, &|row: &Registered| row.writer == writer)?;
        if (group.topic, group.partition) != (self.root.topic, self.root.partition) {
            return Err(ChangeError::WrongGroup("it is of another partition"));
        }
        if group.entries.len() > GROUP_ENTRIES {
            return Err(ChangeError::WrongGroup("it has too many entries"));
        }
        let kept = self.replaced_entries(group)?;
        let fresh = group.entries.get(kept..).unwrap_or_default();
        if fresh.is_empty() || !self.root.entries.starts_with(fresh) {
            return Err(ChangeError::WrongGroup("its entries are not the oldest of the root"));
        }
        let count = fresh.len();
        let reference = group
            .reference_to(row.name(), (stored.length, stored.crc), 0)
            .ok_or(ChangeError::WrongGroup("it is empty"))?;
        if kept > 0 {
            let old = self.root.groups.pop().expect("replaced_entries found a last group");
            self.condemn(old.name.to_string(), Doom::File, delete_after)?;
        }
        if self.root.groups.len() >= GROUPS_MAX {
            return Err(ChangeError::Full("groups"));
        }
        self.root.groups.push(reference);
        self.root.entries.drain(..count);
        Ok(self)
    }

    /// How many entries at the beginning of `group` are the live entries of the root's last group.
    fn replaced_entries(&self, group: &Group) -> Result<usize, ChangeError> {
        let base = group.base().ok_or(ChangeError::WrongGroup("it is empty"))?;
        if self.root.entries.first().is_some_and(|first| first.base == base) {
            return Ok(0);
        }
        let last = self.root.groups.last().filter(|last| last.base == base);
        let last = last.ok_or(ChangeError::WrongGroup("it begins at no range of the root"))?;
        let kept = (last.count - last.skip) as usize;
        let ends_right = kept > 0 && group.entries.get(kept - 1).is_some_and(|entry| entry.end == last.end);
        if !ends_right {
            return Err(ChangeError::WrongGroup("it does not hold the group that it replaces"));
        }
        Ok(kept)
    }

    /// Moves the log start offset forward, and condemns what lies wholly below it. Without the content of the first group
    /// that lies across the new start, that group's entries stay until it lies below as a whole. An offset beyond the end
    /// moves the end too: nothing below it will be shipped. Where the list of condemned rows is full, ranges stay until
    /// there is room; the log start offset moves all the same.
    ///
    /// # Errors
    /// None today; a full list is not one.
    pub fn advance_start(
        mut self,
        to: Offset,
        first_group: Option<&Group>,
        delete_after: Timestamp,
    ) -> Result<Draft, ChangeError> {
        let to = to.max(self.root.log_start);
        while let Some(group) = self.root.groups.first() {
            if group.end > to || self.condemned_room() == 0 {
                break;
            }
            let doom = Doom::FileAndMembers { first: group.skip, last: group.count };
            let key = group.name.to_string();
            self.root.groups.remove(0);
            self.condemn(key, doom, delete_after)?;
        }
        if self.root.groups.is_empty() {
            let below = self.root.entries.iter().take_while(|entry| entry.end <= to).count();
            let gone: Vec<Entry> = self.root.entries.drain(..below.min(self.condemned_room())).collect();
            for entry in gone {
                self.condemn(entry.key, Doom::File, delete_after)?;
            }
        } else if let Some(content) = first_group {
            self.drop_members(to, content, delete_after)?;
        }
        let first = self.root.groups.first().map(|group| group.base);
        let first = first.or_else(|| self.root.entries.first().map(|entry| entry.base));
        if first.is_none() {
            self.root.end = self.root.end.max(to);
        }
        self.root.log_start = to.min(self.root.end);
        self.root.start = first.unwrap_or(self.root.end);
        Ok(self)
    }

    /// Drops the members of the first group that lie below `to`.
    fn drop_members(&mut self, to: Offset, content: &Group, delete_after: Timestamp) -> Result<(), ChangeError> {
        let room = self.condemned_room();
        let Some(group) = self.root.groups.first_mut() else { return Ok(()) };
        if content.entries.len() != group.count as usize
            || content.entries.last().map(|last| last.end) != Some(group.end)
        {
            return Err(ChangeError::WrongGroup("it is not the first group of the root"));
        }
        let below = content.entries.iter().take_while(|entry| entry.end <= to).count();
        let last = u32::try_from(below).expect("a group's count fits 32 bits");
        if last <= group.skip || room == 0 {
            return Ok(());
        }
        let file = (group.file_length, group.file_crc);
        let reference = content.reference_to(group.name, file, last);
        let reference = reference.ok_or(ChangeError::WrongGroup("nothing of it would stay"))?;
        let doom = Doom::Members { first: group.skip, last };
        let key = group.name.to_string();
        *group = reference;
        self.condemn(key, doom, delete_after)
    }

    /// Notes that the keys of registered ids are taken: by an empty object that the caller created, or by a late one that
    /// was there already. They stay listed until no late PUT can arrive.
    ///
    /// # Errors
    /// An id is not registered, or the list is full.
    pub fn occupy(mut self, ids: &[ObjectId], now: Timestamp) -> Result<Draft, ChangeError> {
        if self.root.occupied.len().saturating_add(ids.len()) > OCCUPIED_MAX {
            return Err(ChangeError::Full("occupied keys"));
        }
        for id in ids {
            let at = self.root.registered.iter().position(|row| row.id == *id);
            let row = self.root.registered.remove(at.ok_or(ChangeError::NotRegistered(*id))?);
            let until = row.deadline.max(now).plus_ms(LATE_PUT_MS);
            self.root.occupied.push(Occupied { name: row.name(), until });
        }
        Ok(self)
    }

    /// Drops ids of this writer under which no PUT was ever signed.
    ///
    /// # Errors
    /// An id is not registered by this writer.
    pub fn release(mut self, ids: &[ObjectId]) -> Result<Draft, ChangeError> {
        let writer = self.root.writer;
        for id in ids {
            let own = |row: &Registered| row.id == *id && row.writer == writer;
            let at = self.root.registered.iter().position(own);
            self.root.registered.remove(at.ok_or(ChangeError::NotRegistered(*id))?);
        }
        Ok(self)
    }

    /// Drops occupied rows whose time is past and whose object the caller has deleted.
    ///
    /// # Errors
    /// A row is not listed, or its time is not past.
    pub fn vacate(mut self, rows: &[Occupied], now: Timestamp) -> Result<Draft, ChangeError> {
        for row in rows {
            if row.until > now {
                return Err(ChangeError::Argument("an occupied key stays listed until its time"));
            }
            let at = self.root.occupied.iter().position(|listed| listed == row);
            self.root.occupied.remove(at.ok_or_else(|| ChangeError::NotListed(row.name.to_string()))?);
        }
        Ok(self)
    }

    /// Drops condemned rows whose objects the caller has deleted.
    ///
    /// # Errors
    /// A row is not listed, or is not due.
    pub fn forget(mut self, rows: &[Condemned], now: Timestamp) -> Result<Draft, ChangeError> {
        for row in rows {
            let at = self.root.condemned.iter().position(|listed| listed == row);
            let at = at.ok_or_else(|| ChangeError::NotListed(row.key.clone()))?;
            if !self.root.due(now).any(|due| due == row) {
                return Err(ChangeError::Argument("a condemned row is carried out when it is due"));
            }
            self.root.condemned.remove(at);
        }
        Ok(self)
    }

    /// Marks the partition deleted, and condemns everything that is committed. Registered ids stay until they are occupied.
    ///
    /// # Errors
    /// The list of condemned rows has no room yet: carry out some first.
    pub fn mark_deleted(mut self, delete_after: Timestamp) -> Result<Draft, ChangeError> {
        self.root.state = State::Deleted;
        for group in std::mem::take(&mut self.root.groups) {
            let doom = Doom::FileAndMembers { first: group.skip, last: group.count };
            self.condemn(group.name.to_string(), doom, delete_after)?;
        }
        for entry in std::mem::take(&mut self.root.entries) {
            self.condemn(entry.key, Doom::File, delete_after)?;
        }
        self.root.start = self.root.end;
        self.root.log_start = self.root.end;
        Ok(self)
    }

    fn must_be_active(&self) -> Result<(), ChangeError> {
        match self.root.state {
            State::Active => Ok(()),
            State::Deleted => Err(ChangeError::Deleted),
        }
    }

    fn take_registered(
        &mut self,
        id: ObjectId,
        kind: ObjectKind,
        may_use: &impl Fn(&Registered) -> bool,
    ) -> Result<Registered, ChangeError> {
        let fits = |row: &Registered| row.id == id && row.kind == kind && may_use(row);
        let at = self.root.registered.iter().position(fits).ok_or(ChangeError::NotRegistered(id))?;
        Ok(self.root.registered.remove(at))
    }

    fn condemned_room(&self) -> usize {
        CONDEMNED_MAX.saturating_sub(self.root.condemned.len())
    }

    fn condemn(&mut self, key: String, doom: Doom, delete_after: Timestamp) -> Result<(), ChangeError> {
        if self.condemned_room() == 0 {
            return Err(ChangeError::Full("condemned rows"));
        }
        self.root.condemned.push(Condemned { key, doom, delete_after });
        Ok(())
    }

    /// The writer whose root this will be.
    #[must_use]
    pub fn writer(&self) -> Writer {
        self.root.writer
    }
}
