//! Those who wait for a partition to move: fetches until there is more to read, producers until the high watermark passes.
//!
//! A waiter registers, looks once more, and only then sleeps, so that no move is missed. A move wakes all who are registered
//! and forgets them; who still waits registers again. A waiter that ends takes itself off every list it is on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The waiters of one partition.
#[derive(Debug, Default)]
pub struct Waiters {
    count: AtomicUsize,
    list: Mutex<Vec<Arc<Notify>>>,
}

impl Waiters {
    /// Puts `waiter` on the list, if it is not there yet.
    pub fn register(&self, waiter: &Arc<Notify>) {
        let mut list = self.list.lock();
        if !list.iter().any(|known| Arc::ptr_eq(known, waiter)) {
            list.push(waiter.clone());
        }
        self.count.store(list.len(), Ordering::SeqCst);
    }

    /// Takes `waiter` off the list.
    pub fn forget(&self, waiter: &Arc<Notify>) {
        let mut list = self.list.lock();
        list.retain(|known| !Arc::ptr_eq(known, waiter));
        self.count.store(list.len(), Ordering::SeqCst);
    }

    /// The partition moved. Costs one load when nobody waits.
    pub fn wake(&self) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let woken = {
            let mut list = self.list.lock();
            self.count.store(0, Ordering::SeqCst);
            std::mem::take(&mut *list)
        };
        woken.iter().for_each(|waiter| waiter.notify_one());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wake_reaches_all_who_registered_before_it() {
        let waiters = Waiters::default();
        let (one, two) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        waiters.register(&one);
        waiters.register(&one);
        waiters.register(&two);
        waiters.forget(&two);
        waiters.wake();
        one.notified().await;
        assert!(futures::poll!(std::pin::pin!(two.notified())).is_pending());
        assert_eq!(waiters.list.lock().len(), 0);
    }
}
