//! What a run must know of the cluster before it begins: who leads which partition, and where logs begin and end.
//!
//! Retriable refusals are asked again until a deadline, as a topic that was just made has no leader for a moment.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use broker_model::ErrorCode;
use broker_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use broker_wire::messages::delete_topics_request::DeleteTopicState;
use broker_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use broker_wire::messages::metadata_request::MetadataRequestTopic;
use broker_wire::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, InitProducerIdRequest,
    InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse,
};
use broker_wire::{ApiKey, Str};

use crate::client::{Client, Versions, resolve};
use crate::clock;
use crate::error::LoadError;

/// How long a topic may take until it has leaders, or is gone.
const SETTLE: u64 = 30 * clock::SECOND;
const RETRY: u64 = 20 * clock::MILLISECOND;
/// Asks for the first offset, and for the one after the last, instead of a time.
pub(crate) const EARLIEST: i64 = -2;
pub(crate) const LATEST: i64 = -1;

/// A topic that is made.
#[derive(Clone, Debug)]
pub(crate) struct NewTopic<'a> {
    pub(crate) name: &'a str,
    pub(crate) partitions: i32,
    pub(crate) replication_factor: i16,
    pub(crate) configs: Vec<(String, String)>,
}

/// Partitions by the broker that leads them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leaders(pub(crate) BTreeMap<SocketAddr, Vec<i32>>);

/// A cluster, by one of its brokers.
#[derive(Debug)]
pub(crate) struct Cluster {
    client: Client,
}

impl Cluster {
    /// Connects to the broker at this address.
    pub(crate) fn connect(bootstrap: &str) -> Result<Cluster, LoadError> {
        Ok(Cluster { client: Client::connect(resolve(bootstrap)?)? })
    }

    /// The versions that this broker serves; the others are taken to serve the same.
    pub(crate) fn versions(&self) -> &Versions {
        &self.client.versions
    }

    /// Who leads the partitions of a topic: all of them, or the first so many. Waits until each has a leader.
    pub(crate) fn leaders(&mut self, topic: &str, first: Option<usize>) -> Result<Leaders, LoadError> {
        let until = clock::monotonic() + SETTLE;
        loop {
            if let Some(leaders) = self.try_leaders(topic, first)? {
                return Ok(leaders);
            }
            if clock::monotonic() > until {
                return Err(LoadError::Late(format!("a leader for every partition of {topic}")));
            }
            clock::pause(RETRY);
        }
    }

    fn try_leaders(&mut self, topic: &str, first: Option<usize>) -> Result<Option<Leaders>, LoadError> {
        let answer = self.metadata(topic)?;
        let Some(found) = answer.topics.first() else { return Ok(None) };
        if found.error_code != 0 {
            return retriable(found.error_code, topic).map(|()| None);
        }
        let mut partitions: Vec<_> = found.partitions.iter().collect();
        partitions.sort_by_key(|partition| partition.partition_index);
        let wanted = first.unwrap_or(partitions.len());
        if wanted == 0 || partitions.len() < wanted {
            return Err(LoadError::Unusable(format!("{topic} has {} partitions, not {wanted}", partitions.len())));
        }
        let mut leaders = Leaders::default();
        for partition in partitions.into_iter().take(wanted) {
            let broker = answer.brokers.iter().find(|broker| broker.node_id == partition.leader_id);
            let Some(broker) = broker.filter(|_| partition.error_code == 0) else { return Ok(None) };
            let address = resolve(&format!("{}:{}", broker.host.as_str(), broker.port))?;
            leaders.0.entry(address).or_default().push(partition.partition_index);
        }
        Ok(Some(leaders))
    }

    fn metadata(&mut self, topic: &str) -> Result<MetadataResponse, LoadError> {
        let version = self.client.versions.highest(ApiKey::Metadata, 12)?;
        let name = Some(Str::from(topic));
        let topics = Some(vec![MetadataRequestTopic { name, ..MetadataRequestTopic::default() }]);
        let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..MetadataRequest::default() };
        let mut input = self.client.ask(ApiKey::Metadata, version, |out| request.encode(out, version))?;
        Ok(MetadataResponse::decode(&mut input, version)?)
    }

    /// Makes a topic and waits until each of its partitions has a leader that answers for it.
    pub(crate) fn create_topic(&mut self, topic: &NewTopic<'_>) -> Result<(), LoadError> {
        let version = self.client.versions.highest(ApiKey::CreateTopics, 7)?;
        let configs = topic
            .configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig { name: Str::from(name), value: Some(Str::from(value)) });
        let created = CreatableTopic {
            name: Str::from(topic.name),
            num_partitions: topic.partitions,
            replication_factor: topic.replication_factor,
            configs: configs.collect(),
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![created], ..CreateTopicsRequest::default() };
        let mut input = self.client.ask(ApiKey::CreateTopics, version, |out| request.encode(out, version))?;
        let answer = CreateTopicsResponse::decode(&mut input, version)?;
        for result in &answer.topics {
            refused(result.error_code, || {
                format!("{} is not made ({})", topic.name, result.error_message.as_deref().unwrap_or("no reason given"))
            })?;
        }
        let partitions = usize::try_from(topic.partitions).unwrap_or(1).max(1);
        let leaders = self.leaders(topic.name, Some(partitions))?;
        self.offsets(topic.name, &leaders, LATEST).map(|_| ())
    }

    /// Deletes a topic and waits until nobody knows it.
    pub(crate) fn delete_topic(&mut self, topic: &str) -> Result<(), LoadError> {
        let version = self.client.versions.highest(ApiKey::DeleteTopics, 5)?;
        let mut request = DeleteTopicsRequest { timeout_ms: 60_000, ..DeleteTopicsRequest::default() };
        request.topic_names.push(Str::from(topic));
        request.topics.extend(None::<DeleteTopicState>);
        let mut input = self.client.ask(ApiKey::DeleteTopics, version, |out| request.encode(out, version))?;
        for result in DeleteTopicsResponse::decode(&mut input, version)?.responses {
            refused(result.error_code, || format!("{topic} is not deleted"))?;
        }
        let until = clock::monotonic() + SETTLE;
        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        while self.metadata(topic)?.topics.first().is_some_and(|found| found.error_code != unknown) {
            if clock::monotonic() > until {
                return Err(LoadError::Late(format!("the end of {topic}")));
            }
            clock::pause(RETRY);
        }
        Ok(())
    }

    /// The offset at a time, or at [`EARLIEST`] or [`LATEST`], of each partition, asked of its leader.
    pub(crate) fn offsets(
        &mut self,
        topic: &str,
        leaders: &Leaders,
        time: i64,
    ) -> Result<BTreeMap<i32, i64>, LoadError> {
        let mut offsets = BTreeMap::new();
        for (address, partitions) in &leaders.0 {
            let mut client = Client::connect(*address)?;
            let until = clock::monotonic() + SETTLE;
            while !list_offsets(&mut client, (topic, partitions, time), &mut offsets)? {
                if clock::monotonic() > until {
                    return Err(LoadError::Late(format!("an answer for every offset of {topic}")));
                }
                clock::pause(RETRY);
            }
        }
        Ok(offsets)
    }

    /// A new idempotent producer: its id and epoch.
    pub(crate) fn producer_id(&mut self) -> Result<(i64, i16), LoadError> {
        let version = self.client.versions.highest(ApiKey::InitProducerId, 5)?;
        let request = InitProducerIdRequest {
            transactional_id: None,
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdRequest::default()
        };
        let until = clock::monotonic() + SETTLE;
        loop {
            let mut input = self.client.ask(ApiKey::InitProducerId, version, |out| request.encode(out, version))?;
            let answer = InitProducerIdResponse::decode(&mut input, version)?;
            if answer.error_code == 0 {
                return Ok((answer.producer_id, answer.producer_epoch));
            }
            retriable(answer.error_code, "a producer id")?;
            if clock::monotonic() > until {
                return Err(LoadError::Late("a producer id".to_owned()));
            }
            clock::pause(RETRY);
        }
    }
}

/// Asks one leader for its partitions. False where one should be asked again.
fn list_offsets(
    client: &mut Client,
    (topic, partitions, timestamp): (&str, &[i32], i64),
    offsets: &mut BTreeMap<i32, i64>,
) -> Result<bool, LoadError> {
    let version = client.versions.highest(ApiKey::ListOffsets, 7)?;
    let partition =
        |index: &i32| ListOffsetsPartition { partition_index: *index, timestamp, ..ListOffsetsPartition::default() };
    let name = Str::from(topic);
    let topics = vec![ListOffsetsTopic { name, partitions: partitions.iter().map(partition).collect() }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..ListOffsetsRequest::default() };
    let mut input = client.ask(ApiKey::ListOffsets, version, |out| request.encode(out, version))?;
    let answer = ListOffsetsResponse::decode(&mut input, version)?;
    let mut is_complete = true;
    for found in answer.topics.iter().flat_map(|topic| &topic.partitions) {
        if found.error_code == 0 {
            offsets.insert(found.partition_index, found.offset);
        } else {
            retriable(found.error_code, "an offset")?;
            is_complete = false;
        }
    }
    Ok(is_complete)
}

fn refused(code: i16, what: impl FnOnce() -> String) -> Result<(), LoadError> {
    if code == 0 { Ok(()) } else { Err(LoadError::Refused { what: what(), code }) }
}

/// Lets pass what may be asked again: a topic that is new is unknown for a moment.
fn retriable(code: i16, what: &str) -> Result<(), LoadError> {
    match ErrorCode::from_code(code).is_some_and(ErrorCode::is_retriable) {
        true => Ok(()),
        false => Err(LoadError::Refused { what: what.to_owned(), code }),
    }
}
