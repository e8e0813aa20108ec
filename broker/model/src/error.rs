//! Kafka's error codes, as the protocol numbers them. Which of our errors becomes which code is decided in one file of
//! the server; here are only the names.

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $retriable:literal;)*) => {
        /// An error code of the Kafka protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        #[non_exhaustive]
        pub enum ErrorCode { $($(#[$doc])* $name = $code,)* }

        impl ErrorCode {
            /// All codes, in the order of their numbers.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name,)*];

            /// The number on the wire.
            #[must_use]
            pub const fn code(self) -> i16 { self as i16 }

            /// The code with this number, where it is one that Strata uses.
            #[must_use]
            pub fn from_code(code: i16) -> Option<ErrorCode> {
                match code { $($code => Some(ErrorCode::$name),)* _ => None }
            }

            /// True where Kafka's clients try again by themselves.
            #[must_use]
            pub const fn is_retriable(self) -> bool {
                match self { $(ErrorCode::$name => $retriable,)* }
            }
        }
    };
}

error_codes! {
    /// The server met an error that has no code of its own.
    UnknownServerError = -1, false;
    /// No error.
    None = 0, false;
    /// The offset is outside of what the partition holds.
    OffsetOutOfRange = 1, false;
    /// A batch failed its CRC or is malformed.
    CorruptMessage = 2, true;
    /// The topic or partition is not known here.
    UnknownTopicOrPartition = 3, true;
    /// The fetch size is not usable.
    InvalidFetchSize = 4, false;
    /// The partition has no leader at present.
    LeaderNotAvailable = 5, true;
    /// This broker does not lead the partition.
    NotLeaderOrFollower = 6, true;
    /// The request timed out on the server.
    RequestTimedOut = 7, true;
    /// The batch is larger than `max.message.bytes`.
    MessageTooLarge = 10, false;
    /// The metadata of an offset commit is too long.
    OffsetMetadataTooLarge = 12, false;
    /// The connection broke before an answer.
    NetworkException = 13, true;
    /// The coordinator is reading its log.
    CoordinatorLoadInProgress = 14, true;
    /// There is no coordinator yet.
    CoordinatorNotAvailable = 15, true;
    /// Another broker coordinates this group.
    NotCoordinator = 16, true;
    /// The topic name is not legal, or is internal.
    InvalidTopicException = 17, false;
    /// A batch is larger than a segment.
    RecordListTooLarge = 18, false;
    /// Fewer replicas in sync than `min.insync.replicas`.
    NotEnoughReplicas = 19, true;
    /// `acks` is not 0, 1 or -1.
    InvalidRequiredAcks = 21, false;
    /// The member speaks of another generation.
    IllegalGeneration = 22, false;
    /// The protocols of the member and the group have nothing in common.
    InconsistentGroupProtocol = 23, false;
    /// The group id is empty or not legal.
    InvalidGroupId = 24, false;
    /// The coordinator does not know this member.
    UnknownMemberId = 25, false;
    /// The session timeout is outside of the allowed range.
    InvalidSessionTimeout = 26, false;
    /// The group is rebalancing: join again.
    RebalanceInProgress = 27, false;
    /// The commit's size is not legal.
    InvalidCommitOffsetSize = 28, false;
    /// Not allowed on this topic.
    TopicAuthorizationFailed = 29, false;
    /// Not allowed on this group.
    GroupAuthorizationFailed = 30, false;
    /// Not allowed on this cluster.
    ClusterAuthorizationFailed = 31, false;
    /// The record's timestamp is outside of what the topic takes.
    InvalidTimestamp = 32, false;
    /// The API does not have this version here.
    UnsupportedVersion = 35, false;
    /// A topic of this name stands already.
    TopicAlreadyExists = 36, false;
    /// The number of partitions is not legal.
    InvalidPartitions = 37, false;
    /// The replication factor is not legal, or larger than the cluster.
    InvalidReplicationFactor = 38, false;
    /// The assignment of replicas is not legal.
    InvalidReplicaAssignment = 39, false;
    /// A config has no such name or value.
    InvalidConfig = 40, false;
    /// This broker is not the controller.
    NotController = 41, true;
    /// The request says something that cannot be.
    InvalidRequest = 42, false;
    /// The batch's format is not magic 2.
    UnsupportedForMessageFormat = 43, false;
    /// A policy forbids this.
    PolicyViolation = 44, false;
    /// A producer's batch does not follow its last one.
    OutOfOrderSequenceNumber = 45, false;
    /// The batch is one that the log already holds.
    DuplicateSequenceNumber = 46, false;
    /// A producer with an older epoch.
    InvalidProducerEpoch = 47, false;
    /// The transaction is not in a state for this.
    InvalidTxnState = 48, false;
    /// The producer id is not the one of this transactional id.
    InvalidProducerIdMapping = 49, false;
    /// Not allowed for this transactional id.
    TransactionalIdAuthorizationFailed = 53, false;
    /// The log directory failed; a human must look.
    KafkaStorageError = 56, true;
    /// The broker does not know the producer.
    UnknownProducerId = 59, false;
    /// Topics cannot be deleted here (`delete.topic.enable`).
    TopicDeletionDisabled = 73, false;
    /// A leader of an older epoch is asked.
    FencedLeaderEpoch = 74, true;
    /// The client knows a newer leader than this broker.
    UnknownLeaderEpoch = 75, true;
    /// The compression codec is not one that this version has.
    UnsupportedCompressionType = 76, false;
    /// The preferred leader of a partition cannot lead it now.
    PreferredLeaderNotAvailable = 80, true;
    /// No replica of a partition can lead it now.
    EligibleLeadersNotAvailable = 83, true;
    /// The partition has the leader that is wanted.
    ElectionNotNeeded = 84, true;
    /// No reassignment of the partition is under way.
    NoReassignmentInProgress = 85, false;
    /// This is the endpoint of a broker, or of a controller, and the other one was meant.
    MismatchedEndpointType = 114, false;
    /// There is no such type of endpoint.
    UnsupportedEndpointType = 115, false;
    /// The group is full.
    GroupMaxSizeReached = 81, false;
    /// Another member took this `group.instance.id`.
    FencedInstanceId = 82, false;
    /// A member subscribes to the topic whose offsets were to be deleted.
    GroupSubscribedToTopic = 86, false;
    /// Join again with the member id in this answer.
    MemberIdRequired = 79, true;
    /// The record is not legal for this topic.
    InvalidRecord = 87, false;
    /// Some of the offsets wait for a transaction to end.
    UnstableOffsetCommit = 88, true;
    /// A quota forbids this now.
    ThrottlingQuotaExceeded = 89, true;
    /// A newer producer took this transactional id.
    ProducerFenced = 90, false;
    /// The resource does not exist.
    ResourceNotFound = 91, false;
    /// A resource of this name stands already.
    DuplicateResource = 92, false;
    /// The topic id is not known here.
    UnknownTopicId = 100, true;
    /// The topic id is not the one of this topic's log.
    InconsistentTopicId = 103, true;
    /// The fetch session is not known here.
    FetchSessionIdNotFound = 70, true;
    /// The fetch session is in another epoch.
    InvalidFetchSessionEpoch = 71, true;
    /// The fetch session names topics by id and the request by name, or the other way round.
    FetchSessionTopicIdError = 106, true;
    /// The partition's offset is only in the tier, where a follower must begin.
    OffsetMovedToTieredStorage = 109, false;
    /// The group id names no group.
    GroupIdNotFound = 69, false;
    /// The offset cannot be told or read now.
    OffsetNotAvailable = 78, true;
    /// The group has members.
    NonEmptyGroup = 68, false;
    /// Not allowed with this member epoch.
    StaleMemberEpoch = 113, false;
}

#[cfg(test)]
mod tests {
    use super::ErrorCode;

    #[test]
    fn codes_and_numbers_agree_both_ways() {
        for error in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(error.code()), Some(*error));
        }
        assert_eq!(ErrorCode::from_code(30_000), None);
    }
}
