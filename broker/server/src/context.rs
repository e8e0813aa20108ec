//! Who asks, and how long it took: every handler passes through a [`RequestContext`].
//!
//! The table [`operations`] says what a request does to which kind of resource, so that the authorizer has one place to
//! ask; today it allows all, because listeners are PLAINTEXT only. The throttle hook answers zero until quotas come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use broker_wire::{ApiKey, Str};

/// Who is at the other end of a connection, as far as is known.
#[derive(Clone, Debug)]
pub struct Session {
    /// The listener that accepted it; Metadata answers with the endpoints of this one.
    pub listener: Arc<str>,
    /// The peer's address.
    pub peer: SocketAddr,
    /// `User:ANONYMOUS` on a PLAINTEXT listener (KIP-11).
    pub principal: Arc<str>,
    /// Name and version of the client's software, from ApiVersions (KIP-511).
    pub software: Option<(Str, Str)>,
}

impl Session {
    /// A connection of which nothing is known yet.
    #[must_use]
    pub fn new(listener: Arc<str>, peer: SocketAddr) -> Session {
        Session { listener, peer, principal: "User:ANONYMOUS".into(), software: None }
    }
}

/// The five times of a request, as Kafka's RequestMetrics name them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// Between the last byte of the frame and the start of its handler.
    pub queue: Duration,
    /// In the handler.
    pub local: Duration,
    /// Waiting for others: a high watermark, a coordinator, the tier.
    pub remote: Duration,
    /// Held back by a quota.
    pub throttle: Duration,
    /// From the first to the last byte of the reply.
    pub send: Duration,
}

/// One request on its way through a handler.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The listener that it came by.
    pub listener: Arc<str>,
    /// Who asks.
    pub principal: Arc<str>,
    /// The address that it came from.
    pub peer: SocketAddr,
    /// `client.id` from the request's head; empty when there was none.
    pub client_id: Str,
    /// The API.
    pub api: ApiKey,
    /// Its version.
    pub version: i16,
    /// Echoed in the reply.
    pub correlation_id: i32,
    /// What is measured of it.
    pub times: Times,
}

/// What a request does (KIP-11's operations).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reads records or offsets.
    Read,
    /// Writes records.
    Write,
    /// Makes a topic.
    Create,
    /// Removes a topic.
    Delete,
    /// Asks what there is.
    Describe,
    /// Asks for configs.
    DescribeConfigs,
    /// Changes configs.
    AlterConfigs,
    /// Changes what there is.
    Alter,
    /// Takes a producer id.
    IdempotentWrite,
}

/// What a request does it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A topic, by name.
    Topic,
    /// A group.
    Group,
    /// The cluster.
    Cluster,
}

/// The operations that an API needs. Nothing is needed for what is not listed (ApiVersions).
#[must_use]
pub fn operations(api: ApiKey) -> &'static [(Resource, Operation)] {
    match api {
        ApiKey::Produce => &[(Resource::Topic, Operation::Write)],
        ApiKey::Fetch => &[(Resource::Topic, Operation::Read)],
        ApiKey::ListOffsets | ApiKey::Metadata | ApiKey::OffsetForLeaderEpoch | ApiKey::DescribeTopicPartitions => {
            &[(Resource::Topic, Operation::Describe)]
        }
        ApiKey::DeleteRecords => &[(Resource::Topic, Operation::Delete)],
        ApiKey::DescribeLogDirs | ApiKey::ListPartitionReassignments => &[(Resource::Cluster, Operation::Describe)],
        ApiKey::ElectLeaders | ApiKey::AlterPartitionReassignments => &[(Resource::Cluster, Operation::Alter)],
        ApiKey::OffsetCommit => &[(Resource::Group, Operation::Read), (Resource::Topic, Operation::Read)],
        ApiKey::OffsetFetch => &[(Resource::Group, Operation::Describe), (Resource::Topic, Operation::Describe)],
        ApiKey::FindCoordinator => &[(Resource::Group, Operation::Describe)],
        ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::Heartbeat | ApiKey::LeaveGroup => {
            &[(Resource::Group, Operation::Read)]
        }
        ApiKey::DescribeGroups | ApiKey::ListGroups => &[(Resource::Group, Operation::Describe)],
        ApiKey::DeleteGroups => &[(Resource::Group, Operation::Delete)],
        ApiKey::OffsetDelete => &[(Resource::Group, Operation::Delete), (Resource::Topic, Operation::Read)],
        ApiKey::CreateTopics => &[(Resource::Topic, Operation::Create)],
        ApiKey::DeleteTopics => &[(Resource::Topic, Operation::Delete)],
        ApiKey::InitProducerId => &[(Resource::Cluster, Operation::IdempotentWrite)],
        ApiKey::CreatePartitions => &[(Resource::Topic, Operation::Alter)],
        ApiKey::DescribeConfigs => {
            &[(Resource::Topic, Operation::DescribeConfigs), (Resource::Cluster, Operation::DescribeConfigs)]
        }
        ApiKey::AlterConfigs | ApiKey::IncrementalAlterConfigs => {
            &[(Resource::Topic, Operation::AlterConfigs), (Resource::Cluster, Operation::AlterConfigs)]
        }
        _ => &[],
    }
}

impl RequestContext {
    /// Whether the principal may do this. All may, until there are ACLs.
    #[must_use]
    pub fn is_allowed(&self, _resource: Resource, _operation: Operation, _name: &str) -> bool {
        true
    }

    /// All that the principal may do to a resource, as bits by the numbers of the operations (KIP-430). All may do all that
    /// there is, until there are ACLs.
    #[must_use]
    pub fn authorized_operations(&self, resource: Resource) -> i32 {
        let operations: &[u8] = match resource {
            // READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
            Resource::Topic => &[3, 4, 5, 6, 7, 8, 10, 11],
            // READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
            Resource::Group => &[3, 6, 8, 10, 11],
            // CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE.
            Resource::Cluster => &[5, 7, 8, 9, 10, 11, 12],
        };
        operations.iter().fold(0, |bits, operation| bits | 1 << operation)
    }

    /// How long the connection is muted after the reply (KIP-219). Zero, until there are quotas.
    #[must_use]
    pub fn throttle(&self) -> Duration {
        Duration::ZERO
    }

    /// The same in milliseconds, as replies say it.
    #[must_use]
    pub fn throttle_ms(&self) -> i32 {
        i32::try_from(self.throttle().as_millis()).unwrap_or(i32::MAX)
    }
}
