//! What the group coordinator is asked and what it answers: plain structs of its own, not those of the wire.
//!
//! The machine has no randomness: where it may have to name a member, the request brings a fresh `unique` suffix. Which
//! rule of an old or new request version holds is an enum in the request, so that no version number travels in here.
//! Outputs hold everything that the response on the wire needs; errors are Kafka's codes.

use broker_model::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

/// What callers ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// JoinGroup. The answer may take as long as the rebalance.
    Join(Join),
    /// SyncGroup. The answer waits for the leader's assignment.
    Sync(Sync),
    /// Heartbeat.
    Heartbeat(Heartbeat),
    /// LeaveGroup.
    Leave(Leave),
    /// OffsetCommit.
    CommitOffsets(CommitOffsets),
    /// OffsetFetch, of any number of groups.
    FetchOffsets(Vec<FetchOffsets>),
    /// ListGroups.
    List,
    /// DescribeGroups.
    Describe(Vec<String>),
    /// DeleteGroups.
    Delete(Vec<String>),
    /// OffsetDelete.
    DeleteOffsets(DeleteOffsets),
    /// These topics are deleted: their offsets go, a few at a time.
    TopicsDeleted(Vec<String>),
}

/// What callers hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To [`Request::Join`].
    Joined(Joined),
    /// To [`Request::Sync`].
    Synced(Synced),
    /// To [`Request::Heartbeat`].
    Heartbeat(ErrorCode),
    /// To [`Request::Leave`].
    Left(Left),
    /// To [`Request::CommitOffsets`], in the request's order.
    Committed(Vec<CommittedTopic>),
    /// To [`Request::FetchOffsets`], in the request's order.
    Fetched(Vec<FetchedGroup>),
    /// To [`Request::List`], in the order of the ids.
    Listed(Vec<ListedGroup>),
    /// To [`Request::Describe`], in the request's order.
    Described(Vec<DescribedGroup>),
    /// To [`Request::Delete`], in the request's order.
    Deleted(Vec<(String, ErrorCode)>),
    /// To [`Request::DeleteOffsets`]: per partition in the request's order, or why none.
    OffsetsDeleted(Result<Vec<DeletedTopic>, ErrorCode>),
    /// To [`Request::TopicsDeleted`].
    Noted,
}

/// Who speaks: a member as the requests of the classic protocol name one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberRef {
    /// The group.
    pub group: String,
    /// The member id that the coordinator gave.
    pub member: String,
    /// The id of a static member (KIP-345).
    pub instance: Option<String>,
    /// The generation that the member knows.
    pub generation: i32,
}

/// How a member that has no id yet gets in (KIP-394).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstJoin {
    /// It is told an id and must come again: JoinGroup from version 4.
    #[default]
    IdRequired,
    /// It gets in at once: JoinGroup below version 4.
    Direct,
}

/// What a static leader that came back can be told (KIP-814).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaderReturn {
    /// `skip_assignment`: JoinGroup from version 9. It stays the leader.
    #[default]
    SkipAssignment,
    /// Nothing: it is answered as a follower, so that it does not assign anew.
    AsFollower,
}

/// JoinGroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Join {
    /// The group.
    pub group: String,
    /// Empty at the first time.
    pub member: String,
    /// The id of a static member.
    pub instance: Option<String>,
    /// Names the client in the member id and to those who describe the group.
    pub client_id: String,
    /// Where it comes from, as Kafka shows it (`/10.0.0.7`).
    pub client_host: String,
    /// Fresh and unique, for the member id if one is made.
    pub unique: String,
    /// Milliseconds without a word after which the member is dropped.
    pub session_timeout_ms: i32,
    /// Milliseconds that a rebalance waits for this member. JoinGroup 0: the session timeout. Below 0 is 0.
    pub rebalance_timeout_ms: i32,
    /// `consumer`, `connect`, …: opaque.
    pub protocol_type: String,
    /// The assignors that the member can do, best first, each with its opaque metadata.
    pub protocols: Vec<Protocol>,
    /// By version.
    pub first_join: FirstJoin,
    /// By version.
    pub leader_return: LeaderReturn,
}

/// An assignor and what the member says to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Its name.
    pub name: String,
    /// Opaque bytes.
    pub metadata: Vec<u8>,
}

/// Whether the leader is to compute an assignment (KIP-814).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Assignment {
    /// It is.
    #[default]
    Compute,
    /// It leads, but the group has an assignment that holds.
    Skip,
}

/// To [`Join`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// `NONE`, or why not. With `MEMBER_ID_REQUIRED` the `member` is the id to come again with.
    pub error: ErrorCode,
    /// -1 with an error.
    pub generation: i32,
    /// The group's protocol type, where known.
    pub protocol_type: Option<String>,
    /// The assignor that all can do.
    pub protocol: Option<String>,
    /// The leading member; empty with an error.
    pub leader: String,
    /// For the leader, with [`LeaderReturn::SkipAssignment`].
    pub assignment: Assignment,
    /// The caller's member id.
    pub member: String,
    /// For the leader: all members. Else empty.
    pub members: Vec<JoinedMember>,
}

/// A member as its leader hears of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// The member.
    pub member: String,
    /// Its static id.
    pub instance: Option<String>,
    /// What it says to the chosen assignor.
    pub metadata: Vec<u8>,
}

/// SyncGroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sync {
    /// Who speaks.
    pub who: MemberRef,
    /// What the member believes the protocol type to be (version 5).
    pub protocol_type: Option<String>,
    /// What the member believes the assignor to be (version 5).
    pub protocol: Option<String>,
    /// From the leader: per member id its opaque assignment.
    pub assignments: Vec<(String, Vec<u8>)>,
}

/// To [`Sync`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// `NONE`, or why not.
    pub error: ErrorCode,
    /// The group's, without an error.
    pub protocol_type: Option<String>,
    /// The group's, without an error.
    pub protocol: Option<String>,
    /// The member's opaque assignment.
    pub assignment: Vec<u8>,
}

/// Heartbeat.
pub type Heartbeat = MemberRef;

/// LeaveGroup. Up to version 2 it has one member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leave {
    /// The group.
    pub group: String,
    /// Who leaves.
    pub members: Vec<LeavingMember>,
}

/// Who leaves: by member id, or by static id with an empty member id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeavingMember {
    /// The member id, or empty.
    pub member: String,
    /// The static id.
    pub instance: Option<String>,
}

/// To [`Leave`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Of the request as a whole.
    pub error: ErrorCode,
    /// Of each member, in the request's order.
    pub members: Vec<(LeavingMember, ErrorCode)>,
}

/// OffsetCommit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitOffsets {
    /// Who speaks. A generation below 0 with no member id is a simple consumer or a tool.
    pub who: MemberRef,
    /// By version.
    pub unknown_group: UnknownGroup,
    /// How long the offsets are kept from now, in milliseconds: OffsetCommit up to version 4, where the client says so.
    pub retention_ms: Option<i64>,
    /// What is committed.
    pub topics: Vec<CommitTopic>,
}

/// What the member of a group that is not there hears when it commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownGroup {
    /// GROUP_ID_NOT_FOUND: OffsetCommit from version 9.
    #[default]
    NotFound,
    /// ILLEGAL_GENERATION: OffsetCommit below version 9.
    IllegalGeneration,
}

/// The offsets of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitTopic {
    /// Its name.
    pub topic: String,
    /// Its id, where known; [`TopicId::ZERO`] else.
    pub id: TopicId,
    /// `NONE`, or why the caller (who knows topics and rights) cannot let these be committed.
    pub error: ErrorCode,
    /// Per partition.
    pub partitions: Vec<CommitPartition>,
}

/// The offset of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitPartition {
    /// The partition.
    pub partition: PartitionIndex,
    /// `NONE`, or why the caller cannot let this be committed.
    pub error: ErrorCode,
    /// What is committed.
    pub offset: CommittedOffset,
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset that the group reads.
    pub offset: Offset,
    /// The leader epoch of the last record read; -1 if not known.
    pub leader_epoch: LeaderEpoch,
    /// The client's own words.
    pub metadata: String,
}

/// To [`CommitOffsets`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedTopic {
    /// The topic's name.
    pub topic: String,
    /// Its id as it was given.
    pub id: TopicId,
    /// Per partition, in the request's order.
    pub partitions: Vec<(PartitionIndex, ErrorCode)>,
}

/// OffsetDelete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOffsets {
    /// The group.
    pub group: String,
    /// Which partitions of which topics.
    pub topics: Vec<(String, Vec<PartitionIndex>)>,
}

/// A topic of [`DeleteOffsets`], with what became of each partition.
pub type DeletedTopic = (String, Vec<(PartitionIndex, ErrorCode)>);

/// OffsetFetch of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchOffsets {
    /// The group.
    pub group: String,
    /// The topics and partitions, or `None` for all.
    pub topics: Option<Vec<FetchTopic>>,
}

/// The partitions of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTopic {
    /// Its name.
    pub topic: String,
    /// The id of the topic that stands, so that offsets of an earlier one of this name are not told;
    /// [`TopicId::ZERO`] if not known.
    pub id: TopicId,
    /// Its partitions.
    pub partitions: Vec<PartitionIndex>,
}

/// To [`FetchOffsets`]. It has no error of its own: what is missing has offset -1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedGroup {
    /// The group.
    pub group: String,
    /// Per topic, per partition; offset -1, epoch -1 and "" where nothing is committed.
    pub topics: Vec<(String, Vec<(PartitionIndex, CommittedOffset)>)>,
}

/// What a group does, by the names that Kafka shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupState {
    /// No members.
    Empty,
    /// Members are to join (again).
    PreparingRebalance,
    /// All have joined, the leader assigns.
    CompletingRebalance,
    /// All have their assignment.
    Stable,
    /// There is no such group.
    Dead,
}

impl GroupState {
    /// Kafka's name of the state.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
        }
    }
}

/// To [`Request::List`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// The group.
    pub group: String,
    /// Its protocol type; empty for simple groups.
    pub protocol_type: String,
    /// Its state.
    pub state: GroupState,
}

/// To [`Request::Describe`]. A group that is not there is `Dead`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedGroup {
    /// The group.
    pub group: String,
    /// Its state.
    pub state: GroupState,
    /// Its protocol type.
    pub protocol_type: String,
    /// Its assignor, while it is stable; else empty.
    pub protocol: String,
    /// Its members, in the order of their ids.
    pub members: Vec<DescribedMember>,
}

/// A member as a tool sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// The member.
    pub member: String,
    /// Its static id.
    pub instance: Option<String>,
    /// Its client's name.
    pub client_id: String,
    /// Where it comes from.
    pub client_host: String,
    /// What it says to the assignor, while the group is stable.
    pub metadata: Vec<u8>,
    /// What it was assigned last.
    pub assignment: Vec<u8>,
}

/// A committed offset with the time of its commit, as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptOffset {
    /// The offset.
    pub committed: CommittedOffset,
    /// When it was committed.
    pub at: Timestamp,
    /// When it expires, where its client said so (OffsetCommit up to version 4).
    pub expires: Option<Timestamp>,
    /// The topic's id; [`TopicId::ZERO`] if not known.
    pub topic_id: TopicId,
}
