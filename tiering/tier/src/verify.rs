//! Walks a bucket and holds it against its promises: every root is sound (TIER-1), every object that a root names is
//! there and is what the entry says, and every object that is there is named (TIER-5). With [`VerifyDepth::Blocks`] the
//! checksum of every block is computed. It lists the bucket, reads roots, groups and footers, and changes nothing.
//!
//! A bucket that is being written changes under the walk: listing comes first and roots after it, and what is unnamed is
//! asked for once more at the end, so that a healthy live bucket shows nothing.

use std::collections::{BTreeMap, BTreeSet};

use broker_model::{Offset, PartitionIndex};
use futures::TryStreamExt;
use tiering_manifest::{
    Condemned, Doom, Entry, Footer, FooterError, Group, Key, PartitionPrefix, Root, State, TableRoot, crc32c, keys,
};
use tiering_store::{Class, Listed, Store, StoreError};

use crate::invariants;

/// The first guess at a footer's length.
const TAIL_BYTES: u64 = 64 << 10;

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyDepth {
    /// Roots, groups and footers.
    Footers,
    /// All bytes: each block's checksum too.
    Blocks,
}

/// What stands of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionReport {
    /// The partition's directory.
    pub prefix: PartitionPrefix,
    /// Whether it lives.
    pub state: State,
    /// The root's sequence.
    pub sequence: u64,
    /// The first offset that may be read.
    pub log_start: Offset,
    /// The offset after the last in the tier.
    pub end: Offset,
    /// Committed objects.
    pub objects: u64,
    /// Bytes of their ranges.
    pub bytes: u64,
}

/// What the walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// The partitions, by directory.
    pub partitions: Vec<PartitionReport>,
    /// Objects in the bucket.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that nothing names (TIER-5).
    pub unreferenced: Vec<String>,
    /// What is damaged, missing or not contiguous, in words.
    pub damage: Vec<String>,
    /// Blocks whose checksum was computed.
    pub blocks_checked: u64,
}

impl VerifyReport {
    /// True where no promise is broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.unreferenced.is_empty() && self.damage.is_empty()
    }
}

/// Walks the bucket.
///
/// # Errors
/// A request failed: nothing can be said. What is damaged is in the report.
pub async fn verify(store: &Store, depth: VerifyDepth) -> Result<VerifyReport, StoreError> {
    let listed = list(store).await?;
    let mut walk = Walk { store, depth, report: VerifyReport::default(), named: BTreeSet::new() };
    walk.report.objects = listed.len() as u64;
    walk.report.bytes = listed.values().sum();
    for key in listed.keys() {
        match Key::parse(key) {
            Ok(Key::Root(prefix)) => walk.partition(&prefix).await?,
            Ok(Key::TableRoot(name, id)) => {
                let directory = keys::table_prefix(&name, &id);
                walk.table(key, &directory.expect("the key was parsed")).await?;
            }
            Ok(Key::Bucket | Key::Topic(..) | Key::Export(..)) => {
                walk.named.insert(key.clone());
            }
            Ok(Key::Object(..) | Key::TableObject(..) | Key::Shared(_)) | Err(_) => {}
        }
    }
    let mut unnamed = Vec::new();
    for key in listed.keys().filter(|key| !walk.named.contains(*key)) {
        if store.size(key, Class::Background).await?.is_some() {
            unnamed.push(key.clone());
        }
    }
    if !unnamed.is_empty() {
        // Roots may have been swapped since they were read: what is named now is named.
        walk.rename(&listed).await?;
        unnamed.retain(|key| !walk.named.contains(key));
    }
    walk.report.unreferenced = unnamed;
    // Counted and reported where it is broken; the report carries it to the caller.
    let _ = invariants::all_named(&walk.report.unreferenced);
    Ok(walk.report)
}

async fn list(store: &Store) -> Result<BTreeMap<String, u64>, StoreError> {
    let rows: Vec<Listed> = store.list("")?.try_collect().await?;
    Ok(rows.into_iter().map(|row| (row.key, row.bytes)).collect())
}

struct Walk<'a> {
    store: &'a Store,
    depth: VerifyDepth,
    report: VerifyReport,
    named: BTreeSet<String>,
}

impl Walk<'_> {
    fn damage(&mut self, key: &str, detail: impl std::fmt::Display) {
        self.report.damage.push(format!("{key}: {detail}"));
    }

    async fn partition(&mut self, prefix: &PartitionPrefix) -> Result<(), StoreError> {
        let Some(root) = self.names(prefix).await? else { return Ok(()) };
        let mut entries = Vec::new();
        for group in &root.groups {
            let key = prefix.object(&group.name);
            let Some(stored) = self.store.load(&key, Class::Background).await? else {
                self.damage(&key, "the root names this group, and it is missing");
                continue;
            };
            match Group::open(&stored.bytes, group) {
                Ok(content) => entries.extend(content.entries.into_iter().skip(group.skip as usize)),
                Err(error) => self.damage(&key, error),
            }
        }
        entries.extend(root.entries.iter().cloned());
        for entry in &entries {
            self.entry(prefix, entry).await?;
        }
        self.report.partitions.push(PartitionReport {
            prefix: prefix.clone(),
            state: root.state,
            sequence: root.sequence,
            log_start: root.log_start,
            end: root.end,
            objects: entries.len() as u64,
            bytes: root.bytes(),
        });
        Ok(())
    }

    /// Reads a root and notes everything that it names.
    async fn names(&mut self, prefix: &PartitionPrefix) -> Result<Option<Root>, StoreError> {
        let key = prefix.root();
        self.named.insert(key.clone());
        let Some(stored) = self.store.load(&key, Class::Background).await? else { return Ok(None) };
        let root = match Root::decode(&stored.bytes) {
            Ok(root) if (root.topic, root.partition) == (prefix.topic(), prefix.partition()) => root,
            Ok(_) => {
                self.damage(&key, "it is the root of another partition");
                return Ok(None);
            }
            Err(error) => {
                self.damage(&key, error);
                return Ok(None);
            }
        };
        self.named.extend(root.names().iter().map(|name| prefix.join(name)));
        for group in &root.groups {
            self.members(prefix, &group.name.to_string(), group.skip..group.count).await?;
        }
        for Condemned { key, doom, .. } in &root.condemned {
            if let Doom::Members { first, last } | Doom::FileAndMembers { first, last } = *doom {
                self.members(prefix, key, first..last).await?;
            }
        }
        Ok(Some(root))
    }

    async fn members(
        &mut self,
        prefix: &PartitionPrefix,
        group: &str,
        range: std::ops::Range<u32>,
    ) -> Result<(), StoreError> {
        let Some(stored) = self.store.load(&prefix.join(group), Class::Background).await? else { return Ok(()) };
        if let Ok(content) = Group::decode(&stored.bytes) {
            let members = content.entries.iter().skip(range.start as usize).take(range.len());
            self.named.extend(members.map(|entry| prefix.join(&entry.key)));
        }
        Ok(())
    }

    async fn entry(&mut self, prefix: &PartitionPrefix, entry: &Entry) -> Result<(), StoreError> {
        let key = prefix.join(&entry.key);
        let Some(size) = self.store.size(&key, Class::Background).await? else {
            self.damage(&key, format!("offsets {} to {} are named, and missing", entry.base, entry.end));
            return Ok(());
        };
        let footer = match self.footer(&key, size).await? {
            Ok(footer) => footer,
            Err(error) => {
                self.damage(&key, error);
                return Ok(());
            }
        };
        let info = footer.info;
        let same_place = (info.topic, info.partition) == (prefix.topic(), prefix.partition());
        if !same_place || (info.base, info.end) != (entry.base, entry.end) {
            self.damage(&key, format!("its footer says {} to {}, not what the root says", info.base, info.end));
        }
        if self.depth == VerifyDepth::Footers {
            return Ok(());
        }
        for block in footer.blocks.blocks() {
            let range = block.position..block.position + u64::from(block.stored_length);
            let stored = self.store.read(&key, range, Class::Background).await?;
            self.report.blocks_checked += 1;
            if crc32c(&stored) != block.crc {
                self.damage(&key, format!("the block at offset {} is damaged", block.base));
            }
        }
        Ok(())
    }

    async fn footer(&self, key: &str, size: u64) -> Result<Result<Footer, FooterError>, StoreError> {
        let tail = self.store.read(key, size.saturating_sub(TAIL_BYTES)..size, Class::Background).await?;
        match Footer::decode(&tail, size) {
            Err(FooterError::NeedMore { position }) if position < size => {
                let tail = self.store.read(key, position..size, Class::Background).await?;
                Ok(Footer::decode(&tail, size))
            }
            other => Ok(other),
        }
    }

    async fn table(&mut self, key: &str, directory: &str) -> Result<(), StoreError> {
        self.named.insert(key.to_owned());
        let Some(stored) = self.store.load(key, Class::Background).await? else { return Ok(()) };
        match TableRoot::decode(&stored.bytes) {
            Ok(table) => self.named.extend(table.names().iter().map(|name| format!("{directory}{name}"))),
            Err(error) => self.damage(key, error),
        }
        Ok(())
    }

    /// Reads all roots once more for what they name.
    async fn rename(&mut self, listed: &BTreeMap<String, u64>) -> Result<(), StoreError> {
        for key in listed.keys() {
            match Key::parse(key) {
                Ok(Key::Root(prefix)) => {
                    self.names(&prefix).await?;
                }
                Ok(Key::TableRoot(name, id)) => {
                    let directory = keys::table_prefix(&name, &id).expect("the key was parsed");
                    self.table(key, &directory).await?;
                }
                Ok(Key::Object(prefix, _)) => {
                    // A root that did not exist when the bucket was listed.
                    self.names(&prefix).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The partition's number, for sorting reports as people read them.
#[must_use]
pub fn partition_of(report: &PartitionReport) -> PartitionIndex {
    report.prefix.partition()
}
