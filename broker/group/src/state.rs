//! What the log says: committed offsets, and each group as it was when it was last written.
//!
//! Invariants (`check`): GRP-1, a written group's leader is one of its members; GRP-2, a static id has one member;
//! GRP-3, no group is kept without a record. Groups are shared between images by `Arc`; a change copies one group at most.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker_model::machine::Violation;
use broker_model::{PartitionIndex, Timestamp};

use crate::request::KeptOffset;

/// GRP-1.
pub const GRP_1: Violation = Violation { id: "GRP-1", what: "a group's leader is one of its members" };
/// GRP-2.
pub const GRP_2: Violation = Violation { id: "GRP-2", what: "a static id belongs to one member of a group" };
/// GRP-3.
pub const GRP_3: Violation = Violation { id: "GRP-3", what: "a group without a record is not kept" };

/// All groups of one partition of `__consumer_offsets`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    pub(crate) groups: BTreeMap<String, Arc<KeptGroup>>,
}

/// One group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptGroup {
    /// The group's own record; `None` for simple groups, which only have offsets.
    pub meta: Option<KeptMeta>,
    /// Committed offsets by topic and partition.
    pub offsets: BTreeMap<(String, PartitionIndex), KeptOffset>,
}

/// A group as it was when it was last written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptMeta {
    /// `consumer`, `connect`, …
    pub protocol_type: String,
    /// Counts rebalances.
    pub generation: i32,
    /// The assignor, if there are members.
    pub protocol: Option<String>,
    /// The leading member, if there are members.
    pub leader: Option<String>,
    /// When it came to this state.
    pub state_at: Timestamp,
    /// The members, in the order of their ids.
    pub members: Vec<KeptMember>,
}

/// A member as it was when its group was last written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptMember {
    /// The member id.
    pub member: String,
    /// The static id.
    pub instance: Option<String>,
    /// The client's name.
    pub client_id: String,
    /// Where it comes from.
    pub client_host: String,
    /// See JoinGroup.
    pub rebalance_timeout_ms: i32,
    /// See JoinGroup.
    pub session_timeout_ms: i32,
    /// What it says to the chosen assignor.
    pub subscription: Vec<u8>,
    /// What it is assigned.
    pub assignment: Vec<u8>,
}

impl Groups {
    /// One group.
    #[must_use]
    pub fn get(&self, group: &str) -> Option<&KeptGroup> {
        self.groups.get(group).map(AsRef::as_ref)
    }

    /// All groups, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &KeptGroup)> {
        self.groups.iter().map(|(id, group)| (id.as_str(), group.as_ref()))
    }

    /// The group's record, if it has one.
    pub(crate) fn meta(&self, group: &str) -> Option<&KeptMeta> {
        self.get(group)?.meta.as_ref()
    }

    /// True if the log says that the group ended without members in this generation: 0 is of one that never began.
    pub(crate) fn is_written_empty(&self, group: &str, generation: i32) -> bool {
        self.meta(group).map_or(generation == 0, |meta| meta.members.is_empty() && meta.generation >= generation)
    }

    /// Changes one group, which begins to be where it was not, and ends where nothing of it is left.
    pub(crate) fn change(&mut self, id: &str, change: impl FnOnce(&mut KeptGroup)) {
        let group = match self.groups.get_mut(id) {
            Some(group) => group,
            None => self.groups.entry(id.to_owned()).or_default(),
        };
        let group = Arc::make_mut(group);
        change(group);
        if group.meta.is_none() && group.offsets.is_empty() {
            self.groups.remove(id);
        }
    }

    pub(crate) fn check(&self) -> Result<(), Violation> {
        for group in self.groups.values() {
            if group.meta.is_none() && group.offsets.is_empty() {
                return Err(GRP_3);
            }
            let Some(meta) = &group.meta else { continue };
            if meta.leader.as_ref().is_some_and(|leader| !meta.members.iter().any(|member| member.member == *leader)) {
                return Err(GRP_1);
            }
            let statics: Vec<_> = meta.members.iter().filter_map(|member| member.instance.as_ref()).collect();
            if statics.iter().collect::<BTreeSet<_>>().len() != statics.len() {
                return Err(GRP_2);
            }
        }
        Ok(())
    }
}
