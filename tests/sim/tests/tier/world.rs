//! The world of one seed: a log that grows, one writer that ships it and sometimes a second one, and a store that fails.
//! Each turn does one small thing: polls a writer to its next point, appends, moves the clock, lets a late put arrive,
//! cancels a step, crashes a writer. After each turn the promises are checked.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use broker_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};
use broker_records::{BatchBuilder, Codec};
use bytes::Bytes;
use futures::lock::Mutex;
use tiering_manifest::{Generation, PartitionPrefix, Root, Writer};
use tiering_plan::Rules;
use tiering_store::Store;
use tiering_tier::{
    ArchiveConfig, ArchiveHandle, Hooks, LocalLog, MemLog, PartitionArchive, ShipError, ShipErrorKind, Step,
};

use crate::check::{Broken, Truth, Verified, check};
use crate::random::Random;
use crate::store::{Mutation, SimStore};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const POLLS_MAX: usize = 200_000;

type Running = Pin<Box<dyn Future<Output = Result<Step, ShipError>>>>;

struct Process {
    archive: Arc<Mutex<PartitionArchive<MemLog>>>,
    handle: ArchiveHandle,
    step: Option<Running>,
    halted: bool,
}

/// How a poll left a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Waits,
    Worked,
    Idle,
    Failed,
    Halted,
    Purged,
}

/// One seed's world.
pub(crate) struct World {
    random: Random,
    mutation: Mutation,
    /// The store, and what it saw.
    pub(crate) store: SimStore,
    prefix: PartitionPrefix,
    log: Arc<MemLog>,
    model: Vec<(i64, i64, Bytes)>,
    processes: Vec<Process>,
    epoch: i32,
    rules: Rules,
    verified: Verified,
    checked: u64,
    deleted: bool,
    quiet_start: bool,
    /// Writers that were crashed.
    pub(crate) crashes: u64,
}

impl World {
    /// A world before its first turn.
    pub(crate) fn new(seed: u64, mutation: Mutation) -> World {
        let mut random = Random::new(seed);
        let rules = Rules {
            object_bytes: 200 + random.below(400),
            rpo_ms: Some(MINUTE),
            retention_ms: (random.below(3) == 0).then_some(6 * HOUR),
            retention_bytes: (random.below(3) == 0).then_some(2_000 + random.below(20_000)),
            id_life_ms: HOUR,
            grace_ms: 20 * MINUTE,
            copies: true,
            spare_ids: 1 + random.below(3) as usize,
        };
        let prefix = PartitionPrefix::new("sim", TopicId([7; 16]), PartitionIndex(0)).expect("the name is legal");
        let mut world = World {
            store: SimStore::new(seed, mutation),
            random,
            mutation,
            prefix,
            log: Arc::new(MemLog::new()),
            model: Vec::new(),
            processes: Vec::new(),
            epoch: 0,
            rules,
            verified: Verified::new(),
            checked: u64::MAX,
            deleted: false,
            quiet_start: false,
            crashes: 0,
        };
        world.log.advance_log_start(Offset::ZERO);
        // Some worlds begin with so many objects that groups are near, or are there already.
        if world.random.below(6) == 0 {
            world.rules = Rules { object_bytes: 1, retention_bytes: None, retention_ms: Some(6 * HOUR), ..world.rules };
            for _ in 0..[290, 560][world.random.below(2) as usize] {
                world.append();
            }
            world.quiet_start = true;
        }
        world
    }

    /// Lives for so many turns, then settles: no faults, one new writer, days pass.
    ///
    /// # Errors
    /// The first promise that is broken.
    pub(crate) fn live(&mut self, turns: usize) -> Result<(), Broken> {
        if self.quiet_start {
            let faults = std::mem::take(&mut self.store.0.lock().fault_in);
            self.start();
            self.run_until_idle()?;
            self.store.0.lock().fault_in = faults;
        }
        for _ in 0..turns {
            self.turn();
            self.check()?;
        }
        self.settle()
    }

    fn turn(&mut self) {
        if self.processes.iter().all(|process| process.halted) {
            self.processes.clear();
            self.start();
        }
        match self.random.below(1_000) {
            0..680 => {
                let at = self.random.below(self.processes.len() as u64) as usize;
                self.poll(at);
            }
            680..820 => self.append(),
            820..850 => self.log.roll(),
            850..900 => self.store.pass(1 + self.random.clone().below(30_000) as i64),
            900..906 => self.store.pass(HOUR / 2),
            906..908 => self.store.pass(30 * HOUR),
            908..940 => self.store.release_one(),
            940..946 => self.crash(),
            946..954 => self.cancel(),
            954..958 if self.processes.len() < 2 => self.start(),
            958..990 => self.delete_local(),
            990..993 => self.delete_records(),
            _ => {}
        }
        let _ = self.random.next();
    }

    fn now(&self) -> i64 {
        self.store.0.lock().now
    }

    /// Appends a batch of one to three records.
    fn append(&mut self) {
        let base = self.model.last().map_or(0, |(_, end, _)| *end);
        let now = self.now();
        let mut batch = BatchBuilder::new(Codec::None);
        let count = 1 + self.random.below(3);
        for at in 0..count {
            // Some clocks of producers are far off.
            let skew = if self.random.below(40) == 0 { 1_000 * HOUR } else { 0 };
            let value = self.random.next().to_be_bytes();
            batch.push(Timestamp(now + skew), Some(&at.to_be_bytes()), Some(&value), &[]);
        }
        let epoch = LeaderEpoch(self.epoch.max(1));
        let bytes = batch.finish(Offset(base), epoch);
        self.model.push((base, base + count as i64, bytes.clone()));
        self.log.append(bytes, Timestamp(now));
    }

    /// Starts a writer with the next epoch, or now and then, wrongly, with the same.
    fn start(&mut self) {
        if self.epoch == 0 || self.random.below(12) != 0 {
            self.epoch += 1;
        }
        let writer = Writer { generation: Generation(0), epoch: LeaderEpoch(self.epoch), nonce: self.random.next() };
        let clock = self.store.clone();
        let config = ArchiveConfig {
            store: Store::new(Arc::new(self.store.clone()), ""),
            prefix: self.prefix.clone(),
            writer,
            copy: None,
            clock: Arc::new(move || Timestamp(clock.0.lock().now)),
            rules: self.rules,
            puts_in_flight: 1 + self.random.below(3) as usize,
            hooks: Hooks::default(),
        };
        let (archive, handle) = PartitionArchive::open(config, Arc::clone(&self.log));
        let archive = Arc::new(Mutex::new(archive));
        self.processes.push(Process { archive, handle, step: None, halted: false });
        self.trace(format!("start {writer}"));
    }

    fn crash(&mut self) {
        if !self.processes.is_empty() {
            let at = self.random.below(self.processes.len() as u64) as usize;
            self.processes.remove(at);
            self.crashes += 1;
            self.trace(format!("crash {at}"));
        }
    }

    fn cancel(&mut self) {
        if !self.processes.is_empty() {
            let at = self.random.below(self.processes.len() as u64) as usize;
            self.processes[at].step = None;
            self.trace(format!("cancel {at}"));
        }
    }

    /// Polls a process to its next point.
    fn poll(&mut self, at: usize) -> Turn {
        let process = &mut self.processes[at];
        if process.halted {
            return Turn::Halted;
        }
        let step = process.step.get_or_insert_with(|| {
            let archive = Arc::clone(&process.archive);
            Box::pin(async move { archive.lock().await.step().await })
        });
        let mut context = Context::from_waker(futures::task::noop_waker_ref());
        let Poll::Ready(result) = step.as_mut().poll(&mut context) else { return Turn::Waits };
        process.step = None;
        match result {
            Ok(Step::Worked) => Turn::Worked,
            Ok(Step::Idle) => Turn::Idle,
            Ok(Step::Purged) => {
                process.halted = true;
                Turn::Purged
            }
            Err(error) => {
                let halted = error.kind() == ShipErrorKind::Halted;
                process.halted = halted;
                self.trace(format!("process {at} {error}"));
                if halted { Turn::Halted } else { Turn::Failed }
            }
        }
    }

    /// Local retention, as a broker does it: below what its archive knows to be durable.
    fn delete_local(&mut self) {
        let bounds = self.log.bounds();
        let durable = self.processes.iter().filter_map(|process| process.handle.durable_end()).max();
        let below = match self.mutation {
            Mutation::DeleteLocalEarly => bounds.closed_end,
            _ => durable.map_or(Offset::ZERO, |durable| durable.min(bounds.closed_end)),
        };
        self.log.delete_below(below);
    }

    fn delete_records(&mut self) {
        let bounds = self.log.bounds();
        let room = (bounds.end.0 - bounds.log_start.0).max(1) as u64;
        self.log.advance_log_start(bounds.log_start.plus(self.random.below(room) as i64));
    }

    fn trace(&self, line: String) {
        self.store.0.lock().trace.push(line);
    }

    fn check(&mut self) -> Result<(), Broken> {
        let bounds = self.log.bounds();
        let state = self.store.0.lock();
        let mark = state.changes.wrapping_mul(1 << 20).wrapping_add(bounds.local_start.0.cast_unsigned());
        if mark == self.checked {
            return Ok(());
        }
        self.checked = mark;
        let truth = Truth {
            prefix: &self.prefix,
            model: &self.model,
            deleted: self.deleted,
            local_start: bounds.local_start.0,
            log_start: bounds.log_start.0,
        };
        check(&state, &truth, &mut self.verified)
    }

    /// The end of a world: faults stop, a new writer does what is left, days pass. Everything is shipped then, and the
    /// store holds nothing but what the root refers to. Some worlds end with the deletion of the topic.
    fn settle(&mut self) -> Result<(), Broken> {
        self.store.0.lock().fault_in = 0;
        self.processes.clear();
        self.epoch += 1;
        while self.processes.is_empty() {
            self.start();
        }
        self.log.roll();
        for _ in 0..6 {
            self.run_until_idle()?;
            self.store.release_one();
            self.check()?;
            self.store.pass(26 * HOUR);
        }
        self.all_is_shipped()?;
        if self.random.below(2) == 0 {
            self.deleted = true;
            self.processes[0].handle.delete();
            for _ in 0..6 {
                if self.run_until_idle()? == Turn::Purged {
                    break;
                }
                self.store.pass(26 * HOUR);
            }
            if let Some(left) = self.store.0.lock().objects.keys().next() {
                return Err(("TIER-5", format!("{left} outlives its topic")));
            }
        }
        Ok(())
    }

    fn run_until_idle(&mut self) -> Result<Turn, Broken> {
        for _ in 0..POLLS_MAX {
            let turn = self.poll(0);
            if turn != Turn::Purged {
                self.check()?;
            }
            match turn {
                Turn::Idle | Turn::Purged => return Ok(turn),
                Turn::Halted => return Err(("LIVENESS", format!("halted: {:?}", self.processes[0].handle.halted()))),
                Turn::Waits | Turn::Worked | Turn::Failed => {}
            }
        }
        Err(("LIVENESS", "the writer never comes to rest".to_owned()))
    }

    fn all_is_shipped(&self) -> Result<(), Broken> {
        let state = self.store.0.lock();
        let stored = state.objects.get(&self.prefix.root()).ok_or(("LIVENESS", "there is no root".to_owned()))?;
        let root = Root::decode(&stored.bytes).map_err(|error| ("TIER-1", error.to_string()))?;
        let end = self.log.bounds().end;
        if root.end != end {
            return Err(("LIVENESS", format!("the tier ends at {}, the log at {end}", root.end)));
        }
        let waits = root.foreign().count() + root.occupied.len() + root.condemned.len();
        if waits > 0 {
            return Err(("LIVENESS", format!("{waits} rows wait for ever: {root:?}")));
        }
        let idle: Vec<String> = root.registered.iter().map(|row| self.prefix.object(&row.name())).collect();
        match idle.iter().find(|key| state.objects.contains_key(*key)) {
            Some(key) => Err(("TIER-5", format!("{key} is registered, and there for ever"))),
            None => Ok(()),
        }
    }
}
