//! ApiVersions (KIP-35, KIP-511, KIP-584): what is served, in which versions.

use broker_model::ErrorCode;
use broker_wire::advertised::api_versions;
use broker_wire::frame::encode_api_versions_unsupported;
use broker_wire::messages::ApiVersionsResponse;
use broker_wire::messages::api_versions_request::ApiVersionsRequest;

use super::{Call, Pending};
use crate::context::Session;
use crate::net::reply::{Part, Reply};

/// From here on clients name their software.
const VERSION_SOFTWARE: i16 = 3;
/// The epoch of the finalized features while there are none.
const NO_FEATURES_EPOCH: i64 = -1;

/// Answers with the table, and notes who asks.
pub(super) fn start(call: &Call, request: ApiVersionsRequest, session: &mut Session) -> Pending {
    let (name, version) = (request.client_software_name, request.client_software_version);
    if call.context.version >= VERSION_SOFTWARE && !(is_named(&name) && is_named(&version)) {
        let error_code = ErrorCode::InvalidRequest.code();
        return call.ready(&ApiVersionsResponse { error_code, ..Default::default() });
    }
    session.software = Some((name, version));
    call.ready(&api_versions(call.context.version, &[], NO_FEATURES_EPOCH))
}

/// Letters and digits, and within them dots and hyphens (KIP-511).
fn is_named(software: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    match software.as_bytes() {
        [] => false,
        [only] => only.is_ascii_alphanumeric(),
        [first, inner @ .., last] => {
            first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() && inner.iter().all(|byte| is_inner(*byte))
        }
    }
}

/// The client speaks a newer version: it learns ours from an answer in version 0, and asks again.
pub(super) fn too_new(correlation_id: i32) -> Pending {
    let (bytes, _) = encode_api_versions_unsupported(correlation_id).expect("the answer is small");
    Pending::Ready(Some(Reply { parts: vec![Part::Bytes(bytes)], ..Reply::default() }))
}
