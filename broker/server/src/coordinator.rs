//! The owner of a decision machine: one task that feeds its driver and hands out what may leave.
//!
//! Callers ask by a [`Handle`] and get a reply once all that it depends on is committed. The queue is bounded: when it is
//! full the caller hears so. Before replies leave, the owner's `publish` sees what is committed, so that who hears "the
//! topic is created" finds it. Where the driver lost its log it is reloaded under the next epoch: one recovery path.

use std::collections::HashMap;
use std::time::Duration;

use broker_log::DiskFiles;
use broker_model::Timestamp;
use broker_model::machine::{CallId, Input, Machine, Refusal};
use broker_quorum::{DIRT_BYTES_MAX, Driver, FileLog};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::clock;

/// Requests that wait for one machine.
const QUEUE: usize = 4096;
/// A machine that cannot be reloaded is tried again after this time.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);

/// One request and where its reply goes.
struct Ask<R, O> {
    request: R,
    reply: oneshot::Sender<Result<O, Refusal>>,
}

/// The way to ask a machine.
#[derive(Debug)]
pub struct Handle<R, O> {
    queue: mpsc::Sender<Ask<R, O>>,
}

impl<R, O> Clone for Handle<R, O> {
    fn clone(&self) -> Self {
        Handle { queue: self.queue.clone() }
    }
}

/// A request that stands in the machine's queue, in the order of [`Handle::ask`].
pub struct Asked<O> {
    reply: Result<oneshot::Receiver<Result<O, Refusal>>, Refusal>,
}

impl<R, O> Handle<R, O> {
    /// False when the machine's owner has ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Puts a request into the queue, at once: two calls keep their order.
    pub fn ask(&self, request: R) -> Asked<O> {
        let (reply, receiver) = oneshot::channel();
        let queued = self.queue.try_send(Ask { request, reply });
        Asked { reply: queued.map(|()| receiver).map_err(|_| Refusal::Unavailable) }
    }
}

impl<O> Asked<O> {
    /// A request that did not get into a queue.
    #[must_use]
    pub fn refused(refusal: Refusal) -> Asked<O> {
        Asked { reply: Err(refusal) }
    }

    /// The machine's answer.
    ///
    /// # Errors
    /// The [`Refusal`] that says what to do; [`Refusal::NotLeader`] when the machine is gone.
    pub async fn answer(self) -> Result<O, Refusal> {
        self.reply?.await.unwrap_or(Err(Refusal::NotLeader))
    }
}

/// A queue for a machine, and its end for [`run`].
pub fn queue<M: Machine>() -> (Handle<M::Request, M::Output>, Inbox<M>) {
    let (queue, inbox) = mpsc::channel(QUEUE);
    (Handle { queue }, Inbox { inbox })
}

/// What [`run`] reads from.
pub struct Inbox<M: Machine> {
    inbox: mpsc::Receiver<Ask<M::Request, M::Output>>,
}

/// Owns `driver` until `stop`. `publish` is called after each change with the driver, before replies leave.
pub async fn run<M: Machine>(
    mut driver: Driver<M, FileLog<DiskFiles>>,
    mut inbox: Inbox<M>,
    mut publish: impl FnMut(&Driver<M, FileLog<DiskFiles>>),
    stop: CancellationToken,
) {
    let (mut waiting, mut next) = (HashMap::new(), 0u64);
    loop {
        tokio::select! {
            asked = inbox.inbox.recv() => {
                let Some(Ask { request, reply }) = asked else { return };
                next += 1;
                waiting.insert(CallId(next), reply);
                driver.handle(clock::now(), Input::Request(CallId(next), request));
            }
            () = until(driver.next_deadline()) => driver.tick(clock::now()),
            () = stop.cancelled() => return,
        }
        driver.pump(clock::now());
        driver.compact_if_dirty(clock::now(), DIRT_BYTES_MAX);
        publish(&driver);
        for (call, reply) in driver.drain() {
            if let Some(caller) = waiting.remove(&call) {
                // A caller whose connection ended does not wait any more.
                let _ = caller.send(reply);
            }
        }
        if !driver.is_leading() && !reload(&mut driver, &mut inbox, &stop).await {
            return;
        }
    }
}

/// Loads the machine again until that succeeds; meanwhile everybody hears that it does not lead. False where it is over.
async fn reload<M: Machine>(
    driver: &mut Driver<M, FileLog<DiskFiles>>,
    inbox: &mut Inbox<M>,
    stop: &CancellationToken,
) -> bool {
    warn!("coordinator lost its log, loads again");
    let mut is_told = false;
    loop {
        let epoch = driver.log().next_epoch();
        let Err(error) = driver.reload(epoch, clock::now()) else { return true };
        if !std::mem::replace(&mut is_told, true) {
            error!(%epoch, %error, "coordinator cannot load its log, tries again each second");
        }
        tokio::select! {
            () = tokio::time::sleep(RELOAD_PAUSE) => {}
            () = refuse_all(inbox) => return false,
            () = stop.cancelled() => return false,
        }
    }
}

/// Answers everybody that this machine does not lead, until nobody is left who could ask.
async fn refuse_all<M: Machine>(inbox: &mut Inbox<M>) {
    while let Some(Ask { reply, .. }) = inbox.inbox.recv().await {
        // A caller whose connection ended does not wait any more.
        let _ = reply.send(Err(Refusal::NotLeader));
    }
}

async fn until(deadline: Option<Timestamp>) {
    match deadline {
        Some(deadline) => {
            let left = u64::try_from(deadline.0.saturating_sub(clock::now().0)).unwrap_or(0);
            tokio::time::sleep(Duration::from_millis(left)).await;
        }
        None => std::future::pending().await,
    }
}
