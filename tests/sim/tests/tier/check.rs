//! The promises, checked on the store and the log as they are, after every step that changed something. A check sees more
//! than any writer: the store's content, and every batch that was ever appended.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tiering_manifest::{Doom, Entry, Footer, Group, PartitionPrefix, Root};

use crate::store::{State, Stored};

/// A promise that does not hold: its ID, and what was found.
pub(crate) type Broken = (&'static str, String);

/// What the checks know beside the store.
pub(crate) struct Truth<'a> {
    /// The partition's directory.
    pub(crate) prefix: &'a PartitionPrefix,
    /// Every batch that was ever appended: base, end, bytes.
    pub(crate) model: &'a [(i64, i64, Bytes)],
    /// The first offset that the local log still has.
    pub(crate) local_start: i64,
    /// The topic is deleted: nothing of it is promised any more, but nothing of it may be left.
    pub(crate) deleted: bool,
    /// The log start offset of the local log.
    pub(crate) log_start: i64,
}

/// Objects that were held against the log already, by version.
pub(crate) type Verified = BTreeMap<String, u64>;

fn broken<T>(promise: &'static str, detail: String) -> Result<T, Broken> {
    Err((promise, detail))
}

/// All promises.
pub(crate) fn check(state: &State, truth: &Truth<'_>, verified: &mut Verified) -> Result<(), Broken> {
    if let Some((promise, detail)) = state.witnessed.first() {
        return broken(promise, detail.clone());
    }
    let key = truth.prefix.root();
    let Some(stored) = state.objects.get(&key) else {
        if truth.local_start > truth.log_start && !truth.deleted {
            return broken("TIER-2", format!("local data below {} is gone, and there is no root", truth.local_start));
        }
        return match state.objects.keys().next() {
            Some(first) => broken("TIER-5", format!("{first} is there, and no root")),
            None => Ok(()),
        };
    };
    let root = match Root::decode(&stored.bytes) {
        Ok(root) => root,
        Err(error) => return broken("TIER-1", error.to_string()),
    };
    if truth.local_start > root.end.0.max(truth.log_start) {
        let detail = format!("local data below {} is gone, the root covers up to {}", truth.local_start, root.end);
        return broken("TIER-2", detail);
    }
    let entries = live_entries(state, truth, &root)?;
    for entry in &entries {
        readable(state, truth, entry, verified)?;
    }
    let named = names(state, truth, &root, &entries);
    match state.objects.keys().find(|key| !named.contains(key.as_str())) {
        Some(key) => broken("TIER-5", format!("{key} is named by nothing")),
        None => Ok(()),
    }
}

/// The entries of the manifest, through its groups; contiguous (TIER-1).
fn live_entries(state: &State, truth: &Truth<'_>, root: &Root) -> Result<Vec<Entry>, Broken> {
    let mut entries = Vec::new();
    for group in &root.groups {
        let key = truth.prefix.object(&group.name);
        let Some(stored) = state.objects.get(&key) else { return broken("TIER-3", format!("group {key} is gone")) };
        match Group::open(&stored.bytes, group) {
            Ok(content) => entries.extend(content.entries.into_iter().skip(group.skip as usize)),
            Err(error) => return broken("TIER-1", error.to_string()),
        }
    }
    entries.extend(root.entries.iter().cloned());
    let mut at = root.start;
    for entry in &entries {
        if entry.base != at {
            return broken("TIER-1", format!("a range begins at {}, not at {at}", entry.base));
        }
        at = entry.end;
    }
    if at == root.end { Ok(entries) } else { broken("TIER-1", format!("the ranges end at {at}, not at {}", root.end)) }
}

/// A committed object is there (TIER-3), and holds the log's bytes (TIER-6).
fn readable(state: &State, truth: &Truth<'_>, entry: &Entry, verified: &mut Verified) -> Result<(), Broken> {
    let key = truth.prefix.join(&entry.key);
    let Some(Stored { bytes, etag }) = state.objects.get(&key) else {
        return broken("TIER-3", format!("{key} is committed and not there"));
    };
    if verified.get(&key) == Some(etag) {
        return Ok(());
    }
    let footer = match Footer::decode(bytes, bytes.len() as u64) {
        Ok(footer) => footer,
        Err(error) => return broken("TIER-3", format!("{key}: {error}")),
    };
    let wanted: Vec<u8> = truth
        .model
        .iter()
        .filter(|(base, end, _)| *end > entry.base.0 && *base < entry.end.0)
        .flat_map(|(_, _, batch)| batch.to_vec())
        .collect();
    let end = (entry.position + entry.length) as usize;
    if bytes.get(entry.position as usize..end) != Some(&wanted) {
        return broken("TIER-6", format!("{key} does not hold what the log holds"));
    }
    if (footer.info.base, footer.info.end) != (entry.base, entry.end) {
        return broken("TIER-6", format!("{key} says another range than its entry"));
    }
    verified.insert(key, *etag);
    Ok(())
}

/// Everything that the root names, and the members that its groups name.
fn names(state: &State, truth: &Truth<'_>, root: &Root, live: &[Entry]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = root.names().iter().map(|name| truth.prefix.join(name)).collect();
    names.insert(truth.prefix.root());
    names.extend(live.iter().map(|entry| truth.prefix.join(&entry.key)));
    for row in &root.condemned {
        let (Doom::Members { first, last } | Doom::FileAndMembers { first, last }) = row.doom else { continue };
        let Some(stored) = state.objects.get(&truth.prefix.join(&row.key)) else { continue };
        let Ok(group) = Group::decode(&stored.bytes) else { continue };
        let members = group.entries.iter().take(last as usize).skip(first as usize);
        names.extend(members.map(|entry| truth.prefix.join(&entry.key)));
    }
    names
}
