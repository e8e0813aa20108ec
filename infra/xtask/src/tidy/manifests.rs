//! Versions stand in one place: a crate's manifest takes every dependency from the workspace, and the workspace's lints.

use super::Finding;
use super::tree::{SourceFile, Tree};

/// The rule. It reads the few forms that the manifests use, and finds any other.
pub(super) fn versions_in_one_place(tree: &Tree) -> Vec<Finding> {
    tree.files
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml") && !is_another_workspace(file))
        .flat_map(|file| dependencies(file).into_iter().chain(lints(file)))
        .collect()
}

/// A program of a user's kind that stands outside of this workspace has one of its own, and its own lock file.
fn is_another_workspace(file: &SourceFile) -> bool {
    file.text.lines().any(|line| line.trim() == "[workspace]")
}

fn dependencies(file: &SourceFile) -> Vec<Finding> {
    let mut section = "";
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
        } else if section.ends_with("dependencies") && !line.is_empty() && !line.starts_with('#') {
            let from_workspace = line.contains(".workspace = true") || line.contains("{ workspace = true");
            if !from_workspace {
                let message = "name the version in [workspace.dependencies] and take it from there";
                findings.push(Finding::new(&file.path, index + 1, message));
            }
        }
    }
    findings
}

fn lints(file: &SourceFile) -> Option<Finding> {
    let has = file.text.contains("[lints]\nworkspace = true");
    (!has).then(|| Finding::new(&file.path, 0, "take the workspace's lints: [lints] workspace = true"))
}
