//! From the page cache to a socket.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread::{self, ScopedJoinHandle};

use clap::Args;
use rustix::fs::sendfile;
use rustix::net::{RecvFlags, recv};
use serde::Serialize;
use serde_json::json;

use super::{Scratch, socket_pair};
use crate::Finished;
use crate::clock;
use crate::error::LoadError;
use crate::payload::Payload;

/// A receiver's buffer, and what it drops at once: as `fetch` has them.
const RECEIVED: usize = 256 << 10;
const DROPPED: usize = 1 << 20;

/// Measures how fast bytes of a file go to a socket.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct SendFileArgs {
    /// Where the file is made.
    #[arg(long)]
    directory: PathBuf,
    #[arg(long, default_value_t = 4 << 30)]
    total_bytes: u64,
    /// Of the file, which is sent again and again.
    #[arg(long, default_value_t = 1 << 30)]
    file_bytes: u64,
    /// Of one answer.
    #[arg(long, default_value_t = 1 << 20)]
    chunk_bytes: usize,
    /// Receivers, which share the bytes. Each has a thread, and one that serves it.
    #[arg(long, default_value_t = 1)]
    connections: usize,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Server {
    Sendfile,
    PreadAndWrite,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Receiver {
    Discard,
    Receive,
}

#[derive(Clone, Debug, Serialize)]
struct Row {
    server: Server,
    receiver: Receiver,
    bytes: u64,
    seconds: f64,
    bytes_per_second: f64,
    server_cpu_seconds: f64,
    receiver_cpu_seconds: f64,
    bytes_per_server_cpu_second: f64,
}

pub(super) fn run(args: &SendFileArgs) -> Result<Finished, LoadError> {
    let scratch = Scratch::create(&args.directory, "sendfile")?;
    let piece = Payload::new(7).value(1 << 20);
    for number in 0..args.file_bytes.div_ceil(1 << 20).max(1) {
        scratch.file.write_all_at(&piece, number << 20).map_err(LoadError::io("cannot fill the file"))?;
    }
    let mut rows = Vec::new();
    for server in [Server::Sendfile, Server::PreadAndWrite] {
        for receiver in [Receiver::Discard, Receiver::Receive] {
            rows.push(measure(args, &scratch.file, server, receiver)?);
        }
    }
    let line = rows
        .iter()
        .map(|row| format!("{:?} to {:?}: {:.2} GB/s, ", row.server, row.receiver, row.bytes_per_second / 1e9));
    let line = format!("limits sendfile: {}", line.collect::<String>().trim_end_matches(", "));
    Finished::new(&json!({ "command": "limits", "limit": "sendfile", "settings": args, "rows": rows }), line, 0)
}

fn measure(args: &SendFileArgs, file: &File, server: Server, receiver: Receiver) -> Result<Row, LoadError> {
    let pairs = (0..args.connections.max(1)).map(|_| socket_pair()).collect::<Result<Vec<_>, _>>()?;
    let since = clock::monotonic();
    let (sent, received) = thread::scope(|scope| {
        let (mut serving, mut receiving) = (Vec::new(), Vec::new());
        for (client, socket) in pairs {
            serving.push(scope.spawn(move || serve(args, file, socket, server)));
            receiving.push(scope.spawn(move || receive(client, receiver)));
        }
        let sent: Result<Vec<f64>, _> = serving.into_iter().map(joined).collect();
        let received: Result<Vec<(u64, f64)>, _> = receiving.into_iter().map(joined).collect();
        (sent, received)
    });
    let seconds = clock::seconds(clock::monotonic() - since);
    let (sent, received) = (sent?, received?);
    let bytes = received.iter().map(|(bytes, _)| bytes).sum();
    let (server_cpu_seconds, receiver_cpu_seconds) = (sent.iter().sum(), received.iter().map(|(_, cpu)| cpu).sum());
    Ok(Row {
        server,
        receiver,
        bytes,
        seconds,
        bytes_per_second: bytes as f64 / seconds,
        server_cpu_seconds,
        receiver_cpu_seconds,
        bytes_per_server_cpu_second: bytes as f64 / server_cpu_seconds.max(1e-9),
    })
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().expect("a thread that sends or receives does not panic")
}

fn serve(args: &SendFileArgs, file: &File, mut socket: TcpStream, server: Server) -> Result<f64, LoadError> {
    let since = clock::thread_cpu();
    let file_bytes = args.file_bytes.max(1 << 20);
    let mut buffer = vec![0; args.chunk_bytes];
    let (mut at, mut left) = (0, args.total_bytes / args.connections.max(1) as u64);
    while left > 0 {
        let chunk = left.min(args.chunk_bytes as u64).min(file_bytes - at);
        match server {
            Server::Sendfile => {
                let (mut from, end) = (at, at + chunk);
                while from < end {
                    let count = (end - from) as usize;
                    sendfile(&socket, file, Some(&mut from), count).map_err(LoadError::io("sendfile"))?;
                }
            }
            Server::PreadAndWrite => {
                let bytes = &mut buffer[..chunk as usize];
                file.read_exact_at(bytes, at).map_err(LoadError::io("pread"))?;
                socket.write_all(bytes).map_err(LoadError::io("write to a socket"))?;
            }
        }
        left -= chunk;
        at = (at + chunk) % file_bytes;
    }
    Ok(clock::seconds(clock::thread_cpu() - since))
}

fn receive(mut socket: TcpStream, receiver: Receiver) -> Result<(u64, f64), LoadError> {
    let since = clock::thread_cpu();
    let mut buffer = vec![0; DROPPED];
    let mut bytes = 0;
    loop {
        let received = match receiver {
            Receiver::Discard => {
                recv(&socket, &mut buffer[..], RecvFlags::TRUNC).map_err(LoadError::io("drop from a socket"))?.1
            }
            Receiver::Receive => socket.read(&mut buffer[..RECEIVED]).map_err(LoadError::io("read from a socket"))?,
        };
        if received == 0 {
            return Ok((bytes, clock::seconds(clock::thread_cpu() - since)));
        }
        bytes += received as u64;
    }
}
