//! Every bound of the program, with its reason. Related bounds are checked against one another when this compiles.

/// The longest legal topic name (Kafka's rule: 255 of a file name less the suffix of a partition's directory).
pub const TOPIC_NAME_BYTES_MAX: usize = 249;
/// Partitions that one request may create.
pub const PARTITIONS_PER_CREATE_MAX: usize = 10_000;
/// Requests of one connection that are in flight.
pub const REQUESTS_PER_CONNECTION_MAX: usize = 16;
/// A frame that carries no records cannot be larger, whatever `socket.request.max.bytes` says.
pub const SMALL_FRAME_BYTES_MAX: usize = 8 << 20;
/// The largest record batch that is decompressed, after decompression: what compresses better is refused as a bomb.
pub const DECOMPRESSED_BATCH_BYTES_MAX: usize = 256 << 20;
/// Producers that one partition remembers.
pub const PRODUCERS_PER_PARTITION_MAX: usize = 100_000;
/// Batches that one producer's state remembers for duplicates (Kafka's number: the most a producer has in flight).
pub const PRODUCER_BATCHES_MAX: usize = 5;
/// Stored bytes of a block in a tiered object; a larger batch stands alone.
pub const TIER_BLOCK_BYTES: usize = 1 << 20;
/// Bytes of the entries that a manifest root holds before they go to a group.
pub const ROOT_ENTRIES_BYTES_MAX: usize = 32 << 10;
/// Entries in a full group.
pub const GROUP_ENTRIES: usize = 1024;
/// Objects that one swap of the root commits.
pub const OBJECTS_PER_COMMIT_MAX: usize = 8;
/// A manifest root that is larger is not read: it is damaged.
pub const ROOT_BYTES_MAX: usize = 4 << 20;

const _: () = assert!(ROOT_ENTRIES_BYTES_MAX * 2 < ROOT_BYTES_MAX);
const _: () = assert!(SMALL_FRAME_BYTES_MAX < DECOMPRESSED_BATCH_BYTES_MAX);
