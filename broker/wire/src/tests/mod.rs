//! Tests of the whole codec: every message and version there and back, the same against another implementation, heads
//! and frames, and inputs that once did harm elsewhere.

mod differential;
mod frames;
mod hostile;
mod records;
mod round_trip;

use bytes::Bytes;

use crate::decode::{DecodeError, Decoder};
use crate::encode::{EncodeError, Encoder};
use crate::messages::*;
use crate::samples::Sample;

/// What all messages have in common, for tests that go over all of them.
trait Wire: Sample + Clone + std::fmt::Debug + Default + PartialEq {
    const NAME: &'static str;
    const FIRST: i16;
    const LAST: i16;
    fn read(input: &mut Decoder, version: i16) -> Result<Self, DecodeError>;
    fn write(&self, out: &mut Encoder, version: i16) -> Result<(), EncodeError>;

    fn to_bytes(&self, version: i16) -> Bytes {
        let mut out = Encoder::new();
        self.write(&mut out, version).unwrap_or_else(|error| panic!("{} v{version}: {error}: {self:?}", Self::NAME));
        out.finish().0
    }
}

macro_rules! messages {
    ($($name:ident),* $(,)?) => {
        $(impl Wire for $name {
            const NAME: &'static str = stringify!($name);
            const FIRST: i16 = $name::VERSION_FIRST;
            const LAST: i16 = $name::VERSION_LAST;
            fn read(input: &mut Decoder, version: i16) -> Result<Self, DecodeError> { $name::decode(input, version) }
            fn write(&self, out: &mut Encoder, version: i16) -> Result<(), EncodeError> { self.encode(out, version) }
        })*

        /// The names of all messages.
        const MESSAGES: &[&str] = &[$(stringify!($name)),*];

        /// Does the same for each message.
        fn for_each(visitor: &mut impl Visitor) {
            $(visitor.visit::<$name>();)*
        }
    };
}

trait Visitor {
    fn visit<M: Wire>(&mut self);
}

/// Gives the messages that other implementations have too to a macro, between what comes before and after them there.
macro_rules! with_shared_messages {
    ($then:ident!($($before:tt)*) $($after:ident),*) => {
        $then! {
            $($before)*
            ProduceRequest,
            ProduceResponse,
            FetchRequest,
            FetchResponse,
            ListOffsetsRequest,
            ListOffsetsResponse,
            MetadataRequest,
            MetadataResponse,
            OffsetCommitRequest,
            OffsetCommitResponse,
            OffsetFetchRequest,
            OffsetFetchResponse,
            FindCoordinatorRequest,
            FindCoordinatorResponse,
            JoinGroupRequest,
            JoinGroupResponse,
            HeartbeatRequest,
            HeartbeatResponse,
            LeaveGroupRequest,
            LeaveGroupResponse,
            SyncGroupRequest,
            SyncGroupResponse,
            DescribeGroupsRequest,
            DescribeGroupsResponse,
            ListGroupsRequest,
            ListGroupsResponse,
            ApiVersionsRequest,
            ApiVersionsResponse,
            CreateTopicsRequest,
            CreateTopicsResponse,
            DeleteTopicsRequest,
            DeleteTopicsResponse,
            DeleteRecordsRequest,
            DeleteRecordsResponse,
            InitProducerIdRequest,
            InitProducerIdResponse,
            OffsetForLeaderEpochRequest,
            OffsetForLeaderEpochResponse,
            DescribeConfigsRequest,
            DescribeConfigsResponse,
            CreatePartitionsRequest,
            CreatePartitionsResponse,
            DeleteGroupsRequest,
            DeleteGroupsResponse,
            IncrementalAlterConfigsRequest,
            IncrementalAlterConfigsResponse,
            AlterConfigsRequest,
            AlterConfigsResponse,
            DescribeLogDirsRequest,
            DescribeLogDirsResponse,
            ElectLeadersRequest,
            ElectLeadersResponse,
            AlterPartitionReassignmentsRequest,
            AlterPartitionReassignmentsResponse,
            ListPartitionReassignmentsRequest,
            ListPartitionReassignmentsResponse,
            OffsetDeleteRequest,
            OffsetDeleteResponse,
            DescribeClusterRequest,
            DescribeClusterResponse,
            DescribeTopicPartitionsRequest,
            DescribeTopicPartitionsResponse,
            RequestHeader,
            ResponseHeader,
            ConsumerProtocolSubscription,
            ConsumerProtocolAssignment,
            $($after),*
        }
    };
}
use with_shared_messages;

with_shared_messages!(messages!() OffsetCommitKey, OffsetCommitValue, GroupMetadataKey, GroupMetadataValue);
