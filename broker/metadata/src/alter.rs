//! Configs change: each owner's whole or not at all, all of a request in one batch.
//!
//! The caller judged what is legal by what it saw. Here it is held against what is: a change that was overtaken is not
//! made. A topic that leaves the tier gets a purge record, as a deleted one does, and comes back only when that is gone.

use std::sync::Arc;

use broker_model::ErrorCode;
use broker_model::machine::Record;

use crate::decision::{Decision, check_configs, find, topic_value};
use crate::image::{ClusterImage, Purge};
use crate::records::{self, Key, TopicValue};
use crate::request::{
    AlterConfigs, AlterError, ArchiveChange, ConfigChange, ConfigOwner, CreateMode, Output, TopicError, TopicRef,
};

/// Makes the changes that can be.
pub(crate) fn alter(hard: &ClusterImage, request: AlterConfigs) -> Decision {
    let (mut batch, mut results) = (Vec::new(), Vec::new());
    for change in request.changes {
        let changed = change_one(hard, change);
        results.push(changed.map(|records| batch.extend(records)));
    }
    if request.mode == CreateMode::ValidateOnly {
        batch.clear();
    }
    (batch, Output::Altered(results))
}

fn change_one(hard: &ClusterImage, change: ConfigChange) -> Result<Vec<Record>, AlterError> {
    let ConfigChange { owner, expected, configs, archive } = change;
    check_configs(configs.iter()).map_err(AlterError::Refused)?;
    match owner {
        ConfigOwner::Topic(name) => {
            let topic = find(hard, &TopicRef::Name(name)).map_err(AlterError::Refused)?;
            if *topic.configs != expected {
                return Err(AlterError::Overtaken);
            }
            if archive == ArchiveChange::Begin && hard.purges.contains_key(&topic.id) {
                let what = "what the bucket has of this topic is still being deleted: try again later";
                return Err(AlterError::Refused(TopicError::new(ErrorCode::InvalidConfig, what)));
            }
            let mut out = Vec::new();
            if configs != expected {
                let value = TopicValue { configs: Arc::new(configs), ..topic_value(topic) };
                out.push(records::topic(topic.id, &value));
            }
            if archive == ArchiveChange::Purge {
                let purge = Purge { name: topic.name.clone(), partition_count: topic.partition_count };
                out.push(records::purge(topic.id, &purge));
            }
            Ok(out)
        }
        ConfigOwner::Broker(of) => {
            if *hard.broker_configs(of) != expected {
                return Err(AlterError::Overtaken);
            }
            Ok(match (configs == expected, configs.is_empty()) {
                (true, _) => Vec::new(),
                (false, true) => vec![Key::BrokerConfigs(of).tombstone()],
                (false, false) => vec![records::broker_configs(of, &configs)],
            })
        }
    }
}
