//! The layer table of ARCHITECTURE.md, against what cargo sees. Arrows go down only.
//!
//! A crate stands in [`CRATES`] with its layer and what it must not know beyond that. A new crate is a new row here and
//! in ARCHITECTURE.md: that is the point. Dependencies of tests may go sideways, never up.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use super::tree::output;
use super::{Finding, TidyError};

/// A crate's place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) name: &'static str,
    /// 0 to 5 as in ARCHITECTURE.md; [`BESIDE`] for tools and tests, which nothing may depend on.
    pub(super) layer: u8,
    /// Crates of its own layer that it may use.
    pub(super) beside: &'static [&'static str],
    /// Crates that it must not know, wherever they stand.
    pub(super) never: &'static [&'static str],
}

/// Tools and tests.
const BESIDE: u8 = 6;

/// What decides has no runtime, no store, no sockets.
const IO: &[&str] = &[
    "tokio",
    "tokio-util",
    "futures",
    "async-trait",
    "rustix",
    "memmap2",
    "socket2",
    "object_store",
    "aws-sdk-s3",
    "aws-config",
    "foyer",
    "axum",
    "hyper",
    "hyper-util",
    "tower",
];
/// An engine blocks on files; it has no runtime.
const RUNTIME: &[&str] =
    &["tokio", "tokio-util", "futures", "async-trait", "axum", "hyper", "hyper-util", "broker-wire"];
/// The store knows bytes and keys, not Kafka.
const KAFKA: &[&str] = &["broker-wire", "broker-records", "broker-log", "axum"];
/// Work below the programs knows no requests.
const REQUESTS: &[&str] = &["broker-wire", "axum", "hyper"];
/// The gateway reads through its own trait, not through the log.
const STORAGE: &[&str] = &["broker-log", "broker-partition", "broker-quorum", "broker-metadata", "broker-group"];

/// All crates.
pub(super) const CRATES: &[Place] = &[
    place("broker-model", 0, IO),
    place("broker-wire", 1, IO),
    place("broker-records", 1, IO),
    place("tiering-manifest", 1, IO),
    place("broker-group", 2, IO),
    place("broker-partition", 2, IO),
    place("broker-metadata", 2, IO),
    place("tiering-plan", 2, IO),
    place("broker-log", 3, RUNTIME),
    // The metadata log stands on the same segments and files as a partition's.
    Place { name: "broker-quorum", layer: 3, beside: &["broker-log"], never: RUNTIME },
    place("tiering-store", 3, KAFKA),
    place("tiering-tier", 4, REQUESTS),
    // The export reads what the tier shipped, through the tier's reader.
    Place { name: "tiering-export", layer: 4, beside: &["tiering-tier"], never: REQUESTS },
    // A client knows the protocol, and nothing of how a broker works.
    place("broker-client", 4, STORAGE),
    place("gateway-http", 5, STORAGE),
    // What consume prints are the gateway's rows.
    Place { name: "broker-cli", layer: 5, beside: &["gateway-http"], never: STORAGE },
    // The program joins everything, the gateway and the commands too.
    Place { name: "broker-server", layer: 5, beside: &["gateway-http", "broker-cli"], never: &[] },
    place("benchmarks-load", BESIDE, &["tokio"]),
    place("benchmarks-micro", BESIDE, &[]),
    place("infra-xtask", BESIDE, &[]),
    place("tests-sim", BESIDE, &[]),
    place("tests-fuzz", BESIDE, &[]),
    place("tests-differential", BESIDE, &[]),
];

const fn place(name: &'static str, layer: u8, never: &'static [&'static str]) -> Place {
    Place { name, layer, beside: &[], never }
}

/// A crate of the workspace, as cargo prints it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) manifest_path: String,
    pub(super) dependencies: Vec<Dependency>,
}

/// A dependency of one.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// `dev`, `build`, or none.
    pub(super) kind: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// The crates of the workspace, with manifests as paths from its root.
pub(super) fn packages(root: &Path) -> Result<Vec<Package>, TidyError> {
    let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let printed = output(Command::new(env!("CARGO")).args(arguments).current_dir(root))?;
    let metadata: Metadata = serde_json::from_str(&printed)
        .map_err(|source| TidyError::Json { what: "cargo metadata".to_owned(), source })?;
    let below = format!("{}/", root.display());
    let relative = |mut package: Package| {
        package.manifest_path = package.manifest_path.trim_start_matches(&below).to_owned();
        package
    };
    Ok(metadata.packages.into_iter().map(relative).collect())
}

/// Checks crates against the table.
pub(super) fn check(packages: &[Package], table: &[Place]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let say = |message: String| Finding::new(&package.manifest_path, 0, message);
        let folder = package.manifest_path.trim_end_matches("/Cargo.toml");
        if package.name != folder.replace('/', "-") {
            findings.push(say(format!("a crate is named by its path: {}", folder.replace('/', "-"))));
        }
        match table.iter().find(|place| place.name == package.name) {
            None => {
                findings.push(say(format!("{} has no layer: give it one in tidy and ARCHITECTURE.md", package.name)))
            }
            Some(place) => findings.extend(arrows(package, place, table).into_iter().map(say)),
        }
    }
    for place in table.iter().filter(|place| packages.iter().all(|package| package.name != place.name)) {
        findings.push(Finding::new("Cargo.toml", 0, format!("{} stands in the layer table and not here", place.name)));
    }
    findings
}

fn arrows(package: &Package, place: &Place, table: &[Place]) -> Vec<String> {
    let mut wrong = Vec::new();
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        let for_tests = dependency.kind.as_deref() == Some("dev");
        if place.never.contains(&name) && !for_tests {
            wrong.push(format!("{} must not know {name}", package.name));
        }
        let Some(other) = table.iter().find(|other| other.name == name) else { continue };
        let allowed = other.layer < place.layer
            || place.beside.contains(&name)
            || (for_tests && other.layer == place.layer && other.layer < BESIDE);
        if !allowed {
            wrong.push(format!(
                "{} (L{}) depends on {name} (L{}): arrows go down only",
                place.name, place.layer, other.layer
            ));
        }
    }
    wrong
}
