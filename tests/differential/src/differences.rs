//! The justified differences: where Strata may answer otherwise than Apache Kafka, and why.
//!
//! A rule names an API (`*` for all), its versions, and a path in the answer (`**.` in front for any place). It excuses
//! what its [`How`] says and nothing else. A rule that excuses nothing in a long run is stale and is reported as such.
//! A difference that is not in this table is a defect of Strata, or a row that somebody has to argue for.

use broker_wire::tree::Node;

use crate::attempt::CLOSED;
use crate::open::OPEN;
use crate::rule::{How, Kind, Rule, rule};
use crate::shapes::{
    all_errors, has_duplicates, has_error, is_below, is_compressed, is_config, is_later, is_pair, is_same_value,
    is_state, is_text, leads, names, same_but,
};
use crate::show::show;
use crate::step::Damage;

/// The justified differences, and behind them those that are none and wait to be mended.
pub(crate) fn rules() -> impl Iterator<Item = &'static Rule> {
    RULES.iter().chain(OPEN)
}

/// All of them.
const RULES: &[Rule] = &[
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
    rule("*", "**.batch_index_error_message", How::Message, "the text is for people; the index beside it is compared"),
    rule("DescribeConfigs", "results[].configs[].documentation", How::Message, "the text is for people"),
    // Times.
    rule("*", "**.log_append_time_ms", How::Near, "each broker stamps with its own clock"),
    rule("ListOffsets", "topics[].partitions[].timestamp", How::Near, "topics may stamp with the broker's clock"),
    rule(
        "ListOffsets",
        "topics[].partitions[]",
        How::When(|case, strata, kafka| {
            show(case.request).contains("timestamp: -3")
                && same_but(strata, kafka, &["timestamp", "offset", "leader_epoch"])
        }),
        "the first of the greatest times: each broker may stamp with its own clock, and records without a time count otherwise",
    ),
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
    rule(
        "OffsetCommit",
        "topics",
        How::Joined(&["name", "topic_id"], "partitions"),
        "Kafka puts together what a request names twice",
    ),
    rule("*", "**.topics", How::Set(NAMES), "Kafka gives topics in the order of a hash table"),
    rule("*", "**.responses", How::Set(NAMES), "Kafka gives topics in the order of a hash table"),
    rule("*", "**.partitions", How::Set(NAMES), "Kafka gives partitions in the order of a hash table"),
    rule("*", "**.partition_responses", How::Set(NAMES), "Kafka gives partitions in the order of a hash table"),
    rule(
        "DescribeGroups",
        "groups[].members",
        How::Set(&["member_id", "group_instance_id", "member_metadata", "member_assignment"]),
        "Kafka gives members in the order of a hash table",
    ),
    rule(
        "JoinGroup",
        "members",
        How::Set(&["member_id", "group_instance_id", "metadata"]),
        "Kafka gives members in the order of a hash table",
    ),
    rule("*", "**.results", How::Set(NAMES), "Kafka gives groups and resources in the order of a hash table"),
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
    rule(
        "*",
        "responses[]",
        How::Parts(|case, strata, kafka| {
            has_error(strata, 0) && has_error(kafka, 40) && show(case.request).contains("remote.storage.enable")
        }),
        "Strata always has a tier, this test's Kafka has none",
    ),
    // What only Kafka has.
    rule("ApiVersions", "api_keys[]", How::When(|_, strata, _| *strata == Node::Null), "Kafka serves more APIs"),
    rule(
        "ApiVersions",
        "api_keys[].max_version",
        How::When(|_, strata, kafka| is_below(strata, kafka)),
        "the newest versions are those of one earlier release, because clients guess the release from them",
    ),
    rule(
        "Fetch",
        "responses[].partitions[].records.tail",
        How::When(|_, strata, _| *strata == Node::Number(0)),
        "Kafka cuts the file by bytes; Strata ends with a whole batch, and clients drop what is not whole",
    ),
    // What no client sends.
    rule(
        "Fetch",
        "responses[]",
        How::When(|case, strata, _| {
            let forgets = case.request.field("forgotten_topics_data").is_some_and(|list| !list.items().is_empty());
            forgets && *strata == Node::Null && case.kafka.field("session_id") == Some(&Node::Number(0))
        }),
        "a partition that a request names and forgets: Kafka answers it once more where the session ends with that",
    ),
    rule(
        "Fetch",
        "",
        How::Parts(|_, strata, _| has_error(strata, 42)),
        "an isolation level that is none: Kafka fails with an error of its own, or does not look at it",
    ),
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
        How::When(|_, strata, kafka| has_error(kafka, -1) && !has_error(strata, 0)),
        "Kafka fails with an error of its own (a codec or a length that it does not expect), Strata names the fault",
    ),
    rule(
        "Produce",
        "responses[].partition_responses[]",
        How::Parts(|_, strata, kafka| has_error(strata, 0) && [-1, 2, 87].iter().any(|code| has_error(kafka, *code))),
        "Strata keeps compressed batches as the producer made them and does not look inside",
    ),
    rule(
        "Produce",
        "responses[].partition_responses[]",
        How::When(|_, strata, kafka| (has_error(strata, 21) || has_error(strata, 76)) && !has_error(kafka, 0)),
        "a request with two faults: Strata looks at the acks and at the codec first",
    ),
    rule(
        "IncrementalAlterConfigs",
        "responses[]",
        How::When(|_, strata, kafka| (has_error(strata, 17) || has_error(strata, 42)) && has_error(kafka, 40)),
        "a request with two faults: Strata looks at the resource's name first",
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
        How::When(|case, strata, kafka| {
            let has_null = || show(case.request).contains("null");
            let is_flipped = matches!(case.damage, Some(Damage::Flip(bit)) if bit % 8 == 7 || has_null());
            is_text(strata, CLOSED) && (is_flipped || show(kafka).contains('\u{fffd}'))
        }),
        "Kafka reads what is not UTF-8 as another text, and every length below 0 as null; to Strata both are malformed",
    ),
    rule(
        "Produce",
        "responses[].partition_responses[]",
        How::Parts(|_, strata, kafka| (has_error(strata, 2) || has_error(strata, 87)) && has_error(kafka, 0)),
        REFUSED_BY_STRATA,
    ),
    rule(
        "Produce",
        "",
        How::Parts(|case, strata, kafka| {
            case.request.field("acks") == Some(&Node::Number(0)) && is_text(strata, CLOSED) && *kafka == Node::Null
        }),
        REFUSED_BY_STRATA,
    ),
    rule(
        "Fetch",
        "responses[].partitions[].records.batches[].max_timestamp",
        How::When(|_, strata, kafka| matches!(strata, Node::Number(..-1)) && *kafka == Node::Number(-1)),
        "records of a time below -1: Kafka's greatest time is never below -1",
    ),
    rule(
        "Fetch",
        "responses[].partitions[].records.batches[].attributes",
        How::When(
            |_, strata, kafka| matches!((strata, kafka), (Node::Number(ours), Node::Number(theirs)) if ours & 0x7f == *theirs),
        ),
        "where Kafka stamps a batch with its own time, it drops attributes that no version defines",
    ),
    rule(
        "JoinGroup",
        "",
        How::When(|_, strata, kafka| has_error(kafka, -1) && !has_error(strata, 0)),
        "Kafka fails with an error of its own on a static member with the id of another one",
    ),
    rule("JoinGroup", "", How::Parts(|_, strata, kafka| is_later(kafka) && leads(strata) != leads(kafka)), NEXT_LEADER),
    rule("JoinGroup", "leader", How::Parts(|case, _, _| is_later(case.kafka)), NEXT_LEADER),
    rule(
        "JoinGroup",
        "",
        How::Parts(|_, strata, kafka| {
            is_later(kafka)
                && matches!(
                    (strata.field("generation_id"), kafka.field("generation_id")),
                    (Some(Node::Number(ours)), Some(Node::Number(theirs))) if *ours == theirs + 1
                )
        }),
        ONLY_PROMISED,
    ),
    rule(
        "*",
        "groups[]",
        How::Parts(|_, strata, kafka| {
            let has_members = kafka.field("members").is_some_and(|members| !members.items().is_empty());
            is_state(strata, "Empty") && is_state(kafka, "PreparingRebalance") && !has_members
        }),
        ONLY_PROMISED,
    ),
    rule(
        "DeleteGroups",
        "results[].error_code",
        How::Parts(|_, strata, kafka| is_pair(strata, kafka, 0, 68)),
        ONLY_PROMISED,
    ),
    rule(
        "OffsetCommit",
        "topics[].partitions[].error_code",
        How::Parts(|case, strata, kafka| {
            let is_alone = case.request.field("generation_id_or_member_epoch") == Some(&Node::Number(-1));
            is_alone && is_pair(strata, kafka, 0, 25)
        }),
        ONLY_PROMISED,
    ),
    rule(
        "JoinGroup",
        "error_code",
        How::Pair("25", "23"),
        "a request with two faults: Strata looks at the member's id first",
    ),
    rule(
        "DescribeTopicPartitions",
        "",
        How::When(|case, _, kafka| {
            let all_fail =
                kafka.field("topics").is_some_and(|topics| topics.items().iter().all(|row| has_error(row, -1)));
            all_fail && names(case.request).any(str::is_empty)
        }),
        "Kafka fails with an error of its own on an empty name, and all others fail with it",
    ),
    rule(
        "Fetch",
        "responses[].partitions[].aborted_transactions",
        How::When(|_, strata, kafka| *strata == Node::Null || *kafka == Node::Null),
        "a partition without records: Kafka has null in some cases and an empty list in others, clients read both as none",
    ),
    rule(
        "Produce",
        "responses[].partition_responses[].record_errors[]",
        How::When(|_, _, kafka| *kafka == Node::Null),
        "Strata names a record that is malformed, Kafka does not",
    ),
    rule(
        "Produce",
        "responses[].partition_responses[].log_start_offset",
        How::When(|_, _, kafka| *kafka == Node::Number(-1)),
        "a batch that is refused: Strata tells the log's start for more faults than Kafka does",
    ),
    rule(
        "Fetch",
        "responses[].partitions[].records.batches[]",
        How::When(|_, strata, kafka| is_compressed(strata) && same_but(strata, kafka, &["max_timestamp"])),
        "Strata keeps compressed batches with their head; Kafka looks inside and corrects a wrong greatest time",
    ),
    // Groups.
    rule(
        "ListGroups",
        "groups[]",
        How::Parts(|_, strata, kafka| *strata == Node::Null || *kafka == Node::Null),
        NOT_JOINED,
    ),
    rule(
        "DescribeGroups",
        "groups[]",
        How::Parts(|_, strata, kafka| is_state(strata, "Dead") && is_state(kafka, "Empty")),
        NOT_JOINED,
    ),
    rule(
        "DescribeGroups",
        "groups[]",
        How::Parts(|_, strata, kafka| {
            is_state(kafka, "Dead") && (is_state(strata, "PreparingRebalance") || is_state(strata, "Empty"))
        }),
        "Kafka describes what it has written, and writes a group when its members have synced",
    ),
    rule("OffsetDelete", "", How::Parts(|_, strata, _| has_error(strata, 69)), NOT_JOINED),
    rule("DeleteGroups", "results[].error_code", How::Parts(|_, strata, _| *strata == Node::Number(69)), NOT_JOINED),
    rule(
        "OffsetCommit",
        "topics[].partitions[].error_code",
        How::Parts(|_, strata, kafka| matches!(strata, Node::Number(22 | 69)) && *kafka == Node::Number(25)),
        NOT_JOINED,
    ),
    rule(
        "JoinGroup",
        "",
        How::Parts(|_, strata, kafka| strata.field("skip_assignment") != kafka.field("skip_assignment")),
        "a static member that comes back with other topics: Strata gives them to it, Kafka keeps the old assignment",
    ),
    rule(
        "CreateTopics",
        "topics[]",
        How::When(|_, strata, kafka| has_error(strata, 36) && has_error(kafka, 44)),
        "too many partitions for a topic that exists: Strata looks at the name first",
    ),
    // More faults than one, and what is not served yet.
    rule(
        "Produce",
        "responses[].partition_responses[]",
        How::When(|_, strata, kafka| (has_error(strata, 3) || has_error(strata, 100)) && !has_error(kafka, 0)),
        "a batch with a fault for a partition that is not there: Strata looks for the partition first",
    ),
    rule(
        "Produce",
        "responses[].partition_responses[]",
        How::When(|_, strata, kafka| has_error(strata, 87) && [2, 47].iter().any(|code| has_error(kafka, *code))),
        "a batch with a wrong length, or with a producer id and no epoch: another fault is told",
    ),
    rule(
        "Produce",
        "responses[].partition_responses[]",
        How::When(|_, strata, kafka| has_error(kafka, 53) && !has_error(strata, 0)),
        "transactions are not served yet: a batch of one is refused for another reason",
    ),
    rule(
        "Produce",
        "responses[].partition_responses[].log_append_time_ms",
        How::When(|_, strata, _| *strata == Node::Number(-1)),
        "a retry is not appended again, and has no time of its own",
    ),
    rule(
        "Metadata",
        "",
        How::When(|_, _, kafka| {
            has_error(kafka, -1)
                || kafka.field("topics").map(Node::items).unwrap_or_default().iter().any(|topic| has_error(topic, -1))
        }),
        "Kafka fails with an error of its own on a topic with neither name nor id",
    ),
    rule(
        "*",
        "**.configs[].value",
        How::When(
            |_, strata, kafka| matches!((strata, kafka), (Node::Text(ours), Node::Text(theirs)) if is_same_value(ours, theirs)),
        ),
        "Strata shows a value as it is understood, Kafka as it was written",
    ),
    rule(
        "ApiVersions",
        "supported_features[]",
        How::When(|_, strata, _| *strata == Node::Null),
        "features of a Kafka cluster",
    ),
    rule(
        "ApiVersions",
        "finalized_features[]",
        How::When(|_, strata, _| *strata == Node::Null),
        "features of a Kafka cluster",
    ),
    rule("ApiVersions", "finalized_features_epoch", How::Ignored, "each cluster counts by itself"),
];

/// Where a config's value comes from.
const LAYERS: &[&str] = &["config_source", "is_default", "synonyms", "documentation"];

/// Topic configs that Kafka does not know.
const OURS: &[&str] = &["strata.export.enable"];

const REFUSED_BY_STRATA: &str =
    "Strata refuses bytes that follow a batch, attributes that only a log has, and a producer id without an epoch";
const ONLY_PROMISED: &str = "a group whose last member left, while others were promised ids, is empty; Kafka's is not where the member tries to come back";
const NEXT_LEADER: &str =
    "where a leader has left, Kafka takes the next one from a hash table, Strata the oldest member";
const NOT_JOINED: &str = "Kafka keeps an empty group that nobody joined until it restarts; Strata never makes it";

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
