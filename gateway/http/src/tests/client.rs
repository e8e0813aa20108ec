//! A client that shows what came over the wire: also the beginning of an answer, and whether its end was one.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) kind: String,
    pub(super) body: String,
    /// The end mark of the chunked body, or all bytes of its length, came.
    pub(super) whole: bool,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Whole lines only.
    pub(super) fn lines(&self) -> Vec<Value> {
        let end = self.body.rfind('\n').map_or(0, |at| at + 1);
        self.body[..end].lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(super) fn rows(&self) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line.get("offset").is_some()).collect()
    }

    pub(super) fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap().to_owned()
    }
}

pub(super) async fn get(server: SocketAddr, path: &str) -> Answer {
    get_some(server, path, usize::MAX).await
}

/// Reads until about so many bytes came, then hangs up.
pub(super) async fn get_some(server: SocketAddr, path: &str, bytes_max: usize) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    send(server, &request, bytes_max).await
}

pub(super) async fn send(server: SocketAddr, request: &str, bytes_max: usize) -> Answer {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut raw = Vec::new();
    let mut piece = [0; 4096];
    while raw.len() < bytes_max {
        // A connection that is reset ends the answer too.
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => break,
            Ok(read) => raw.extend_from_slice(&piece[..read]),
        }
    }
    parse(&raw)
}

fn parse(raw: &[u8]) -> Answer {
    let Some(split) = raw.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Answer { status: 0, kind: String::new(), body: String::new(), whole: false };
    };
    let head = String::from_utf8(raw[..split].to_vec()).unwrap();
    let rest = &raw[split + 4..];
    let field = |name: &str| {
        let found = head.lines().find_map(|line| line.to_lowercase().strip_prefix(name).map(str::to_owned));
        found.map(|value| value.trim().to_owned())
    };
    let (body, whole) = match field("content-length:") {
        Some(length) => (rest.to_vec(), rest.len() == length.parse::<usize>().unwrap()),
        None => dechunk(rest),
    };
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    // A cut may fall into a letter.
    let body = String::from_utf8_lossy(&body).into_owned();
    Answer { status, kind: field("content-type:").unwrap_or_default(), body, whole }
}

fn dechunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        rest = &rest[line + 2..];
        if length == 0 {
            return (body, true);
        }
        body.extend_from_slice(&rest[..length.min(rest.len())]);
        if rest.len() < length + 2 {
            break;
        }
        rest = &rest[length + 2..];
    }
    (body, false)
}
