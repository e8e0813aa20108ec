//! Shipped records as Parquet: the table of a topic, each record exactly once, and exports of single ranges.
//!
//! The table root is swapped like a manifest and under the same writer fence. A range is fixed by an intent that is durable
//! before its file is written; the file is created under a name made of the intent's id; the commit is a swap. A kill at
//! any moment therefore doubles and loses nothing (OUT-1), and every object is named by the root (TIER-5).
//!
//! Only ranges that lie in the bucket are exported, through [`RangeSource`], never the produce path. Memory is bounded by
//! one file in the making; encoding runs on blocking threads, one file at a time (ISO-1).
//!
//! Readers take the files that `table.json` names ([`committed`]), never a listing: a listing also shows files of
//! interrupted attempts and empty ones that keep a dead writer out.
//!
//! Raw mode only: no schemas, no Iceberg, no dead letters yet: a damaged batch stops its partition with a typed error.
//!
//! Start reading at [`Exporter`]; [`columns`] has the schema, [`table`] the protocol.

pub mod adhoc;
pub mod columns;
pub mod error;
pub mod exporter;
mod file;
pub mod memory;
mod run;
pub mod source;
pub mod table;
mod tier;

pub use adhoc::{Range, RangeExport, export_range};
pub use error::{ExportError, ExportErrorKind};
pub use exporter::{Exporter, Options, Progress, Stats};
pub use source::{Aborted, ColdBounds, RangeSlice, RangeSource, SourceError};
pub use table::committed;

use broker_model::TopicId;

/// A topic whose records are exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportTopic {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub id: TopicId,
}

#[cfg(test)]
mod tests;
