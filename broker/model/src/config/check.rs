//! Kafka's rules for the configs that a client asks for: what one config alone cannot say.
//!
//! They are those of Kafka's controller (KIP-405 for the tier). Two are wider here, because topics are tiered by the
//! broker's default: only a local retention that the topic itself names can be refused, and "was tiered" is what the
//! topic was in effect. A topic that leaves the tier loses what only the bucket has, so the client must say so
//! (`remote.log.delete.on.disable`).

use std::collections::BTreeMap;

use super::def::{ConfigError, TopicKey};
use super::resolve::{Layers, TopicClass, TopicConfig, can_be_tiered, definition};
use super::topic;
use super::values::ConfigValues;

/// Configs of a topic before and after a change.
#[derive(Clone, Copy, Debug)]
pub struct TopicChange<'a> {
    /// What the topic has; `None` where it is to be made.
    pub before: Option<&'a BTreeMap<String, String>>,
    /// What it is to have, all of it.
    pub after: &'a BTreeMap<String, String>,
    /// Whose topic it is.
    pub class: TopicClass,
}

impl TopicChange<'_> {
    /// Checks the change, and says what the topic's configuration then is.
    ///
    /// # Errors
    /// [`ConfigError`]: an unknown name, a value that does not fit its config, or configs that do not go together.
    pub fn check(&self, broker: &ConfigValues) -> Result<TopicConfig, ConfigError> {
        let after = TopicConfig::resolve(self.after, broker, self.class)?;
        let layers = Layers { overrides: self.after, broker };
        check_compaction(&layers)?;
        if after.tiered {
            check_local(&layers, topic::LOCAL_RETENTION_MS, topic::RETENTION_MS)?;
            check_local(&layers, topic::LOCAL_RETENTION_BYTES, topic::RETENTION_BYTES)?;
        } else {
            self.check_no_tier(&layers)?;
        }
        if after.tiered && after.copy_disabled {
            check_same(&layers, topic::LOCAL_RETENTION_BYTES, topic::RETENTION_BYTES)?;
            check_same(&layers, topic::LOCAL_RETENTION_MS, topic::RETENTION_MS)?;
        }
        let leaves_tier = !after.tiered && self.was_tiered(broker);
        if leaves_tier && !after.delete_on_disable {
            let how = "the bucket has records of this topic that would be lost. To keep them and copy nothing more, set \
                       remote.storage.enable=true and remote.log.copy.disable=true; to delete them, set \
                       remote.storage.enable=false and remote.log.delete.on.disable=true";
            return Err(ConfigError::Conflict(format!("remote storage cannot just be disabled: {how}")));
        }
        Ok(after)
    }

    /// True where the topic was in the tier before.
    #[must_use]
    pub fn was_tiered(&self, broker: &ConfigValues) -> bool {
        self.before.is_some_and(|before| TopicConfig::resolve_stored(before, broker, self.class).0.tiered)
    }

    /// What says that it is to be tiered, or needs that, and cannot be.
    fn check_no_tier(&self, layers: &Layers<'_>) -> Result<(), ConfigError> {
        let asked = layers.says(topic::REMOTE_STORAGE_ENABLE) && layers.get(topic::REMOTE_STORAGE_ENABLE)?;
        if asked && !can_be_tiered(layers.cleanup()?, self.class) {
            return Err(ConfigError::Conflict(match self.class {
                TopicClass::Internal => "Remote log storage is not for internal topics".to_owned(),
                TopicClass::User => "Remote log storage only supports topics with cleanup.policy=delete or \
                                     cleanup.policy being an empty list"
                    .to_owned(),
            }));
        }
        if layers.says(topic::EXPORT_ENABLE) && layers.get(topic::EXPORT_ENABLE)? {
            let expected = "false, or a tiered topic: the export reads the bucket".to_owned();
            return Err(definition(topic::EXPORT_ENABLE).refuse("true", expected));
        }
        Ok(())
    }
}

fn check_compaction(layers: &Layers<'_>) -> Result<(), ConfigError> {
    let (min, max) = (layers.get(topic::MIN_COMPACTION_LAG_MS)?, layers.get(topic::MAX_COMPACTION_LAG_MS)?);
    if min > max {
        let (least, most) = (topic::MIN_COMPACTION_LAG_MS.name(), topic::MAX_COMPACTION_LAG_MS.name());
        return Err(ConfigError::Conflict(format!("conflict topic config setting {least} ({min}) > {most} ({max})")));
    }
    Ok(())
}

/// The local part of what is kept is not more than the whole.
fn check_local(layers: &Layers<'_>, local: TopicKey<i64>, whole: TopicKey<i64>) -> Result<(), ConfigError> {
    let (value, bound) = (layers.get(local)?, layers.get(whole)?);
    let exceeds = bound >= 0 && (value == -1 || value > bound);
    if exceeds && layers.says(local) {
        let expected = format!("-2, or at most {}, which is {bound}", whole.name());
        return Err(definition(local).refuse(&value.to_string(), expected));
    }
    Ok(())
}

/// What is copied no more is kept on local disk as long as at all.
fn check_same(layers: &Layers<'_>, local: TopicKey<i64>, whole: TopicKey<i64>) -> Result<(), ConfigError> {
    let (value, bound) = (layers.get(local)?, layers.get(whole)?);
    if layers.says(local) && value != -2 && value != bound {
        let expected =
            format!("-2, or {}, which is {bound}: with remote.log.copy.disable nothing is copied", whole.name());
        return Err(definition(local).refuse(&value.to_string(), expected));
    }
    Ok(())
}
