//! Writing records: partitions as every Kafka client chooses them, batches, and repetition that stores nothing twice.
//!
//! A record with a key goes to murmur2(key) modulo the partitions, as Java's and librdkafka's `murmur2` do; one without goes
//! to the partition of the moment, which changes with each batch. With acks=all the producer is idempotent where the cluster
//! gives it an id. Batches of one partition leave one after the other, so that their order is that of [`Producer::push`].

use std::collections::BTreeMap;

use broker_model::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use broker_records::{BatchBuilder, Codec};
use broker_wire::Str;
use broker_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use broker_wire::messages::{InitProducerIdRequest, ProduceRequest};
use bytes::Bytes;

use crate::client::Nature;
use crate::{Client, ClientError, Node};

/// A batch leaves when its records have so many bytes, not compressed.
const BATCH_BYTES: usize = 256 << 10;
const MURMUR2_SEED: u32 = 0x9747_b28c;

/// Who must have a batch before it counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// The leader alone.
    Leader,
    /// All replicas in sync.
    All,
}

/// How records are written.
#[derive(Clone, Debug)]
pub struct ProducerSettings {
    /// The topic.
    pub topic: String,
    /// All records go to this partition; none means that keys decide.
    pub partition: Option<i32>,
    /// How batches are compressed.
    pub codec: Codec,
    /// When a batch counts as written.
    pub acks: Acks,
}

/// A record to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers in their order; a key may repeat.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Milliseconds since 1970.
    pub timestamp: Timestamp,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Records that are acknowledged.
    pub records: u64,
    /// Bytes of their batches as they were sent.
    pub bytes: u64,
    /// By partition: the first and the last offset that was given.
    pub offsets: BTreeMap<i32, (i64, i64)>,
}

/// Writes to one topic.
#[derive(Debug)]
pub struct Producer {
    settings: ProducerSettings,
    partitions: i32,
    identity: Option<(ProducerId, ProducerEpoch)>,
    sequences: BTreeMap<i32, Sequence>,
    open: BTreeMap<i32, BatchBuilder>,
    sticky: i32,
    written: Written,
}

impl Producer {
    /// Looks at the topic and, for acks=all, asks for a producer id.
    ///
    /// # Errors
    /// There is no such topic or partition, or nobody answers.
    pub async fn open(client: &mut Client, settings: ProducerSettings) -> Result<Producer, ClientError> {
        let topic = client.topic(&settings.topic).await?;
        let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX).max(1);
        let identity = match settings.acks {
            Acks::All => producer_id(client).await?,
            Acks::Leader => None,
        };
        let (sequences, open, written) = Default::default();
        let producer = Producer { settings, partitions, identity, sequences, open, sticky: 0, written };
        if let Some(partition) = producer.settings.partition {
            producer.check(partition)?;
        }
        Ok(producer)
    }

    /// Adds a record, and sends the batch that it fills.
    ///
    /// # Errors
    /// A batch is refused, or the patience ends.
    pub async fn push(&mut self, client: &mut Client, record: &NewRecord) -> Result<(), ClientError> {
        let partition = match (self.settings.partition, &record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_of(key, self.partitions),
            (None, None) => self.sticky,
        };
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            record.headers.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
        let codec = self.settings.codec;
        let batch = self.open.entry(partition).or_insert_with(|| BatchBuilder::new(codec));
        batch.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
        if batch.record_bytes() >= BATCH_BYTES {
            // All that is open leaves together: records of one moment arrive in one moment.
            self.flush(client).await?;
        }
        Ok(())
    }

    /// True where nothing waits to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// What is acknowledged.
    #[must_use]
    pub fn written(&self) -> &Written {
        &self.written
    }

    /// Sends what was pushed, and waits until it is acknowledged.
    ///
    /// # Errors
    /// A batch is refused, or the patience ends.
    pub async fn flush(&mut self, client: &mut Client) -> Result<(), ClientError> {
        self.sticky = (self.sticky + 1) % self.partitions;
        let mut batches = BTreeMap::new();
        for (partition, batch) in std::mem::take(&mut self.open) {
            let count = i32::try_from(batch.record_count()).unwrap_or(i32::MAX);
            let batch = match self.identity {
                Some((id, epoch)) => {
                    let sequence = self.sequences.entry(partition).or_insert(Sequence(0));
                    let first = *sequence;
                    *sequence = first.plus(count);
                    batch.producer(id, epoch, first)
                }
                None => batch,
            };
            batches.insert(partition, (batch.finish(Offset::ZERO, LeaderEpoch(-1)), count));
        }
        let nature = if self.identity.is_some() { Nature::Idempotent } else { Nature::Once };
        client.retry(nature, async |client| self.send(client, &mut batches).await).await
    }

    /// Sends batches to their leaders, and takes those out that are acknowledged.
    async fn send(
        &mut self,
        client: &mut Client,
        batches: &mut BTreeMap<i32, (Bytes, i32)>,
    ) -> Result<(), ClientError> {
        let mut by_leader: BTreeMap<Node, Vec<i32>> = BTreeMap::new();
        for partition in batches.keys() {
            by_leader.entry(client.leader(&self.settings.topic, *partition).await?).or_default().push(*partition);
        }
        for (node, partitions) in by_leader {
            let chosen = partitions.iter().filter_map(|index| Some((*index, batches.get(index)?.0.clone())));
            let request = self.request(chosen, client);
            let wait = client.settings().request_timeout * 2;
            for topic in client.ask_for(node, &request, wait).await?.responses {
                for told in topic.partition_responses {
                    // The answer to the first attempt was lost, and the log has the batch.
                    let is_there = told.error_code == ErrorCode::DuplicateSequenceNumber.code();
                    let code = if is_there { 0 } else { told.error_code };
                    let what = || format!("{}-{} does not take the records", self.settings.topic, told.index);
                    ClientError::check(code, told.error_message.as_deref(), what)?;
                    if let Some((batch, count)) = batches.remove(&told.index) {
                        self.written.note(told.index, told.base_offset, count, batch.len());
                    }
                }
            }
        }
        match batches.is_empty() {
            true => Ok(()),
            false => Err(ClientError::Nonsense("a broker did not say what became of the records".to_owned())),
        }
    }

    fn request(&self, batches: impl Iterator<Item = (i32, Bytes)>, client: &Client) -> ProduceRequest {
        let data = |(index, batch): (i32, Bytes)| PartitionProduceData { index, records: Some(batch.into()) };
        let topic = TopicProduceData {
            name: Str::from(&self.settings.topic),
            partition_data: batches.map(data).collect(),
            ..TopicProduceData::default()
        };
        ProduceRequest {
            acks: match self.settings.acks {
                Acks::All => -1,
                Acks::Leader => 1,
            },
            timeout_ms: i32::try_from(client.settings().request_timeout.as_millis()).unwrap_or(i32::MAX),
            topic_data: vec![topic],
            ..ProduceRequest::default()
        }
    }

    fn check(&self, partition: i32) -> Result<(), ClientError> {
        if (0..self.partitions).contains(&partition) {
            return Ok(());
        }
        let (topic, last) = (self.settings.topic.clone(), self.partitions - 1);
        Err(ClientError::UnknownPartition { topic, partition, last })
    }
}

impl Written {
    fn note(&mut self, partition: i32, base_offset: i64, count: i32, bytes: usize) {
        self.records += u64::from(count.unsigned_abs());
        self.bytes += bytes as u64;
        if base_offset >= 0 {
            let last = base_offset + i64::from(count) - 1;
            let range = self.offsets.entry(partition).or_insert((base_offset, last));
            range.1 = last;
        }
    }
}

/// None where the cluster gives none: then records are written without.
async fn producer_id(client: &mut Client) -> Result<Option<(ProducerId, ProducerEpoch)>, ClientError> {
    let request =
        InitProducerIdRequest { transactional_id: None, producer_id: -1, producer_epoch: -1, ..Default::default() };
    let asked = client
        .retry(Nature::Idempotent, async |client| {
            let answer = client.ask(Node::Any, &request).await?;
            ClientError::check(answer.error_code, None, || "a producer id".to_owned())?;
            Ok((ProducerId(answer.producer_id), ProducerEpoch(answer.producer_epoch)))
        })
        .await;
    match asked {
        Ok(identity) => Ok(Some(identity)),
        Err(ClientError::Unsupported { .. } | ClientError::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The partition of a key, as Java's default partitioner has it.
#[must_use]
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff).cast_signed() % partitions.max(1)
}

/// MurmurHash2, 32 bits, with Kafka's seed.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = MURMUR2_SEED ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut words = data.chunks_exact(4);
    for word in words.by_ref() {
        let bytes: [u8; 4] = word.try_into().expect("chunks_exact gives four bytes");
        let mut mixed = u32::from_le_bytes(bytes).wrapping_mul(M);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(M) ^ mixed.wrapping_mul(M);
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        for (place, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}
