//! The broker's configs now: what the start said, and over it what the protocol changed since.
//!
//! The dynamic layers come from the metadata image (see [`Values::follow`]), before anybody hears of the change. Who needs
//! a config that can change asks here each time, and keeps no copy.

use std::sync::Arc;

use arc_swap::ArcSwap;
use broker_metadata::ClusterImage;
use broker_model::NodeId;
use broker_model::config::{BrokerKey, ConfigType, ConfigValues, DynamicLevel};
use tracing::{info, warn};

/// The configs of one broker.
#[derive(Debug)]
pub struct Values {
    node: NodeId,
    now: ArcSwap<ConfigValues>,
}

impl Values {
    /// What the start said.
    #[must_use]
    pub fn new(node: NodeId, start: Arc<ConfigValues>) -> Values {
        Values { node, now: ArcSwap::new(start) }
    }

    /// All of them at this moment.
    #[must_use]
    pub fn now(&self) -> Arc<ConfigValues> {
        self.now.load_full()
    }

    /// One of them at this moment.
    #[must_use]
    pub fn get<T: ConfigType>(&self, key: BrokerKey<T>) -> T {
        self.now.load().get(key)
    }

    /// Takes the dynamic layers of the image. True where something changed.
    pub fn follow(&self, image: &ClusterImage) -> bool {
        let mut is_new = false;
        for (level, of) in [(DynamicLevel::Cluster, None), (DynamicLevel::Broker, Some(self.node))] {
            let (now, texts) = (self.now(), image.broker_configs(of));
            if *now.dynamic(level) == texts {
                continue;
            }
            info!(?level, keys = ?texts.keys(), "broker configs changed");
            let (values, left_out) = now.with_dynamic(level, texts);
            for error in left_out {
                warn!(%error, "a dynamic config is left out");
            }
            self.now.store(Arc::new(values));
            is_new = true;
        }
        is_new
    }
}
