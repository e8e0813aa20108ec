//! Families of configs that Kafka files carry and the registry does not know, each with why they change nothing.
//!
//! The registry names the configs that Strata knows. These are recognised by how they begin, so that a message says more
//! than that a name is unknown. What is meant to protect something and would leave it open is refused elsewhere: a
//! listener that promises TLS or SASL does not start.

const NO_SECURITY: &str = "TLS, SASL and ACLs are not served yet";

/// Beginnings of names.
const FAMILIES: &[(&str, &str)] = &[
    ("ssl.", NO_SECURITY),
    ("sasl.", NO_SECURITY),
    ("listener.name.", NO_SECURITY),
    ("security.", NO_SECURITY),
    ("super.users", NO_SECURITY),
    ("allow.everyone.if.no.acl.found", NO_SECURITY),
    ("principal.builder.class", NO_SECURITY),
    ("delegation.token.", NO_SECURITY),
    ("zookeeper.", "Strata needs no ZooKeeper"),
    ("confluent.", "it belongs to Confluent's own parts"),
    ("metric.reporters", "Strata loads no Java classes; GET /metrics answers in Prometheus' form"),
    ("remote.log.storage.manager.", "the tier is built in; strata.tier.url says where the bucket is"),
    ("remote.log.metadata.manager.", "the tier is built in and keeps its own metadata"),
];

/// Why a config of this name changes nothing; `None` where nothing is known of it.
pub(super) fn why(name: &str) -> Option<&'static str> {
    FAMILIES.iter().find(|(beginning, _)| name.starts_with(beginning)).map(|(_, why)| *why)
}
