//! Finds the artifacts in a directory and reads the schemas that lie in them as `common/message/*.json`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::CodegenError;

/// Artifacts that hold schemas, by the beginning of their file name.
const ARTIFACTS: &[&str] = &["kafka-clients-", "kafka-group-coordinator-"];
const FOLDER: &str = "common/message/";

/// The text of each schema by its name.
pub(super) fn read_schemas(directory: &Path) -> Result<BTreeMap<String, String>, CodegenError> {
    let mut schemas = BTreeMap::new();
    for artifact in ARTIFACTS {
        let path = find(directory, artifact)?;
        read_jar(&path, &mut schemas)?;
    }
    Ok(schemas)
}

fn find(directory: &Path, artifact: &str) -> Result<PathBuf, CodegenError> {
    let io = |source| CodegenError::Io { path: directory.to_owned(), source };
    for entry in std::fs::read_dir(directory).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // A version follows the name directly: kafka-group-coordinator-api-… is another artifact.
        let version = name.strip_prefix(artifact).and_then(|rest| rest.strip_suffix(".jar"));
        if version.is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit())) {
            return Ok(path);
        }
    }
    Err(CodegenError::Jar(format!("{} has no {artifact}<version>.jar", directory.display())))
}

fn read_jar(path: &Path, schemas: &mut BTreeMap<String, String>) -> Result<(), CodegenError> {
    let damaged = |error: &dyn std::fmt::Display| CodegenError::Jar(format!("{}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(|source| CodegenError::Io { path: path.to_owned(), source })?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| damaged(&error))?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| damaged(&error))?;
        let name = entry.name().strip_prefix(FOLDER).and_then(|name| name.strip_suffix(".json")).map(str::to_owned);
        if let Some(name) = name {
            let mut text = String::new();
            entry.read_to_string(&mut text).map_err(|error| damaged(&error))?;
            schemas.insert(name, text);
        }
    }
    Ok(())
}
