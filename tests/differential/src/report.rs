//! What a run says at its end: differences first, then what was covered and which rules were needed.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::attempt::{Failure, Outcome};
use crate::compare::Uses;
use crate::run::Counts;
use crate::step::Step;
use crate::versions::Versions;

/// Rules that excuse nothing in this many sequences are stale.
const STALE_AFTER: u64 = 3_000;

/// A difference that nothing excuses.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) signature: String,
    pub(crate) seed: u64,
    count: u64,
    failure: Failure,
    story: Vec<String>,
}

impl Finding {
    pub(crate) fn new(seed: u64, failure: Failure, story: Vec<String>) -> Finding {
        Finding { signature: failure.signature(), seed, count: 1, failure, story }
    }

    pub(crate) fn text(&self) -> String {
        let mut out = format!("DIFFERENCE {} (--seed {} --sequences 1)\n", self.signature, self.seed);
        for line in &self.story {
            let _ = writeln!(out, "    {line}");
        }
        let [strata, kafka] = &self.failure.requests;
        if strata != kafka {
            let _ = writeln!(out, "    request to Strata: {strata}");
        }
        let _ = writeln!(out, "    step {} of the sequence; fields:", self.failure.step);
        for difference in self.failure.differences.iter().take(8) {
            let place = if difference.place.is_empty() { "(the whole answer)" } else { &difference.place };
            let _ = writeln!(out, "      {place}: Strata {}, Kafka {}", difference.strata, difference.kafka);
        }
        if self.story.is_empty() || self.failure.what.starts_with("never settles") {
            let [strata, kafka] = self.failure.answers.each_ref().map(crate::attempt::Answer::show);
            let _ = writeln!(out, "      Strata: {strata}\n      Kafka:  {kafka}");
        }
        out
    }
}

/// All that a run found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) findings: Vec<Finding>,
    /// Differences that did not come again.
    pub(crate) unrepeated: Vec<Finding>,
    sequences: u64,
    failed: u64,
    parted: u64,
    requests: u64,
    late: usize,
    kinds: Counts,
    versions: Counts,
    covered: BTreeSet<(i16, i16)>,
    skipped: Vec<String>,
    uncovered: Vec<String>,
    rules: Vec<(String, u64)>,
}

impl Report {
    pub(crate) fn note(&mut self, steps: &[Step], outcome: &Outcome) {
        self.sequences += 1;
        self.failed += u64::from(outcome.failure.is_some());
        self.parted += u64::from(outcome.parted);
        self.late += outcome.late;
        for step in outcome.compared.iter().filter_map(|index| steps.get(*index)) {
            self.requests += 1;
            *self.kinds.entry(step.kind.to_owned()).or_default() += 1;
            *self.versions.entry(format!("{} v{:02}", step.api.name(), step.version)).or_default() += 1;
            self.covered.insert((step.api.code(), step.version));
        }
    }

    /// True where a difference of this kind was found before; it is counted.
    pub(crate) fn is_known(&mut self, signature: &str) -> bool {
        let known = self.findings.iter_mut().find(|finding| finding.signature == signature);
        known.map(|finding| finding.count += 1).is_some()
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        let signature = finding.signature.clone();
        if !self.is_known(&signature) {
            self.findings.push(finding);
        }
    }

    pub(crate) fn finish(&mut self, versions: &Versions, uses: &Uses) {
        self.skipped.clone_from(&versions.skipped);
        for (api, (first, last)) in versions.apis() {
            let missing: Vec<String> = (first..=last)
                .filter(|version| !self.covered.contains(&(api.code(), *version)))
                .map(|version| version.to_string())
                .collect();
            if !missing.is_empty() {
                self.uncovered.push(format!("{} {}", api.name(), missing.join(", ")));
            }
        }
        self.rules = uses
            .counts()
            .map(|(rule, count)| (format!("{} {}: {}", rule.api, rule.path, rule.reason), count))
            .collect();
    }

    /// True where nothing differs without a reason.
    pub(crate) fn is_good(&self) -> bool {
        self.failed == 0
    }

    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for finding in &self.findings {
            let _ = writeln!(out, "{} times: {} (seed {})", finding.count, finding.signature, finding.seed);
        }
        for finding in &self.unrepeated {
            let _ = writeln!(out, "not repeated: {} (seed {})", finding.signature, finding.seed);
        }
        for line in &self.skipped {
            let _ = writeln!(out, "skipped: {line}");
        }
        for line in &self.uncovered {
            let _ = writeln!(out, "not exercised: {line}");
        }
        for (rule, count) in self.rules.iter().filter(|(rule, count)| *count > 0 && rule.contains(": OPEN: ")) {
            let _ = writeln!(out, "{count} times {rule}");
        }
        if self.sequences >= STALE_AFTER {
            for (rule, _) in self.rules.iter().filter(|(_, count)| *count == 0) {
                let _ = writeln!(out, "STALE RULE: {rule}");
            }
        }
        let _ = writeln!(
            out,
            "{} sequences, {} requests of {} kinds in {} API versions compared; {} sequences differ in {} ways, {} differences \
             did not repeat; {} ended at a justified difference, {} answers were late",
            self.sequences,
            self.requests,
            self.kinds.len(),
            self.covered.len(),
            self.failed,
            self.findings.len(),
            self.unrepeated.len(),
            self.parted,
            self.late,
        );
        out
    }

    /// The counts for machines.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "sequences": self.sequences,
            "requests": self.requests,
            "failed": self.failed,
            "parted": self.parted,
            "late": self.late,
            "differences": self.findings.iter().map(|finding| (&finding.signature, finding.count)).collect::<Vec<_>>(),
            "unrepeated": self.unrepeated.iter().map(|finding| &finding.signature).collect::<Vec<_>>(),
            "kinds": self.kinds,
            "versions": self.versions,
            "skipped": self.skipped,
            "not_exercised": self.uncovered,
            "rules": self.rules,
        })
    }
}
