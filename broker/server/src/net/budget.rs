//! One bound for the memory of all connections together.
//!
//! A connection asks for what it is about to receive, waits when the bound is reached, and gives back when the request is
//! answered. As long as there is room this is one atomic operation, and no connection meets another. A quarter of the memory
//! is for frames that hold little: who hoards large half frames does not keep the small requests of others waiting.
//!
//! Not here: fairness between clients (quotas), and memory that a request's handler makes (replies are file slices, cold
//! blocks have the cache's own bound).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// What holds at most this counts as small.
pub const SMALL_BYTES_MAX: usize = 64 << 10;

/// The bound that all connections share.
#[derive(Clone, Debug)]
pub struct Budget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bytes_max: usize,
    held: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
}

/// Memory that is charged; dropping it gives it back.
#[derive(Debug, Default)]
pub struct Charge {
    of: Option<Budget>,
    bytes: usize,
}

impl Budget {
    /// A bound of `bytes`.
    #[must_use]
    pub fn new(bytes: usize) -> Budget {
        let (held, waiting) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Budget { shared: Arc::new(Shared { bytes_max: bytes, held, waiting, freed: Notify::new() }) }
    }

    /// Raises `charge` to at least `bytes`, if there is room now. False where there is not.
    pub fn try_raise(&self, charge: &mut Charge, bytes: usize) -> bool {
        let missing = bytes.saturating_sub(charge.bytes);
        if missing == 0 {
            return true;
        }
        let bound = self.bound(bytes);
        let take = |held: usize| held.checked_add(missing).filter(|held| *held <= bound);
        if self.shared.held.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err() {
            return false;
        }
        charge.bytes += missing;
        charge.of.get_or_insert_with(|| self.clone());
        true
    }

    /// So many more bytes than `charge` has for `bytes`, once there is room. Dropping the future charges nothing.
    pub fn more(&self, charge: &Charge, bytes: usize) -> impl Future<Output = Charge> + Send + 'static {
        let (budget, held) = (self.clone(), charge.bytes);
        async move {
            let mut more = Charge { of: None, bytes: held };
            let _waiting = Waiting::count(&budget.shared.waiting);
            loop {
                let freed = budget.shared.freed.notified();
                tokio::pin!(freed);
                // From here on no release is missed.
                freed.as_mut().enable();
                if budget.try_raise(&mut more, bytes) {
                    // What was held before is the caller's.
                    more.bytes -= held;
                    return more;
                }
                freed.await;
            }
        }
    }

    /// Up to where memory may be held, by all together, when one charge has `bytes` of it.
    fn bound(&self, bytes: usize) -> usize {
        let bytes_max = self.shared.bytes_max;
        if bytes <= SMALL_BYTES_MAX { bytes_max } else { bytes_max - bytes_max / 4 }
    }

    /// True while somebody waits for memory that others hold.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.shared.waiting.load(Ordering::SeqCst) > 0
    }

    /// Bytes that nobody holds now.
    #[must_use]
    pub fn available(&self) -> usize {
        self.shared.bytes_max - self.shared.held.load(Ordering::SeqCst)
    }
}

impl Charge {
    /// Takes over what another holds.
    pub fn merge(&mut self, mut other: Charge) {
        self.bytes += std::mem::take(&mut other.bytes);
        self.of = self.of.take().or(other.of.take());
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let Some(Budget { shared }) = self.of.take() else { return };
        shared.held.fetch_sub(self.bytes, Ordering::SeqCst);
        if shared.waiting.load(Ordering::SeqCst) > 0 {
            shared.freed.notify_waiters();
        }
    }
}

/// Counts one who waits, while it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn count(waiting: &'a AtomicUsize) -> Waiting<'a> {
        waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_charge_waits_for_room_and_gives_it_back() {
        let budget = Budget::new(4000);
        let (mut one, mut two) = (Charge::default(), Charge::default());
        assert!(budget.try_raise(&mut one, 3000));
        assert!(budget.try_raise(&mut one, 2000));
        assert_eq!(budget.available(), 1000, "less than what is held costs nothing");
        assert!(!budget.try_raise(&mut two, 2000) && !budget.is_short());
        assert!(budget.try_raise(&mut two, 500));
        let waiting = budget.more(&two, 2000);
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        assert!(budget.is_short());
        drop(one);
        two.merge(waiting.await);
        assert_eq!((budget.available(), budget.is_short()), (2000, false));
        drop(two);
        assert_eq!(budget.available(), 4000);
    }

    #[test]
    fn small_requests_have_room_that_large_ones_cannot_take() {
        let budget = Budget::new(16 * SMALL_BYTES_MAX);
        let (mut large, mut more, mut small) = (Charge::default(), Charge::default(), Charge::default());
        assert!(budget.try_raise(&mut large, 12 * SMALL_BYTES_MAX));
        assert!(!budget.try_raise(&mut more, SMALL_BYTES_MAX + 1));
        assert!(budget.try_raise(&mut small, SMALL_BYTES_MAX));
        assert!(!budget.try_raise(&mut small, 2 * SMALL_BYTES_MAX));
    }

    #[tokio::test]
    async fn who_gives_up_waiting_is_charged_nothing() {
        let budget = Budget::new(1000);
        let mut one = Charge::default();
        assert!(budget.try_raise(&mut one, 1000));
        {
            let waiting = budget.more(&Charge::default(), 10);
            tokio::pin!(waiting);
            assert!(futures::poll!(waiting.as_mut()).is_pending());
        }
        drop(one);
        assert_eq!((budget.available(), budget.is_short()), (1000, false));
    }
}
