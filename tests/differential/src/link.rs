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

use crate::step::Damage;

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
pub(crate) fn encode(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    body: &RequestBody,
    damage: Option<&Damage>,
) -> Result<Vec<u8>, String> {
    let mut out = Encoder::new();
    let head = RequestHead { api_key: api.code(), version, correlation_id, client_id: Some(Str::from(CLIENT_ID)) };
    head.encode(&mut out).map_err(|error| error.to_string())?;
    let head_bytes = out.whole_bytes();
    let mut body = body.clone();
    body.trim(version);
    body.encode(&mut out, version).map_err(|error| error.to_string())?;
    let mut bytes = out.finish().0.to_vec();
    if let Some(damage) = damage {
        apply(damage, &mut bytes, head_bytes);
    }
    let length = u32::try_from(bytes.len()).map_err(|error| error.to_string())?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.append(&mut bytes);
    Ok(frame)
}

fn apply(damage: &Damage, bytes: &mut Vec<u8>, head_bytes: usize) {
    let mut overwrite = |at: usize, value: i16| {
        for (place, byte) in bytes.iter_mut().skip(at).zip(value.to_be_bytes()) {
            *place = byte;
        }
    };
    match damage {
        Damage::Version(version) => overwrite(2, *version),
        Damage::Key(key) => overwrite(0, *key),
        Damage::Cut(count) => bytes.truncate(bytes.len().saturating_sub(*count).max(8)),
        Damage::Extend(count) => bytes.resize(bytes.len() + count, 0),
        Damage::Raw(raw) => bytes.clone_from(raw),
        Damage::Flip(bit) => {
            let body_bits = (bytes.len() - head_bytes) * 8;
            if let Some(bit) = bit.checked_rem(body_bits)
                && let Some(byte) = bytes.get_mut(head_bytes + bit / 8)
            {
                *byte ^= 1 << (bit % 8);
            }
        }
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
