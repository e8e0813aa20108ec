//! What the metadata machine is asked and what it answers: plain structs of its own, not those of the wire.
//!
//! Fresh ids (topics', incarnations') come with the request, for the machine has no randomness. Configs come validated.
//! Each output carries what the response on the wire needs.

use std::collections::BTreeMap;

use broker_model::{ErrorCode, NodeId, ProducerId, TopicId};

/// What callers ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A broker's process starts. The first one ever also founds the cluster.
    BeginIncarnation(BeginIncarnation),
    /// Topics are to be created, by a client or because one was named that does not exist.
    CreateTopics(CreateTopics),
    /// Topics are to be deleted. Answers come in this order.
    DeleteTopics(Vec<TopicRef>),
    /// Topics are to have more partitions. Answers come in this order.
    CreatePartitions(CreatePartitions),
    /// Configs of topics and brokers are to change. Answers come in this order.
    AlterConfigs(AlterConfigs),
    /// A block of producer ids is needed.
    AllocateProducerIds,
    /// Nothing of this deleted topic is left in the archive.
    PurgeFinished(TopicId),
}

/// What callers hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To [`Request::BeginIncarnation`].
    Incarnation(Incarnation),
    /// To [`Request::CreateTopics`], in the request's order.
    Created(Vec<CreatedTopic>),
    /// To [`Request::DeleteTopics`], in the request's order.
    Deleted(Vec<DeletedTopic>),
    /// To [`Request::CreatePartitions`], in the request's order.
    PartitionsCreated(Vec<Result<(), TopicError>>),
    /// To [`Request::AlterConfigs`], in the request's order.
    Altered(Vec<Result<(), AlterError>>),
    /// To [`Request::AllocateProducerIds`].
    ProducerIds(ProducerIdBlock),
    /// To [`Request::PurgeFinished`].
    Purged,
    /// The request as a whole cannot be served.
    Refused(TopicError),
}

/// A broker's process starts: its leader epochs rise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeginIncarnation {
    /// The broker.
    pub node: NodeId,
    /// The cluster that it believes to be in, or the id to found one with.
    pub cluster_id: String,
    /// Random, of this process.
    pub incarnation: [u8; 16],
    /// The id of its log directory, from `meta.properties`.
    pub directory: [u8; 16],
}

/// To [`BeginIncarnation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incarnation {
    /// The cluster.
    pub cluster_id: String,
    /// Rises with each start of this broker; what fences its older processes.
    pub broker_epoch: i64,
}

/// Whether a request only says what would happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateMode {
    /// Do it.
    Apply,
    /// Check only (`validate_only`).
    ValidateOnly,
}

/// What to do where a topic of the name stands already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// `TOPIC_ALREADY_EXISTS`, as CreateTopics answers.
    Refuse,
    /// Answer with the topic that stands, as auto-creation wants.
    Return,
}

/// Topics to create in one batch: those that can be are, each other one hears its error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTopics {
    /// The topics.
    pub topics: Vec<NewTopic>,
    /// Apply or validate.
    pub mode: CreateMode,
    /// What of those that stand.
    pub existing: Existing,
}

/// A topic to create. Defaults are filled in by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Its id, random and fresh.
    pub id: TopicId,
    /// Partitions, at least 1.
    pub partitions: i32,
    /// Replicas of each partition.
    pub replication_factor: i16,
    /// Its own configs, validated.
    pub configs: BTreeMap<String, String>,
}

/// What became of a [`NewTopic`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its name.
    pub name: String,
    /// Its id, partitions, replicas and configs, or why it was not created.
    pub result: Result<NewTopic, TopicError>,
}

/// A topic as a client names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicRef {
    /// By name.
    Name(String),
    /// By id.
    Id(TopicId),
}

/// What became of a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTopic {
    /// As it was asked for.
    pub asked: TopicRef,
    /// Name and id of what was deleted, or why not.
    pub result: Result<(String, TopicId), TopicError>,
}

/// Topics that are to have more partitions: those that can have, each other one hears its error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatePartitions {
    /// The topics, each once.
    pub topics: Vec<MorePartitions>,
    /// Apply or validate.
    pub mode: CreateMode,
}

/// More partitions for one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MorePartitions {
    /// The topic.
    pub name: String,
    /// How many it is to have, with those that it has.
    pub count: i32,
    /// For each new partition its replicas, preferred leader first; `None` leaves that to the cluster.
    pub assignments: Option<Vec<Vec<NodeId>>>,
}

/// Configs that are to change: those that can, each other one hears its error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterConfigs {
    /// The changes, each owner once.
    pub changes: Vec<ConfigChange>,
    /// Apply or validate.
    pub mode: CreateMode,
}

/// A change of what one owner has, whole or not at all.
///
/// The caller knows which configs are legal, and judged by what it saw; so it says what that was, and hears when it was
/// not the last word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// Whose configs.
    pub owner: ConfigOwner,
    /// All that it has, as the caller saw it.
    pub expected: BTreeMap<String, String>,
    /// All that it is to have. Validated.
    pub configs: BTreeMap<String, String>,
    /// What this means for what the bucket has of a topic.
    pub archive: ArchiveChange,
}

/// Whose configs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOwner {
    /// A topic's, by name.
    Topic(String),
    /// A broker's; `None` is what all brokers have that do not say otherwise.
    Broker(Option<NodeId>),
}

/// What a change of a topic's configs does to its archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveChange {
    /// Nothing.
    Keep,
    /// The topic is tiered from now on, which it may not be before an earlier archive is purged.
    Begin,
    /// The topic is tiered no more: its archive is to be purged.
    Purge,
}

/// Why configs did not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlterError {
    /// The owner does not have any more what the caller saw: look and judge again.
    Overtaken,
    /// It cannot be.
    Refused(TopicError),
}

/// Ids that nobody else has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The first.
    pub first: ProducerId,
    /// How many.
    pub len: i32,
}

/// An error with the sentence that the client shows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TopicError {
    /// Kafka's code.
    pub code: ErrorCode,
    /// What is wrong and what is expected.
    pub message: String,
}

impl TopicError {
    /// An error with its sentence.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> TopicError {
        TopicError { code, message: message.into() }
    }
}
