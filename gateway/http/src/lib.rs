//! The axum application: range replay, small listings, health, readiness and metrics.
//!
//! The gateway reads the hot end of a partition through [`HotSource`] and everything older through [`ColdSource`], that
//! is straight from the bucket. It does not know how the broker stores, and it never goes through the Kafka path.
//!
//! Invariants: rows leave in the order of partition, then offset; an answer that is not complete never looks complete
//! (its last line is not `"complete": true`, and its chunked body is aborted); a replay holds one batch and two chunks
//! in memory, whatever the reader does.
//!
//! It does not authenticate yet, and it writes nothing.
//!
//! Start reading at [`replay`]; [`mod@app`] has the routes, [`source`] the seams, [`memory`] their reference.

pub mod app;
pub mod conformance;
pub mod cursor;
pub mod memory;
pub mod metrics;
pub mod problem;
pub mod query;
pub mod replay;
pub mod row;
pub mod serve;
pub mod source;
mod tier;

pub use app::{GatewayState, NotReady, app};
pub use cursor::Cursor;
pub use metrics::{Family, Kind};
pub use problem::Problem;
pub use query::{Encoding, Query};
pub use replay::{Lines, Replay, ReplayError, Sources};
pub use row::RowWriter;
pub use serve::serve;
pub use source::{Aborted, Bounds, ColdBounds, ColdSource, HotSource, Slice, SourceError, TimeWindow, TopicInfo};
pub use tier::ColdOnly;

#[cfg(test)]
mod tests;
