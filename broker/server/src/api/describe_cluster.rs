//! DescribeCluster (KIP-700): the cluster's id, its brokers by the listener that is asked, and which is the controller.

use broker_model::ErrorCode;
use broker_wire::messages::DescribeClusterRequest;
use broker_wire::messages::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};

use super::{Call, Pending};
use crate::context::Resource;

/// The endpoints of brokers (KIP-919).
const BROKERS: i8 = 1;
/// Those of controllers, which listen elsewhere.
const CONTROLLERS: i8 = 2;
/// From here a request says which endpoints it means.
const VERSION_ENDPOINT_TYPE: i16 = 1;

/// Answers from memory. Nothing has to be allowed to ask for the nodes.
pub(super) fn start(call: Call, request: DescribeClusterRequest) -> Pending {
    if request.endpoint_type != BROKERS {
        return call.ready(&refused(&call, request.endpoint_type));
    }
    let (broker, endpoint) = (&call.broker, call.broker.endpoint(&call.context.listener));
    let node = DescribeClusterBroker {
        broker_id: broker.node.0,
        host: endpoint.host.as_str().into(),
        port: i32::from(endpoint.port),
        ..Default::default()
    };
    let mut response = DescribeClusterResponse {
        throttle_time_ms: call.context.throttle_ms(),
        endpoint_type: BROKERS,
        cluster_id: broker.cluster_id.as_str().into(),
        controller_id: broker.node.0,
        brokers: vec![node],
        ..Default::default()
    };
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = call.context.authorized_operations(Resource::Cluster);
    }
    call.ready(&response)
}

fn refused(call: &Call, endpoint_type: i8) -> DescribeClusterResponse {
    let (error, message) = match endpoint_type {
        _ if call.context.version < VERSION_ENDPOINT_TYPE => (ErrorCode::InvalidRequest, "no such type of endpoint"),
        CONTROLLERS => (ErrorCode::MismatchedEndpointType, "this is the endpoint of a broker, not of a controller"),
        _ => (ErrorCode::UnsupportedEndpointType, "no such type of endpoint"),
    };
    DescribeClusterResponse {
        throttle_time_ms: call.context.throttle_ms(),
        error_code: error.code(),
        error_message: Some(message.into()),
        ..Default::default()
    }
}
