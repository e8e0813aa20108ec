//! One connection to one broker: a request, then its answer.
//!
//! It begins with ApiVersions in version 0, which every broker answers, and asks everything else in the newest version that
//! both sides speak. After an error or a call that was dropped the stream is at an unknown place: the owner drops it.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use broker_wire::messages::{ApiVersionsRequest, ResponseHeader};
use broker_wire::{ApiKey, Decoder, EncodeError, Encoder, RequestHead, Str, frame};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::request::Request;
use crate::{Address, ClientError};

/// How long a connection may take to stand.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// The largest answer that is taken. A fetch is bounded by what it asks for, but for one batch.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A connection that knows its broker's versions.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    address: Address,
    client_id: Str,
    correlation_id: i32,
    /// Oldest and newest version by API.
    versions: BTreeMap<i16, (i16, i16)>,
}

impl Connection {
    /// Connects and asks for the versions.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] with this one address, or what the first request meets.
    pub async fn open(address: &Address, client_id: &Str, patience: Duration) -> Result<Connection, ClientError> {
        let unreachable = |reason: String| ClientError::Unreachable { tried: vec![(address.clone(), reason)] };
        let connecting = TcpStream::connect((address.host.as_str(), address.port));
        let stream = match timeout(CONNECT_TIME_MAX.min(patience), connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(unreachable(plain(&error))),
            Err(_) => return Err(unreachable("no answer to the connection".to_owned())),
        };
        stream.set_nodelay(true).map_err(|error| unreachable(plain(&error)))?;
        let mut connection = Connection {
            stream,
            address: address.clone(),
            client_id: client_id.clone(),
            correlation_id: 0,
            versions: BTreeMap::from([(ApiKey::ApiVersions.code(), (0, 0))]),
        };
        let answer = connection.ask(&ApiVersionsRequest::default(), CONNECT_TIME_MAX.min(patience)).await?;
        ClientError::check(answer.error_code, None, || format!("{address} does not tell its versions"))?;
        connection.versions =
            answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
        Ok(connection)
    }

    /// Where it goes to.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The newest version that both sides speak.
    ///
    /// # Errors
    /// [`ClientError::Unsupported`] where there is none.
    pub fn version<R: Request>(&self) -> Result<i16, ClientError> {
        let served = self.versions.get(&R::API.code()).filter(|(oldest, newest)| *oldest <= R::NEWEST && *newest >= 0);
        let (_, newest) =
            served.ok_or_else(|| ClientError::Unsupported { address: self.address.clone(), api: R::API })?;
        Ok(R::NEWEST.min(*newest))
    }

    /// Asks, and reads the answer. `wait` bounds both together.
    ///
    /// # Errors
    /// The versions have nothing in common, the connection breaks, the answer is late or cannot be read. What the answer
    /// says is the caller's.
    pub async fn ask<R: Request>(&mut self, request: &R, wait: Duration) -> Result<R::Response, ClientError> {
        let version = self.version::<R>()?;
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let sent = self.frame(request, version).map_err(|source| ClientError::Encode { api: R::API, source })?;
        let answer = match timeout(wait, self.exchange(&sent)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(source)) => return Err(ClientError::Broken { address: self.address.clone(), api: R::API, source }),
            Err(_) => return Err(ClientError::Late { address: self.address.clone(), api: R::API }),
        };
        let wrong = |source| ClientError::Decode { address: self.address.clone(), api: R::API, source };
        let mut input = Decoder::new(answer);
        let head_version = frame::response_head_version(R::API, version);
        let head = ResponseHeader::decode(&mut input, head_version).map_err(wrong)?;
        if head.correlation_id != self.correlation_id {
            return Err(ClientError::Nonsense(format!("{} answered another request than {:?}", self.address, R::API)));
        }
        R::read(&mut input, version).map_err(wrong)
    }

    fn frame<R: Request>(&self, request: &R, version: i16) -> Result<Bytes, EncodeError> {
        let mut out = Encoder::frame();
        let client_id = Some(self.client_id.clone());
        let api_key = R::API.code();
        RequestHead { api_key, version, correlation_id: self.correlation_id, client_id }.encode(&mut out)?;
        request.write(&mut out, version)?;
        Ok(out.finish_frame()?.0)
    }

    async fn exchange(&mut self, sent: &[u8]) -> io::Result<Bytes> {
        self.stream.write_all(sent).await?;
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix).await?;
        let length = frame::frame_length(prefix).filter(|length| *length <= ANSWER_BYTES_MAX);
        let length = length.ok_or_else(|| io::Error::other("what it sent is not Kafka's protocol"))?;
        // Memory follows the bytes that come, not the length that is announced.
        let mut answer = BytesMut::with_capacity(length.min(1 << 20));
        while answer.len() < length {
            answer.reserve((length - answer.len()).min(1 << 20));
            let left = u64::try_from(length - answer.len()).unwrap_or(u64::MAX);
            if (&mut self.stream).take(left).read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(answer.freeze())
    }
}

/// The system's words without its numbers.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase(),
    }
}
