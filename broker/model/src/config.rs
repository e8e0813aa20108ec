//! The registry of configs as data: name, type, default, rule, scope, synonyms, doc.
//!
//! A config is declared once, in one of the tables below; the declaration gives a typed handle ([`BrokerKey`],
//! [`TopicKey`]) and a [`ConfigDef`] in the registry, so that a value is never read by a name that does not exist or as a
//! type that it does not have. Names and defaults are Kafka's where Kafka has the config; ours begin with `strata.`.
//!
//! Values live in two snapshots that are shared, not copied: [`ConfigValues`] for the broker and [`TopicConfig`] for a
//! topic, which is the topic's overrides laid over the broker's values. Both can say where a value comes from
//! ([`ConfigSource`]), which is what DescribeConfigs answers.
//!
//! This module reads no files and no environment. What a config does is decided where its value is used; a config that is
//! taken and does nothing is [`Standing::Noted`] and says so in its doc.
//!
//! Start reading at [`broker`] and [`topic`]: the tables are the documentation.

pub mod broker;
mod change;
mod check;
mod def;
mod nearest;
pub mod network;
pub mod noted;
mod resolve;
pub mod tier;
pub mod topic;
mod value;
mod values;

pub use change::{ConfigOp, changed};
pub use check::TopicChange;
pub use def::{BrokerKey, ConfigDef, ConfigError, Rule, Scope, Standing, Synonym, TopicKey};
pub use nearest::nearest;
pub use resolve::{CleanupPolicy, TimestampType, TopicClass, TopicConfig};
pub use value::{ConfigType, Kind, Password, Value};
pub use values::{ConfigSource, ConfigValues, Described, DescribedSynonym, DynamicLevel};

/// All configs of a broker, in the order of their tables.
pub fn broker_defs() -> impl Iterator<Item = &'static ConfigDef> {
    [network::TABLE, broker::TABLE, tier::TABLE, noted::TABLE].into_iter().flatten()
}

/// All configs of a topic, in the order of their table.
pub fn topic_defs() -> impl Iterator<Item = &'static ConfigDef> {
    topic::TABLE.iter()
}

/// The config with this name in this scope. A name may stand in both scopes (`min.insync.replicas`).
#[must_use]
pub fn lookup(scope: Scope, name: &str) -> Option<&'static ConfigDef> {
    match scope {
        Scope::Broker => broker_defs().find(|def| def.name == name),
        Scope::Topic => topic_defs().find(|def| def.name == name),
    }
}

#[cfg(test)]
mod tests;
