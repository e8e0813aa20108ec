//! Where settings come from, and how the sources become one set of values.
//!
//! The environment is read here and nowhere else, once, into a plain map that tests can make up.

use std::collections::BTreeMap;
use std::path::PathBuf;

use broker_model::config::{ConfigError, ConfigValues, broker, tier};

use super::LOCAL_RETENTION_MS_WITHOUT_FILE;
use super::properties::{Properties, PropertiesError};

/// The sources, before they are read together.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The configuration file, `--config`.
    pub file: Option<PathBuf>,
    /// The texts of `--set`, in their order.
    pub sets: Vec<String>,
    /// What the process was started with.
    pub environment: Environment,
}

/// What the process was started with, as far as settings look at it.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Variables by name; empty ones count as absent.
    pub variables: BTreeMap<String, String>,
    /// The machine's name, for a listener on all interfaces that is not told what to advertise.
    pub host_name: String,
}

/// The variables that may complete the configuration.
const VARIABLES: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
];

impl Environment {
    /// Reads the process's environment.
    #[must_use]
    pub fn of_process() -> Environment {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where the environment completes the configuration"
        )]
        let read = |name: &&str| std::env::var(name).ok().map(|value| ((*name).to_owned(), value));
        let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Environment { variables: VARIABLES.iter().filter_map(read).collect(), host_name }
    }

    /// A variable that is there and not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// The settings cannot be used; the text says what to change.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a properties file.
    #[error("{}: {source}", path.display())]
    Properties {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: PropertiesError,
    },
    /// A value of a source does not fit.
    #[error("{place}: {source}")]
    Value {
        /// File and line, or `--set`.
        place: String,
        /// Key, value, and what is expected.
        source: ConfigError,
    },
    /// Values do not fit each other.
    #[error(transparent)]
    Together(#[from] ConfigError),
    /// The text of a `--set` has no `=`.
    #[error("--set {text}: expected key=value")]
    Set {
        /// The text.
        text: String,
    },
}

impl Sources {
    /// All values, and a warning for each key that is not known.
    pub(super) fn values(&self) -> Result<(ConfigValues, Vec<String>), SettingsError> {
        let mut reading = Reading { values: ConfigValues::default(), warnings: Vec::new() };
        match &self.file {
            Some(path) => reading.file(path.clone())?,
            None => reading.without_file(),
        }
        for text in &self.sets {
            let Some((key, value)) = text.split_once('=') else {
                return Err(SettingsError::Set { text: text.clone() });
            };
            reading.give(key.trim(), value, "--set".to_owned())?;
        }
        Ok((reading.values, reading.warnings))
    }

    /// The words that say where the bucket is.
    pub(super) fn place_words(&self) -> Vec<String> {
        let file = self.file.iter().flat_map(|file| ["--config".to_owned(), file.display().to_string()]);
        let keys = [
            broker::LOG_DIR.name(),
            broker::LOG_DIRS.name(),
            tier::TIER_URL.name(),
            tier::TIER_S3_ENDPOINT.name(),
            tier::TIER_S3_REGION.name(),
            tier::TIER_S3_PATH_STYLE.name(),
        ];
        let says_place = |set: &&String| set.split_once('=').is_some_and(|(key, _)| keys.contains(&key.trim()));
        let sets = self.sets.iter().filter(says_place).flat_map(|set| ["--set".to_owned(), set.clone()]);
        file.chain(sets).collect()
    }
}

struct Reading {
    values: ConfigValues,
    warnings: Vec<String>,
}

impl Reading {
    fn without_file(&mut self) {
        let hour = LOCAL_RETENTION_MS_WITHOUT_FILE.to_string();
        self.values.set(broker::LOG_LOCAL_RETENTION_MS.name(), &hour).expect("an hour is a legal local retention");
    }

    fn file(&mut self, path: PathBuf) -> Result<(), SettingsError> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(SettingsError::File { path, source }),
        };
        let pairs = match Properties::parse(&text) {
            Ok(Properties(pairs)) => pairs,
            Err(source) => return Err(SettingsError::Properties { path, source }),
        };
        let mut lines = BTreeMap::new();
        for pair in pairs {
            let place = format!("{} line {}", path.display(), pair.line);
            self.give(&pair.key, &pair.value, place.clone())?;
            if let Some(earlier) = lines.insert(pair.key.clone(), pair.line) {
                self.warnings.push(format!("{place}: {} stands in line {earlier} too; this one holds", pair.key));
            }
        }
        Ok(())
    }

    fn give(&mut self, key: &str, value: &str, place: String) -> Result<(), SettingsError> {
        match self.values.set(key, value) {
            Ok(_) => Ok(()),
            Err(unknown @ ConfigError::UnknownKey { .. }) => {
                self.warnings.push(format!("{place}: {unknown}"));
                Ok(())
            }
            Err(source) => Err(SettingsError::Value { place, source }),
        }
    }
}
