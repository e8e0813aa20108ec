//! One connection that produces: its partitions, its sequence numbers, what it has in flight.
//!
//! Invariants: at most `in_flight` requests are not answered; sequence numbers of a partition follow each other; answers
//! come in the order of the requests, or the run ends.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};

use super::request::{RequestTemplate, read_answer};
use crate::clock;
use crate::error::LoadError;
use crate::net::{Inbox, Outbox, connect};
use crate::report::Tally;
use crate::template::{Stamp, Templates};

/// What the requests of all lanes are made of.
#[derive(Debug)]
pub(crate) struct Material {
    pub(crate) templates: Templates,
    /// One for each template.
    pub(super) requests: Vec<RequestTemplate>,
    pub(super) version: i16,
    pub(super) acks: i16,
    pub(super) batches_per_request: usize,
}

/// A request that is not answered yet.
#[derive(Clone, Copy, Debug)]
struct Flight {
    correlation_id: i32,
    /// When it was sent, or should have been.
    since: u64,
    /// The outbox's count when all of it was sent.
    sent_at: u64,
    bytes: usize,
}

/// A partition that is produced to.
#[derive(Clone, Copy, Debug)]
struct Target {
    partition: i32,
    sequence: i32,
}

/// The connection.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) stream: TcpStream,
    pub(super) outbox: Outbox,
    inbox: Inbox,
    targets: Vec<Target>,
    next: usize,
    producer: Option<(i64, i16)>,
    flights: VecDeque<Flight>,
    correlation_id: i32,
    /// Intended moments of requests that wait for room in flight.
    pub(super) due: VecDeque<u64>,
    /// The poller tells when it takes more.
    pub(super) is_watched_for_room: bool,
    pub(super) is_broken: bool,
}

impl Lane {
    /// Connects. `first` is where in its partitions it begins.
    pub(super) fn connect(
        address: SocketAddr,
        partitions: &[i32],
        first: usize,
        producer: Option<(i64, i16)>,
    ) -> Result<Lane, LoadError> {
        Ok(Lane {
            stream: connect(address)?,
            outbox: Outbox::default(),
            inbox: Inbox::new(),
            targets: partitions.iter().map(|partition| Target { partition: *partition, sequence: 0 }).collect(),
            next: first % partitions.len().max(1),
            producer,
            flights: VecDeque::new(),
            correlation_id: 0,
            due: VecDeque::new(),
            is_watched_for_room: false,
            is_broken: false,
        })
    }

    /// Requests that are not answered.
    pub(super) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Makes the n-th request of the run and puts it into the outbox.
    pub(super) fn send(&mut self, material: &Material, n: u64, since: u64) {
        let number = material.templates.nth(n);
        let template = material.templates.get(number);
        let request = &material.requests[number];
        let records = material.templates.records as i32;
        let timestamp = clock::wall_ms();
        let mut batches = Vec::with_capacity(material.batches_per_request);
        for _ in 0..material.batches_per_request {
            let target = &mut self.targets[self.next];
            let stamp = match self.producer {
                Some((producer_id, producer_epoch)) => {
                    Stamp { timestamp, producer_id, producer_epoch, sequence: target.sequence }
                }
                None => Stamp { timestamp, producer_id: -1, producer_epoch: -1, sequence: -1 },
            };
            batches.push((target.partition, stamp));
            // Sequence numbers go round at 2^31.
            target.sequence = target.sequence.wrapping_add(records) & i32::MAX;
            self.next = (self.next + 1) % self.targets.len();
        }
        self.correlation_id = self.correlation_id.wrapping_add(1);
        request.send(self.correlation_id, &batches, template, &mut self.outbox);
        let sent_at = self.outbox.queued;
        self.flights.push_back(Flight { correlation_id: self.correlation_id, since, sent_at, bytes: request.bytes });
    }

    /// Receives what is there and counts the answers. False where the connection broke.
    pub(super) fn receive(&mut self, material: &Material, tally: &mut Tally) -> Result<bool, LoadError> {
        let Ok(_) = self.inbox.fill(&self.stream) else { return Ok(false) };
        let now = clock::monotonic();
        while let Some(frame) = self.inbox.next() {
            let (correlation_id, refused) = read_answer(material.version, frame)?;
            let flight = self.flights.pop_front().filter(|flight| flight.correlation_id == correlation_id);
            let flight = flight.ok_or_else(|| LoadError::Unusable("an answer to no request of ours".to_owned()))?;
            count(&flight, material, now, tally);
            for code in refused {
                tally.errors.code(code);
                tally.records = tally.records.saturating_sub(material.templates.records as u64);
                tally.bytes = tally.bytes.saturating_sub(material.templates.value_bytes as u64);
            }
        }
        Ok(true)
    }

    /// Counts what needs no answer (acks=0) as soon as all of it was sent.
    pub(super) fn count_sent(&mut self, material: &Material, tally: &mut Tally) {
        let now = clock::monotonic();
        while let Some(flight) = self.flights.front().filter(|flight| flight.sent_at <= self.outbox.sent) {
            count(flight, material, now, tally);
            self.flights.pop_front();
        }
    }

    /// Gives up, and tells how many requests were due and will not be sent.
    pub(super) fn give_up(&mut self) -> usize {
        self.is_broken = true;
        self.flights.clear();
        self.due.drain(..).count()
    }
}

fn count(flight: &Flight, material: &Material, now: u64, tally: &mut Tally) {
    let batches = material.batches_per_request as u64;
    tally.requests += 1;
    tally.records += batches * material.templates.records as u64;
    tally.bytes += batches * material.templates.value_bytes as u64;
    tally.wire_bytes += flight.bytes as u64;
    tally.latency.add(now.saturating_sub(flight.since), 1);
}
