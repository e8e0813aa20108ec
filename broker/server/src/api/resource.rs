//! The resources that have configs, as requests name them (`ConfigResource.Type` of Kafka's clients).

use broker_model::{ErrorCode, NodeId};

/// A topic, by name.
pub(super) const TOPIC: i8 = 2;
/// A broker, by number; or all of them, by an empty name.
pub(super) const BROKER: i8 = 4;
/// The loggers of a broker, by its number (KIP-412).
pub(super) const BROKER_LOGGER: i8 = 8;
/// What clients are asked to measure (KIP-714), by the subscription's name.
pub(super) const CLIENT_METRICS: i8 = 16;
/// A group, by its id (KIP-848).
pub(super) const GROUP: i8 = 32;

/// Why a resource of this type has no configs here.
pub(super) fn without_configs(kind: i8) -> (ErrorCode, String) {
    let what = match kind {
        BROKER_LOGGER => {
            "the levels of loggers are those of RUST_LOG at the start: they cannot be asked or changed".to_owned()
        }
        CLIENT_METRICS => "Strata collects no metrics of clients".to_owned(),
        GROUP => "Strata has no configs of groups".to_owned(),
        other => format!("Unknown resource type {other}"),
    };
    (ErrorCode::InvalidRequest, what)
}

/// Checks that a broker is named that is this one.
///
/// # Errors
/// INVALID_REQUEST, as Kafka says it.
pub(super) fn is_this_broker(node: NodeId, name: &str) -> Result<(), (ErrorCode, String)> {
    match name.parse::<i32>() {
        Ok(id) if id == node.0 => Ok(()),
        Ok(_) => {
            Err((ErrorCode::InvalidRequest, format!("Unexpected broker id, expected {node}, but received {name}")))
        }
        Err(_) => Err((ErrorCode::InvalidRequest, format!("Broker id must be an integer, but it is: {name}"))),
    }
}
