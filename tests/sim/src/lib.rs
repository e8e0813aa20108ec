//! Seeded simulation of the tier on a faulty store.
