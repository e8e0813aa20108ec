//! Configs of topics: as they are, and changes one by one (KIP-339).

use broker_wire::Str;
use broker_wire::messages::describe_configs_request::DescribeConfigsResource;
use broker_wire::messages::describe_configs_response::DescribeConfigsResourceResult;
use broker_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use broker_wire::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};

use crate::client::Nature;
use crate::topics::one;
use crate::{Client, ClientError, Node};

const RESOURCE_TOPIC: i8 = 2;
const SET: i8 = 0;
const DELETE: i8 = 1;
/// The source of a config that was set on the topic itself.
const SOURCE_TOPIC: i8 = 1;

/// One change of a topic's configs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// The name gets this value.
    Set(String, String),
    /// The name falls back to the broker's default.
    Delete(String),
}

/// A config as the broker tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its name.
    pub name: String,
    /// Its value; none where it is secret.
    pub value: Option<String>,
    /// Where the value comes from, in Kafka's words.
    pub source: &'static str,
    /// True where it was set on the topic itself.
    pub is_own: bool,
}

impl Client {
    /// The configs of a topic, by name.
    ///
    /// # Errors
    /// There is no such topic, the broker refuses, or nobody answers.
    pub async fn topic_configs(&mut self, topic: &str) -> Result<Vec<Config>, ClientError> {
        let resource = DescribeConfigsResource {
            resource_type: RESOURCE_TOPIC,
            resource_name: Str::from(topic),
            configuration_keys: None,
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let mut configs = self
            .retry(Nature::Idempotent, async |client| {
                let answer = client.ask(Node::Any, &request).await?;
                let found = one(answer.results, topic)?;
                let what = || format!("the configs of {topic}");
                ClientError::check(found.error_code, found.error_message.as_deref(), what)?;
                Ok(found.configs.iter().map(config).collect::<Vec<_>>())
            })
            .await?;
        configs.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(configs)
    }

    /// Changes configs of a topic: all of them or none.
    ///
    /// # Errors
    /// A name or value does not fit, the broker refuses, or nobody answers.
    pub async fn alter_topic_configs(&mut self, topic: &str, changes: &[ConfigChange]) -> Result<(), ClientError> {
        let change = |change: &ConfigChange| match change {
            ConfigChange::Set(name, value) => {
                AlterableConfig { name: Str::from(name), config_operation: SET, value: Some(Str::from(value)) }
            }
            ConfigChange::Delete(name) => {
                AlterableConfig { name: Str::from(name), config_operation: DELETE, value: None }
            }
        };
        let resource = AlterConfigsResource {
            resource_type: RESOURCE_TOPIC,
            resource_name: Str::from(topic),
            configs: changes.iter().map(change).collect(),
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        self.retry(Nature::Idempotent, async |client| {
            let answer = client.ask(Node::Any, &request).await?;
            let changed = one(answer.responses, topic)?;
            let what = || format!("the configs of {topic} are not changed");
            ClientError::check(changed.error_code, changed.error_message.as_deref(), what)
        })
        .await
    }
}

fn config(found: &DescribeConfigsResourceResult) -> Config {
    Config {
        name: found.name.to_string(),
        value: found.value.as_deref().map(str::to_owned),
        source: match found.config_source {
            SOURCE_TOPIC => "topic",
            2 => "dynamic broker",
            3 => "dynamic default broker",
            4 => "static broker",
            5 => "default",
            _ => "unknown",
        },
        is_own: found.config_source == SOURCE_TOPIC,
    }
}
