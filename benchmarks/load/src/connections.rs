//! The command `connections`: what many connections cost, idle or busy, and what another client notices of them.
//!
//! All connections go to one broker. Each asks for the versions once; then nothing (idle), or all together send
//! requests at a rate, in turn (busy). A probe sends the same kind of request at a rate of its own. Latencies count from
//! the intended moments. A connection that the server ends is counted and not opened again.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};

use broker_wire::ApiKey;
use broker_wire::messages::{ApiVersionsRequest, MetadataRequest};
use bytes::Bytes;
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use crate::client::{request_frame, resolve};
use crate::clock;
use crate::cluster::Cluster;
use crate::error::LoadError;
use crate::net::{Inbox, Interest, Outbox, Poller, Ready, connect};
use crate::produce::request::{RequestKind, RequestTemplate, VERSION_NEWEST, read_answer};
use crate::report::{Errors, Latency, LatencySummary, Measured, Meter};
use crate::server::Counters;
use crate::template::{Shape, Size, Stamp, Templates};
use crate::{Common, Finished};

/// How long the first answers of all connections may take.
const OPENING: u64 = 60 * clock::SECOND;

/// Opens many connections and holds them.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct ConnectionsArgs {
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
    #[arg(long, default_value_t = 2000)]
    count: usize,
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Requests a second of all connections together; 0 for idle ones.
    #[arg(long, default_value_t = 0.0)]
    busy_rate: f64,
    /// Requests are small batches of one record, acks=1, to this topic; without it, they ask for metadata of nothing.
    #[arg(long)]
    topic: Option<String>,
    #[arg(long, default_value_t = 100)]
    record_bytes: usize,
    /// Requests a second of the probe.
    #[arg(long, default_value_t = 100.0)]
    probe_rate: f64,
}

impl ConnectionsArgs {
    pub(crate) fn allow_errors(&self) -> bool {
        self.common.allow_errors
    }
}

#[derive(Debug, Serialize)]
struct ConnectionsReport<'a> {
    command: &'static str,
    settings: &'a ConnectionsArgs,
    opened: usize,
    open_seconds: f64,
    /// That the server ended.
    lost: usize,
    requests: u64,
    requests_per_second: f64,
    #[serde(flatten)]
    measured: Measured,
    server_rss_per_connection_bytes: Option<f64>,
    latency_us: Option<LatencySummary>,
    probe_latency_us: Option<LatencySummary>,
    errors: Errors,
}

/// What is asked again and again.
struct Question {
    /// For each partition one, or only one.
    frames: Vec<Bytes>,
    /// Of Produce; none for metadata.
    version: Option<i16>,
}

impl Question {
    fn new(args: &ConnectionsArgs, address: SocketAddr) -> Result<Question, LoadError> {
        let mut cluster = Cluster::connect(&args.common.bootstrap)?;
        let Some(topic) = &args.topic else {
            let version = cluster.versions().highest(ApiKey::Metadata, 12)?;
            let nothing = MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() };
            let (frame, _) = request_frame(ApiKey::Metadata, version, 0, |out| nothing.encode(out, version))?;
            return Ok(Question { frames: vec![frame], version: None });
        };
        let leaders = cluster.leaders(topic, None)?;
        let here = leaders.0.get(&address).filter(|partitions| !partitions.is_empty());
        let here = here.ok_or_else(|| LoadError::Unusable(format!("{address} leads no partition of {topic}")))?;
        let version = cluster.versions().highest(ApiKey::Produce, VERSION_NEWEST)?;
        let shape =
            Shape { codec: broker_records::Codec::None, value_bytes: args.record_bytes, size: Size::Records(1) };
        let templates = Templates::new(&shape);
        let kind = RequestKind { topic: topic.clone(), acks: 1, version, batches: 1 };
        let request = RequestTemplate::new(&kind, templates.get(0))?;
        let stamp = Stamp { timestamp: clock::wall_ms(), producer_id: -1, producer_epoch: -1, sequence: -1 };
        let frame = |partition: &i32| {
            let mut outbox = Outbox::default();
            request.send(0, &[(*partition, stamp)], templates.get(0), &mut outbox);
            outbox.into_bytes()
        };
        Ok(Question { frames: here.iter().map(frame).collect(), version: Some(version) })
    }

    fn nth(&self, n: u64) -> Bytes {
        self.frames[(n % self.frames.len() as u64) as usize].clone()
    }
}

/// One connection.
struct Line {
    stream: TcpStream,
    outbox: Outbox,
    inbox: Inbox,
    /// Intended moments of what is not answered.
    waiting: VecDeque<u64>,
    is_watched_for_room: bool,
    is_lost: bool,
}

/// Requests at a rate: the n-th is due at `start + n * interval`.
#[derive(Clone, Copy)]
struct Rate {
    start: u64,
    interval: Option<u64>,
    next: u64,
}

impl Rate {
    fn new(start: u64, per_second: f64) -> Rate {
        let interval = (per_second > 0.0).then(|| clock::from_seconds(1.0 / per_second).max(1));
        Rate { start, interval, next: 0 }
    }

    fn due(&self) -> Option<u64> {
        self.interval.map(|interval| self.start + self.next * interval)
    }
}

struct Holding {
    poller: Poller,
    /// The probe is the last one.
    lines: Vec<Line>,
    question: Question,
    latency: Latency,
    probe: Latency,
    errors: Errors,
    requests: u64,
    lost: usize,
}

impl Holding {
    /// Opens all, and waits until each was answered once.
    fn open(args: &ConnectionsArgs, address: SocketAddr) -> Result<Holding, LoadError> {
        let (hello, _) = request_frame(ApiKey::ApiVersions, 0, 0, |out| ApiVersionsRequest::default().encode(out, 0))?;
        let mut holding = Holding {
            poller: Poller::new()?,
            lines: Vec::with_capacity(args.count + 1),
            question: Question::new(args, address)?,
            latency: Latency::new(),
            probe: Latency::new(),
            errors: Errors::default(),
            requests: 0,
            lost: 0,
        };
        for number in 0..=args.count {
            let stream = connect(address)?;
            holding.poller.add(&stream, number)?;
            holding.lines.push(Line {
                stream,
                outbox: Outbox::default(),
                inbox: Inbox::small(),
                waiting: VecDeque::new(),
                is_watched_for_room: false,
                is_lost: false,
            });
            holding.send(number, hello.clone(), clock::monotonic())?;
        }
        let until = clock::monotonic() + OPENING;
        let mut ready = Vec::new();
        while holding.lines.iter().any(|line| !line.waiting.is_empty()) {
            if clock::monotonic() > until {
                return Err(LoadError::Late("an answer on each connection".to_owned()));
            }
            holding.poller.wait(Some(until), &mut ready)?;
            holding.serve(&ready, None)?;
        }
        Ok(holding)
    }

    fn send(&mut self, number: usize, frame: Bytes, moment: u64) -> Result<(), LoadError> {
        let line = &mut self.lines[number];
        if line.is_lost {
            return Ok(());
        }
        line.outbox.push(frame);
        line.waiting.push_back(moment);
        self.flush(number)
    }

    fn flush(&mut self, number: usize) -> Result<(), LoadError> {
        let line = &mut self.lines[number];
        if line.outbox.flush(&line.stream).is_err() {
            return self.lose(number);
        }
        let wants_room = !line.outbox.is_empty();
        if wants_room != line.is_watched_for_room {
            let interest = if wants_room { Interest::ReadAndWrite } else { Interest::Read };
            self.poller.watch(&line.stream, number, interest)?;
            line.is_watched_for_room = wants_room;
        }
        Ok(())
    }

    fn lose(&mut self, number: usize) -> Result<(), LoadError> {
        let line = &mut self.lines[number];
        if !line.is_lost {
            line.is_lost = true;
            line.waiting.clear();
            self.lost += 1;
            self.errors.broken();
            self.poller.remove(&line.stream)?;
        }
        Ok(())
    }

    /// Takes what came; `version` of Produce where answers are of it.
    fn serve(&mut self, ready: &[Ready], version: Option<i16>) -> Result<(), LoadError> {
        for event in ready {
            if event.writable {
                self.flush(event.number)?;
            }
            if !event.readable || self.lines[event.number].is_lost {
                continue;
            }
            let is_probe = event.number + 1 == self.lines.len();
            let line = &mut self.lines[event.number];
            let is_open = line.inbox.fill(&line.stream).is_ok();
            let now = clock::monotonic();
            while let Some(frame) = line.inbox.next() {
                let Some(moment) = line.waiting.pop_front() else {
                    return Err(LoadError::Unusable("an answer to no request of ours".to_owned()));
                };
                if let Some(version) = version {
                    read_answer(version, frame)?.1.into_iter().for_each(|code| self.errors.code(code));
                }
                let latency = if is_probe { &mut self.probe } else { &mut self.latency };
                latency.add(now.saturating_sub(moment), 1);
                self.requests += u64::from(!is_probe);
            }
            if !is_open {
                self.lose(event.number)?;
            }
        }
        Ok(())
    }

    /// Sends what is due, until the end.
    fn hold(&mut self, args: &ConnectionsArgs) -> Result<(), LoadError> {
        self.latency.clear();
        self.probe.clear();
        self.requests = 0;
        let start = clock::monotonic();
        let until = start + clock::from_seconds(args.seconds);
        let (mut busy, mut probe) = (Rate::new(start, args.busy_rate), Rate::new(start, args.probe_rate));
        let mut ready = Vec::new();
        let last = self.lines.len() - 1;
        while clock::monotonic() < until {
            let now = clock::monotonic();
            while let Some(moment) = busy.due().filter(|moment| *moment <= now && last > 0) {
                self.send((busy.next % last as u64) as usize, self.question.nth(busy.next), moment)?;
                busy.next += 1;
            }
            while let Some(moment) = probe.due().filter(|moment| *moment <= now) {
                self.send(last, self.question.nth(probe.next), moment)?;
                probe.next += 1;
            }
            let wakes_at = [busy.due().filter(|_| last > 0), probe.due(), Some(until)].into_iter().flatten().min();
            self.poller.wait(wakes_at, &mut ready)?;
            self.serve(&ready, self.question.version)?;
        }
        Ok(())
    }
}

/// Runs the command.
pub(crate) fn run(args: &ConnectionsArgs) -> Result<Finished, LoadError> {
    // As many sockets as are allowed: the limit is for programs that do not know what they do.
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised)
        .map_err(|error| LoadError::io("cannot raise the limit of open files")(error))?;
    let address = resolve(&args.common.bootstrap)?;
    let pids = &args.common.server_pid;
    let before = Counters::read(pids)?;
    let since = clock::monotonic();
    let mut holding = Holding::open(args, address)?;
    let open_seconds = clock::seconds(clock::monotonic() - since);
    let meter = Meter::begin(pids)?;
    holding.hold(args)?;
    let measured = meter.end(clock::monotonic())?;
    let grown = |after: u64| after as f64 - before.rss_bytes() as f64;
    let report = ConnectionsReport {
        command: "connections",
        settings: args,
        opened: args.count,
        open_seconds,
        lost: holding.lost,
        requests: holding.requests,
        requests_per_second: holding.requests as f64 / measured.seconds.max(1e-9),
        server_rss_per_connection_bytes: measured
            .server
            .as_ref()
            .map(|server| grown(server.rss_bytes) / args.count.max(1) as f64),
        latency_us: holding.latency.summary(),
        probe_latency_us: holding.probe.summary(),
        errors: holding.errors.clone(),
        measured,
    };
    let probe = report.probe_latency_us.as_ref();
    let line = format!(
        "connections: {} open in {open_seconds:.3} s, {:.0} requests/s, probe p50 {:.0} us, p99 {:.0} us, {} errors",
        args.count,
        report.requests_per_second,
        probe.map_or(0.0, |latency| latency.p50),
        probe.map_or(0.0, |latency| latency.p99),
        report.errors.total,
    );
    Finished::new(&report, line, report.errors.total)
}
