//! A small Kafka client, for the command line and for tests: any cluster, not only Strata.
//!
//! [`Client`] keeps one connection for each broker, agrees on versions with ApiVersions, finds leaders and coordinators, and
//! repeats what may be repeated, with growing pauses, until its patience ends. On it stand topics ([`topics`]), configs
//! ([`configs`]), offsets ([`offsets`]) and groups ([`groups`]), a [`Producer`], a [`Fetcher`] and a [`Member`] of a
//! consumer group.
//!
//! Invariants: a connection whose answer was not awaited to its end is closed and never used again, so any call may be
//! dropped at any moment; a request that is not idempotent is not sent twice after a lost answer, but for the batches of an
//! idempotent [`Producer`], which the broker stores once.
//!
//! Deliberately absent: TLS and SASL, transactions, threads of its own. Topics are asked for by name, so that one way works
//! with every version. It is not built for throughput: one request is in flight to each broker.
//!
//! Start reading at [`client`].

pub mod address;
pub mod client;
pub mod configs;
pub mod connection;
pub mod error;
pub mod fetcher;
pub mod groups;
pub mod member;
pub mod offsets;
pub mod producer;
pub mod request;
pub mod topics;

mod assignor;

#[cfg(test)]
mod tests;

pub use address::Address;
pub use client::{Client, ClientSettings, Node};
pub use error::{ClientError, code_name};
pub use fetcher::{Fetched, Fetcher};
pub use member::{Member, Pulse};
pub use offsets::{Committed, Place, TimeSpec};
pub use producer::{Acks, NewRecord, Producer, ProducerSettings};
