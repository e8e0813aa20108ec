//! Those who wait for a partition to move: fetches until there is enough to read, producers until the high watermark passes.
//!
//! A waiter has a slot of the partition's slab, and rings the bell of its connection when what it waits for is there, and
//! not before: an append that gives a fetch too few bytes wakes nobody. A fetch of several partitions counts down one number,
//! wherever the bytes come. The order is: register, look, sleep; so no move is missed. Who was rung is off the list; who ends
//! otherwise takes itself off.
//!
//! Not here: time. A connection has one timer for all that waits on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering, fence};
use std::task::Waker;

use broker_model::{Offset, limits};
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use slab::Slab;
use smallvec::SmallVec;

/// What a fetch misses before it has looked: more than any append gives.
const UNKNOWN: i64 = i64::MAX / 2;

/// Wakes the task of one connection. It has a counter for each request in flight.
#[derive(Debug, Default)]
pub struct Bell {
    waker: AtomicWaker,
    missing: [AtomicI64; limits::REQUESTS_PER_CONNECTION_MAX],
}

impl Bell {
    /// The task to be woken from now on.
    pub fn hear(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Wakes the task.
    pub fn ring(&self) {
        self.waker.wake();
    }

    fn counter(&self, seat: Seat) -> &AtomicI64 {
        self.missing.get(usize::from(seat.0)).expect("a seat is below the number of requests in flight")
    }
}

/// A request's place among those in flight on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat(pub u8);

/// Whom to ring, and for which of its requests.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The connection's.
    pub bell: Arc<Bell>,
    /// The request's.
    pub seat: Seat,
}

impl Caller {
    /// Begins to count the bytes that come.
    pub fn count(&self) {
        self.bell.counter(self.seat).store(UNKNOWN, Ordering::SeqCst);
    }

    /// So many bytes are missing still, not counting what came since [`Caller::count`]. False where they are there already.
    #[must_use]
    pub fn misses(&self, bytes: usize) -> bool {
        let missing = i64::try_from(bytes).unwrap_or(UNKNOWN).min(UNKNOWN);
        let change = missing - UNKNOWN;
        self.bell.counter(self.seat).fetch_add(change, Ordering::SeqCst) + change > 0
    }

    /// True once the missing bytes have come, or the wait makes no sense any more.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.bell.counter(self.seat).load(Ordering::SeqCst) <= 0
    }

    /// `bytes` came. True where that was the last that was missing.
    fn came(&self, bytes: i64) -> bool {
        self.bell.counter(self.seat).fetch_sub(bytes, Ordering::SeqCst) <= bytes
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The high watermark is here.
    Committed(Offset),
    /// As many bytes came as the caller misses.
    Bytes,
}

/// A place on a partition's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    slot: usize,
    number: u64,
}

#[derive(Debug)]
struct Waiter {
    caller: Caller,
    until: Until,
    number: u64,
}

#[derive(Debug, Default)]
struct List {
    slab: Slab<Waiter>,
    next: u64,
}

/// The waiters of one partition.
#[derive(Debug, Default)]
pub struct Waiters {
    count: AtomicUsize,
    list: Mutex<List>,
}

impl Waiters {
    /// Puts a caller on the list. It looks again afterwards.
    pub fn register(&self, caller: &Caller, until: Until) -> Ticket {
        let mut list = self.list.lock();
        list.next += 1;
        let number = list.next;
        let slot = list.slab.insert(Waiter { caller: caller.clone(), until, number });
        self.count.store(list.slab.len(), Ordering::SeqCst);
        // Either the next look sees the move, or the move sees this waiter.
        fence(Ordering::SeqCst);
        Ticket { slot, number }
    }

    /// Takes a caller off the list, if it was not rung meanwhile.
    pub fn forget(&self, ticket: Ticket) {
        let mut list = self.list.lock();
        if list.slab.get(ticket.slot).is_some_and(|waiter| waiter.number == ticket.number) {
            list.slab.remove(ticket.slot);
            self.count.store(list.slab.len(), Ordering::SeqCst);
        }
        if list.slab.is_empty() {
            // An idle partition keeps no memory for waiters.
            list.slab.shrink_to_fit();
        }
    }

    /// The high watermark moved to here, by so many bytes. Costs one load when nobody waits.
    pub fn moved(&self, high_watermark: Offset, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(UNKNOWN);
        self.ring_where(|waiter| match waiter.until {
            Until::Committed(until) => until <= high_watermark,
            Until::Bytes => waiter.caller.came(bytes),
        });
    }

    /// There is nothing to wait for any more: the disk failed, the topic is gone, or the partition may be read at last.
    pub fn disturb(&self) {
        self.ring_where(|waiter| {
            waiter.caller.bell.counter(waiter.caller.seat).store(0, Ordering::SeqCst);
            true
        });
    }

    fn ring_where(&self, mut is_due: impl FnMut(&Waiter) -> bool) {
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut due: SmallVec<[Arc<Bell>; 16]> = SmallVec::new();
        {
            let mut list = self.list.lock();
            list.slab.retain(|_, waiter| {
                let is_due = is_due(waiter);
                if is_due {
                    due.push(waiter.caller.bell.clone());
                }
                !is_due
            });
            self.count.store(list.slab.len(), Ordering::SeqCst);
        }
        due.iter().for_each(|bell| bell.ring());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Rings(AtomicU32);

    impl Wake for Rings {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn caller() -> (Caller, Arc<Rings>) {
        let rings = Arc::new(Rings::default());
        let bell = Arc::new(Bell::default());
        bell.hear(&Waker::from(rings.clone()));
        (Caller { bell, seat: Seat(3) }, rings)
    }

    fn rung(rings: &Rings, caller: &Caller) -> u32 {
        caller.bell.hear(&Waker::noop().clone());
        rings.0.load(Ordering::SeqCst)
    }

    #[test]
    fn a_producer_is_rung_by_the_move_that_passes_its_offset() {
        let (waiters, (one, rings)) = (Waiters::default(), caller());
        waiters.register(&one, Until::Committed(Offset(10)));
        waiters.moved(Offset(9), 100);
        assert_eq!(rings.0.load(Ordering::SeqCst), 0);
        waiters.moved(Offset(10), 1);
        assert_eq!(rung(&rings, &one), 1);
        assert_eq!(waiters.count.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_fetch_counts_the_bytes_of_all_its_partitions() {
        let (here, there) = (Waiters::default(), Waiters::default());
        let (one, rings) = caller();
        one.count();
        let tickets = [here.register(&one, Until::Bytes), there.register(&one, Until::Bytes)];
        here.moved(Offset(1), 30);
        assert!(one.misses(100) && !one.is_due(), "what came since the count is counted");
        there.moved(Offset(1), 40);
        assert_eq!(rings.0.load(Ordering::SeqCst), 0);
        here.moved(Offset(2), 30);
        assert!(one.is_due());
        assert_eq!(rung(&rings, &one), 1);
        here.forget(tickets[0]);
        there.forget(tickets[1]);
        assert_eq!(there.count.load(Ordering::SeqCst), 0);
        one.count();
        here.register(&one, Until::Bytes);
        here.moved(Offset(3), 500);
        assert!(!one.misses(500), "they came between looking and sleeping");
    }

    #[test]
    fn an_old_ticket_takes_nobody_else_off() {
        let (waiters, (one, _)) = (Waiters::default(), caller());
        let old = waiters.register(&one, Until::Committed(Offset(1)));
        waiters.moved(Offset(1), 1);
        let (two, rings) = caller();
        two.count();
        waiters.register(&two, Until::Bytes);
        waiters.forget(old);
        waiters.disturb();
        assert!(two.is_due());
        assert_eq!(rung(&rings, &two), 1);
    }
}
