//! Connections, and the bytes of requests and answers.
//!
//! A task of its own reads frames, so that waiting for the next one can be given up without losing half of it.

use broker_wire::form::Form;
use broker_wire::frame::response_head_version;
use broker_wire::tree::{self, Node, Tree};
use broker_wire::{ApiKey, Decoder, Encoder, RequestBody, RequestHead, Str};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::step::{Damage, Step};

/// What all requests call themselves. Kafka makes member ids of it.
const CLIENT_ID: &str = "differential";

/// A connection to one broker.
#[derive(Debug)]
pub(crate) struct Link {
    writer: OwnedWriteHalf,
    frames: UnboundedReceiver<Bytes>,
}

impl Link {
    pub(crate) async fn open(address: &str) -> std::io::Result<Link> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let (sender, frames) = unbounded_channel();
        tokio::spawn(read_frames(reader, sender));
        Ok(Link { writer, frames })
    }

    /// Sends; a failure shows as a connection that is closed when the answer is awaited.
    pub(crate) async fn send(&mut self, frame: &[u8]) {
        let _ = self.writer.write_all(frame).await;
    }

    /// The next frame without its length; none when the broker has closed the connection.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        self.frames.recv().await
    }
}

async fn read_frames(mut reader: OwnedReadHalf, sender: UnboundedSender<Bytes>) {
    while let Ok(length) = reader.read_i32().await {
        let Ok(length) = usize::try_from(length) else { return };
        let mut frame = vec![0; length];
        if reader.read_exact(&mut frame).await.is_err() || sender.send(Bytes::from(frame)).is_err() {
            return;
        }
    }
}

/// A request as bytes, with its length in front.
pub(crate) fn encode(api: ApiKey, version: i16, correlation_id: i32, body: &RequestBody) -> Result<Vec<u8>, String> {
    framed(Unframed::new(api, version, correlation_id, body)?.bytes)
}

/// The same request to two brokers, damaged where the step says so, with its length in front.
pub(crate) fn encode_both(step: &Step, correlation_id: i32, bodies: &[RequestBody; 2]) -> Result<[Vec<u8>; 2], String> {
    let [strata, kafka] = bodies;
    let unframed = |body| Unframed::new(step.api, step.version, correlation_id, body);
    let mut requests = [unframed(strata)?, unframed(kafka)?];
    if let Some(damage) = &step.damage {
        apply(damage, &mut requests);
    }
    let [strata, kafka] = requests;
    Ok([framed(strata.bytes)?, framed(kafka.bytes)?])
}

struct Unframed {
    bytes: Vec<u8>,
    head_bytes: usize,
}

impl Unframed {
    fn new(api: ApiKey, version: i16, correlation_id: i32, body: &RequestBody) -> Result<Unframed, String> {
        let mut out = Encoder::new();
        let head = RequestHead { api_key: api.code(), version, correlation_id, client_id: Some(Str::from(CLIENT_ID)) };
        head.encode(&mut out).map_err(|error| error.to_string())?;
        let head_bytes = out.whole_bytes();
        let mut body = body.clone();
        body.trim(version);
        body.encode(&mut out, version).map_err(|error| error.to_string())?;
        Ok(Unframed { bytes: out.finish().0.to_vec(), head_bytes })
    }

    fn overwrite(&mut self, at: usize, value: i16) {
        for (place, byte) in self.bytes.iter_mut().skip(at).zip(value.to_be_bytes()) {
            *place = byte;
        }
    }
}

fn framed(mut bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let length = u32::try_from(bytes.len()).map_err(|error| error.to_string())?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.append(&mut bytes);
    Ok(frame)
}

fn apply(damage: &Damage, requests: &mut [Unframed; 2]) {
    if let Damage::Flip(bit) = damage {
        return flip(*bit, requests);
    }
    for request in requests {
        let length = request.bytes.len();
        match damage {
            Damage::Version(version) => request.overwrite(2, *version),
            Damage::Key(key) => request.overwrite(0, *key),
            Damage::Cut(count) => request.bytes.truncate(length.saturating_sub(*count).max(8)),
            Damage::Extend(count) => request.bytes.resize(length + count, 0),
            Damage::Raw(raw) => request.bytes.clone_from(raw),
            Damage::Flip(_) => (),
        }
    }
}

/// Counts only what is the same in both: an id that a broker handed out, with another bit, would be two different requests.
fn flip(bit: usize, [strata, kafka]: &mut [Unframed; 2]) {
    let pairs = strata.bytes.iter_mut().zip(&mut kafka.bytes).skip(strata.head_bytes);
    let mut same: Vec<_> = pairs.filter(|(ours, theirs)| ours == theirs).collect();
    if let Some(bit) = bit.checked_rem(same.len() * 8)
        && let Some((ours, theirs)) = same.get_mut(bit / 8)
    {
        **ours ^= 1 << (bit % 8);
        **theirs ^= 1 << (bit % 8);
    }
}

/// Reads an answer.
pub(crate) fn decode(api: ApiKey, version: i16, correlation_id: i32, frame: Bytes) -> Result<Node, String> {
    // An ApiVersions request of a version that is not known is answered in version 0 (KIP-511).
    let version = if api == ApiKey::ApiVersions && !(0..=api.version_last()).contains(&version) { 0 } else { version };
    let mut input = Decoder::new(frame);
    let wrong = |error: broker_wire::DecodeError| format!("does not decode as {} v{version}: {error}", api.name());
    let correlation = input.i32().map_err(wrong)?;
    if correlation != correlation_id {
        return Err(format!("answers request {correlation}, not {correlation_id}"));
    }
    if response_head_version(api, version) > 0 {
        input.skip_tags(Form::Compact).map_err(wrong)?;
    }
    let node = tree::response(api, version, &mut input).map_err(wrong)?;
    match input.remaining() {
        0 => Ok(node),
        rest => Err(format!("{rest} bytes follow the answer")),
    }
}
