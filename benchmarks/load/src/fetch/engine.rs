//! Fetches with some consumers until an end, in the calling thread: each asks again as soon as it is answered.

use std::collections::BTreeMap;
use std::io;

use super::lane::{Asking, Lane, Sink, Target};
use crate::clock;
use crate::cluster::Cluster;
use crate::error::LoadError;
use crate::net::{Interest, Poller, Ready};
use crate::produce::engine::{OnError, RECONNECT, RETRY};
use crate::report::Tally;

/// When a run ends, besides when all partitions are at their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Until {
    /// So many records were received.
    pub(crate) records: Option<u64>,
    /// This moment came.
    pub(crate) moment: Option<u64>,
}

/// What is done.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) bootstrap: String,
    /// The first so many partitions, or all.
    pub(crate) partitions: Option<usize>,
    pub(crate) consumers: usize,
    pub(crate) asking: Asking,
    /// Where each partition begins, and where it is done.
    pub(crate) starts: BTreeMap<i32, i64>,
    pub(crate) ends: Option<BTreeMap<i32, i64>>,
    pub(crate) until: Until,
    pub(crate) on_error: OnError,
}

/// The run.
pub(super) struct Engine<'a> {
    plan: &'a Plan,
    poller: Poller,
    lanes: Vec<Lane>,
    tally: Tally,
    errors_seen: u64,
}

impl<'a> Engine<'a> {
    /// Connects.
    pub(super) fn new(plan: &'a Plan) -> Result<Engine<'a>, LoadError> {
        let mut engine =
            Engine { plan, poller: Poller::new()?, lanes: Vec::new(), tally: Tally::new(), errors_seen: 0 };
        engine.connect(&assign(plan))?;
        Ok(engine)
    }

    fn connect(&mut self, targets: &[Vec<Target>]) -> Result<(), LoadError> {
        let leaders = Cluster::connect(&self.plan.bootstrap)?.leaders(&self.plan.asking.topic, self.plan.partitions)?;
        self.poller = Poller::new()?;
        self.lanes.clear();
        for (consumer, targets) in targets.iter().enumerate() {
            for (address, led) in &leaders.0 {
                let here: Vec<_> = targets.iter().filter(|target| led.contains(&target.partition)).copied().collect();
                if !here.is_empty() {
                    let lane = Lane::connect(*address, consumer, here, &self.plan.asking)?;
                    self.poller.add(&lane.stream, self.lanes.len())?;
                    self.lanes.push(lane);
                }
            }
        }
        Ok(())
    }

    /// Runs to the end.
    pub(super) fn run(mut self, sink: &mut Sink<'_>) -> Result<Tally, LoadError> {
        let mut ready = Vec::new();
        self.ask_all()?;
        while !self.is_done() {
            self.poller.wait(self.plan.until.moment, &mut ready)?;
            for event in &ready {
                self.serve(*event, sink)?;
            }
            if !self.pass_errors()? {
                break;
            }
        }
        Ok(self.tally)
    }

    fn is_done(&self) -> bool {
        let until = &self.plan.until;
        until.records.is_some_and(|records| self.tally.records >= records)
            || until.moment.is_some_and(|moment| clock::monotonic() >= moment)
            || self.lanes.iter().all(|lane| lane.is_done() && !lane.is_waiting)
    }

    fn ask_all(&mut self) -> Result<(), LoadError> {
        (0..self.lanes.len()).try_for_each(|number| self.ask(number))
    }

    fn ask(&mut self, number: usize) -> Result<(), LoadError> {
        let lane = &mut self.lanes[number];
        if lane.is_waiting || lane.is_done() {
            return Ok(());
        }
        lane.ask(&self.plan.asking)?;
        self.flush(number)
    }

    fn flush(&mut self, number: usize) -> Result<(), LoadError> {
        let lane = &mut self.lanes[number];
        if let Err(error) = lane.outbox.flush(&lane.stream) {
            return self.broken(number, error);
        }
        let wants_room = !lane.outbox.is_empty();
        if wants_room != lane.is_watched_for_room {
            let interest = if wants_room { Interest::ReadAndWrite } else { Interest::Read };
            self.poller.watch(&lane.stream, number, interest)?;
            lane.is_watched_for_room = wants_room;
        }
        Ok(())
    }

    fn serve(&mut self, event: Ready, sink: &mut Sink<'_>) -> Result<(), LoadError> {
        if event.writable {
            self.flush(event.number)?;
        }
        if event.readable && !self.lanes[event.number].receive(&mut self.tally, sink)? {
            return self.broken(event.number, io::ErrorKind::ConnectionReset.into());
        }
        if self.tally.errors.total == self.errors_seen { self.ask(event.number) } else { Ok(()) }
    }

    fn broken(&mut self, number: usize, source: io::Error) -> Result<(), LoadError> {
        if self.plan.on_error == OnError::End {
            return Err(LoadError::Io { what: "the server ended a connection".to_owned(), source });
        }
        self.tally.errors.broken();
        self.lanes[number].is_waiting = false;
        Ok(())
    }

    /// After an error: begins anew where it is, or tells with false that the run ends.
    fn pass_errors(&mut self) -> Result<bool, LoadError> {
        if self.tally.errors.total == self.errors_seen {
            return Ok(true);
        }
        if self.plan.on_error == OnError::End {
            return Ok(false);
        }
        self.errors_seen = self.tally.errors.total;
        let mut targets = vec![Vec::new(); self.plan.consumers];
        for lane in self.lanes.drain(..) {
            targets[lane.consumer].extend(lane.targets);
        }
        let until = clock::monotonic() + RECONNECT;
        while let Err(error) = self.connect(&targets) {
            if clock::monotonic() > until {
                return Err(error);
            }
            clock::pause(RETRY);
        }
        self.ask_all()?;
        Ok(true)
    }
}

/// The partitions of each consumer: spread over them, or shared where there are more consumers.
fn assign(plan: &Plan) -> Vec<Vec<Target>> {
    let all = plan.starts.iter().map(|(partition, start)| {
        let end = plan.ends.as_ref().map(|ends| ends.get(partition).copied().unwrap_or(*start));
        Target::new(*partition, *start, end)
    });
    let all: Vec<_> = all.collect();
    let mut consumers = vec![Vec::new(); plan.consumers];
    if all.is_empty() {
        return consumers;
    }
    for number in 0..all.len().max(plan.consumers) {
        consumers[number % plan.consumers].push(all[number % all.len()]);
    }
    consumers
}
