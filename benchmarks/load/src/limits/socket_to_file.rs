//! From a socket into a file, as a broker that does nothing else would write what producers send.

use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread;

use broker_records::Codec;
use bytes::Bytes;
use clap::Args;
use rustix::net::{RecvFlags, recv};
use serde::Serialize;
use serde_json::json;

use super::{Scratch, socket_pair};
use crate::Finished;
use crate::clock;
use crate::error::LoadError;
use crate::net::Outbox;
use crate::template::{Shape, Size, Stamp, Templates};

/// Measures how fast bytes go from a socket into a file.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct SocketToFileArgs {
    /// Where the file is made.
    #[arg(long)]
    directory: PathBuf,
    #[arg(long, default_value_t = 2 << 30)]
    total_bytes: u64,
    /// Of the buffer that is filled and written; may be repeated.
    #[arg(long, default_values_t = [64 << 10, 256 << 10, 1 << 20])]
    buffer_bytes: Vec<usize>,
}

#[derive(Clone, Debug, Serialize)]
struct Row {
    buffer_bytes: usize,
    bytes: u64,
    seconds: f64,
    bytes_per_second: f64,
    server_cpu_seconds: f64,
    sender_cpu_seconds: f64,
    bytes_per_server_cpu_second: f64,
}

pub(super) fn run(args: &SocketToFileArgs) -> Result<Finished, LoadError> {
    let rows = args.buffer_bytes.iter().map(|bytes| measure(args, *bytes));
    let rows = rows.collect::<Result<Vec<_>, LoadError>>()?;
    let line =
        rows.iter().map(|row| format!("{} KiB: {:.2} GB/s, ", row.buffer_bytes >> 10, row.bytes_per_second / 1e9));
    let line = format!("limits socket-to-file: {}", line.collect::<String>().trim_end_matches(", "));
    Finished::new(&json!({ "command": "limits", "limit": "socket-to-file", "settings": args, "rows": rows }), line, 0)
}

fn measure(args: &SocketToFileArgs, buffer_bytes: usize) -> Result<Row, LoadError> {
    let scratch = Scratch::create(&args.directory, "socket-to-file")?;
    let (client, socket) = socket_pair()?;
    let since = clock::monotonic();
    let (written, sent) = thread::scope(|scope| {
        let serving = scope.spawn(|| write(&scratch, socket, buffer_bytes));
        let sent = send(client, args.total_bytes);
        (serving.join().expect("the server does not panic"), sent)
    });
    let seconds = clock::seconds(clock::monotonic() - since);
    let ((bytes, server_cpu_seconds), sender_cpu_seconds) = (written?, sent?);
    Ok(Row {
        buffer_bytes,
        bytes,
        seconds,
        bytes_per_second: bytes as f64 / seconds,
        server_cpu_seconds,
        sender_cpu_seconds,
        bytes_per_server_cpu_second: bytes as f64 / server_cpu_seconds.max(1e-9),
    })
}

fn write(scratch: &Scratch, socket: TcpStream, buffer_bytes: usize) -> Result<(u64, f64), LoadError> {
    let since = clock::thread_cpu();
    let mut buffer = vec![0; buffer_bytes];
    let mut at = 0;
    loop {
        let (_, received) = recv(&socket, &mut buffer[..], RecvFlags::WAITALL).map_err(LoadError::io("receive"))?;
        if received == 0 {
            return Ok((at, clock::seconds(clock::thread_cpu() - since)));
        }
        scratch.file.write_all_at(&buffer[..received], at).map_err(LoadError::io("write to the file"))?;
        at += received as u64;
    }
}

/// Sends batches as `produce` does.
fn send(socket: TcpStream, total_bytes: u64) -> Result<f64, LoadError> {
    let since = clock::thread_cpu();
    let templates = Templates::new(&Shape { codec: Codec::None, value_bytes: 1024, size: Size::Bytes(128 << 10) });
    let mut outbox = Outbox::default();
    let mut sequence = 0;
    while outbox.sent < total_bytes {
        let template = templates.get(templates.nth(outbox.sent));
        let stamp = Stamp { timestamp: clock::wall_ms(), producer_id: 1, producer_epoch: 0, sequence };
        outbox.push(Bytes::copy_from_slice(&template.head(&stamp)));
        outbox.push(template.body().clone());
        outbox.flush(&socket).map_err(LoadError::io("send"))?;
        sequence = sequence.wrapping_add(1) & i32::MAX;
    }
    Ok(clock::seconds(clock::thread_cpu() - since))
}
