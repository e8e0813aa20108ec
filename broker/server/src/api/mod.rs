//! One file per API. A request is decoded, its handler starts it, and what it answers is a [`Pending`].
//!
//! A handler's `start` does at once all that must happen in the order of arrival; what may take its time goes into a
//! waiting future. Every handler gets a [`Call`]: the broker, and the context (who asks, by which listener, which version).
//!
//! What is advertised is served here, and nothing else: [`start`] ends a connection that asks for another API, as Kafka
//! does. A trap of old clients is answered UNSUPPORTED_VERSION instead (Produce 0 to 2, KAFKA-18659), and an ApiVersions
//! request that is too new gets the table in version 0 with error 35 (KIP-511).

mod alter_configs;
mod api_versions;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_topic_partitions;
mod elect_leaders;
mod fetch;
mod find_coordinator;
mod groups;
mod init_producer_id;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_delete;
mod offset_for_leader_epoch;
mod offsets;
mod pending;
mod produce;
mod reassignments;
mod resource;

use std::sync::Arc;

use broker_metadata::CreateMode;
use broker_wire::advertised::{self, Service};
use broker_wire::{RequestBody, RequestHead};
use bytes::Bytes;
pub use pending::{Answer, Body, Call, Pending};

use crate::broker::Broker;
use crate::context::{RequestContext, Session, Times};
use crate::net::frame_reader::FrameError;
use crate::replica::waiters::Caller;

/// Starts the request in `frame`. What it waits for rings `caller`.
///
/// # Errors
/// The frame is not a request that is served here: the connection ends.
pub fn start(broker: &Arc<Broker>, session: &mut Session, frame: Bytes, caller: Caller) -> Result<Pending, FrameError> {
    broker.metrics.requests.add(1);
    let (head, body) = RequestHead::parse(frame)?;
    let api = match advertised::service(head.api_key, head.version) {
        Service::Serve(api) | Service::Refuse(api) => api,
        Service::AnswerApiVersions => return Ok(api_versions::too_new(head.correlation_id)),
        Service::Close => return Err(FrameError::Unsupported { key: head.api_key, version: head.version }),
    };
    let context = RequestContext {
        listener: session.listener.clone(),
        principal: session.principal.clone(),
        peer: session.peer,
        client_id: head.client_id.unwrap_or_default(),
        api,
        version: head.version,
        correlation_id: head.correlation_id,
        times: Times::default(),
    };
    let call = Call { broker: broker.clone(), context, caller };
    let body = RequestBody::decode(api, head.version, body)?;
    Ok(dispatch(call, session, body))
}

fn dispatch(call: Call, session: &mut Session, body: RequestBody) -> Pending {
    match body {
        RequestBody::Produce(request) => produce::start(call, request),
        RequestBody::Fetch(request) => fetch::start(call, request),
        RequestBody::ListOffsets(request) => list_offsets::start(call, request),
        RequestBody::Metadata(request) => metadata::start(call, request),
        RequestBody::OffsetCommit(request) => offsets::commit(call, request),
        RequestBody::OffsetFetch(request) => offsets::fetch(call, request),
        RequestBody::FindCoordinator(request) => find_coordinator::start(call, request),
        RequestBody::JoinGroup(request) => groups::join(call, request),
        RequestBody::Heartbeat(request) => groups::heartbeat(call, request),
        RequestBody::LeaveGroup(request) => groups::leave(call, request),
        RequestBody::SyncGroup(request) => groups::sync(call, request),
        RequestBody::ApiVersions(request) => api_versions::start(&call, request, session),
        RequestBody::CreateTopics(request) => create_topics::start(call, request),
        RequestBody::DeleteTopics(request) => delete_topics::start(call, request),
        RequestBody::InitProducerId(request) => init_producer_id::start(call, request),
        RequestBody::CreatePartitions(request) => create_partitions::start(call, request),
        RequestBody::DescribeConfigs(request) => describe_configs::start(call, request),
        RequestBody::AlterConfigs(request) => alter_configs::replace(call, request),
        RequestBody::IncrementalAlterConfigs(request) => alter_configs::incremental(call, request),
        RequestBody::DescribeGroups(request) => describe_groups::start(call, request),
        RequestBody::ListGroups(request) => list_groups::start(call, request),
        RequestBody::DeleteGroups(request) => delete_groups::start(call, request),
        RequestBody::OffsetDelete(request) => offset_delete::start(call, request),
        RequestBody::DeleteRecords(request) => delete_records::start(call, request),
        RequestBody::OffsetForLeaderEpoch(request) => offset_for_leader_epoch::start(call, request),
        RequestBody::DescribeLogDirs(request) => describe_log_dirs::start(call, request),
        RequestBody::ElectLeaders(request) => elect_leaders::start(call, request),
        RequestBody::AlterPartitionReassignments(request) => reassignments::alter(call, request),
        RequestBody::ListPartitionReassignments(request) => reassignments::list(call, request),
        RequestBody::DescribeCluster(request) => describe_cluster::start(call, request),
        RequestBody::DescribeTopicPartitions(request) => describe_topic_partitions::start(call, request),
    }
}

/// Whether a request to the metadata machine is only to be validated.
fn mode(validate_only: bool) -> CreateMode {
    if validate_only { CreateMode::ValidateOnly } else { CreateMode::Apply }
}
