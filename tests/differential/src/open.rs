//! Differences that were found and are not mended yet: no justification, but a list of work.
//!
//! A row excuses what it names, so that a run goes on and finds what is behind it. The report names each row that was
//! needed. Whoever mends a difference removes its row.

use crate::rule::Rule;

/// All of them.
pub(crate) const OPEN: &[Rule] = &[];
