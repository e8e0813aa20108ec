//! Where settings come from, and how the sources become one set of values.
//!
//! The strongest last: built-in default, defaults file, configuration file, environment, `--set` from left to right. A
//! defaults file is what an image or a package brings. Its listeners count only where nothing above it names any: they
//! belong together, and half of them beside half of others would be wrong.
//!
//! The environment is read here and nowhere else, once, into a plain map that tests can make up.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use broker_model::config::{ConfigError, ConfigValues, broker, network, tier};

use super::kafka_variables;
use super::properties::{Properties, PropertiesError};
use super::{LOCAL_RETENTION_MS_WITHOUT_FILE, strangers};

/// The sources, before they are read together.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The configuration file, `--config`. Without it the environment may name one.
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
    CONFIG_PATH,
    CONFIG_DEFAULTS,
];

/// Configuration files, separated by colons: the first one that is there counts, where `--config` names none.
const CONFIG_PATH: &str = "STRATA_CONFIG_PATH";
/// The defaults file.
const CONFIG_DEFAULTS: &str = "STRATA_CONFIG_DEFAULTS";

impl Environment {
    /// Reads the process's environment.
    #[must_use]
    pub fn of_process() -> Environment {
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let ours = |(name, _): &(String, String)| VARIABLES.contains(&name.as_str()) || kafka_variables::is_one(name);
        let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Environment { variables: std::env::vars_os().filter_map(text).filter(ours).collect(), host_name }
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
        /// File and line, a variable, or `--set`.
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

/// One value of a source.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// The config, as it was written.
    pub(super) key: String,
    /// Its value, as it was written.
    pub(super) value: String,
    /// File and line, a variable, or `--set`.
    pub(super) place: String,
}

/// What all sources say together.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) values: ConfigValues,
    /// Unknown keys, keys given twice, variables without effect.
    pub(super) warnings: Vec<String>,
    /// The configuration file that was read.
    pub(super) file: Option<PathBuf>,
    /// How many configs the environment gave.
    pub(super) variables: usize,
}

impl Sources {
    /// All values, and a warning for each key that is not known.
    pub(super) fn read(&self) -> Result<Read, SettingsError> {
        let mut warnings = Vec::new();
        let defaults = match self.environment.get(CONFIG_DEFAULTS) {
            Some(path) => file(PathBuf::from(path), &mut warnings)?,
            None => Vec::new(),
        };
        let path = self.path();
        let configured = match &path {
            Some(path) => file(path.clone(), &mut warnings)?,
            None => Vec::new(),
        };
        let (variables, told) = kafka_variables::read(&self.environment);
        warnings.extend(told);
        let mut layers = Layers { configured, variables, sets: self.sets()?, defaults };
        layers.settle_listeners();
        let mut values = ConfigValues::default();
        if layers.configured.is_empty() && layers.variables.is_empty() {
            let hour = LOCAL_RETENTION_MS_WITHOUT_FILE.to_string();
            values.set(broker::LOG_LOCAL_RETENTION_MS.name(), &hour).expect("an hour is a legal local retention");
        }
        let variables = layers.variables.len();
        for one in layers.in_order() {
            give(&mut values, one, &mut warnings)?;
        }
        Ok(Read { values, warnings, file: path, variables })
    }

    /// The configuration file that counts.
    fn path(&self) -> Option<PathBuf> {
        let on_path = || self.environment.get(CONFIG_PATH)?.split(':').map(PathBuf::from).find(|path| path.exists());
        self.file.clone().or_else(on_path)
    }

    fn sets(&self) -> Result<Vec<Given>, SettingsError> {
        let sets = self.sets.iter().map(|text| {
            let (key, value) = text.split_once('=').ok_or_else(|| SettingsError::Set { text: text.clone() })?;
            Ok(Given { key: key.trim().to_owned(), value: value.to_owned(), place: "--set".to_owned() })
        });
        sets.collect()
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

/// What each source gives.
#[derive(Debug)]
struct Layers {
    defaults: Vec<Given>,
    configured: Vec<Given>,
    variables: Vec<Given>,
    sets: Vec<Given>,
}

impl Layers {
    fn in_order(self) -> impl Iterator<Item = Given> {
        [self.defaults, self.configured, self.variables, self.sets].into_iter().flatten()
    }

    /// Decides whose listeners count.
    fn settle_listeners(&mut self) {
        let (listeners, advertised) = (network::LISTENERS.name(), network::ADVERTISED_LISTENERS.name());
        let names = |layer: &[Given], key: &str| layer.iter().any(|one| one.key == key);
        let above = [&self.configured, &self.variables, &self.sets];
        let (are_listened, are_told) =
            (above.iter().any(|layer| names(layer, listeners)), above.iter().any(|layer| names(layer, advertised)));
        if are_listened || are_told {
            self.defaults.retain(|one| one.key != listeners && one.key != advertised);
        }
        if !are_listened {
            self.variables.extend(kafka_variables::listeners_of(&self.variables));
        }
    }
}

fn file(path: PathBuf, warnings: &mut Vec<String>) -> Result<Vec<Given>, SettingsError> {
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(SettingsError::File { path, source }),
    };
    let pairs = match Properties::parse(&text) {
        Ok(Properties(pairs)) => pairs,
        Err(source) => return Err(SettingsError::Properties { path, source }),
    };
    let mut lines = BTreeMap::new();
    let mut given = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let place = format!("{} line {}", path.display(), pair.line);
        if let Some(earlier) = lines.insert(pair.key.clone(), pair.line) {
            warnings.push(format!("{place}: {} stands in line {earlier} too; this one holds", pair.key));
        }
        given.push(Given { key: pair.key, value: pair.value, place });
    }
    Ok(given)
}

fn give(values: &mut ConfigValues, given: Given, warnings: &mut Vec<String>) -> Result<(), SettingsError> {
    let Given { key, value, place } = given;
    match values.set(&key, &value) {
        Ok(_) => Ok(()),
        Err(unknown @ ConfigError::UnknownKey { .. }) => {
            warnings.push(match strangers::why(&key) {
                Some(why) => format!("{place}: {key} has no effect: {why}"),
                None => format!("{place}: {unknown}"),
            });
            Ok(())
        }
        Err(source) => Err(SettingsError::Value { place, source }),
    }
}
