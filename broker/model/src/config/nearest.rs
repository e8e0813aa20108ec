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
    match scope {
        Scope::Broker => crate::nearest(name, broker_defs().map(|def| def.name)),
        Scope::Topic => crate::nearest(name, topic_defs().map(|def| def.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
