//! The coordinator's settings and bounds. The defaults are Kafka's; what has no setting in Kafka is a constant.

/// Groups with members, or waiting for some, in one partition of `__consumer_offsets`.
pub const GROUPS_MAX: usize = 100_000;
/// Members that were told an id and have not come again, per group.
pub const PENDING_MEMBERS_MAX: usize = 10_000;
/// Committed partitions per group.
pub const OFFSETS_PER_GROUP_MAX: usize = 200_000;
/// Bytes of what all members of one group say and are assigned; it must fit into one batch.
pub const GROUP_BYTES_MAX: usize = 8 << 20;
/// Bytes of a group id, member id, instance id, client id or protocol name.
pub const NAME_BYTES_MAX: usize = 16 << 10;
/// Assignors of one member.
pub const PROTOCOLS_MAX: usize = 64;
/// Tombstones that one step of housekeeping writes.
pub const TOMBSTONES_PER_STEP: usize = 1000;
/// A new member whose join is not answered within this many milliseconds is dropped: its client may be long gone.
pub const NEW_MEMBER_JOIN_MS: i64 = 300_000;
/// After a refusal the same record is not tried again before this many milliseconds.
pub const RETRY_MS: i64 = 1000;

const _: () = assert!(NAME_BYTES_MAX < i16::MAX as usize);

/// What an operator may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `group.min.session.timeout.ms`.
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_ms_max: i32,
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`.
    pub members_max: usize,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub retention_check_ms: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            members_max: 10_000,
            offset_metadata_bytes_max: 4_096,
            offsets_retention_ms: 10_080 * 60_000,
            retention_check_ms: 600_000,
        }
    }
}
