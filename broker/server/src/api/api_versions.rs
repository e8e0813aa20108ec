//! ApiVersions (KIP-35, KIP-511, KIP-584): what is served, in which versions.

use broker_wire::advertised::api_versions;
use broker_wire::frame::encode_api_versions_unsupported;

use super::{Call, Pending};
use crate::net::reply::{Part, Reply};

/// The epoch of the finalized features while there are none.
const NO_FEATURES_EPOCH: i64 = -1;

/// Answers with the table.
pub(super) fn start(call: &Call) -> Pending {
    call.ready(&api_versions(call.context.version, &[], NO_FEATURES_EPOCH))
}

/// The client speaks a newer version: it learns ours from an answer in version 0, and asks again.
pub(super) fn too_new(correlation_id: i32) -> Pending {
    let (bytes, _) = encode_api_versions_unsupported(correlation_id).expect("the answer is small");
    Pending::Ready(Some(Reply { parts: vec![Part::Bytes(bytes)], ..Reply::default() }))
}
