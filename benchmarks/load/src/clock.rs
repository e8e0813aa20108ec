//! Time as the kernel tells it: for measuring, for stamps, for the CPU that a thread or this process used.
//!
//! Everything is in nanoseconds unless its name says otherwise. Nothing here decides anything.

use rustix::thread::{NanosleepRelativeResult, nanosleep};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds of a second.
pub(crate) const SECOND: u64 = 1_000_000_000;
/// Nanoseconds of a millisecond.
pub(crate) const MILLISECOND: u64 = 1_000_000;

/// Since some fixed moment; never goes back.
pub(crate) fn monotonic() -> u64 {
    read(ClockId::Monotonic)
}

/// Milliseconds since 1970.
pub(crate) fn wall_ms() -> i64 {
    (read(ClockId::Realtime) / MILLISECOND).cast_signed()
}

/// CPU that all threads of this process used.
pub(crate) fn process_cpu() -> u64 {
    read(ClockId::ProcessCPUTime)
}

/// CPU that the calling thread used.
pub(crate) fn thread_cpu() -> u64 {
    read(ClockId::ThreadCPUTime)
}

/// As seconds.
pub(crate) fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / SECOND as f64
}

/// From seconds; a negative number is 0.
pub(crate) fn from_seconds(seconds: f64) -> u64 {
    (seconds * SECOND as f64) as u64
}

/// As the kernel takes it.
pub(crate) fn timespec(nanoseconds: u64) -> Timespec {
    Timespec { tv_sec: (nanoseconds / SECOND).cast_signed(), tv_nsec: (nanoseconds % SECOND).cast_signed() }
}

/// Lets time pass between two tries to reach a server that tells nobody when it is there.
pub(crate) fn pause(nanoseconds: u64) {
    let mut left = timespec(nanoseconds);
    while let NanosleepRelativeResult::Interrupted(rest) = nanosleep(&left) {
        left = rest;
    }
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec.unsigned_abs() * SECOND + time.tv_nsec.unsigned_abs()
}
