//! This node's place: its number, and that it is meant to be alone.
//!
//! Strata is one node so far, its own controller. What Kafka's files say of controllers is taken where it describes such a
//! node. A file of several nodes stops the program: each of them would serve for itself, clients that begin at different
//! ones would see different records, and nothing would tell them.

use broker_model::config::{BrokerKey, ConfigError, ConfigValues, network, noted};

use super::refuse;

/// `node.id`; Kafka's older name counts where only that is given.
pub(super) fn id(values: &ConfigValues) -> i32 {
    let older = values.get(noted::BROKER_ID).filter(|_| !values.is_set(network::NODE_ID));
    older.unwrap_or_else(|| values.get(network::NODE_ID))
}

/// Refuses what describes a node of a cluster that is not there.
pub(super) fn check_alone(values: &ConfigValues) -> Result<(), ConfigError> {
    let roles = values.get(noted::PROCESS_ROLES);
    if !roles.is_empty() && !roles.iter().any(|role| role == "broker") {
        let expected =
            "broker among the roles: Strata's node is its own controller, so leave out nodes that are nothing else";
        return Err(refuse(noted::PROCESS_ROLES, &roles.join(","), expected));
    }
    check_one(values, noted::CONTROLLER_QUORUM_VOTERS)?;
    check_one(values, noted::CONTROLLER_QUORUM_BOOTSTRAP_SERVERS)
}

fn check_one(values: &ConfigValues, key: BrokerKey<Vec<String>>) -> Result<(), ConfigError> {
    let controllers = values.get(key);
    if controllers.len() > 1 {
        let expected = "one controller: Strata is one node so far. Run one node and leave the others out";
        return Err(refuse(key, &controllers.join(","), expected));
    }
    Ok(())
}
