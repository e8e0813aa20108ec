//! What may only grow or only fall, compared with the parent commit: golden files and the ratchet.
//!
//! A golden file holds bytes that some released program wrote; changing one hides that its bytes can no longer be read. A
//! new form gets a new file. Where there is no git or no parent the comparison is skipped, and the caller says so.

use std::path::Path;

use super::size::{RATCHET, Ratchet};
use super::tree::{Tree, git};
use super::{Finding, TidyError};

/// What the comparison gave.
#[derive(Debug)]
pub(super) enum Outcome {
    Compared(Vec<Finding>),
    /// It could not be made; why.
    Skipped(String),
}

/// Compares the files that stand here with the parent commit's.
pub(super) fn against_parent(root: &Path, tree: &Tree) -> Result<Outcome, TidyError> {
    if git(root, &["rev-parse", "--verify", "--quiet", "HEAD^"]).is_err() {
        return Ok(Outcome::Skipped("there is no git checkout with a parent commit here".to_owned()));
    }
    let changed = git(root, &["diff", "--name-status", "--no-renames", "HEAD^"])?;
    let mut findings = golden(&changed);
    // The parent may be older than the ratchet.
    if let Ok(before) = git(root, &["show", &format!("HEAD^:{RATCHET}")]) {
        findings.extend(Ratchet::of(tree)?.loosened_since(&Ratchet::parse(&before)?));
    }
    Ok(Outcome::Compared(findings))
}

/// Golden files that were changed or deleted, from lines of `status<TAB>path`.
pub(super) fn golden(changed: &str) -> Vec<Finding> {
    changed
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(status, path)| *status != "A" && path.split('/').any(|folder| folder == "golden"))
        .map(|(_, path)| Finding::new(path, 0, "a golden file is only added, never changed or deleted: add a new one"))
        .collect()
}
