//! The text that a start prints: where it listens, which defaults hold, and what to try next.
//!
//! The commands are whole and can be copied as they stand. The text is made here and printed by the program, so that a
//! test can read it.

use std::fmt::Write;
use std::net::SocketAddr;

use broker_model::config::{broker, network, tier};

use super::{Settings, TierPlace};

/// What is known once the program runs: its own name, and the addresses, which differ from the settings at port 0.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    /// How the program was called, so that its other commands can be called the same way.
    pub program: String,
    /// Of the Kafka listeners, in the order of the settings.
    pub kafka: Vec<SocketAddr>,
    /// Of the HTTP listeners, in the order of the settings.
    pub http: Vec<SocketAddr>,
}

/// The text of a start.
#[must_use]
pub fn banner(settings: &Settings, bound: &Bound) -> String {
    let mut text = format!("Strata {} is ready.\n\n", env!("CARGO_PKG_VERSION"));
    places(&mut text, settings, bound);
    defaults(&mut text, settings);
    next(&mut text, settings, bound);
    text
}

/// Appends a line. Writing to a text cannot fail.
fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a string takes every text");
    text.push('\n');
}

fn places(text: &mut String, settings: &Settings, bound: &Bound) {
    for (listener, address) in settings.listeners.iter().zip(&bound.kafka) {
        let told = &listener.advertised;
        let port = if told.port == 0 { address.port() } else { told.port };
        line(text, format_args!("  Kafka   {address} ({}, clients are told {}:{port})", listener.name, told.host));
    }
    for address in &bound.http {
        line(text, format_args!("  HTTP    http://{address}"));
    }
    if bound.http.is_empty() {
        line(text, format_args!("  HTTP    off"));
    }
    let variables = settings.variables;
    let variables = (variables > 0).then(|| format!("{variables} of KAFKA_* variables"));
    let file = settings.file.as_ref().map(|file| file.display().to_string());
    let config: Vec<_> = file.into_iter().chain(variables).collect();
    if !config.is_empty() {
        line(text, format_args!("  Config  {}", config.join(", ")));
    }
    let dirs: Vec<_> = settings.dirs.logs.iter().map(|dir| dir.display().to_string()).collect();
    line(text, format_args!("  Data    {}", dirs.join(", ")));
    if !settings.dirs.logs.contains(&settings.dirs.metadata) {
        line(text, format_args!("  Meta    {}", settings.dirs.metadata.display()));
    }
    match &settings.tier.place {
        TierPlace::Directory(path) => line(text, format_args!("  Bucket  {} (a directory)", path.display())),
        place => line(text, format_args!("  Bucket  {}", place.url())),
    }
}

fn defaults(text: &mut String, settings: &Settings) {
    let values = &settings.values;
    let given = if settings.file.is_some() || settings.variables > 0 {
        "Settings that matter most"
    } else {
        "No configuration file; these defaults hold"
    };
    line(text, format_args!("\n{given}:"));
    let local = values.get(broker::LOG_LOCAL_RETENTION_MS);
    if local >= 0 {
        line(
            text,
            format_args!(
                "  log.local.retention.ms={local} ({}): then local disk has only what the bucket has not",
                span(local)
            ),
        );
    } else {
        line(
            text,
            format_args!("  log.local.retention.ms={local}: records stay on local disk as long as they are kept"),
        );
    }
    if values.get(tier::REMOTE_STORAGE_ENABLE_DEFAULT) {
        line(
            text,
            format_args!(
                "  strata.remote.storage.enable.default=true: topics go to the bucket unless they say otherwise"
            ),
        );
    } else {
        line(
            text,
            format_args!("  strata.remote.storage.enable.default=false: topics stay local unless they say otherwise"),
        );
    }
    line(text, format_args!("  num.partitions={}", settings.topics.partitions_default));
    line(text, format_args!("  auto.create.topics.enable={}", settings.topics.auto_create));
    line(text, format_args!("  {}={}", network::NODE_ID.name(), settings.node.node_id));
    line(text, format_args!("  No TLS, no authentication: whoever reaches a listener may read and write."));
}

fn next(text: &mut String, settings: &Settings, bound: &Bound) {
    let Some(kafka) = bound.kafka.first() else { return };
    let kafka = reachable(*kafka);
    line(text, format_args!("\nTry next:"));
    line(text, format_args!("  printf 'ada:hello\\nbob:world\\n' | kcat -b {kafka} -t greetings -P -K:"));
    line(text, format_args!("  kcat -b {kafka} -t greetings -C -o beginning -e"));
    line(
        text,
        format_args!("  kafka-console-consumer.sh --bootstrap-server {kafka} --topic greetings --from-beginning"),
    );
    if let Some(http) = bound.http.first() {
        let http = reachable(*http);
        line(text, format_args!("  curl 'http://{http}/v1/topics/greetings/records?limit=10'"));
        line(text, format_args!("  curl http://{http}/ready"));
    }
    let words: Vec<&str> = [bound.program.as_str()]
        .into_iter()
        .chain(settings.place_words.iter().map(String::as_str))
        .chain(["tier", "ls"])
        .collect();
    line(text, format_args!("  {}", words.join(" ")));
}

/// An address that a client on this machine can connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

/// Milliseconds in the largest unit that divides them.
fn span(ms: i64) -> String {
    let units = [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1000, "second")];
    match units.iter().find(|(unit, _)| ms > 0 && ms % unit == 0) {
        Some((unit, name)) if ms == *unit => format!("1 {name}"),
        Some((unit, name)) => format!("{} {name}s", ms / unit),
        None => format!("{ms} ms"),
    }
}
