//! One bound for the memory of all connections together.
//!
//! A connection asks for what it is about to receive, waits when the bound is reached, and gives back when the request is
//! answered. Units are KiB, because the semaphore beneath counts in 32 bits.
//!
//! Not here: fairness between clients (quotas), and memory that a request's handler makes (replies are file slices, cold
//! blocks have the cache's own bound).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const UNIT: usize = 1024;

/// The bound that all connections share.
#[derive(Clone, Debug)]
pub struct Budget {
    semaphore: Arc<Semaphore>,
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
        Budget { semaphore: Arc::new(Semaphore::new(bytes.div_ceil(UNIT))) }
    }

    /// Raises `charge` to at least `bytes`, waiting while others hold too much. Cancel-safe: what was not yet charged
    /// is not charged.
    pub async fn raise(&self, charge: &mut Charge, bytes: usize) {
        let missing = bytes.saturating_sub(charge.bytes).div_ceil(UNIT);
        if missing == 0 {
            return;
        }
        let count = u32::try_from(missing).expect("a frame is far below 4 TiB");
        let more = self.semaphore.clone().acquire_many_owned(count).await.expect("the semaphore is never closed");
        charge.bytes += missing * UNIT;
        match &mut charge.permit {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
    }

    /// Bytes that nobody holds now.
    #[must_use]
    pub fn available(&self) -> usize {
        self.semaphore.available_permits() * UNIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_charge_waits_for_room_and_gives_it_back() {
        let budget = Budget::new(4 * UNIT);
        let (mut one, mut two) = (Charge::default(), Charge::default());
        budget.raise(&mut one, 3 * UNIT).await;
        budget.raise(&mut one, 2 * UNIT).await;
        assert_eq!(budget.available(), UNIT, "less than what is held costs nothing");
        let waiting = budget.raise(&mut two, 2 * UNIT);
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        drop(one);
        waiting.await;
        assert_eq!(budget.available(), 2 * UNIT);
    }
}
