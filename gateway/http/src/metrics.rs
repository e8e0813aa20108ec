//! Metrics in the Prometheus text format, version 0.0.4: families that others fill, written with HELP and TYPE.
//!
//! The encoder only writes: names and labels are the caller's, who keeps them valid (`[a-zA-Z_:][a-zA-Z0-9_:]*`). Families
//! of one name are written together, as the format demands; label values and help are escaped.

use std::fmt::Write as _;

/// What a family counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only rises, and begins at 0 with the process.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

/// A metric with all its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    name: String,
    help: String,
    kind: Kind,
    samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    suffix: &'static str,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Family {
    /// A counter; by convention its name ends with `_total`.
    #[must_use]
    pub fn counter(name: &str, help: &str) -> Family {
        Family::new(name, help, Kind::Counter)
    }

    /// A gauge; by convention its name ends with its unit.
    #[must_use]
    pub fn gauge(name: &str, help: &str) -> Family {
        Family::new(name, help, Kind::Gauge)
    }

    /// A histogram.
    #[must_use]
    pub fn histogram(name: &str, help: &str) -> Family {
        Family::new(name, help, Kind::Histogram)
    }

    fn new(name: &str, help: &str, kind: Kind) -> Family {
        Family { name: name.to_owned(), help: help.to_owned(), kind, samples: Vec::new() }
    }

    /// The same with a sample.
    #[must_use]
    pub fn with(mut self, labels: &[(&str, &str)], value: f64) -> Family {
        self.push(labels, value);
        self
    }

    /// Adds a sample.
    pub fn push(&mut self, labels: &[(&str, &str)], value: f64) {
        self.sample("", labels, value);
    }

    /// Adds a histogram: cumulative counts by upper bound, without the last bucket (+Inf), which is the count.
    pub fn push_histogram(&mut self, labels: &[(&str, &str)], buckets: &[(f64, u64)], sum: f64, count: u64) {
        for (bound, below) in buckets {
            self.bucket(labels, &number(*bound), *below);
        }
        self.bucket(labels, "+Inf", count);
        self.sample("_sum", labels, sum);
        self.sample("_count", labels, count as f64);
    }

    fn bucket(&mut self, labels: &[(&str, &str)], bound: &str, below: u64) {
        let mut labels = labels.to_vec();
        labels.push(("le", bound));
        self.sample("_bucket", &labels, below as f64);
    }

    fn sample(&mut self, suffix: &'static str, labels: &[(&str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.samples.push(Sample { suffix, labels, value });
    }
}

/// The text of these families, ordered by name.
#[must_use]
pub fn encode(mut families: Vec<Family>) -> String {
    families.sort_by(|left, right| left.name.cmp(&right.name));
    let mut out = String::new();
    let mut last: Option<&str> = None;
    for family in &families {
        if last != Some(family.name.as_str()) {
            head(&mut out, family);
        }
        last = Some(&family.name);
        for sample in &family.samples {
            line(&mut out, &family.name, sample);
        }
    }
    out
}

fn head(out: &mut String, family: &Family) {
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
    let name = &family.name;
    write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n").expect("writing to memory does not fail");
}

fn line(out: &mut String, name: &str, sample: &Sample) {
    out.push_str(name);
    out.push_str(sample.suffix);
    for (at, (label, value)) in sample.labels.iter().enumerate() {
        out.push(if at == 0 { '{' } else { ',' });
        out.push_str(label);
        out.push_str("=\"");
        for letter in value.chars() {
            match letter {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                other => out.push(other),
            }
        }
        out.push('"');
    }
    if !sample.labels.is_empty() {
        out.push('}');
    }
    out.push(' ');
    out.push_str(&number(sample.value));
    out.push('\n');
}

fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_prometheus_text() {
        let mut latency = Family::histogram("wait_seconds", "Waiting.");
        latency.push_histogram(&[("api", "Fetch")], &[(0.1, 3), (1.0, 4)], 2.5, 5);
        let families = vec![
            latency,
            Family::counter("rows_total", "Rows\nof \\ all.").with(&[], 12_345_678_901.0),
            Family::gauge("lag", "Lag.").with(&[("topic", "a\"b\\c\nd"), ("partition", "0")], -1.5),
            Family::gauge("lag", "Lag.").with(&[("topic", "x")], f64::NAN),
        ];
        let expect = "# HELP lag Lag.\n# TYPE lag gauge\nlag{topic=\"a\\\"b\\\\c\\nd\",partition=\"0\"} -1.5\n\
                      lag{topic=\"x\"} NaN\n\
                      # HELP rows_total Rows\\nof \\\\ all.\n# TYPE rows_total counter\nrows_total 12345678901\n\
                      # HELP wait_seconds Waiting.\n# TYPE wait_seconds histogram\n\
                      wait_seconds_bucket{api=\"Fetch\",le=\"0.1\"} 3\nwait_seconds_bucket{api=\"Fetch\",le=\"1\"} 4\n\
                      wait_seconds_bucket{api=\"Fetch\",le=\"+Inf\"} 5\nwait_seconds_sum{api=\"Fetch\"} 2.5\n\
                      wait_seconds_count{api=\"Fetch\"} 5\n";
        assert_eq!(encode(families), expect);
    }
}
