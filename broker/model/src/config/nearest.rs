//! Finds the config that was probably meant.

use super::{Scope, broker_defs, topic_defs};

/// The known name that is most like `name`, when one is near enough to be worth saying.
///
/// In a broker's file a topic's name (`retention.ms`) gives the broker's (`log.retention.ms`).
#[must_use]
pub fn nearest(scope: Scope, name: &str) -> Option<&'static str> {
    let other_scope = topic_defs().find(|def| scope == Scope::Broker && def.name == name);
    if let Some(synonym) = other_scope.and_then(|def| def.synonyms.first()) {
        return Some(synonym.name);
    }
    let names: Box<dyn Iterator<Item = &'static str>> = match scope {
        Scope::Broker => Box::new(broker_defs().map(|def| def.name)),
        Scope::Topic => Box::new(topic_defs().map(|def| def.name)),
    };
    let limit = (name.len() / 3).max(2);
    names
        .map(|known| (distance(name, known), known))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, known)| known)
}

/// Edits (insert, delete, replace, swap of neighbours) that make one text the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before_last: Vec<usize> = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replace = last[j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(before_last[j - 2] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_edits() {
        for (from, to, edits) in
            [("", "abc", 3), ("abc", "abc", 0), ("acb", "abc", 1), ("abd", "abc", 1), ("ab", "abc", 1)]
        {
            assert_eq!(distance(from, to), edits, "{from} {to}");
        }
    }

    #[test]
    fn typing_errors_find_what_was_meant() {
        for (given, meant) in [
            ("num.partition", "num.partitions"),
            ("log.segmnet.bytes", "log.segment.bytes"),
            ("strata.tier.uri", "strata.tier.url"),
            ("retention.ms", "log.retention.ms"),
            ("advertised.listener", "advertised.listeners"),
        ] {
            assert_eq!(nearest(Scope::Broker, given), Some(meant));
        }
        assert_eq!(nearest(Scope::Broker, "zookeeper.connect"), None);
        assert_eq!(nearest(Scope::Topic, "retention.mss"), Some("retention.ms"));
    }
}
