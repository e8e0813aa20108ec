//! FindCoordinator: which broker coordinates a group. With one node it is this one, once `__consumer_offsets` stands.

use broker_model::ErrorCode;
use broker_wire::Str;
use broker_wire::messages::find_coordinator_request::FindCoordinatorRequest;
use broker_wire::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};

use super::{Call, Pending};
use crate::context::{Operation, Resource};

/// Versions from here ask for several keys at once.
const VERSION_BATCHED: i16 = 4;
const TYPE_GROUP: i8 = 0;
const TYPE_TRANSACTION: i8 = 1;

/// Makes the offsets topic if it is not there, and answers.
pub(super) fn start(call: Call, request: FindCoordinatorRequest) -> Pending {
    Pending::wait(async move {
        let keys = if call.context.version >= VERSION_BATCHED { request.coordinator_keys } else { vec![request.key] };
        let ready = match request.key_type {
            TYPE_GROUP => call.broker.ensure_offsets_topic().await,
            // There are no transactions yet. INVALID_REQUEST is retried by librdkafka; this is final for every client.
            TYPE_TRANSACTION => Err(ErrorCode::TransactionalIdAuthorizationFailed),
            _ => Err(ErrorCode::InvalidRequest),
        };
        let coordinators = keys.into_iter().map(|key| coordinator(&call, key, ready)).collect::<Vec<_>>();
        let mut response =
            FindCoordinatorResponse { throttle_time_ms: call.context.throttle_ms(), ..Default::default() };
        if call.context.version >= VERSION_BATCHED {
            response.coordinators = coordinators;
        } else if let Some(only) = coordinators.into_iter().next() {
            (response.error_code, response.error_message) = (only.error_code, only.error_message);
            (response.node_id, response.host, response.port) = (only.node_id, only.host, only.port);
        }
        call.reply(&response)
    })
}

fn coordinator(call: &Call, key: Str, ready: Result<(), ErrorCode>) -> Coordinator {
    let verdict = match ready {
        _ if !call.context.is_allowed(Resource::Group, Operation::Describe, &key) => {
            Err(ErrorCode::GroupAuthorizationFailed)
        }
        ready => ready,
    };
    let endpoint = call.broker.endpoint(&call.context.listener);
    match verdict {
        Ok(()) => Coordinator {
            key,
            node_id: call.broker.node.0,
            host: endpoint.host.as_str().into(),
            port: i32::from(endpoint.port),
            error_code: 0,
            ..Default::default()
        },
        Err(error) => Coordinator { key, node_id: -1, port: -1, error_code: error.code(), ..Default::default() },
    }
}
