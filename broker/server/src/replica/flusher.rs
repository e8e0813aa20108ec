//! What all logs of one directory share: the threads that sync them, and the word that writes are slow now.
//!
//! Group commit is per log: whoever needs a sync asks for it by [`Flusher::ask`], a log waits in the queue at most once, and
//! one fdatasync(2) serves all who asked before it began. Logs are synced in parallel by a small pool, whose threads begin
//! on demand and stay. The queue holds no data: what is to be synced is in the page cache. While nobody syncs and syncs are
//! quick, whoever appended syncs on its own thread ([`Flusher::sync_or_ask`]): a lone producer then waits for the disk and
//! not for two changes of threads.
//!
//! Writes to a file may block for long while the kernel writes dirty pages back. Nobody can know before; so a write that
//! took long says so here, and for a while appends go to threads that may wait ([`Flusher::is_stalling`]).
//!
//! Start reading at [`Flusher::ask`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use broker_model::Timestamp;
use parking_lot::{Condvar, Mutex};
use tokio::time::Instant;
use tracing::error;

/// A log that the pool syncs.
pub(super) trait Syncs: std::fmt::Debug + Send + Sync {
    /// Where it stands.
    fn sync_state(&self) -> &SyncState;
    /// Syncs what is written now, and tells those who wait, also of an error.
    fn sync(&self);
}

/// Logs of one directory that are synced at the same time, for each core: a sync takes the system's time too, and a log that
/// has to wait for its turn shares it with more of those who wait for it.
const THREADS_PER_CORE: usize = 2;
/// The same on the smallest machine.
const THREADS_MIN: usize = 4;
/// A write that took so long was held up by the kernel, in milliseconds.
const STALL_MS: i64 = 10;
/// So long after a stall writes are taken to be slow, in milliseconds.
const STALL_MEMORY_MS: i64 = 1000;

/// A sync that takes longer holds up the other connections of a data thread for too long.
const QUICK: Duration = Duration::from_millis(1);

/// Where a log stands with its sync.
#[derive(Debug, Default)]
pub(super) struct SyncState(AtomicU8);

/// Nobody asked.
const IDLE: u8 = 0;
/// It waits for a thread: whatever was written until the thread takes it is synced.
const QUEUED: u8 = 1;
/// A thread syncs it.
const RUNNING: u8 = 2;
/// A thread syncs it, and somebody asked since.
const ASKED_AGAIN: u8 = 3;

impl SyncState {
    /// Somebody asks. True where the log is to be put into the queue.
    fn ask(&self) -> bool {
        let change = |state| match state {
            IDLE => Some(QUEUED),
            RUNNING => Some(ASKED_AGAIN),
            _ => None,
        };
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, change) == Ok(IDLE)
    }

    fn begin(&self) {
        self.0.store(RUNNING, Ordering::Release);
    }

    /// The sync ended. True where the log is to be put into the queue again.
    fn end(&self) -> bool {
        let change = |state| Some(if state == ASKED_AGAIN { QUEUED } else { IDLE });
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, change) == Ok(ASKED_AGAIN)
    }
}

/// The pool of one log directory. Dropping it ends the threads once the queue is empty.
#[derive(Debug)]
pub struct Flusher {
    shared: Arc<Shared>,
    threads_max: usize,
    slow_until: AtomicI64,
}

impl Default for Flusher {
    fn default() -> Flusher {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads_max = THREADS_MIN.max(THREADS_PER_CORE * cores);
        Flusher { shared: Arc::default(), threads_max, slow_until: AtomicI64::new(0) }
    }
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Threads that sync now.
    syncing: AtomicUsize,
    /// The last sync was quick.
    is_quick: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Arc<dyn Syncs>>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Flusher {
    /// `log` is to be synced as it is now.
    pub(super) fn ask<S: Syncs + 'static>(&self, log: &Arc<S>) {
        if log.sync_state().ask() {
            self.enqueue(log.clone());
        }
    }

    /// As [`ask`](Self::ask), and it is synced on this thread where no other syncs and that is quick.
    pub(super) fn sync_or_ask<S: Syncs + 'static>(&self, log: &Arc<S>) {
        if !log.sync_state().ask() {
            return;
        }
        let shared = &*self.shared;
        let is_alone = || shared.syncing.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if !(shared.is_quick.load(Ordering::Relaxed) && is_alone()) {
            return self.enqueue(log.clone());
        }
        let is_asked_again = shared.sync(&**log);
        shared.syncing.fetch_sub(1, Ordering::AcqRel);
        if is_asked_again {
            self.enqueue(log.clone());
        }
    }

    fn enqueue(&self, log: Arc<dyn Syncs>) {
        let mut queue = self.shared.queue.lock();
        queue.waiting.push_back(log);
        if queue.waiting.len() <= queue.idle {
            self.shared.wake.notify_one();
        } else if queue.threads < self.threads_max {
            self.begin_thread(&mut queue);
        }
    }

    fn begin_thread(&self, queue: &mut Queue) {
        let shared = self.shared.clone();
        match std::thread::Builder::new().name("flush".to_owned()).spawn(move || shared.work()) {
            Ok(_) => queue.threads += 1,
            // The others take it; without any, nothing can be acknowledged, and producers time out.
            Err(error) => error!(%error, "a thread that syncs logs cannot be started"),
        }
    }

    /// A write to a log of this directory took from `begun` to `ended`.
    pub(super) fn wrote(&self, begun: Timestamp, ended: Timestamp) {
        if ended.0 - begun.0 >= STALL_MS {
            self.slow_until.store(ended.0 + STALL_MEMORY_MS, Ordering::Relaxed);
        }
    }

    /// True while a write may block for long.
    pub(super) fn is_stalling(&self, now: Timestamp) -> bool {
        now.0 < self.slow_until.load(Ordering::Relaxed)
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        while let Some(log) = self.next() {
            self.syncing.fetch_add(1, Ordering::AcqRel);
            let is_asked_again = self.sync(&*log);
            self.syncing.fetch_sub(1, Ordering::AcqRel);
            if is_asked_again {
                self.queue.lock().waiting.push_back(log);
            }
        }
    }

    /// Syncs a log. True where somebody asked meanwhile.
    fn sync(&self, log: &dyn Syncs) -> bool {
        log.sync_state().begin();
        let begun = Instant::now();
        log.sync();
        self.is_quick.store(begun.elapsed() < QUICK, Ordering::Relaxed);
        log.sync_state().end()
    }

    fn next(&self) -> Option<Arc<dyn Syncs>> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(log) = queue.waiting.pop_front() {
                return Some(log);
            }
            if queue.closed {
                return None;
            }
            queue.idle += 1;
            self.wake.wait(&mut queue);
            queue.idle -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn who_asks_during_a_sync_gets_another() {
        let state = SyncState::default();
        assert!(state.ask() && !state.ask(), "a log waits once");
        state.begin();
        assert!(!state.ask() && !state.ask(), "the thread that syncs it takes it again");
        assert!(state.end());
        state.begin();
        assert!(!state.end());
        assert!(state.ask());
    }

    /// A log that counts what was written and what is synced.
    #[derive(Debug, Default)]
    struct Counted {
        state: SyncState,
        written: AtomicU64,
        synced: Mutex<(u64, u64)>,
        moved: Condvar,
    }

    impl Syncs for Counted {
        fn sync_state(&self) -> &SyncState {
            &self.state
        }

        fn sync(&self) {
            let written = self.written.load(Ordering::SeqCst);
            // Others write meanwhile, and share the next sync.
            std::thread::yield_now();
            let mut synced = self.synced.lock();
            *synced = (written, synced.1 + 1);
            self.moved.notify_all();
        }
    }

    #[test]
    fn everything_that_was_written_before_an_ask_is_synced() {
        const WRITERS: u64 = 8;
        const WRITES: u64 = 500;
        let (flusher, logs) = (Flusher::default(), [(); 3].map(|()| Arc::new(Counted::default())));
        std::thread::scope(|scope| {
            for _ in 0..WRITERS {
                scope.spawn(|| {
                    for log in (0..WRITES).flat_map(|_| &logs) {
                        let mine = log.written.fetch_add(1, Ordering::SeqCst) + 1;
                        if mine % 2 == 0 {
                            flusher.ask(log)
                        } else {
                            flusher.sync_or_ask(log)
                        }
                        let mut synced = log.synced.lock();
                        while synced.0 < mine {
                            log.moved.wait(&mut synced);
                        }
                    }
                });
            }
        });
        for log in &logs {
            let (synced, syncs) = *log.synced.lock();
            assert_eq!(synced, WRITERS * WRITES);
            assert!(syncs <= WRITERS * WRITES, "{syncs} syncs: nobody needs more than one");
        }
    }

    #[test]
    fn who_is_alone_syncs_itself_while_that_is_quick() {
        let (flusher, log) = (Flusher::default(), Arc::new(Counted::default()));
        flusher.shared.is_quick.store(true, Ordering::Relaxed);
        log.written.store(1, Ordering::SeqCst);
        flusher.shared.syncing.store(1, Ordering::Relaxed);
        flusher.sync_or_ask(&log);
        assert_eq!(flusher.shared.queue.lock().threads, 1, "another syncs: the pool does this one");
        let mut synced = log.synced.lock();
        while synced.0 < 1 {
            log.moved.wait(&mut synced);
        }
        drop(synced);
        let alone = (Flusher::default(), Arc::new(Counted::default()));
        alone.0.shared.is_quick.store(true, Ordering::Relaxed);
        alone.0.sync_or_ask(&alone.1);
        assert_eq!((alone.1.synced.lock().1, alone.0.shared.queue.lock().threads), (1, 0));
    }

    #[test]
    fn a_slow_write_is_remembered_for_a_while() {
        let flusher = Flusher::default();
        flusher.wrote(Timestamp(100), Timestamp(105));
        assert!(!flusher.is_stalling(Timestamp(105)));
        flusher.wrote(Timestamp(100), Timestamp(120));
        assert!(flusher.is_stalling(Timestamp(1119)) && !flusher.is_stalling(Timestamp(1120)));
    }
}
