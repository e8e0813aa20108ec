//! One HTTP request to the gateway at a time, and its answer as it comes.
//!
//! The gateway speaks HTTP/1.1 without TLS; another scheme is refused by name.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::{Request, Response, Uri, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Failure;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the first bytes of an answer may take: planning a replay may ask the bucket.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
const PROBLEM_BYTES_MAX: usize = 1 << 20;

/// Where the gateway is.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    url: String,
    host: String,
    port: u16,
}

/// Why there is no answer to read.
pub(crate) enum NoAnswer {
    /// It may come when one asks again.
    Broken(Failure),
    /// It would not.
    Refused(Failure),
}

impl Gateway {
    pub(crate) fn parse(url: &str) -> Result<Gateway, Failure> {
        let wrong = |why: &str| Failure::usage(format!("--gateway {url}: {why}; expected is http://HOST:PORT"));
        let uri: Uri = url.parse().map_err(|_| wrong("it is no URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(wrong("the gateway is asked without TLS")),
            _ => return Err(wrong("the scheme is not http")),
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("it names no host"))?;
        if uri.path() != "/" || uri.query().is_some() {
            return Err(wrong("it has a path"));
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Gateway { url: url.trim_end_matches('/').to_owned(), host, port: uri.port_u16().unwrap_or(80) })
    }

    /// Asks for a path with parameters, and gives the body of an answer that is none of an error.
    pub(crate) async fn get(&self, path: &str, parameters: &[(String, String)]) -> Result<Incoming, NoAnswer> {
        let broken = |why: String| {
            let what = format!("the gateway at {} does not answer: {why}", self.url);
            NoAnswer::Broken(
                Failure::new(what)
                    .hint("is Strata running, and is this an address of strata.http.listeners? Name another with --gateway URL")
                    .hint("without a broker, --from-bucket with the broker's --config reads the bucket itself"),
            )
        };
        let answer = match timeout(ANSWER_TIME_MAX, self.ask(path, parameters)).await {
            Ok(answer) => answer.map_err(broken)?,
            Err(_) => return Err(broken("nothing came in time".to_owned())),
        };
        let status = answer.status();
        if status.is_success() {
            return Ok(answer.into_body());
        }
        let told = timeout(ANSWER_TIME_MAX, problem(answer.into_body())).await.ok().flatten();
        let failure = Failure::new(told.unwrap_or_else(|| format!("the gateway answered {status}")));
        match status.is_server_error() {
            true => Err(NoAnswer::Broken(failure)),
            false => Err(NoAnswer::Refused(failure)),
        }
    }

    async fn ask(&self, path: &str, parameters: &[(String, String)]) -> Result<Response<Incoming>, String> {
        let connecting = timeout(CONNECT_TIME_MAX, TcpStream::connect((self.host.as_str(), self.port))).await;
        let stream = connecting.map_err(|_| "no answer to the connection".to_owned())?;
        let stream =
            stream.map_err(|error| error.to_string().split(" (os error").next().unwrap_or("").to_lowercase())?;
        let said = |error: hyper::Error| error.to_string();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
        // It ends with the sender and the body; what goes wrong shows there.
        tokio::spawn(connection);
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let request = Request::get(target(path, parameters))
            .header(header::HOST, format!("{host}:{}", self.port))
            .header(header::USER_AGENT, concat!("strata/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        sender.send_request(request).await.map_err(said)
    }
}

/// What a problem document says to do.
async fn problem(mut body: Incoming) -> Option<String> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        bytes.extend_from_slice(frame.ok()?.data_ref()?);
        if bytes.len() > PROBLEM_BYTES_MAX {
            return None;
        }
    }
    let document: Value = serde_json::from_slice(&bytes).ok()?;
    document.get("detail").and_then(Value::as_str).map(str::to_owned)
}

/// A path and a query with everything escaped that could mean something.
fn target(path: &str, parameters: &[(String, String)]) -> String {
    let query: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

/// Percent-encoding of all but unreserved characters (RFC 3986).
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_http_urls_without_a_path() {
        for (url, expect) in [
            ("http://127.0.0.1:8080", Some(("127.0.0.1", 8080))),
            ("http://strata/", Some(("strata", 80))),
            ("http://[::1]:81", Some(("::1", 81))),
            ("https://strata", None),
            ("strata:8080", None),
            ("http://strata/v1", None),
            ("", None),
        ] {
            let read = Gateway::parse(url).ok();
            assert_eq!(read.as_ref().map(|gateway| (gateway.host.as_str(), gateway.port)), expect, "{url}");
        }
        assert!(Gateway::parse("https://strata").unwrap_err().to_string().contains("without TLS"));
    }

    #[test]
    fn values_are_escaped() {
        let pairs = [("key".to_owned(), "a&b=c d+ü".to_owned()), ("limit".to_owned(), "3".to_owned())];
        assert_eq!(target("/v1", &pairs), "/v1?key=a%26b%3Dc%20d%2B%C3%BC&limit=3");
        assert_eq!(target("/v1", &[]), "/v1");
    }
}
