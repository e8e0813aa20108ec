//! The cluster as the client sees it: connections by broker, and the loop that repeats.
//!
//! A connection is taken out of its place for a request and put back after the answer: a call that fails or is dropped
//! leaves none behind that waits for an answer nobody reads. Leaders are kept as Metadata told them and forgotten when a
//! broker says that it is none.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_model::ErrorCode;
use broker_wire::Str;
use broker_wire::messages::metadata_request::MetadataRequestTopic;
use broker_wire::messages::metadata_response::MetadataResponseTopic;
use broker_wire::messages::{FindCoordinatorRequest, MetadataRequest, MetadataResponse};
use tokio::time::{Instant, sleep};

use crate::connection::Connection;
use crate::error::Repeat;
use crate::request::Request;
use crate::{Address, ClientError};

const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The key of a group in FindCoordinator.
const KEY_GROUP: i8 = 0;

/// How the client works.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// The first brokers to try, in this order.
    pub bootstrap: Vec<Address>,
    /// What the client calls itself.
    pub client_id: String,
    /// How long one answer may take.
    pub request_timeout: Duration,
    /// How long something is repeated before its last error counts.
    pub patience: Duration,
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// Any broker: the one that is connected, or the first of the bootstrap addresses that answers.
    Any,
    /// The broker with this id, which Metadata or FindCoordinator told.
    Id(i32),
}

/// Whether what is tried can be done twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// Twice is as good as once.
    Idempotent,
    /// Twice is an error, or a second thing.
    Once,
}

/// A client of one cluster.
#[derive(Debug)]
pub struct Client {
    settings: ClientSettings,
    client_id: Str,
    links: BTreeMap<Node, Connection>,
    brokers: BTreeMap<i32, Address>,
    /// Leaders by topic and partition; -1 is none.
    leaders: BTreeMap<String, BTreeMap<i32, i32>>,
    /// True once a broker answered: what fails from then on may come back.
    has_met: bool,
}

impl Client {
    /// A client that is not connected yet.
    #[must_use]
    pub fn new(settings: ClientSettings) -> Client {
        let client_id = Str::from(&settings.client_id);
        let (links, brokers, leaders) = Default::default();
        Client { settings, client_id, links, brokers, leaders, has_met: false }
    }

    /// How it works.
    #[must_use]
    pub fn settings(&self) -> &ClientSettings {
        &self.settings
    }

    /// Asks one broker, once.
    ///
    /// # Errors
    /// What [`Connection::open`] and [`Connection::ask`] meet.
    pub async fn ask<R: Request>(&mut self, node: Node, request: &R) -> Result<R::Response, ClientError> {
        self.ask_for(node, request, self.settings.request_timeout).await
    }

    /// The same with a time of its own, for what may wait at the broker.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn ask_for<R: Request>(
        &mut self,
        node: Node,
        request: &R,
        wait: Duration,
    ) -> Result<R::Response, ClientError> {
        let mut link = self.take(node).await?;
        let answer = link.ask(request, wait).await;
        // An API that the broker lacks leaves the stream where it was.
        if matches!(answer, Ok(_) | Err(ClientError::Unsupported { .. })) {
            self.put(node, link);
        }
        answer
    }

    /// Takes the connection to a broker, or makes one.
    pub(crate) async fn take(&mut self, node: Node) -> Result<Connection, ClientError> {
        if let Some(link) = self.links.remove(&node) {
            return Ok(link);
        }
        let link = match node {
            Node::Any => self.bootstrap().await?,
            Node::Id(id) => {
                let Some(address) = self.brokers.get(&id).cloned() else {
                    return Err(ClientError::Nonsense(format!("the cluster names broker {id} and not its address")));
                };
                let opened = Connection::open(&address, &self.client_id, self.settings.patience).await;
                opened.map_err(|error| match error {
                    ClientError::Unreachable { tried } => {
                        let reason = tried.into_iter().map(|(_, reason)| reason).next().unwrap_or_default();
                        ClientError::Advertised { node: id, address, reason }
                    }
                    error => error,
                })?
            }
        };
        self.has_met = true;
        Ok(link)
    }

    /// Puts a connection back that is between requests.
    pub(crate) fn put(&mut self, node: Node, link: Connection) {
        self.links.insert(node, link);
    }

    async fn bootstrap(&mut self) -> Result<Connection, ClientError> {
        let mut tried = Vec::new();
        // Brokers that were learnt serve as well when the first ones are gone.
        let known = self.brokers.values().filter(|address| !self.settings.bootstrap.contains(address));
        for address in self.settings.bootstrap.iter().chain(known) {
            match Connection::open(address, &self.client_id, self.settings.patience).await {
                Ok(link) => return Ok(link),
                Err(ClientError::Unreachable { tried: reasons }) => tried.extend(reasons),
                Err(ClientError::Broken { address, .. }) => {
                    tried.push((address, "it ended the connection, which a broker of Kafka does not do".to_owned()));
                }
                Err(ClientError::Late { address, .. }) => {
                    tried.push((address, "it does not answer as a broker of Kafka".to_owned()));
                }
                Err(error) => return Err(error),
            }
        }
        Err(ClientError::Unreachable { tried })
    }

    /// Tries until it is done, cannot be repeated, or the patience ends. Leaders are asked anew before each repetition.
    pub(crate) async fn retry<T>(
        &mut self,
        nature: Nature,
        mut attempt: impl AsyncFnMut(&mut Client) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let until = Instant::now() + self.settings.patience;
        let mut pause = PAUSE_FIRST;
        loop {
            let error = match attempt(self).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let may_repeat = match error.repeat() {
                // Nobody was there from the beginning: that is a wrong address, and waiting does not help.
                Repeat::Safe => self.has_met || matches!(error, ClientError::Refused { .. }),
                Repeat::IfIdempotent => nature == Nature::Idempotent,
                Repeat::No => false,
            };
            if !may_repeat || Instant::now() + pause > until {
                return Err(error);
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            self.leaders.clear();
        }
    }

    /// What the cluster says of these topics, or of all. Topics are not made by asking.
    ///
    /// # Errors
    /// Nobody answers. What is wrong with a topic stands in its own code.
    pub async fn metadata(&mut self, topics: Option<&[String]>) -> Result<MetadataResponse, ClientError> {
        let named = |name: &String| MetadataRequestTopic { name: Some(Str::from(name)), ..Default::default() };
        let request = MetadataRequest {
            topics: topics.map(|topics| topics.iter().map(named).collect()),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let answer = self.retry(Nature::Idempotent, async |client| client.ask(Node::Any, &request).await).await?;
        for broker in &answer.brokers {
            let port = u16::try_from(broker.port).unwrap_or(0);
            let address = Address { host: broker.host.to_string(), port };
            // A broker that moved is asked at its new place.
            if self.brokers.insert(broker.node_id, address.clone()).is_some_and(|old| old != address) {
                self.links.remove(&Node::Id(broker.node_id));
            }
        }
        for topic in answer.topics.iter().filter(|topic| topic.error_code == 0) {
            let leaders = topic.partitions.iter().map(|partition| (partition.partition_index, partition.leader_id));
            self.leaders.insert(topic.name.as_deref().unwrap_or_default().to_owned(), leaders.collect());
        }
        Ok(answer)
    }

    /// One topic.
    ///
    /// # Errors
    /// [`ClientError::UnknownTopic`] with the names that are there; a refusal; nobody answers.
    pub async fn topic(&mut self, name: &str) -> Result<MetadataResponseTopic, ClientError> {
        let names = [name.to_owned()];
        let found = self
            .retry(Nature::Idempotent, async |client| {
                let answer = client.metadata(Some(&names)).await?;
                let found = answer.topics.into_iter().next();
                let found = found.ok_or_else(|| ClientError::Nonsense("the cluster says nothing of it".to_owned()))?;
                if found.error_code == ErrorCode::UnknownTopicOrPartition.code() {
                    return Ok(None);
                }
                ClientError::check(found.error_code, None, || format!("topic {name}"))?;
                Ok(Some(found))
            })
            .await?;
        match found {
            Some(found) => Ok(found),
            None => Err(self.unknown(name).await),
        }
    }

    /// The error for a topic that is not there.
    pub(crate) async fn unknown(&mut self, name: &str) -> ClientError {
        let all = self.metadata(None).await.map(|answer| answer.topics).unwrap_or_default();
        let known = all.iter().filter_map(|topic| topic.name.as_deref().map(str::to_owned)).collect();
        ClientError::UnknownTopic { topic: name.to_owned(), known }
    }

    /// The broker that leads a partition.
    ///
    /// # Errors
    /// There is no such topic or partition, it has no leader now, or nobody answers.
    pub(crate) async fn leader(&mut self, topic: &str, partition: i32) -> Result<Node, ClientError> {
        if !self.leaders.contains_key(topic) {
            self.topic(topic).await?;
        }
        let leaders = self.leaders.get(topic);
        match leaders.and_then(|leaders| leaders.get(&partition)) {
            Some(leader) if *leader >= 0 => Ok(Node::Id(*leader)),
            Some(_) => {
                let code = ErrorCode::LeaderNotAvailable.code();
                Err(ClientError::Refused { what: format!("{topic}-{partition}"), code, message: None })
            }
            None => {
                let last = leaders.and_then(|leaders| leaders.keys().next_back()).copied().unwrap_or(-1);
                Err(ClientError::UnknownPartition { topic: topic.to_owned(), partition, last })
            }
        }
    }

    /// Forgets who leads a topic's partitions.
    pub(crate) fn forget_leaders(&mut self, topic: &str) {
        self.leaders.remove(topic);
    }

    /// The broker that coordinates a group; asked once, without repetition.
    ///
    /// # Errors
    /// There is none yet, or nobody answers.
    pub(crate) async fn coordinator(&mut self, group: &str) -> Result<Node, ClientError> {
        let request = FindCoordinatorRequest { key: Str::from(group), key_type: KEY_GROUP, ..Default::default() };
        let answer = self.ask(Node::Any, &request).await?;
        let what = || format!("the coordinator of group {group}");
        ClientError::check(answer.error_code, answer.error_message.as_deref(), what)?;
        let address = Address { host: answer.host.to_string(), port: u16::try_from(answer.port).unwrap_or(0) };
        self.brokers.insert(answer.node_id, address);
        Ok(Node::Id(answer.node_id))
    }

    /// The brokers that Metadata told last, by id.
    #[must_use]
    pub fn brokers(&self) -> &BTreeMap<i32, Address> {
        &self.brokers
    }
}
