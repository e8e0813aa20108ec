//! One bound for the memory of all connections together.
//!
//! A connection asks for what it is about to receive, waits when the bound is reached, and gives back when the request is
//! answered. Units are KiB, because the semaphore beneath counts in 32 bits.
//!
//! Not here: fairness between clients (quotas), and memory that a request's handler makes (replies are file slices, cold
//! blocks have the cache's own bound).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const UNIT: usize = 1024;

/// The bound that all connections share.
#[derive(Clone, Debug)]
pub struct Budget {
    semaphore: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

/// Counts one who waits, while it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Memory that is charged; dropping it gives it back.
#[derive(Debug, Default)]
pub struct Charge {
    permit: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Budget {
    /// A bound of `bytes`, rounded up to whole KiB.
    #[must_use]
    pub fn new(bytes: usize) -> Budget {
        Budget { semaphore: Arc::new(Semaphore::new(bytes.div_ceil(UNIT))), waiting: Arc::default() }
    }

    /// Raises `charge` to at least `bytes`, if there is room now. False where there is not.
    pub fn try_raise(&self, charge: &mut Charge, bytes: usize) -> bool {
        let missing = missing(charge, bytes);
        if missing == 0 {
            return true;
        }
        let Ok(more) = self.semaphore.clone().try_acquire_many_owned(missing) else { return false };
        charge.add(more);
        true
    }

    /// So many more bytes than `charge` has for `bytes`, once there is room. Dropping the future charges nothing.
    pub fn more(&self, charge: &Charge, bytes: usize) -> impl Future<Output = Charge> + Send + 'static {
        let (budget, missing) = (self.clone(), missing(charge, bytes));
        async move {
            budget.waiting.fetch_add(1, Ordering::Relaxed);
            let _waiting = Waiting(&budget.waiting);
            let more =
                budget.semaphore.clone().acquire_many_owned(missing).await.expect("the semaphore is never closed");
            let mut charge = Charge::default();
            charge.add(more);
            charge
        }
    }

    /// True while somebody waits for memory that others hold.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Bytes that nobody holds now.
    #[must_use]
    pub fn available(&self) -> usize {
        self.semaphore.available_permits() * UNIT
    }
}

impl Charge {
    /// Takes over what another holds.
    pub fn merge(&mut self, mut other: Charge) {
        if let Some(permit) = other.permit.take() {
            self.add(permit);
        }
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        self.bytes += more.num_permits() * UNIT;
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
    }
}

/// Units that `charge` lacks for `bytes`.
fn missing(charge: &Charge, bytes: usize) -> u32 {
    let missing = bytes.saturating_sub(charge.bytes).div_ceil(UNIT);
    u32::try_from(missing).expect("a frame is far below 4 TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_charge_waits_for_room_and_gives_it_back() {
        let budget = Budget::new(4 * UNIT);
        let (mut one, mut two) = (Charge::default(), Charge::default());
        assert!(budget.try_raise(&mut one, 3 * UNIT));
        assert!(budget.try_raise(&mut one, 2 * UNIT));
        assert_eq!(budget.available(), UNIT, "less than what is held costs nothing");
        assert!(!budget.try_raise(&mut two, 2 * UNIT) && !budget.is_short());
        let waiting = budget.more(&two, 2 * UNIT);
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        assert!(budget.is_short());
        drop(one);
        two.merge(waiting.await);
        assert_eq!((budget.available(), budget.is_short()), (2 * UNIT, false));
    }
}
