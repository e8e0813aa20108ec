//! The program `strata`: listeners, connections, handlers, and the wiring of everything below.
//!
//! A connection is a task of the data plane's runtime ([`net`]); what a request means is one file per API ([`api`]); the
//! partitions that this broker leads are in [`replica`]; coordinators are decision machines with one owner each
//! ([`coordinator`], [`groups`]). [`serve`] puts it together, [`settings`] says how.
//!
//! Invariants: appends of one connection keep their order; nothing on the way of Produce and Fetch takes a lock that two
//! partitions share; coordinators, the tier and the gateway never run on the data plane's threads (ISO-1).
//!
//! Start reading at [`serve`].

pub mod api;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod context;
pub mod coordinator;
pub mod disk;
pub mod errors;
pub mod fetch_sessions;
pub mod groups;
pub mod housekeeping;
pub mod http;
pub mod lag;
pub mod metrics;
pub mod net;
pub mod random;
pub mod replica;
pub mod replicas;
pub mod scrub;
pub mod serve;
pub mod settings;
pub mod storage;
pub mod system;
pub mod tier;
pub mod tools;
pub mod topics;
pub mod values;
