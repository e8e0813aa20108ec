//! The Kafka protocol against the real program: one server process and one directory for each test, raw frames from the tests.
//!
//! [`versions`] asks for everything that is advertised; the others take one part of the protocol each. What is asserted is
//! what Kafka's clients rely on: error codes, offsets, order, and the bytes of record batches. Real clients are tested
//! elsewhere. Start reading at [`support`].

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on fails, and says why")]

#[path = "../support/mod.rs"]
mod support;

mod alter_configs;
mod cluster;
mod configs;
mod create_partitions;
mod delete_records;
mod dirs;
mod edges;
mod fetch;
mod group_admin;
mod group_members;
mod groups;
mod hostile;
mod leader_epochs;
mod lifecycle;
mod list_offsets;
mod log_dirs;
mod metadata;
mod pipelining;
mod produce;
mod together;
mod topics;
mod versions;
