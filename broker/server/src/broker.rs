//! The broker as its handlers see it: topics, coordinators, limits, endpoints.
//!
//! It is made once, shared by all connections, and holds no lock that two partitions would meet at: the topic table is
//! immutable behind an atomic pointer, coordinators are queues, counters are atomics.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use broker_metadata::{CreateMode, CreateTopics, Existing, NewTopic, Output, Request, TopicError};
use broker_model::config::network;
use broker_model::{ErrorCode, NodeId, ProducerId, TopicId, limits};

use crate::coordinator::Handle;
use crate::disk::LogDirs;
use crate::errors;
use crate::fetch_sessions::FetchSessions;
use crate::groups::Groups;
use crate::lag::Lags;
use crate::metrics::Metrics;
use crate::net::budget::Budget;
use crate::net::buffers::Buffers;
use crate::random;
use crate::settings::{HostPort, Settings};
use crate::topics::{FoundPartition, OFFSETS_TOPIC, TopicTable};
use crate::values::Values;

/// Bytes of requests that all connections together may hold, where `queued.max.request.bytes` does not say.
const REQUESTS_BYTES_MAX: usize = 256 << 20;
/// Partitions that all fetch sessions together remember: about 30 MB.
const SESSION_PARTITIONS_MAX: usize = 250_000;

/// What handlers are bound by.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// `connections.max.idle.ms`.
    pub idle: Duration,
    /// `socket.send.buffer.bytes`; `None` leaves it to the system.
    pub send_buffer_bytes: Option<usize>,
    /// `fetch.max.bytes`.
    pub fetch_bytes_max: usize,
    /// `auto.create.topics.enable`.
    pub auto_create: bool,
    /// `delete.topic.enable`.
    pub delete_topics: bool,
    /// `num.partitions`.
    pub partitions_default: i32,
    /// `default.replication.factor`.
    pub replication_factor_default: i16,
    /// `offsets.topic.num.partitions`.
    pub offsets_partitions: i32,
    /// `offsets.topic.segment.bytes`.
    pub offsets_segment_bytes: i32,
}

/// Producer ids that were allocated and not given yet.
#[derive(Debug, Default)]
struct ProducerIds {
    next: i64,
    end: i64,
}

/// One node.
#[derive(Debug)]
pub struct Broker {
    /// `node.id`.
    pub node: NodeId,
    /// The cluster that it belongs to.
    pub cluster_id: String,
    /// All broker configs.
    pub values: Arc<Values>,
    /// What handlers are bound by.
    pub limits: Limits,
    /// The memory of all requests.
    pub budget: Budget,
    /// Receive buffers that are used again.
    pub buffers: Buffers,
    /// What is counted.
    pub metrics: Metrics,
    /// What fetching clients have asked so far.
    pub fetch_sessions: Arc<FetchSessions<FoundPartition>>,
    /// The topics now.
    pub topics: Arc<ArcSwap<TopicTable>>,
    /// The metadata machine.
    pub metadata: Handle<Request, Output>,
    /// The group coordinators.
    pub groups: Groups,
    /// The log directories.
    pub dirs: Arc<LogDirs>,
    /// How far groups are behind.
    pub lags: Lags,
    endpoints: OnceLock<BTreeMap<String, HostPort>>,
    producer_ids: tokio::sync::Mutex<ProducerIds>,
}

/// What a broker is made of.
pub struct Parts {
    /// Shared with the owner of the metadata machine, who keeps them up to date.
    pub values: Arc<Values>,
    /// From the metadata log.
    pub cluster_id: String,
    /// Shared with the owner of the metadata machine, who publishes it.
    pub topics: Arc<ArcSwap<TopicTable>>,
    /// The metadata machine.
    pub metadata: Handle<Request, Output>,
    /// The group coordinators.
    pub groups: Groups,
    /// The log directories.
    pub dirs: Arc<LogDirs>,
}

impl Broker {
    /// A broker that does not listen yet.
    #[must_use]
    pub fn new(settings: &Settings, parts: Parts) -> Broker {
        let limits = Limits::of(settings);
        let requests = settings.network.queued_bytes_max.unwrap_or(REQUESTS_BYTES_MAX);
        // The largest request must fit into what large ones may take.
        let requests = requests.max(limits.request_bytes_max.saturating_mul(4) / 3 + 1);
        let slots = settings.network.fetch_sessions_max;
        let sessions = FetchSessions::new(slots, SESSION_PARTITIONS_MAX, random::number());
        Broker {
            node: settings.node.node_id,
            cluster_id: parts.cluster_id,
            values: parts.values,
            budget: Budget::new(requests),
            buffers: Buffers::default(),
            limits,
            metrics: Metrics::default(),
            fetch_sessions: Arc::new(sessions),
            topics: parts.topics,
            metadata: parts.metadata,
            groups: parts.groups,
            dirs: parts.dirs,
            lags: Lags::default(),
            endpoints: OnceLock::new(),
            producer_ids: tokio::sync::Mutex::default(),
        }
    }

    /// Says, once, what each listener is to be advertised as.
    pub fn advertise(&self, endpoints: BTreeMap<String, HostPort>) {
        self.endpoints.set(endpoints).expect("listeners are bound once");
    }

    /// Where clients of this listener find this broker.
    #[must_use]
    pub fn endpoint(&self, listener: &str) -> &HostPort {
        let endpoints = self.endpoints.get().expect("a connection comes after its listener");
        endpoints.get(listener).expect("a connection knows its listener")
    }

    /// `max.connections`, of all listeners together.
    #[must_use]
    pub fn connections_max(&self) -> u64 {
        u64::try_from(self.values.get(network::MAX_CONNECTIONS)).unwrap_or(0)
    }

    /// A partition count and a replication factor, with -1 as the broker's default (KIP-464).
    #[must_use]
    pub fn with_defaults(&self, partitions: i32, replication_factor: i16) -> (i32, i16) {
        let or = |given, default| if given == -1 { default } else { given };
        let replication =
            if replication_factor == -1 { self.limits.replication_factor_default } else { replication_factor };
        (or(partitions, self.limits.partitions_default), replication)
    }

    /// An id that no topic has.
    #[must_use]
    pub fn fresh_topic_id(&self) -> TopicId {
        TopicId(random::id())
    }

    /// Makes a topic that a client named, with defaults, if it does not stand meanwhile.
    ///
    /// # Errors
    /// Kafka's code for why it cannot be made.
    pub async fn auto_create(&self, name: &str) -> Result<(), ErrorCode> {
        if name == OFFSETS_TOPIC {
            return self.ensure_offsets_topic().await;
        }
        let (partitions, replication) = self.with_defaults(-1, -1);
        self.create(name, (partitions, replication), BTreeMap::new()).await
    }

    /// Makes `__consumer_offsets` if it does not stand.
    ///
    /// # Errors
    /// COORDINATOR_NOT_AVAILABLE: clients try again.
    pub async fn ensure_offsets_topic(&self) -> Result<(), ErrorCode> {
        if self.topics.load().by_name(OFFSETS_TOPIC).is_some() {
            return Ok(());
        }
        let configs = [
            ("cleanup.policy", "compact".to_owned()),
            ("compression.type", "producer".to_owned()),
            ("segment.bytes", self.limits.offsets_segment_bytes.to_string()),
        ];
        let configs = configs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let created = self.create(OFFSETS_TOPIC, (self.limits.offsets_partitions, 1), configs).await;
        created.map_err(|_| ErrorCode::CoordinatorNotAvailable)
    }

    async fn create(
        &self,
        name: &str,
        (partitions, replication_factor): (i32, i16),
        configs: BTreeMap<String, String>,
    ) -> Result<(), ErrorCode> {
        let id = self.fresh_topic_id();
        let topic = NewTopic { name: name.to_owned(), id, partitions, replication_factor, configs };
        let request = CreateTopics { topics: vec![topic], mode: CreateMode::Apply, existing: Existing::Return };
        match self.metadata.ask(Request::CreateTopics(request)).answer().await {
            Ok(Output::Created(created)) => match created.into_iter().next().map(|topic| topic.result) {
                Some(Ok(_)) => Ok(()),
                Some(Err(TopicError { code, .. })) => Err(code),
                None => unreachable!("one topic was asked, none was answered"),
            },
            Ok(Output::Refused(error)) => Err(error.code),
            Ok(other) => unreachable!("a creation was answered by {other:?}"),
            Err(refusal) => Err(errors::of_metadata(refusal)),
        }
    }

    /// A producer id that was never given before, also not by another process.
    ///
    /// # Errors
    /// The metadata log does not take a new block now.
    pub async fn next_producer_id(&self) -> Result<ProducerId, ErrorCode> {
        let mut ids = self.producer_ids.lock().await;
        if ids.next == ids.end {
            match self.metadata.ask(Request::AllocateProducerIds).answer().await {
                Ok(Output::ProducerIds(block)) => {
                    *ids = ProducerIds { next: block.first.0, end: block.first.0 + i64::from(block.len) };
                }
                Ok(Output::Refused(error)) => return Err(error.code),
                Ok(other) => unreachable!("an allocation was answered by {other:?}"),
                Err(_) => return Err(ErrorCode::CoordinatorLoadInProgress),
            }
        }
        ids.next += 1;
        Ok(ProducerId(ids.next - 1))
    }
}

impl Limits {
    fn of(settings: &Settings) -> Limits {
        let size = |value: i32| usize::try_from(value).unwrap_or(0);
        Limits {
            request_bytes_max: size(settings.network.request_bytes_max).min(limits::DECOMPRESSED_BATCH_BYTES_MAX),
            send_buffer_bytes: settings.network.send_buffer_bytes,
            idle: Duration::from_millis(u64::try_from(settings.network.idle_ms_max).unwrap_or(u64::MAX / 2)),
            fetch_bytes_max: size(settings.network.fetch_bytes_max),
            auto_create: settings.topics.auto_create,
            delete_topics: settings.topics.delete_enabled,
            partitions_default: settings.topics.partitions_default,
            replication_factor_default: i16::try_from(settings.topics.replication_factor_default).unwrap_or(i16::MAX),
            offsets_partitions: settings.groups.offsets_partitions,
            offsets_segment_bytes: settings.groups.offsets_segment_bytes,
        }
    }
}
