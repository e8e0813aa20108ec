//! Tests of the coordinator: a bench that commits (or refuses) each batch at once, scripts per rule, and random clients.

mod bench;
mod classic;
mod formats;
mod keeping;
mod limits;
mod random;
mod statics;
