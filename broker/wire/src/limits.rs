//! Every bound of the codec, with its reason.
//!
//! Bounds that other crates share are in [`broker_model::limits`].

use broker_model::limits::SMALL_FRAME_BYTES_MAX;

use crate::messages::ApiKey;

/// The bytes of a frame's length prefix.
pub const FRAME_PREFIX_BYTES: usize = 4;
/// The bytes of a request head that every version of every API begins with: key, version, correlation id.
pub const HEAD_BYTES_MIN: usize = 8;
/// The longest string: Kafka's bound, in both forms.
pub const STRING_BYTES_MAX: usize = 0x7fff;
/// Elements of all arrays of one message together: more than the partitions that an honest Fetch can name in the
/// largest frame without records. With some 100 bytes each in memory, this is what one hostile frame can make of
/// itself.
pub const ELEMENTS_MAX: usize = 1 << 18;
/// Elements that an array reserves at once; it grows beyond that only as elements were really read.
pub const PREALLOCATED_ELEMENTS_MAX: usize = 256;
/// Tagged fields of one struct (Kafka's number).
pub const TAGS_MAX: usize = 10_000;

const _: () = assert!(PREALLOCATED_ELEMENTS_MAX < ELEMENTS_MAX);
/// A partition of a Fetch request, at its smallest.
const FETCH_PARTITION_BYTES: usize = 33;

const _: () = assert!(SMALL_FRAME_BYTES_MAX / FETCH_PARTITION_BYTES < ELEMENTS_MAX);
const _: () = assert!(STRING_BYTES_MAX < SMALL_FRAME_BYTES_MAX);

/// The largest frame that a request of this API may have, prefix not counted. `request_bytes_max` is the setting
/// `socket.request.max.bytes`, in bytes. Only Produce carries records; what the codec does not know is small too.
#[must_use]
pub fn frame_bytes_max(api: Option<ApiKey>, request_bytes_max: usize) -> usize {
    match api {
        Some(ApiKey::Produce) => request_bytes_max,
        _ => request_bytes_max.min(SMALL_FRAME_BYTES_MAX),
    }
}
