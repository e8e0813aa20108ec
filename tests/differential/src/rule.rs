//! A rule: where two answers may differ, and what of a difference it excuses.

use broker_wire::ApiKey;
use broker_wire::tree::Node;

use crate::compare::Case;

/// A class of values that each broker hands out by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Cluster,
    TopicId,
    Member,
    Producer,
    Session,
    Address,
    Directory,
}

/// Whether a difference is excused, from the whole case and the two values.
pub(crate) type Holds = fn(&Case<'_>, &Node, &Node) -> bool;

/// What a rule excuses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    /// An id: bound to the other side's at first sight, and the same pair ever after.
    Bound(Kind),
    /// Text for people: it may be worded otherwise. Where Kafka has none, Strata may have one, but not an empty one.
    Message,
    /// Times that the two brokers read from their clocks.
    Near,
    /// Whatever stands there.
    Ignored,
    /// These two values, as they are shown.
    Pair(&'static str, &'static str),
    /// What the function says.
    When(Holds),
    /// The same, and the sequence ends there: the two brokers' states differ from now on.
    Parts(Holds),
    /// The order of a list: both are sorted by these fields.
    Set(&'static [&'static str]),
    /// Elements with the same values of these fields are one: their lists of this name are put together.
    Joined(&'static [&'static str], &'static str),
    /// A list of all that the broker has: only what this sequence named is compared.
    Mine(&'static str),
    /// Elements with these names are left out.
    Without(&'static str, &'static [&'static str]),
}

/// A justified difference.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) api: &'static str,
    pub(crate) versions: (i16, i16),
    pub(crate) path: &'static str,
    pub(crate) how: How,
    pub(crate) reason: &'static str,
}

impl Rule {
    pub(crate) fn is_for(&self, api: ApiKey, version: i16, path: &str) -> bool {
        (self.api == "*" || self.api == api.name())
            && (self.versions.0..=self.versions.1).contains(&version)
            && match self.path.strip_prefix("**.") {
                Some(end) => path.strip_suffix(end).is_some_and(|front| front.is_empty() || front.ends_with('.')),
                None => path == self.path,
            }
    }
}

const ALL: (i16, i16) = (0, i16::MAX);

pub(crate) const fn rule(api: &'static str, path: &'static str, how: How, reason: &'static str) -> Rule {
    Rule { api, versions: ALL, path, how, reason }
}
