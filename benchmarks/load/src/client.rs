//! One blocking connection for what is asked once: versions, metadata, offsets, topics, producer ids.
//!
//! A request's version is the highest that both sides and the caller know; names are used, not topic ids, so that one
//! way works with every cluster. What is asked many times goes through [`crate::net`] instead.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use broker_wire::messages::{ApiVersionsRequest, ApiVersionsResponse, ResponseHeader};
use broker_wire::{ApiKey, Decoder, EncodeError, Encoder, Hole, RequestHead, Str, frame};
use bytes::Bytes;

use crate::error::LoadError;

/// How long one answer may take.
const ANSWER_SECONDS: u64 = 60;
/// Larger answers are not asked for here.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// The frame of a request, as a client sends it.
pub(crate) fn request_frame(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    body: impl FnOnce(&mut Encoder) -> Result<(), EncodeError>,
) -> Result<(Bytes, Vec<Hole>), LoadError> {
    let mut out = Encoder::frame();
    let client_id = Some(Str::from_static("strata-load"));
    RequestHead { api_key: api as i16, version, correlation_id, client_id }.encode(&mut out)?;
    body(&mut out)?;
    Ok(out.finish_frame()?)
}

/// The body of an answer, and the correlation id before it. `answer` is without its length.
pub(crate) fn open_answer(api: ApiKey, version: i16, answer: Bytes) -> Result<(i32, Decoder), LoadError> {
    let mut input = Decoder::new(answer);
    let head = ResponseHeader::decode(&mut input, frame::response_head_version(api, version))?;
    Ok((head.correlation_id, input))
}

/// The first address of a name.
pub(crate) fn resolve(address: &str) -> Result<SocketAddr, LoadError> {
    let mut found = address.to_socket_addrs().map_err(LoadError::io(format!("cannot resolve {address}")))?;
    found.next().ok_or_else(|| LoadError::Unusable(format!("{address} has no address")))
}

/// The versions that a server serves, by API.
#[derive(Clone, Debug, Default)]
pub(crate) struct Versions(BTreeMap<i16, (i16, i16)>);

impl Versions {
    /// The highest version of an API that the server has, up to `newest`.
    pub(crate) fn highest(&self, api: ApiKey, newest: i16) -> Result<i16, LoadError> {
        let served = self.0.get(&(api as i16)).filter(|(oldest, _)| *oldest <= newest);
        let (_, last) = served
            .ok_or_else(|| LoadError::Unusable(format!("the server has no version of {api:?} up to {newest}")))?;
        Ok((*last).min(newest))
    }
}

/// A connection that asks and waits for the answer.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    correlation_id: i32,
    pub(crate) versions: Versions,
}

impl Client {
    /// Connects, and asks for the versions.
    pub(crate) fn connect(address: SocketAddr) -> Result<Client, LoadError> {
        let stream = TcpStream::connect(address).map_err(LoadError::io(format!("cannot connect to {address}")))?;
        let wait = Some(Duration::from_secs(ANSWER_SECONDS));
        stream.set_nodelay(true).map_err(LoadError::io("cannot set the socket's options"))?;
        stream.set_read_timeout(wait).map_err(LoadError::io("cannot set the socket's options"))?;
        let mut client = Client { stream, correlation_id: 0, versions: Versions::default() };
        let mut input = client.ask(ApiKey::ApiVersions, 0, |out| ApiVersionsRequest::default().encode(out, 0))?;
        let answer = ApiVersionsResponse::decode(&mut input, 0)?;
        if answer.error_code != 0 {
            return Err(LoadError::Refused { what: "ApiVersions".to_owned(), code: answer.error_code });
        }
        let served = answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version)));
        client.versions = Versions(served.collect());
        Ok(client)
    }

    /// Asks, and gives the answer's body.
    pub(crate) fn ask(
        &mut self,
        api: ApiKey,
        version: i16,
        body: impl FnOnce(&mut Encoder) -> Result<(), EncodeError>,
    ) -> Result<Decoder, LoadError> {
        self.correlation_id += 1;
        let (request, _) = request_frame(api, version, self.correlation_id, body)?;
        self.stream.write_all(&request).map_err(LoadError::io(format!("cannot send {api:?}")))?;
        let mut length = [0; 4];
        self.read(&mut length, api)?;
        let length = frame::frame_length(length).filter(|length| *length <= ANSWER_BYTES_MAX);
        let length = length.ok_or_else(|| LoadError::Unusable(format!("the answer to {api:?} has no length")))?;
        let mut answer = vec![0; length];
        self.read(&mut answer, api)?;
        let (correlation_id, input) = open_answer(api, version, Bytes::from(answer))?;
        if correlation_id != self.correlation_id {
            return Err(LoadError::Unusable(format!("the answer to {api:?} answers another request")));
        }
        Ok(input)
    }

    fn read(&mut self, into: &mut [u8], api: ApiKey) -> Result<(), LoadError> {
        self.stream.read_exact(into).map_err(|source| match source.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => LoadError::Late(format!("an answer to {api:?}")),
            _ => LoadError::Io { what: format!("no answer to {api:?}"), source },
        })
    }
}
