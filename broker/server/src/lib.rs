//! The program strata: listeners, connections, handlers, wiring.
