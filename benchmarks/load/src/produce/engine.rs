//! Produces as fast as answers come (closed loop), or at a rate (open loop).
//!
//! In the open loop the n-th request has an intended moment, `start + n * interval`, and its latency counts from there:
//! a server that stalls makes all the requests late that should have been sent meanwhile, as its users would see it.
//!
//! After an answer that refuses, nothing more is sent; when all is answered, either the run ends, or (`allow_errors`)
//! the leaders are looked up anew and each connection becomes a new producer. What was refused or lost is not sent again,
//! so that the records that are reported are fewer than were asked for. Everything happens in the calling thread.

use std::io;

use broker_wire::ApiKey;
use broker_wire::messages::ApiVersionsRequest;

use super::lane::{Lane, Material};
use crate::client::request_frame;
use crate::clock;
use crate::cluster::Cluster;
use crate::error::LoadError;
use crate::net::{Inbox, Interest, Poller, Ready};
use crate::report::{Meter, Tally};

/// How long a server may be away in a run that goes on after errors, and how often it is looked for.
pub(crate) const RECONNECT: u64 = 60 * clock::SECOND;
pub(crate) const RETRY: u64 = 10 * clock::MILLISECOND;

/// How many requests a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    /// So many, acknowledged.
    Requests(u64),
    /// As many as there are in so many nanoseconds.
    Nanoseconds(u64),
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As soon as there is room in flight.
    Closed,
    /// Each so many nanoseconds, from this moment.
    Open {
        /// Of the first request; 0 for now.
        start: u64,
        interval: u64,
    },
}

/// What is done.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) bootstrap: String,
    pub(crate) topic: String,
    /// The first so many, or all.
    pub(crate) partitions: Option<usize>,
    pub(crate) idempotence: Idempotence,
    /// For each broker that leads.
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    pub(crate) pace: Pace,
    pub(crate) amount: Amount,
    /// Requests that are not counted.
    pub(crate) warm_up: u64,
    pub(crate) on_error: OnError,
}

/// Whether batches have sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idempotence {
    On,
    Off,
}

/// What an error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnError {
    /// The run ends.
    End,
    /// The run goes on.
    GoOn,
}

/// The run.
pub(super) struct Engine<'a> {
    plan: &'a Plan,
    material: &'a Material,
    poller: Poller,
    lanes: Vec<Lane>,
    tally: Tally,
    meter: Meter,
    /// Requests that were made, and that may be made.
    issued: u64,
    allowed: u64,
    /// When no more are made.
    deadline: Option<u64>,
    /// Requests of the open loop that became due.
    released: u64,
    pace: Pace,
    warm_up: u64,
    errors_seen: u64,
}

impl<'a> Engine<'a> {
    /// Connects.
    pub(super) fn new(plan: &'a Plan, material: &'a Material, meter: Meter) -> Result<Engine<'a>, LoadError> {
        let mut engine = Engine {
            plan,
            material,
            poller: Poller::new()?,
            lanes: Vec::new(),
            tally: Tally::new(),
            meter,
            issued: 0,
            allowed: u64::MAX,
            deadline: None,
            released: 0,
            pace: plan.pace,
            warm_up: plan.warm_up,
            errors_seen: 0,
        };
        engine.connect()?;
        Ok(engine)
    }

    fn connect(&mut self) -> Result<(), LoadError> {
        let mut cluster = Cluster::connect(&self.plan.bootstrap)?;
        let leaders = cluster.leaders(&self.plan.topic, self.plan.partitions)?;
        self.poller = Poller::new()?;
        self.issued += self.lanes.drain(..).map(|mut lane| lane.give_up() as u64).sum::<u64>();
        for (address, partitions) in &leaders.0 {
            if partitions.len() < self.material.batches_per_request {
                let what = format!("{} batches a request want as many partitions", self.material.batches_per_request);
                return Err(LoadError::Unusable(what));
            }
            for connection in 0..self.plan.connections {
                let producer = match self.plan.idempotence {
                    Idempotence::On => Some(cluster.producer_id()?),
                    Idempotence::Off => None,
                };
                let first = connection * partitions.len() / self.plan.connections;
                let lane = Lane::connect(*address, partitions, first, producer)?;
                self.poller.add(&lane.stream, self.lanes.len())?;
                self.lanes.push(lane);
            }
        }
        Ok(())
    }

    /// Runs to the end.
    pub(super) fn run(mut self) -> Result<(Tally, Meter), LoadError> {
        self.begin()?;
        let mut ready = Vec::new();
        self.fill_all()?;
        loop {
            self.pass_errors()?;
            if self.is_done() {
                break;
            }
            self.poller.wait(self.wakes_at(), &mut ready)?;
            for event in &ready {
                self.serve(*event)?;
            }
            self.release()?;
            self.pass_warm_up()?;
        }
        if self.material.acks == 0 {
            self.await_all_handled()?;
        }
        Ok((self.tally, self.meter))
    }

    fn begin(&mut self) -> Result<(), LoadError> {
        self.meter.restart()?;
        let now = clock::monotonic();
        if let Pace::Open { start, .. } = &mut self.pace {
            *start = if *start == 0 { now } else { *start };
        }
        match self.plan.amount {
            Amount::Requests(requests) => self.allowed = requests + self.warm_up,
            Amount::Nanoseconds(length) if self.warm_up == 0 => self.deadline = Some(now + length),
            Amount::Nanoseconds(_) => {}
        }
        Ok(())
    }

    fn pass_warm_up(&mut self) -> Result<(), LoadError> {
        if self.warm_up == 0 || self.tally.requests < self.warm_up {
            return Ok(());
        }
        self.warm_up = 0;
        self.tally.warmed_up();
        self.meter.restart()?;
        if let Amount::Nanoseconds(length) = self.plan.amount {
            self.deadline = Some(clock::monotonic() + length);
        }
        Ok(())
    }

    fn wakes_at(&self) -> Option<u64> {
        let due = match self.pace {
            Pace::Open { start, interval } if self.released < self.allowed => Some(start + self.released * interval),
            _ => None,
        };
        let deadline = self.deadline.filter(|_| self.issued < self.allowed);
        [due, deadline].into_iter().flatten().min()
    }

    /// Gives the requests that became due to the lanes, in turn.
    fn release(&mut self) -> Result<(), LoadError> {
        let now = clock::monotonic();
        if self.deadline.is_some_and(|deadline| now >= deadline) && self.allowed > self.issued {
            self.allowed = self.issued;
            self.lanes.iter_mut().for_each(|lane| lane.due.clear());
        }
        let Pace::Open { start, interval } = self.pace else { return Ok(()) };
        while self.released < self.allowed {
            let moment = start + self.released * interval;
            if moment > now {
                break;
            }
            let number = (self.released % self.lanes.len() as u64) as usize;
            self.lanes[number].due.push_back(moment);
            self.released += 1;
            self.fill(number)?;
        }
        Ok(())
    }

    fn fill_all(&mut self) -> Result<(), LoadError> {
        (0..self.lanes.len()).try_for_each(|number| self.fill(number))
    }

    /// Sends what a lane may send now.
    fn fill(&mut self, number: usize) -> Result<(), LoadError> {
        let lane = &mut self.lanes[number];
        while self.issued < self.allowed && lane.in_flight() < self.plan.in_flight && !lane.is_broken {
            let since = match self.pace {
                Pace::Closed => clock::monotonic(),
                Pace::Open { .. } => match lane.due.pop_front() {
                    Some(moment) => moment,
                    None => break,
                },
            };
            lane.send(self.material, self.issued, since);
            self.issued += 1;
        }
        self.flush(number)
    }

    fn flush(&mut self, number: usize) -> Result<(), LoadError> {
        let lane = &mut self.lanes[number];
        if lane.is_broken {
            return Ok(());
        }
        if let Err(error) = lane.outbox.flush(&lane.stream) {
            return self.broken(number, &error);
        }
        let mut wants_room = !lane.outbox.is_empty();
        if self.material.acks == 0 {
            lane.count_sent(self.material, &mut self.tally);
            // No answer will tell that there is room for the next request.
            wants_room |= self.pace == Pace::Closed && self.issued < self.allowed;
        }
        if wants_room != lane.is_watched_for_room {
            let interest = if wants_room { Interest::ReadAndWrite } else { Interest::Read };
            self.poller.watch(&lane.stream, number, interest)?;
            lane.is_watched_for_room = wants_room;
        }
        Ok(())
    }

    fn serve(&mut self, event: Ready) -> Result<(), LoadError> {
        if event.readable && !self.lanes[event.number].is_broken {
            let is_open = self.lanes[event.number].receive(self.material, &mut self.tally)?;
            if !is_open {
                return self.broken(event.number, &io::ErrorKind::ConnectionReset.into());
            }
        }
        if event.writable {
            self.flush(event.number)?;
        }
        if self.tally.errors.total > self.errors_seen { Ok(()) } else { self.fill(event.number) }
    }

    fn broken(&mut self, number: usize, error: &io::Error) -> Result<(), LoadError> {
        if self.plan.on_error == OnError::End {
            let source = io::Error::new(error.kind(), error.to_string());
            return Err(LoadError::Io { what: "the server ended a connection".to_owned(), source });
        }
        self.tally.errors.broken();
        // What was not answered may be in the log or not, and what was due is not sent.
        self.issued += self.lanes[number].give_up() as u64;
        Ok(())
    }

    /// After an error: waits until all is answered, then ends or begins anew.
    fn pass_errors(&mut self) -> Result<(), LoadError> {
        if self.tally.errors.total == self.errors_seen {
            return Ok(());
        }
        if self.plan.on_error == OnError::End {
            self.allowed = self.issued;
            self.lanes.iter_mut().for_each(|lane| lane.due.clear());
            return Ok(());
        }
        if self.lanes.iter().all(|lane| lane.in_flight() == 0) {
            self.errors_seen = self.tally.errors.total;
            let until = clock::monotonic() + RECONNECT;
            while let Err(error) = self.connect() {
                if clock::monotonic() > until {
                    return Err(error);
                }
                clock::pause(RETRY);
            }
            self.fill_all()?;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.issued >= self.allowed && self.lanes.iter().all(|lane| lane.in_flight() == 0 && lane.outbox.is_empty())
    }

    /// Waits until the server has read all of what needs no answer: it answers in order.
    fn await_all_handled(&mut self) -> Result<(), LoadError> {
        let (request, _) =
            request_frame(ApiKey::ApiVersions, 0, 0, |out| ApiVersionsRequest::default().encode(out, 0))?;
        for lane in &mut self.lanes {
            lane.stream.set_nonblocking(false).map_err(LoadError::io("cannot wait for the last answer"))?;
            lane.outbox.push(request.clone());
            lane.outbox.flush(&lane.stream).map_err(LoadError::io("the server ended a connection"))?;
        }
        for lane in &self.lanes {
            let mut inbox = Inbox::new();
            while inbox.next().is_none() {
                inbox.fill(&lane.stream).map_err(LoadError::io("the server ended a connection"))?;
            }
        }
        Ok(())
    }
}
