//! Seeded simulation of the tier: `tests/tier` has it, this crate only carries it.
//!
//! The simulator polls writers by hand, one request at a time, on a store of its own that loses replies, delays puts past
//! their callers, tears reads and refuses requests. It decides everything from one seed, so that a failing seed is a test.
