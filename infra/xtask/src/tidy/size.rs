//! Lengths of functions and files, and the ratchet of what is longer today.
//!
//! A function has at most [`FUNCTION_LINES_MAX`] lines of code, a file at most [`FILE_LINES_MAX`] lines outside of its
//! tests; generated files are free. What is longer stands in `infra/xtask/ratchet.json` with its length, which may only
//! fall: a number that is higher than the truth is a finding too, so that it is lowered with the change that earned it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::tree::Tree;
use super::{Finding, TidyError};

/// Lines of code between a function's braces.
pub(super) const FUNCTION_LINES_MAX: usize = 70;
/// Lines of a file outside of its tests.
pub(super) const FILE_LINES_MAX: usize = 500;
/// Where the exceptions stand.
pub(super) const RATCHET: &str = "infra/xtask/ratchet.json";

/// Lengths by what they belong to: a path, or a path and a function.
pub(super) type Lengths = BTreeMap<String, usize>;

/// What is too long: measured, or listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ratchet {
    /// `path::function` to lines of code.
    pub(super) functions: Lengths,
    /// `path` to lines.
    pub(super) files: Lengths,
}

/// Measures what is too long. Of functions with one name in one file the longest counts.
pub(super) fn measure(tree: &Tree) -> Ratchet {
    let mut found = Ratchet::default();
    for file in tree.rust().filter(|file| !file.is_generated()) {
        let masked = file.masked();
        if !file.is_test() && masked.production_lines() > FILE_LINES_MAX {
            found.files.insert(file.path.clone(), masked.production_lines());
        }
        for function in masked.functions().into_iter().filter(|function| function.code_lines > FUNCTION_LINES_MAX) {
            let longest = found.functions.entry(format!("{}::{}", file.path, function.name)).or_default();
            *longest = function.code_lines.max(*longest);
        }
    }
    found
}

impl Ratchet {
    /// The list of a tree; empty where there is none.
    pub(super) fn of(tree: &Tree) -> Result<Ratchet, TidyError> {
        tree.file(RATCHET).map_or(Ok(Ratchet::default()), |file| Ratchet::parse(&file.text))
    }

    pub(super) fn parse(text: &str) -> Result<Ratchet, TidyError> {
        serde_json::from_str(text).map_err(|source| TidyError::Json { what: RATCHET.to_owned(), source })
    }

    pub(super) fn write(&self, root: &Path) -> Result<(), TidyError> {
        let failed = |source| TidyError::Json { what: RATCHET.to_owned(), source };
        let text = serde_json::to_string_pretty(self).map_err(failed)?;
        let path = root.join(RATCHET);
        std::fs::write(&path, text + "\n").map_err(|source| TidyError::File { path, source })
    }

    /// Compares the list with what was measured.
    pub(super) fn check(&self, measured: &Ratchet) -> Vec<Finding> {
        let mut findings = compare(&self.functions, &measured.functions, FUNCTION_LINES_MAX);
        findings.extend(compare(&self.files, &measured.files, FILE_LINES_MAX));
        findings
    }

    /// The list with every number at the truth; what is listed and no longer too long goes, nothing is added or raised.
    pub(super) fn lowered(&self, measured: &Ratchet) -> Ratchet {
        let lower = |listed: &Lengths, measured: &Lengths| {
            listed.iter().filter_map(|(what, max)| Some((what.clone(), *measured.get(what)?.min(max)))).collect()
        };
        Ratchet { functions: lower(&self.functions, &measured.functions), files: lower(&self.files, &measured.files) }
    }

    /// What this list allows that an earlier one did not.
    pub(super) fn loosened_since(&self, earlier: &Ratchet) -> Vec<Finding> {
        let pairs = [(&self.functions, &earlier.functions), (&self.files, &earlier.files)];
        let mut findings = Vec::new();
        for (now, before) in pairs {
            for (what, max) in now.iter().filter(|(what, max)| before.get(*what).is_none_or(|before| *max > before)) {
                findings.push(Finding::new(
                    RATCHET,
                    0,
                    format!("{what} may not grow to {max}: the ratchet only falls"),
                ));
            }
        }
        findings
    }
}

fn compare(listed: &Lengths, measured: &Lengths, limit: usize) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (what, lines) in measured {
        let path = what.split("::").next().unwrap_or(what);
        match listed.get(what) {
            None => {
                findings.push(Finding::new(path, 0, format!("{what} has {lines} lines, at most {limit}: split it")))
            }
            Some(max) if lines > max => {
                findings.push(Finding::new(path, 0, format!("{what} grew from {max} to {lines} lines: split it")));
            }
            Some(max) if lines < max => {
                let message = format!("{what} fell from {max} to {lines} lines: run `cargo xtask tidy --update`");
                findings.push(Finding::new(RATCHET, 0, message));
            }
            Some(_) => {}
        }
    }
    for what in listed.keys().filter(|what| !measured.contains_key(*what)) {
        findings.push(Finding::new(
            RATCHET,
            0,
            format!("{what} is no longer too long: run `cargo xtask tidy --update`"),
        ));
    }
    findings
}
