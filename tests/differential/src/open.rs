//! Differences that were found and are not mended yet: no justification, but a list of work.
//!
//! A row excuses what it names, so that a run goes on and finds what is behind it. The report names each row that was
//! needed. Whoever mends a difference removes its row.

use broker_wire::tree::Node;

use crate::attempt::CLOSED;
use crate::differences::{How, Rule, has_error, is_text, rule};

const PARTITION: &str = "responses[].partition_responses[]";

/// All of them.
pub(crate) const OPEN: &[Rule] = &[
    rule("DescribeConfigs", "results[].error_message", How::Pair("null", "\"\""), "OPEN: success has an empty text"),
    rule("InitProducerId", "error_code", How::Pair("53", "42"), "OPEN: an empty transactional id is INVALID_REQUEST"),
    Rule {
        api: "JoinGroup",
        versions: (0, 1),
        path: "",
        how: How::Parts(|_, strata, _| has_error(strata, 35)),
        reason: "OPEN: Kafka serves JoinGroup 0 and 1",
    },
    rule(
        "ApiVersions",
        "",
        How::When(|_, _, kafka| has_error(kafka, 42)),
        "OPEN: names of clients are checked (KIP-511)",
    ),
    rule(
        "Produce",
        "responses[].partition_responses[].log_start_offset",
        How::When(|_, strata, _| *strata == Node::Number(-1)),
        "OPEN: most errors tell the log's start",
    ),
    rule(
        "Produce",
        PARTITION,
        How::When(|_, strata, kafka| has_error(strata, 43) && (has_error(kafka, 2) || has_error(kafka, 87))),
        "OPEN: formats 0 and 1 are INVALID_RECORD, unknown ones CORRUPT_MESSAGE",
    ),
    rule("Produce", PARTITION, How::Parts(|_, _, kafka| has_error(kafka, 76)), "OPEN: zstd needs version 7"),
    rule(
        "Produce",
        "responses[].partition_responses[].record_errors",
        How::When(|_, _, _| true),
        "OPEN: each record that is refused is named, with a text",
    ),
    rule(
        "Produce",
        "",
        How::When(|_, strata, kafka| is_text(kafka, CLOSED) && *strata == Node::Null),
        "OPEN: an error with acks=0 closes the connection",
    ),
    rule(
        "*",
        "responses[]",
        How::Parts(|_, strata, kafka| has_error(strata, 0) && has_error(kafka, 40)),
        "OPEN: compression.gzip.level=0 is not valid",
    ),
    rule(
        "CreateTopics",
        "topics[]",
        How::Parts(|_, strata, kafka| has_error(strata, 0) && has_error(kafka, 40)),
        "OPEN: compression.gzip.level=0 is not valid",
    ),
    rule(
        "OffsetForLeaderEpoch",
        "topics[].partitions[]",
        How::When(|_, strata, kafka| has_error(strata, 0) && has_error(kafka, 74)),
        "OPEN: here a negative epoch of a leader other than -1 is fenced",
    ),
];
