//! Frames: the heads of requests and responses, and the lengths in front of them.
//!
//! A request's first eight bytes are laid out alike in all versions of all APIs, so that key, version and correlation
//! id are known before anything else can be wrong. The head of a response is of version 1 (with tagged fields) where
//! the request is flexible, but always of version 0 for ApiVersions: its client does not know yet what this broker
//! speaks.
//!
//! Reading bytes from a socket, and how large a frame may get, is the server's work; the bounds are in
//! [`crate::limits`].

use bytes::Bytes;

use crate::advertised::{self, Service};
use crate::decode::{DecodeError, Decoder};
use crate::encode::{EncodeError, Encoder, Hole};
use crate::form::Form;
use crate::limits;
use crate::messages::{ApiKey, ResponseHeader};
use crate::text::Str;

/// The length that a frame's four byte prefix says, in bytes without the prefix.
#[must_use]
pub fn frame_length(prefix: [u8; limits::FRAME_PREFIX_BYTES]) -> Option<usize> {
    usize::try_from(i32::from_be_bytes(prefix)).ok()
}

/// The first eight bytes of a request, enough to bound its frame before the rest of it is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prelude {
    /// The API's number; it may be one that is not known.
    pub api_key: i16,
    /// The version of the API.
    pub version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
}

impl Prelude {
    /// Reads the first bytes of a frame. None where there are less than eight.
    #[must_use]
    pub fn parse(frame: &[u8]) -> Option<Prelude> {
        let [key_high, key_low, version_high, version_low, correlation @ ..] =
            *frame.first_chunk::<{ limits::HEAD_BYTES_MIN }>()?;
        Some(Prelude {
            api_key: i16::from_be_bytes([key_high, key_low]),
            version: i16::from_be_bytes([version_high, version_low]),
            correlation_id: i32::from_be_bytes(correlation),
        })
    }

    /// What to do with the request.
    #[must_use]
    pub fn service(&self) -> Service {
        advertised::service(self.api_key, self.version)
    }

    /// The largest frame that this request may have, in bytes without the prefix.
    #[must_use]
    pub fn frame_bytes_max(&self, request_bytes_max: usize) -> usize {
        limits::frame_bytes_max(ApiKey::from_code(self.api_key), request_bytes_max)
    }
}

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The API's number; it may be one that is not known.
    pub api_key: i16,
    /// The version of the API; it may be one that is not known.
    pub version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// What the client calls itself; none also where the API or version is not known, because then the layout is not.
    pub client_id: Option<Str>,
}

impl RequestHead {
    /// Reads the head and gives the body behind it. It does not fail on keys and versions that are not served: those
    /// are for [`RequestHead::service`] to tell. Their body is what follows the first eight bytes.
    pub fn parse(frame: Bytes) -> Result<(RequestHead, Bytes), DecodeError> {
        let short = DecodeError::Short { at: 0, wanted: limits::HEAD_BYTES_MIN, remaining: frame.len() };
        let Prelude { api_key, version, correlation_id } = Prelude::parse(&frame).ok_or(short)?;
        let mut input = Decoder::new(frame.slice(limits::HEAD_BYTES_MIN..));
        let mut head = RequestHead { api_key, version, correlation_id, client_id: None };
        if let Service::Serve(api) | Service::Refuse(api) = head.service() {
            head.client_id = input.nullable_string(Form::Classic)?;
            input.skip_tags(form(api, version))?;
        }
        Ok((head, input.into_rest()))
    }

    /// What to do with the request.
    #[must_use]
    pub fn service(&self) -> Service {
        advertised::service(self.api_key, self.version)
    }

    /// Writes the head, as a client does.
    pub fn encode(&self, out: &mut Encoder) -> Result<(), EncodeError> {
        out.i16(self.api_key);
        out.i16(self.version);
        out.i32(self.correlation_id);
        match &self.client_id {
            Some(client_id) => out.string(Form::Classic, client_id)?,
            None => out.null_string(Form::Classic),
        }
        let form = ApiKey::from_code(self.api_key).map_or(Form::Classic, |api| form(api, self.version));
        out.tag_count(form, 0);
        Ok(())
    }
}

/// The head version of a request of this API and version: 1, or 2 with tagged fields.
#[must_use]
pub fn request_head_version(api: ApiKey, version: i16) -> i16 {
    if version >= api.flexible_from() { 2 } else { 1 }
}

/// The head version of a response: 0, or 1 with tagged fields. ApiVersions has 0 in all its versions (KIP-511).
#[must_use]
pub fn response_head_version(api: ApiKey, version: i16) -> i16 {
    if api != ApiKey::ApiVersions && version >= api.flexible_from() { 1 } else { 0 }
}

/// A whole response frame: length, head, and what `body` writes. The holes are counted in the length.
pub fn encode_response(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    body: impl FnOnce(&mut Encoder) -> Result<(), EncodeError>,
) -> Result<(Bytes, Vec<Hole>), EncodeError> {
    let mut out = Encoder::frame();
    ResponseHeader { correlation_id }.encode(&mut out, response_head_version(api, version))?;
    body(&mut out)?;
    out.finish_frame()
}

/// The whole frame that answers an ApiVersions request of an unknown version.
pub fn encode_api_versions_unsupported(correlation_id: i32) -> Result<(Bytes, Vec<Hole>), EncodeError> {
    let answer = advertised::api_versions_unsupported();
    encode_response(ApiKey::ApiVersions, 0, correlation_id, |out| answer.encode(out, 0))
}

fn form(api: ApiKey, version: i16) -> Form {
    if version >= api.flexible_from() { Form::Compact } else { Form::Classic }
}
