//! Differences that were found and are not mended yet: no justification, but a list of work.
//!
//! A row excuses what it names, so that a run goes on and finds what is behind it. The report names each row that was
//! needed. Whoever mends a difference removes its row.

use crate::differences::{How, Rule, has_error, rule};

/// All of them.
pub(crate) const OPEN: &[Rule] = &[
    rule("DescribeConfigs", "results[].error_message", How::Pair("null", "\"\""), "OPEN: success has an empty text"),
    Rule {
        api: "JoinGroup",
        versions: (0, 1),
        path: "",
        how: How::Parts(|_, strata, _| has_error(strata, 35)),
        reason: "OPEN: Kafka serves JoinGroup 0 and 1",
    },
    rule(
        "Produce",
        "responses[].partition_responses[].record_errors",
        How::When(|_, _, _| true),
        "OPEN: each record that is refused is named, with a text",
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
];
