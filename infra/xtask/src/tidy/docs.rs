//! Documents name only what exists: a path in backticks that begins with a top folder, and a crate by its name.
//!
//! A path with `*`, `<` or `{` is a pattern and is left alone, and so is anything outside of backticks.

use super::Finding;
use super::tree::Tree;

const DOCUMENTS: &[&str] = &["README.md", "ARCHITECTURE.md", "tiering/FORMAT.md"];
const FOLDERS: &[&str] = &["broker", "tiering", "gateway", "infra", "localstack", "tests", "benchmarks"];

/// The rule.
pub(super) fn mentioned_paths_exist(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in DOCUMENTS.iter().filter_map(|path| tree.file(path)) {
        for (index, line) in file.text.lines().enumerate() {
            for quoted in line.split('`').skip(1).step_by(2) {
                if let Some(missing) = missing(tree, quoted) {
                    findings.push(Finding::new(&file.path, index + 1, format!("`{missing}` does not exist")));
                }
            }
        }
    }
    findings
}

/// The path that this text names and that does not exist.
fn missing(tree: &Tree, quoted: &str) -> Option<String> {
    let word = quoted.split_whitespace().next()?.trim_start_matches("./").trim_end_matches('/');
    if word.contains(['*', '<', '{']) {
        return None;
    }
    let path = match word.split_once('-') {
        // A crate is named by its path: broker-log is broker/log.
        Some((folder, name)) if FOLDERS.contains(&folder) && !word.contains('/') => {
            format!("{folder}/{name}/Cargo.toml")
        }
        _ => word.to_owned(),
    };
    let folder = path.split('/').next().unwrap_or_default();
    if !FOLDERS.contains(&folder) || !path.contains('/') {
        return None;
    }
    let below = format!("{path}/");
    let exists = tree.files.iter().any(|file| file.path == path || file.path.starts_with(&below));
    (!exists).then(|| word.to_owned())
}
