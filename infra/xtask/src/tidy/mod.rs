//! Checks of the workspace's shape that no compiler makes: layers, lengths, docs, golden files, promises.
//!
//! A rule is a function from a [`tree::Tree`] (the tracked files, read once) to findings, so that each rule is tested on
//! a made-up tree in `tests.rs`. The test `the_workspace_is_tidy` runs them all on the real one; `cargo xtask tidy` prints
//! the same, and with `--update` lowers what the ratchet lists to what stands today. Nothing here raises a number: that is
//! done by hand, with a reason, and the parent commit's numbers are compared too.
//!
//! The rules read text with comments and strings blanked ([`mask`]); they do not parse Rust, and where a rule would need
//! to, it is clippy's work instead.
//!
//! Start reading at [`RULES`].

mod bans;
mod docs;
mod history;
mod layers;
mod manifests;
mod mask;
mod promises;
mod size;
mod tree;

use std::fmt;
use std::path::{Path, PathBuf};

use tree::Tree;

/// Something that is not tidy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The file, from the workspace's root.
    path: String,
    /// The line from 1; 0 where the file as a whole is meant.
    line: usize,
    /// What is wrong and what to do.
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// Tidy could not look.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TidyError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A program that tidy asks did not answer.
    #[error("{program}: {message}")]
    Program {
        /// The program with its arguments.
        program: String,
        /// What it said.
        message: String,
    },
    /// A file or an answer is not the JSON that it should be.
    #[error("{what}: {source}")]
    Json {
        /// The file or the program.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The command line.
    #[error("usage: cargo xtask tidy [--update]")]
    Usage,
    /// There are findings.
    #[error("{0}")]
    Untidy(String),
}

/// The rules that need nothing but the files.
const RULES: &[fn(&Tree) -> Vec<Finding>] = &[
    bans::module_docs,
    bans::banned_code,
    bans::machine_paths,
    bans::unwanted_words,
    docs::mentioned_paths_exist,
    manifests::versions_in_one_place,
    promises::declared_are_checked_and_attacked,
];

/// Runs `tidy` with its arguments.
///
/// # Errors
/// [`TidyError::Untidy`] with all findings, or what kept it from looking.
pub(crate) fn run(arguments: &[String]) -> Result<String, TidyError> {
    let root = root();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => {}
        ["--update"] => {
            let tree = Tree::load(&root)?;
            let lowered = size::Ratchet::of(&tree)?.lowered(&size::measure(&tree));
            lowered.write(&root)?;
        }
        _ => return Err(TidyError::Usage),
    }
    let report = check(&root)?;
    let notes = report.skipped.iter().map(|note| format!("skipped: {note}\n")).collect::<String>();
    if report.findings.is_empty() {
        return Ok(format!("{notes}tidy: {} files, nothing to say", report.files));
    }
    let lines: Vec<String> = report.findings.iter().map(Finding::to_string).collect();
    Err(TidyError::Untidy(format!("{notes}{}\n{} findings", lines.join("\n"), lines.len())))
}

/// What a look over the workspace found.
#[derive(Debug)]
struct Report {
    files: usize,
    findings: Vec<Finding>,
    /// Rules that could not run here, and why.
    skipped: Vec<String>,
}

fn check(root: &Path) -> Result<Report, TidyError> {
    let tree = Tree::load(root)?;
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    findings.extend(layers::check(&layers::packages(root)?, layers::CRATES));
    findings.extend(size::Ratchet::of(&tree)?.check(&size::measure(&tree)));
    let mut skipped = Vec::new();
    match history::against_parent(root, &tree)? {
        history::Outcome::Compared(more) => findings.extend(more),
        history::Outcome::Skipped(why) => skipped.push(format!("comparison with the parent commit: {why}")),
    }
    findings.sort();
    Ok(Report { files: tree.files.len(), findings, skipped })
}

/// The workspace's root: two folders above this crate.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this crate lies two folders below the root").to_owned()
}

#[cfg(test)]
mod tests;
