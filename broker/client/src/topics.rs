//! Topics: listing, making, deleting, more partitions.

use broker_wire::Str;
use broker_wire::messages::create_partitions_request::CreatePartitionsTopic;
use broker_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use broker_wire::messages::metadata_response::MetadataResponseTopic;
use broker_wire::messages::{CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest};

use crate::client::Nature;
use crate::{Client, ClientError, Node};

/// A topic that is to be made.
#[derive(Clone, Debug)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; -1 leaves it to the broker.
    pub partitions: i32,
    /// How many replicas; -1 leaves it to the broker.
    pub replication_factor: i16,
    /// Configs by name.
    pub configs: Vec<(String, String)>,
}

/// What a broker made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadeTopic {
    /// Partitions; -1 where the broker is too old to say.
    pub partitions: i32,
    /// Replicas of each; -1 where the broker is too old to say.
    pub replication_factor: i16,
}

impl Client {
    /// All topics, by name.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn topics(&mut self) -> Result<Vec<MetadataResponseTopic>, ClientError> {
        let mut topics = self.metadata(None).await?.topics;
        topics.sort_by(|one, other| one.name.as_deref().cmp(&other.name.as_deref()));
        Ok(topics)
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// The broker refuses, or nobody answers.
    pub async fn create_topic(&mut self, topic: &NewTopic) -> Result<MadeTopic, ClientError> {
        let config = |(name, value): &(String, String)| CreatableTopicConfig {
            name: Str::from(name),
            value: Some(Str::from(value)),
        };
        let wanted = CreatableTopic {
            name: Str::from(&topic.name),
            num_partitions: topic.partitions,
            replication_factor: topic.replication_factor,
            configs: topic.configs.iter().map(config).collect(),
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![wanted], timeout_ms: self.timeout_ms(), ..Default::default() };
        self.retry(Nature::Once, async |client| {
            let answer = client.ask(Node::Any, &request).await?;
            let made = one(answer.topics, &topic.name)?;
            let what = || format!("topic {} is not created", topic.name);
            ClientError::check(made.error_code, made.error_message.as_deref(), what)?;
            Ok(MadeTopic { partitions: made.num_partitions, replication_factor: made.replication_factor })
        })
        .await
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// There is none of this name, the broker refuses, or nobody answers.
    pub async fn delete_topic(&mut self, name: &str) -> Result<(), ClientError> {
        self.topic(name).await?;
        let request = DeleteTopicsRequest {
            topic_names: vec![Str::from(name)],
            timeout_ms: self.timeout_ms(),
            ..DeleteTopicsRequest::default()
        };
        self.retry(Nature::Once, async |client| {
            let answer = client.ask(Node::Any, &request).await?;
            let deleted = one(answer.responses, name)?;
            let what = || format!("topic {name} is not deleted");
            ClientError::check(deleted.error_code, deleted.error_message.as_deref(), what)
        })
        .await?;
        self.forget_leaders(name);
        Ok(())
    }

    /// Gives a topic more partitions: `count` is how many it has then.
    ///
    /// # Errors
    /// The count is not larger, the broker refuses, or nobody answers.
    pub async fn create_partitions(&mut self, name: &str, count: i32) -> Result<(), ClientError> {
        let topic = CreatePartitionsTopic { name: Str::from(name), count, assignments: None };
        let request =
            CreatePartitionsRequest { topics: vec![topic], timeout_ms: self.timeout_ms(), ..Default::default() };
        self.retry(Nature::Once, async |client| {
            let answer = client.ask(Node::Any, &request).await?;
            let changed = one(answer.results, name)?;
            let what = || format!("{name} does not get {count} partitions");
            ClientError::check(changed.error_code, changed.error_message.as_deref(), what)
        })
        .await?;
        self.forget_leaders(name);
        Ok(())
    }

    /// The time that a broker may take for what it does on all others, in milliseconds.
    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.settings().request_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}

/// The one row of an answer about one thing.
pub(crate) fn one<T>(rows: Vec<T>, what: &str) -> Result<T, ClientError> {
    rows.into_iter().next().ok_or_else(|| ClientError::Nonsense(format!("the broker says nothing of {what}")))
}
