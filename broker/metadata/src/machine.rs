//! The machine that decides about metadata. Everything is durable: there is no soft state and no deadline.
//!
//! A request is one batch, whole or not at all. What a step may change is read off its records; `apply` takes them in
//! any order that compaction leaves, so a partition may come before its topic within a replay.
//! Deletions and small decisions are here, the others in files of their own. Start reading at `decide`.

use std::collections::BTreeSet;
use std::sync::Arc;

use broker_model::machine::{CallId, Effects, Input, Machine, Record, RecordError, Violation};
use broker_model::{ErrorCode, Offset, Timestamp, TopicId};

use crate::decision::{Decision, find, topic_value};
use crate::image::{BrokerImage, ClusterImage, Purge, TopicImage};
use crate::records::{self, FEATURE_LEVEL, Key, TopicValue};
use crate::request::{
    BeginIncarnation, DeletedTopic, Incarnation, Output, ProducerIdBlock, Request, TopicError, TopicRef,
};
use crate::{alter, create, partitions};

/// Producer ids in a block (Kafka's number).
pub const PRODUCER_ID_BLOCK: i32 = 1000;

/// META-1.
pub const META_1: Violation =
    Violation { id: "META-1", what: "a topic has a name of its own and the partitions 0 to n-1" };
/// META-2.
pub const META_2: Violation = Violation { id: "META-2", what: "nothing is without a finalized feature level" };
/// META-3.
pub const META_3: Violation =
    Violation { id: "META-3", what: "what is purged under a topic's id is of that topic, and no config is kept empty" };

/// The machine. It has no settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct MetadataMachine;

impl Machine for MetadataMachine {
    type Hard = ClusterImage;
    type Soft = ();
    type Request = Request;
    type Output = Output;

    fn step(&self, hard: &ClusterImage, _: &mut (), _: Timestamp, input: Input<Request>) -> Effects<Output> {
        match input {
            Input::Request(call, request) => decide(hard, call, request),
            Input::Tick | Input::Appended(_) | Input::Refused(..) => Effects::none(),
        }
    }

    fn apply(&self, hard: &mut ClusterImage, _: Offset, record: &Record) -> Result<(), RecordError> {
        let Some(key) = Key::decode(&record.key)? else { return Ok(()) };
        match &record.value {
            Some(value) => put(hard, key, value),
            None => {
                remove(hard, key);
                Ok(())
            }
        }
    }

    fn recover(&self, _: &ClusterImage, _: Timestamp) {}

    fn next_deadline(&self, _: &ClusterImage, (): &()) -> Option<Timestamp> {
        None
    }

    fn check(&self, hard: &ClusterImage) -> Result<(), Violation> {
        let is_whole = |topic: &TopicImage| {
            let numbers = topic.partitions.keys().map(|index| index.0);
            hard.names.get(&topic.name) == Some(&topic.id)
                && topic.partition_count > 0
                && numbers.eq(0..topic.partition_count)
        };
        if hard.names.len() != hard.topics.len() || !hard.topics.values().all(|topic| is_whole(topic)) {
            return Err(META_1);
        }
        if hard.feature_level.is_none() && *hard != ClusterImage::default() {
            return Err(META_2);
        }
        let is_of = |(id, purge): (&TopicId, &Purge)| hard.topics.get(id).is_none_or(|topic| topic.name == purge.name);
        if !hard.purges.iter().all(is_of) || hard.broker_configs.values().any(|configs| configs.is_empty()) {
            return Err(META_3);
        }
        Ok(())
    }

    fn records(&self, hard: &ClusterImage) -> Vec<Record> {
        let mut out = Vec::new();
        out.extend(hard.feature_level.map(records::feature_level));
        out.extend(hard.cluster_id.as_deref().map(records::cluster));
        out.extend(hard.brokers.iter().map(|(node, broker)| records::broker(*node, broker)));
        for (id, topic) in hard.topics.iter() {
            out.push(records::topic(*id, &topic_value(topic)));
            out.extend(topic.partitions.iter().map(|(index, row)| records::partition(*id, *index, row)));
        }
        if hard.next_producer_id > 0 {
            out.push(records::producer_ids(hard.next_producer_id));
        }
        out.extend(hard.purges.iter().map(|(id, purge)| records::purge(*id, purge)));
        out.extend(hard.broker_configs.iter().map(|(of, configs)| records::broker_configs(*of, configs)));
        out
    }

    fn callers(&self, (): ()) -> Vec<CallId> {
        Vec::new()
    }
}

fn put(hard: &mut ClusterImage, key: Key, value: &[u8]) -> Result<(), RecordError> {
    let mut reader = key.open(value)?;
    match key {
        Key::FeatureLevel => {
            let level = reader.i16()?;
            if level > FEATURE_LEVEL {
                return Err(reader.error("the finalized feature level is newer than this program"));
            }
            hard.feature_level = Some(level);
        }
        Key::Cluster => hard.cluster_id = Some(reader.string()?.into()),
        Key::Broker(node) => drop(Arc::make_mut(&mut hard.brokers).insert(node, reader.broker()?)),
        Key::Topic(id) => {
            let TopicValue { name, partition_count, configs } = reader.topic()?;
            Arc::make_mut(&mut hard.names).insert(name.clone(), id);
            let topic = topic_mut(hard, id);
            (topic.name, topic.partition_count, topic.configs) = (name, partition_count, configs);
        }
        Key::Partition(id, index) => {
            let row = reader.partition()?;
            topic_mut(hard, id).partitions.insert(index, row);
        }
        Key::ProducerIds => hard.next_producer_id = reader.i64()?,
        Key::Purge(id) => drop(Arc::make_mut(&mut hard.purges).insert(id, reader.purge()?)),
        Key::BrokerConfigs(of) => drop(Arc::make_mut(&mut hard.broker_configs).insert(of, reader.configs()?)),
    }
    reader.end()
}

fn topic_mut(hard: &mut ClusterImage, id: TopicId) -> &mut TopicImage {
    let new = || Arc::new(TopicImage { id, ..TopicImage::default() });
    Arc::make_mut(Arc::make_mut(&mut hard.topics).entry(id).or_insert_with(new))
}

fn remove(hard: &mut ClusterImage, key: Key) {
    match key {
        // What founds the cluster is never deleted.
        Key::FeatureLevel | Key::Cluster | Key::ProducerIds => {}
        Key::Broker(node) => drop(Arc::make_mut(&mut hard.brokers).remove(&node)),
        Key::Purge(id) => drop(Arc::make_mut(&mut hard.purges).remove(&id)),
        Key::BrokerConfigs(of) => drop(Arc::make_mut(&mut hard.broker_configs).remove(&of)),
        Key::Topic(id) if hard.topics.contains_key(&id) => {
            let topic = topic_mut(hard, id);
            topic.partition_count = 0;
            let name = std::mem::take(&mut topic.name);
            if hard.names.get(&name) == Some(&id) {
                Arc::make_mut(&mut hard.names).remove(&name);
            }
            drop_if_gone(hard, id);
        }
        Key::Partition(id, index) if hard.topics.contains_key(&id) => {
            topic_mut(hard, id).partitions.remove(&index);
            drop_if_gone(hard, id);
        }
        Key::Topic(_) | Key::Partition(..) => {}
    }
}

fn drop_if_gone(hard: &mut ClusterImage, id: TopicId) {
    if hard.topics.get(&id).is_some_and(|topic| topic.name.is_empty() && topic.partitions.is_empty()) {
        Arc::make_mut(&mut hard.topics).remove(&id);
    }
}

fn decide(hard: &ClusterImage, call: CallId, request: Request) -> Effects<Output> {
    let (batch, output) = match request {
        Request::BeginIncarnation(request) => begin_incarnation(hard, request),
        _ if hard.feature_level.is_none() => {
            let what = "the cluster is not founded: no broker began its incarnation";
            (Vec::new(), Output::Refused(TopicError::new(ErrorCode::NotController, what)))
        }
        Request::CreateTopics(request) => create::create(hard, request),
        Request::DeleteTopics(asked) => delete(hard, asked),
        Request::CreatePartitions(request) => partitions::create(hard, request),
        Request::AlterConfigs(request) => alter::alter(hard, request),
        Request::AllocateProducerIds => allocate(hard),
        Request::PurgeFinished(id) => {
            (hard.purges.contains_key(&id).then(|| Key::Purge(id).tombstone()).into_iter().collect(), Output::Purged)
        }
    };
    Effects { batch, outputs: vec![(call, output)] }
}

fn begin_incarnation(hard: &ClusterImage, request: BeginIncarnation) -> Decision {
    let BeginIncarnation { node, cluster_id, incarnation, directory } = request;
    let mut batch = Vec::new();
    match hard.cluster_id() {
        Some(known) if known != cluster_id => {
            let what = format!("this log belongs to cluster {known}, not to {cluster_id}");
            return (Vec::new(), Output::Refused(TopicError::new(ErrorCode::InvalidRequest, what)));
        }
        Some(_) => {}
        None => batch.extend([records::feature_level(FEATURE_LEVEL), records::cluster(&cluster_id)]),
    }
    let epoch = hard.broker(node).map_or(0, |broker| broker.epoch) + 1;
    batch.push(records::broker(node, &BrokerImage { epoch, incarnation, directory }));
    (batch, Output::Incarnation(Incarnation { cluster_id, broker_epoch: epoch }))
}

fn delete(hard: &ClusterImage, asked: Vec<TopicRef>) -> Decision {
    let (mut batch, mut gone, mut outputs) = (Vec::new(), BTreeSet::new(), Vec::new());
    for asked in asked {
        let result = find(hard, &asked).and_then(|topic| {
            if !gone.insert(topic.id) {
                let what = format!("topic {} is named twice", topic.name);
                return Err(TopicError::new(ErrorCode::InvalidRequest, what));
            }
            batch.extend(topic.partitions.keys().map(|index| Key::Partition(topic.id, *index).tombstone()));
            batch.push(Key::Topic(topic.id).tombstone());
            let purge = Purge { name: topic.name.clone(), partition_count: topic.partition_count };
            batch.push(records::purge(topic.id, &purge));
            Ok((topic.name.to_string(), topic.id))
        });
        outputs.push(DeletedTopic { asked, result });
    }
    (batch, Output::Deleted(outputs))
}

fn allocate(hard: &ClusterImage) -> Decision {
    let first = hard.next_producer_id();
    match first.0.checked_add(PRODUCER_ID_BLOCK.into()) {
        Some(next) => {
            let block = ProducerIdBlock { first, len: PRODUCER_ID_BLOCK };
            (vec![records::producer_ids(next)], Output::ProducerIds(block))
        }
        None => {
            let what = "all producer ids are handed out";
            (Vec::new(), Output::Refused(TopicError::new(ErrorCode::UnknownServerError, what)))
        }
    }
}
