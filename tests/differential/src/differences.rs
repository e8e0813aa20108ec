//! The justified differences: where Strata may answer otherwise than Apache Kafka, and why.
//!
//! A rule names an API (`*` for all), its versions, and a path in the answer (`**.` in front for any place). It excuses
//! what its [`How`] says and nothing else. A rule that excuses nothing in a long run is stale and is reported as such.
//! A difference that is not in this table is a defect of Strata, or a row that somebody has to argue for.

use broker_wire::ApiKey;
use broker_wire::tree::Node;

use crate::attempt::{CLOSED, PARKED_TEXT};
use crate::compare::Case;
use crate::show::show;

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

const fn rule(api: &'static str, path: &'static str, how: How, reason: &'static str) -> Rule {
    Rule { api, versions: ALL, path, how, reason }
}

/// All of them.
pub(crate) const RULES: &[Rule] = &[
    // What each cluster names by itself.
    rule("*", "**.cluster_id", How::Bound(Kind::Cluster), "each cluster has an id of its own"),
    rule("*", "**.port", How::Bound(Kind::Address), "each broker listens on a port of its own"),
    rule("*", "**.topic_id", How::Bound(Kind::TopicId), "a topic's id is random"),
    rule("*", "**.member_id", How::Bound(Kind::Member), "a member's id is random"),
    rule("JoinGroup", "leader", How::Bound(Kind::Member), "a member's id is random"),
    rule("*", "**.producer_id", How::Bound(Kind::Producer), "producer ids come from a counter of the cluster"),
    rule("DescribeLogDirs", "results[].log_dir", How::Bound(Kind::Directory), "each broker has directories of its own"),
    rule("DescribeLogDirs", "results[].usable_bytes", How::Ignored, "both disks are written while it is asked"),
    rule("Fetch", "session_id", How::Bound(Kind::Session), "a session's id is random"),
    rule("*", "**.throttle_time_ms", How::Ignored, "it tells of load, and no quota is set"),
    // Text.
    rule("*", "**.error_message", How::Message, "the text is for people; the code beside it is compared"),
    rule("DescribeConfigs", "results[].configs[].documentation", How::Message, "the text is for people"),
    // Times.
    rule("*", "**.log_append_time_ms", How::Near, "each broker stamps with its own clock"),
    rule("ListOffsets", "topics[].partitions[].timestamp", How::Near, "topics may stamp with the broker's clock"),
    rule("*", "**.append_timestamp", How::Near, "each broker stamps with its own clock"),
    // Lists without an order: Kafka makes them of hash tables, which are filled from several places.
    rule("Metadata", "topics", How::Mine("name"), "other sequences run at the same time"),
    rule("ListGroups", "groups", How::Mine("group_id"), "other sequences run at the same time"),
    rule(
        "Fetch",
        "responses",
        How::Joined(&["topic", "topic_id"], "partitions"),
        "Kafka writes a topic again when its partitions do not follow one another",
    ),
    rule("*", "**.topics", How::Set(NAMES), "Kafka gives topics in the order of a hash table"),
    rule("*", "**.responses", How::Set(NAMES), "Kafka gives topics in the order of a hash table"),
    rule("*", "**.partitions", How::Set(NAMES), "Kafka gives partitions in the order of a hash table"),
    rule("*", "**.partition_responses", How::Set(NAMES), "Kafka gives partitions in the order of a hash table"),
    rule(
        "DescribeGroups",
        "groups[].members",
        How::Set(&["member_id"]),
        "Kafka gives members in the order of a hash table",
    ),
    rule("JoinGroup", "members", How::Set(&["member_id"]), "Kafka gives members in the order of a hash table"),
    rule("*", "**.groups", How::Set(NAMES), "Kafka gives groups in the order of a hash table"),
    rule("*", "**.configs", How::Set(NAMES), "Kafka gives configs in the order of a hash table"),
    // Configs.
    rule("*", "**.configs", How::Without("name", OURS), "configs of Strata's own stand beside Kafka's"),
    rule(
        "*",
        "**.configs[]",
        How::When(|_, strata, kafka| is_config(strata, "min.insync.replicas") && same_but(strata, kafka, LAYERS)),
        "Kafka's controller writes this key as a default of the cluster when it tracks eligible leader replicas (KIP-966)",
    ),
    rule(
        "*",
        "**.configs[]",
        How::When(|_, strata, kafka| is_config(strata, "remote.storage.enable") && same_but(strata, kafka, LAYERS)),
        "Strata tiers topics unless told otherwise, and is told otherwise in this test's settings",
    ),
    Rule {
        api: "Produce",
        versions: (0, 2),
        path: "",
        how: How::When(|_, strata, kafka| {
            is_text(kafka, CLOSED) && strata.field("responses").is_some() && all_errors(strata, 35)
        }),
        reason: "both advertise versions that they do not serve (KAFKA-18659): Strata says so, Kafka closes the connection",
    },
    // What only Kafka has.
    rule("ApiVersions", "api_keys[]", How::When(|_, strata, _| *strata == Node::Null), "Kafka serves more APIs"),
    // What no client sends.
    rule(
        "Produce",
        "",
        How::Parts(|case, _, _| has_duplicates(case.request, "partition_data", "index")),
        "Kafka keeps one of several batches for a partition in a request and loses the others; Strata appends all",
    ),
    rule(
        "Fetch",
        "",
        How::Parts(|case, _, _| has_duplicates(case.request, "partitions", "partition")),
        "Kafka keeps the last one of duplicates of a partition in a hash table",
    ),
    rule(
        "Produce",
        "responses[].partition_responses[]",
        How::When(|_, strata, kafka| has_error(strata, 76) && has_error(kafka, -1)),
        "Kafka fails with an error of its own on a codec that it does not know",
    ),
    rule(
        "Produce",
        "responses[].partition_responses[]",
        How::Parts(|_, strata, kafka| has_error(strata, 32) && has_error(kafka, 0)),
        "Strata keeps compressed batches as they are and holds the time of their head against the topic's bounds",
    ),
    rule(
        "*",
        "",
        How::When(|_, strata, kafka| is_text(strata, CLOSED) && show(kafka).contains('\u{fffd}')),
        "Kafka reads what is not UTF-8 as another text; to Strata the request is malformed",
    ),
    // Reported and not done yet.
    rule("DescribeConfigs", "results[].error_message", How::Pair("null", "\"\""), "OPEN: D1"),
    rule("InitProducerId", "error_code", How::Pair("53", "42"), "OPEN: F3"),
    rule("AlterPartitionReassignments", "error_message", How::Pair("\"\"", "null"), "OPEN: D3"),
    rule("ListPartitionReassignments", "error_message", How::Pair("\"\"", "null"), "OPEN: D3"),
    Rule {
        api: "JoinGroup",
        versions: (0, 1),
        path: "",
        how: How::Parts(|_, strata, _| has_error(strata, 35)),
        reason: "OPEN: G1",
    },
    rule("ApiVersions", "", How::When(|_, _, kafka| has_error(kafka, 42)), "OPEN: F2"),
    rule(
        "Fetch",
        "responses[].partitions[]",
        How::When(|_, strata, kafka| {
            [1, 74, 75].iter().any(|code| has_error(kafka, *code))
                && same_but(
                    strata,
                    kafka,
                    &["high_watermark", "last_stable_offset", "log_start_offset", "aborted_transactions"],
                )
        }),
        "OPEN: F4",
    ),
    rule(
        "Produce",
        "responses[].partition_responses[].log_start_offset",
        How::When(|_, strata, _| *strata == Node::Number(-1)),
        "OPEN: F5",
    ),
    rule("Produce", "responses[].partition_responses[].error_code", How::Pair("43", "2"), "OPEN: F7"),
    rule(
        "Produce",
        "responses[].partition_responses[]",
        How::When(|_, strata, kafka| has_error(strata, 3) && has_error(kafka, 2)),
        "OPEN: F7",
    ),
    rule(
        "Produce",
        "responses[].partition_responses[]",
        How::Parts(|_, strata, kafka| has_error(strata, 0) && has_error(kafka, 76)),
        "OPEN: F8",
    ),
    rule("Fetch", "responses[].partitions[].aborted_transactions", How::Pair("[]", "null"), "OPEN: F9"),
    rule("Fetch", "responses[].partitions[]", How::When(|_, strata, _| has_error(strata, 74)), "OPEN: F11"),
    rule(
        "Fetch",
        "responses[].partitions[]",
        How::When(|_, strata, kafka| has_error(strata, 0) && has_error(kafka, 1)),
        "OPEN: F12",
    ),
    rule("Produce", "responses[].partition_responses[].error_code", How::Pair("2", "87"), "OPEN: F16"),
    rule(
        "Produce",
        "responses[].partition_responses[]",
        How::Parts(|_, strata, kafka| has_error(strata, 87) && has_error(kafka, 0)),
        "OPEN: F19",
    ),
    rule(
        "InitProducerId",
        "",
        How::Parts(|_, strata, kafka| has_error(strata, 0) && has_error(kafka, 42)),
        "OPEN: F22",
    ),
    rule(
        "DescribeGroups",
        "groups[].group_state",
        How::Parts(|_, _, kafka| is_text(kafka, "PreparingRebalance")),
        "OPEN: G5",
    ),
    rule("Produce", "", How::When(|_, strata, kafka| is_text(kafka, CLOSED) && *strata == Node::Null), "OPEN: F1"),
    rule(
        "Metadata",
        "",
        How::When(|_, strata, kafka| is_text(strata, CLOSED) && kafka.field("topics").is_some()),
        "OPEN: D2",
    ),
    rule("FindCoordinator", "", How::When(|_, strata, _| has_error(strata, 24)), "OPEN: G2"),
    rule("FindCoordinator", "coordinators[]", How::When(|_, strata, _| has_error(strata, 24)), "OPEN: G2"),
    rule(
        "JoinGroup",
        "",
        How::Parts(|_, strata, kafka| is_text(strata, PARKED_TEXT) && has_error(kafka, 0)),
        "OPEN: G3",
    ),
    rule(
        "ListGroups",
        "groups[]",
        How::Parts(|_, strata, kafka| {
            *strata == Node::Null && matches!(kafka.field("protocol_type"), Some(Node::Text(text)) if text.is_empty())
        }),
        "OPEN: G4",
    ),
    rule(
        "OffsetCommit",
        "topics[].partitions[].error_code",
        How::Parts(|_, strata, _| *strata == Node::Number(69)),
        "OPEN: G4",
    ),
];

/// Where a config's value comes from.
const LAYERS: &[&str] = &["config_source", "is_default", "synonyms", "documentation"];

/// Topic configs that Kafka does not know.
const OURS: &[&str] = &["strata.export.enable"];

fn is_text(node: &Node, wanted: &str) -> bool {
    matches!(node, Node::Text(text) if text.as_str() == wanted)
}

fn has_error(node: &Node, code: i64) -> bool {
    node.field("error_code") == Some(&Node::Number(code))
}

/// True where a request names a place of a topic twice.
fn has_duplicates(request: &Node, list: &str, name: &str) -> bool {
    let topics = ["topic_data", "topics"].iter().find_map(|field| request.field(field));
    topics.map(Node::items).unwrap_or_default().iter().any(|topic| {
        let places = topic.field(list).map(Node::items).unwrap_or_default();
        let names: Vec<_> = places.iter().map(|place| place.field(name)).collect();
        names.iter().enumerate().any(|(at, one)| names.iter().skip(at + 1).any(|other| one == other))
    })
}

/// True where every error code of an answer is this one.
fn all_errors(node: &Node, code: i64) -> bool {
    match node {
        Node::Fields(fields) => fields.iter().all(|(name, value)| {
            if *name == "error_code" { *value == Node::Number(code) } else { all_errors(value, code) }
        }),
        Node::List(items) => items.iter().all(|item| all_errors(item, code)),
        _ => true,
    }
}

fn is_config(node: &Node, name: &str) -> bool {
    matches!(node.field("name"), Some(Node::Text(text)) if text.as_str() == name)
}

/// True where two structs differ in these fields only.
fn same_but(strata: &Node, kafka: &Node, fields: &[&str]) -> bool {
    match (strata, kafka) {
        (Node::Fields(left), Node::Fields(right)) => {
            left.iter().zip(right).all(|(ours, theirs)| fields.contains(&ours.0) || ours == theirs)
        }
        _ => false,
    }
}

/// What elements of lists are named by; each list has one or two of these fields.
const NAMES: &[&str] = &[
    "name",
    "topic",
    "topic_name",
    "topic_id",
    "group_id",
    "resource_type",
    "resource_name",
    "partition_index",
    "partition",
    "partition_id",
    "index",
];
