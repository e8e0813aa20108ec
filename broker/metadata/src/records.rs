//! The metadata log's records as bytes. Each is a keyed upsert with absolute values, or a tombstone.
//!
//! Key: `kind i16`, then the identity. Value: `version u8 = 1`, then the fields. Big endian; a string or list is a `u16`
//! or `u32` count and then its bytes or items; an id is 16 bytes.
//!
//! | kind | key | value |
//! |---|---|---|
//! | 0 feature level | - | level i16 |
//! | 1 cluster | - | cluster id string |
//! | 2 broker | node i32 | epoch i64, incarnation id, directory id |
//! | 3 topic | topic id | name string, partition count i32, configs [name string, value string] |
//! | 4 partition | topic id, number i32 | leader i32, epoch base i32, partition epoch i32, replicas [node i32, directory id], isr [node i32] |
//! | 5 producer ids | - | next i64 |
//! | 6 purge | topic id | name string, partition count i32 |
//! | 7 broker configs | node i32, -1 for all brokers | configs [name string, value string] |
//!
//! Unknown kinds are skipped; unknown versions of known kinds are errors. Golden bytes are in the tests: a change of
//! layout is a new version.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_model::machine::{Record, RecordError};
use broker_model::{NodeId, PartitionIndex, TopicId};

use crate::image::{BrokerImage, PartitionImage, Purge, Replica};

/// The newest feature level that this program knows.
pub const FEATURE_LEVEL: i16 = 1;
const VERSION: u8 = 1;
const ALL_BROKERS: i32 = -1;

/// What a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    FeatureLevel,
    Cluster,
    Broker(NodeId),
    Topic(TopicId),
    Partition(TopicId, PartitionIndex),
    ProducerIds,
    Purge(TopicId),
    BrokerConfigs(Option<NodeId>),
}

/// A topic's own record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicValue {
    pub(crate) name: Arc<str>,
    pub(crate) partition_count: i32,
    pub(crate) configs: Arc<BTreeMap<String, String>>,
}

impl Key {
    fn kind(self) -> i16 {
        match self {
            Key::FeatureLevel => 0,
            Key::Cluster => 1,
            Key::Broker(_) => 2,
            Key::Topic(_) => 3,
            Key::Partition(..) => 4,
            Key::ProducerIds => 5,
            Key::Purge(_) => 6,
            Key::BrokerConfigs(_) => 7,
        }
    }

    fn encode(self) -> Vec<u8> {
        let mut bytes = self.kind().to_be_bytes().to_vec();
        match self {
            Key::FeatureLevel | Key::Cluster | Key::ProducerIds => {}
            Key::Broker(node) => bytes.extend(node.0.to_be_bytes()),
            Key::BrokerConfigs(of) => bytes.extend(of.map_or(ALL_BROKERS, |node| node.0).to_be_bytes()),
            Key::Topic(id) | Key::Purge(id) => bytes.extend(id.0),
            Key::Partition(id, index) => {
                bytes.extend(id.0);
                bytes.extend(index.0.to_be_bytes());
            }
        }
        bytes
    }

    /// `None` for a kind that this version does not know.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Key>, RecordError> {
        let mut reader = Reader { kind: -1, bytes };
        reader.kind = reader.i16()?;
        let key = match reader.kind {
            0 => Key::FeatureLevel,
            1 => Key::Cluster,
            2 => Key::Broker(NodeId(reader.i32()?)),
            3 => Key::Topic(TopicId(reader.id()?)),
            4 => Key::Partition(TopicId(reader.id()?), PartitionIndex(reader.i32()?)),
            5 => Key::ProducerIds,
            6 => Key::Purge(TopicId(reader.id()?)),
            7 => Key::BrokerConfigs(Some(reader.i32()?).filter(|node| *node != ALL_BROKERS).map(NodeId)),
            _ => return Ok(None),
        };
        reader.end()?;
        Ok(Some(key))
    }

    pub(crate) fn tombstone(self) -> Record {
        Record::tombstone(self.encode())
    }

    fn put(self, fields: impl FnOnce(&mut Vec<u8>)) -> Record {
        let mut value = vec![VERSION];
        fields(&mut value);
        Record::put(self.encode(), value)
    }

    /// The reader of this key's value, past its version.
    pub(crate) fn open(self, value: &[u8]) -> Result<Reader<'_>, RecordError> {
        let mut reader = Reader { kind: self.kind(), bytes: value };
        if reader.u8()? != VERSION {
            return Err(reader.error("unknown version"));
        }
        Ok(reader)
    }
}

pub(crate) fn feature_level(level: i16) -> Record {
    Key::FeatureLevel.put(|out| out.extend(level.to_be_bytes()))
}

pub(crate) fn cluster(id: &str) -> Record {
    Key::Cluster.put(|out| string(out, id))
}

pub(crate) fn broker(node: NodeId, broker: &BrokerImage) -> Record {
    Key::Broker(node).put(|out| {
        out.extend(broker.epoch.to_be_bytes());
        out.extend(broker.incarnation);
        out.extend(broker.directory);
    })
}

pub(crate) fn topic(id: TopicId, topic: &TopicValue) -> Record {
    Key::Topic(id).put(|out| {
        string(out, &topic.name);
        out.extend(topic.partition_count.to_be_bytes());
        configs(out, &topic.configs);
    })
}

pub(crate) fn broker_configs(of: Option<NodeId>, values: &BTreeMap<String, String>) -> Record {
    Key::BrokerConfigs(of).put(|out| configs(out, values))
}

fn configs(out: &mut Vec<u8>, configs: &BTreeMap<String, String>) {
    count(out, configs.len());
    for (name, value) in configs {
        string(out, name);
        string(out, value);
    }
}

pub(crate) fn partition(id: TopicId, index: PartitionIndex, partition: &PartitionImage) -> Record {
    Key::Partition(id, index).put(|out| {
        out.extend(partition.leader.0.to_be_bytes());
        out.extend(partition.epoch_base.to_be_bytes());
        out.extend(partition.partition_epoch.to_be_bytes());
        count(out, partition.replicas.len());
        for replica in &partition.replicas {
            out.extend(replica.node.0.to_be_bytes());
            out.extend(replica.directory);
        }
        count(out, partition.isr.len());
        for node in &partition.isr {
            out.extend(node.0.to_be_bytes());
        }
    })
}

pub(crate) fn producer_ids(next: i64) -> Record {
    Key::ProducerIds.put(|out| out.extend(next.to_be_bytes()))
}

pub(crate) fn purge(id: TopicId, purge: &Purge) -> Record {
    Key::Purge(id).put(|out| {
        string(out, &purge.name);
        out.extend(purge.partition_count.to_be_bytes());
    })
}

fn string(out: &mut Vec<u8>, text: &str) {
    let len = u16::try_from(text.len()).expect("names and configs are validated to be shorter");
    out.extend(len.to_be_bytes());
    out.extend(text.as_bytes());
}

fn count(out: &mut Vec<u8>, len: usize) {
    out.extend(u32::try_from(len).expect("lists are bounded").to_be_bytes());
}

/// Reads fields in order; every one may be missing.
pub(crate) struct Reader<'a> {
    kind: i16,
    bytes: &'a [u8],
}

impl Reader<'_> {
    pub(crate) fn error(&self, what: &'static str) -> RecordError {
        RecordError { kind: self.kind, what }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (field, rest) = self.bytes.split_first_chunk().ok_or(self.error("cut"))?;
        self.bytes = rest;
        Ok(*field)
    }

    fn u8(&mut self) -> Result<u8, RecordError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn i16(&mut self) -> Result<i16, RecordError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, RecordError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, RecordError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(crate) fn id(&mut self) -> Result<[u8; 16], RecordError> {
        self.array()
    }

    pub(crate) fn string(&mut self) -> Result<String, RecordError> {
        let len = u16::from_be_bytes(self.array()?);
        let (text, rest) = self.bytes.split_at_checked(len.into()).ok_or(self.error("cut"))?;
        self.bytes = rest;
        String::from_utf8(text.to_vec()).map_err(|_| self.error("not UTF-8"))
    }

    /// A list's items; nothing is allocated by what the count claims.
    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Result<T, RecordError>) -> Result<Vec<T>, RecordError> {
        let count = u32::from_be_bytes(self.array()?);
        (0..count).map(|_| item(self)).collect()
    }

    pub(crate) fn end(&self) -> Result<(), RecordError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.error("spare bytes")) }
    }

    pub(crate) fn broker(&mut self) -> Result<BrokerImage, RecordError> {
        Ok(BrokerImage { epoch: self.i64()?, incarnation: self.id()?, directory: self.id()? })
    }

    pub(crate) fn topic(&mut self) -> Result<TopicValue, RecordError> {
        let (name, partition_count) = (self.string()?.into(), self.i32()?);
        Ok(TopicValue { name, partition_count, configs: self.configs()? })
    }

    pub(crate) fn configs(&mut self) -> Result<Arc<BTreeMap<String, String>>, RecordError> {
        let configs = self.list(|reader| Ok((reader.string()?, reader.string()?)))?;
        Ok(Arc::new(configs.into_iter().collect()))
    }

    pub(crate) fn partition(&mut self) -> Result<PartitionImage, RecordError> {
        Ok(PartitionImage {
            leader: NodeId(self.i32()?),
            epoch_base: self.i32()?,
            partition_epoch: self.i32()?,
            replicas: self.list(|reader| Ok(Replica { node: NodeId(reader.i32()?), directory: reader.id()? }))?,
            isr: self.list(|reader| Ok(NodeId(reader.i32()?)))?,
        })
    }

    pub(crate) fn purge(&mut self) -> Result<Purge, RecordError> {
        Ok(Purge { name: self.string()?.into(), partition_count: self.i32()? })
    }
}
