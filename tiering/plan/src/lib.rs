//! (manifest, facts, now) to actions: cut, expire, collect.
