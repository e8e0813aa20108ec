//! Whose turn it is. Everything that happens to an archive comes in as a [`Message`]; only the scheduler starts steps.
//!
//! An archive is in one of these: it takes a step (its task has it), it waits for a turn (`is_queued`), it sleeps (perhaps
//! with a deadline), or it is over. Being told twice is being told once.

use std::collections::{BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use broker_model::TopicPartition;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Shared;
use crate::archive::Rest;
use crate::{ArchiveHandle, LocalLog, PartitionArchive, ShipError, ShipErrorKind, Step};

/// Late data that cannot be cut yet must not become a busy loop.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// An archive of any log.
pub(super) trait Stepper: Send {
    fn step(&mut self) -> BoxFuture<'_, Result<Step, ShipError>>;
    fn rest(&mut self) -> Rest;
}

impl<L: LocalLog> Stepper for PartitionArchive<L> {
    fn step(&mut self) -> BoxFuture<'_, Result<Step, ShipError>> {
        Box::pin(PartitionArchive::step(self))
    }

    fn rest(&mut self) -> Rest {
        PartitionArchive::rest(self)
    }
}

/// What the scheduler is told.
pub(super) enum Message {
    /// This archive has something to do.
    Wake(TopicPartition),
    /// A step ended.
    Done(TopicPartition, u64, Ended),
    /// A turn is free, or a pause ended.
    Look,
}

/// How a step ended.
pub(super) enum Ended {
    Worked(Box<dyn Stepper>),
    Rests(Box<dyn Stepper>, Rest),
    Failed(Box<dyn Stepper>, ShipError),
    /// Purged, or halted: it takes no step any more.
    Over,
    Panicked,
}

/// One archive.
pub(super) struct Slot {
    pub(super) handle: ArchiveHandle,
    /// Of two archives that were added for one partition, the messages of the first are not heeded.
    serial: u64,
    /// None while a step runs, and after the last one.
    archive: Option<Box<dyn Stepper>>,
    step: Option<JoinHandle<()>>,
    is_queued: bool,
    /// It was woken during its step.
    again: bool,
    /// Steps that failed since one succeeded.
    failures: u32,
    due: Option<Instant>,
}

impl Slot {
    pub(super) fn new(handle: ArchiveHandle, serial: u64, archive: Box<dyn Stepper>) -> Slot {
        let archive = Some(archive);
        Slot { handle, serial, archive, step: None, is_queued: false, again: false, failures: 0, due: None }
    }

    pub(super) fn abort(&self) {
        if let Some(step) = &self.step {
            step.abort();
        }
    }

    /// Ends the step that runs, and waits until it has ended.
    pub(super) async fn end(self) {
        if let Some(step) = self.step {
            step.abort();
            // An aborted task ends with an error that says so.
            let _ = step.await;
        }
    }
}

/// The one who starts steps.
pub(super) struct Scheduler {
    shared: Arc<Shared>,
    messages: mpsc::UnboundedReceiver<Message>,
    queue: VecDeque<TopicPartition>,
    deadlines: BTreeSet<(Instant, TopicPartition)>,
}

impl Scheduler {
    pub(super) fn new(shared: Arc<Shared>, messages: mpsc::UnboundedReceiver<Message>) -> Scheduler {
        Scheduler { shared, messages, queue: VecDeque::new(), deadlines: BTreeSet::new() }
    }

    pub(super) async fn run(mut self) {
        loop {
            self.start_steps();
            let next = self.deadlines.first().map(|(at, _)| *at);
            tokio::select! {
                message = self.messages.recv() => match message {
                    Some(message) => self.hear(message),
                    None => return,
                },
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => self.fall_due(),
            }
        }
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Wake(partition) => self.wake(partition),
            Message::Done(partition, serial, ended) => self.settle(partition, serial, ended),
            Message::Look => {}
        }
    }

    fn wake(&mut self, partition: TopicPartition) {
        let mut table = self.shared.table.lock();
        let Some(slot) = table.get_mut(&partition) else { return };
        // Nothing that happens meanwhile makes a failing store better.
        let waits_out = slot.failures > 0 && slot.due.is_some();
        if slot.archive.is_none() {
            slot.again = true;
        } else if !slot.is_queued && !waits_out {
            slot.is_queued = true;
            self.queue.push_back(partition);
        }
    }

    fn fall_due(&mut self) {
        let now = Instant::now();
        while let Some((at, partition)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, partition));
            let mut table = self.shared.table.lock();
            let Some(slot) = table.get_mut(&partition).filter(|slot| slot.due == Some(at)) else { continue };
            slot.due = None;
            if !slot.is_queued {
                slot.is_queued = true;
                self.queue.push_back(partition);
            }
        }
    }

    fn start_steps(&mut self) {
        while !self.queue.is_empty() && !self.shared.paused.load(Ordering::Acquire) {
            let Ok(turn) = Arc::clone(&self.shared.turns).try_acquire_owned() else { return };
            let Some(partition) = self.queue.pop_front() else { return };
            let mut table = self.shared.table.lock();
            let Some(slot) = table.get_mut(&partition).filter(|slot| slot.is_queued) else { continue };
            slot.is_queued = false;
            if let Some(at) = slot.due.take() {
                self.deadlines.remove(&(at, partition));
            }
            let Some(mut archive) = slot.archive.take() else { continue };
            slot.handle.begin();
            let (shared, serial) = (Arc::clone(&self.shared), slot.serial);
            slot.step = Some(tokio::spawn(async move {
                let stepped = AssertUnwindSafe(take_step(&mut archive)).catch_unwind().await;
                drop(turn);
                let ended = match stepped {
                    Ok(Ok(Taken::Worked)) => Ended::Worked(archive),
                    Ok(Ok(Taken::Rests(rest))) => Ended::Rests(archive, rest),
                    Ok(Ok(Taken::Over)) => Ended::Over,
                    Ok(Err(error)) if error.kind() == ShipErrorKind::Halted => Ended::Over,
                    Ok(Err(error)) => Ended::Failed(archive, error),
                    Err(_) => Ended::Panicked,
                };
                shared.tell(Message::Done(partition, serial, ended));
            }));
        }
    }

    fn settle(&mut self, partition: TopicPartition, serial: u64, ended: Ended) {
        let shared = Arc::clone(&self.shared);
        let mut table = shared.table.lock();
        let Some(slot) = table.get_mut(&partition).filter(|slot| slot.serial == serial) else { return };
        slot.step = None;
        let was_woken = std::mem::take(&mut slot.again);
        let pause = match ended {
            Ended::Worked(archive) => {
                slot.archive = Some(archive);
                slot.failures = 0;
                shared.troubled.store(false, Ordering::Relaxed);
                Duration::ZERO
            }
            Ended::Rests(archive, rest) => {
                slot.archive = Some(archive);
                slot.failures = 0;
                if was_woken { Duration::ZERO } else { self.rest_for(rest) }
            }
            Ended::Failed(archive, error) => {
                slot.archive = Some(archive);
                let pause = self.back_off(slot.failures);
                slot.failures = slot.failures.saturating_add(1);
                self.complain(partition, &error, pause);
                pause
            }
            Ended::Over => return,
            Ended::Panicked => return slot.handle.halt("its task panicked: this is a bug"),
        };
        if pause.is_zero() {
            slot.is_queued = true;
            self.queue.push_back(partition);
        } else {
            let at = Instant::now() + pause;
            slot.due = Some(at);
            self.deadlines.insert((at, partition));
        }
    }

    fn rest_for(&self, rest: Rest) -> Duration {
        let config = &self.shared.config;
        match rest {
            Rest::Restless => config.look,
            Rest::Until(due) => {
                let idle = self.shared.jitter(config.idle);
                let left = due.map(|due| due.0.saturating_sub((self.shared.clock)().0));
                let left = left.map(|left| Duration::from_millis(u64::try_from(left).unwrap_or(0)).max(PAUSE_MIN));
                left.map_or(idle, |left| left.min(idle))
            }
        }
    }

    fn back_off(&self, failures: u32) -> Duration {
        let config = &self.shared.config;
        let pause = config.backoff_min.saturating_mul(2u32.saturating_pow(failures.min(16)));
        self.shared.jitter(pause.min(config.backoff_max)).max(Duration::from_millis(1))
    }

    /// A store that is away fails all archives: one line tells of it until something works again.
    fn complain(&self, partition: TopicPartition, error: &ShipError, pause: Duration) {
        if self.shared.troubled.swap(true, Ordering::Relaxed) {
            tracing::debug!(%partition, %error, ?pause, "shipping failed, will try again");
        } else {
            tracing::warn!(%partition, %error, ?pause, "shipping failed, will try again");
        }
    }
}

/// What a step that did not fail leaves.
enum Taken {
    Worked,
    Rests(Rest),
    Over,
}

async fn take_step(archive: &mut Box<dyn Stepper>) -> Result<Taken, ShipError> {
    Ok(match archive.step().await? {
        Step::Worked => Taken::Worked,
        Step::Idle => Taken::Rests(archive.rest()),
        Step::Purged => Taken::Over,
    })
}
