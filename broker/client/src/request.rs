//! Which requests are asked, up to which version, and what answers them.
//!
//! The newest version of an API is the last one whose shape this client uses: with topics by name, one group or
//! coordinator at a time. Brokers of Kafka 4 serve all of them.

use broker_wire::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest,
    CreateTopicsResponse, DeleteGroupsRequest, DeleteGroupsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeConfigsRequest, DescribeConfigsResponse, DescribeGroupsRequest, DescribeGroupsResponse, FetchRequest,
    FetchResponse, FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, InitProducerIdRequest, InitProducerIdResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse,
    ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, ProduceRequest, ProduceResponse, SyncGroupRequest,
    SyncGroupResponse,
};
use broker_wire::{ApiKey, DecodeError, Decoder, EncodeError, Encoder};

/// A request that this client asks.
pub trait Request {
    /// The API.
    const API: ApiKey;
    /// The newest version that this client speaks.
    const NEWEST: i16;
    /// What answers it.
    type Response;

    /// Writes the body.
    ///
    /// # Errors
    /// The version cannot carry a value.
    fn write(&self, out: &mut Encoder, version: i16) -> Result<(), EncodeError>;

    /// Reads the answer's body.
    ///
    /// # Errors
    /// The bytes are not what the protocol says.
    fn read(input: &mut Decoder, version: i16) -> Result<Self::Response, DecodeError>;
}

macro_rules! requests {
    ($($api:ident $newest:literal: $request:ident => $response:ident;)*) => {
        $(impl Request for $request {
            const API: ApiKey = ApiKey::$api;
            const NEWEST: i16 = $newest;
            type Response = $response;

            fn write(&self, out: &mut Encoder, version: i16) -> Result<(), EncodeError> {
                self.encode(out, version)
            }

            fn read(input: &mut Decoder, version: i16) -> Result<$response, DecodeError> {
                $response::decode(input, version)
            }
        })*
    };
}

requests! {
    Produce 12: ProduceRequest => ProduceResponse;
    Fetch 12: FetchRequest => FetchResponse;
    ListOffsets 10: ListOffsetsRequest => ListOffsetsResponse;
    Metadata 12: MetadataRequest => MetadataResponse;
    OffsetCommit 9: OffsetCommitRequest => OffsetCommitResponse;
    OffsetFetch 7: OffsetFetchRequest => OffsetFetchResponse;
    FindCoordinator 3: FindCoordinatorRequest => FindCoordinatorResponse;
    JoinGroup 6: JoinGroupRequest => JoinGroupResponse;
    Heartbeat 4: HeartbeatRequest => HeartbeatResponse;
    LeaveGroup 2: LeaveGroupRequest => LeaveGroupResponse;
    SyncGroup 4: SyncGroupRequest => SyncGroupResponse;
    DescribeGroups 6: DescribeGroupsRequest => DescribeGroupsResponse;
    ListGroups 5: ListGroupsRequest => ListGroupsResponse;
    ApiVersions 0: ApiVersionsRequest => ApiVersionsResponse;
    CreateTopics 7: CreateTopicsRequest => CreateTopicsResponse;
    DeleteTopics 5: DeleteTopicsRequest => DeleteTopicsResponse;
    InitProducerId 4: InitProducerIdRequest => InitProducerIdResponse;
    DescribeConfigs 4: DescribeConfigsRequest => DescribeConfigsResponse;
    CreatePartitions 3: CreatePartitionsRequest => CreatePartitionsResponse;
    DeleteGroups 2: DeleteGroupsRequest => DeleteGroupsResponse;
    IncrementalAlterConfigs 1: IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse;
}
