//! The broker's values, and how a config is described to a client.
//!
//! [`ConfigValues`] always has every config of the broker: what was not given has its default. It is built once at the
//! start and then shared behind a handle; nobody copies values out of it to keep them.

use std::collections::BTreeMap;

use super::def::{BrokerKey, ConfigDef, ConfigError, Scope};
use super::value::{ConfigType, Value};
use super::{broker_defs, lookup, nearest};

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// The topic's own configs.
    Topic,
    /// The broker's file or command line.
    StaticBroker,
    /// Nobody said anything.
    Default,
}

impl ConfigSource {
    /// The number of the source in DescribeConfigs (KIP-226).
    #[must_use]
    pub const fn code(self) -> i8 {
        match self {
            ConfigSource::Topic => 1,
            ConfigSource::StaticBroker => 4,
            ConfigSource::Default => 5,
        }
    }
}

/// A config with its effective value, as DescribeConfigs answers it.
#[derive(Clone, Debug)]
pub struct Described {
    /// Its declaration: name, type, doc.
    pub def: &'static ConfigDef,
    /// The effective value as text; `None` where there is none or it is secret.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Every place that gives it a value, the most specific first. The first one is the one that holds.
    pub synonyms: Vec<DescribedSynonym>,
}

impl Described {
    /// True where a client cannot change it while the broker runs.
    #[must_use]
    pub fn read_only(&self) -> bool {
        self.def.scope == Scope::Broker && !self.def.dynamic
    }
}

/// One place that gives a config a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedSynonym {
    /// The config's name there.
    pub name: &'static str,
    /// The value there, in its own unit; `None` where it is secret.
    pub value: Option<String>,
    /// The place.
    pub source: ConfigSource,
}

/// All values of a broker.
#[derive(Clone, Debug)]
pub struct ConfigValues {
    values: BTreeMap<&'static str, (Value, ConfigSource)>,
}

impl Default for ConfigValues {
    fn default() -> Self {
        let values = broker_defs().map(|def| (def.name, (def.default_value(), ConfigSource::Default))).collect();
        ConfigValues { values }
    }
}

impl ConfigValues {
    /// Gives a config a value; a later call holds.
    ///
    /// # Errors
    /// [`ConfigError::UnknownKey`] with the nearest known name, [`ConfigError::BadValue`] with what is expected.
    pub fn set(&mut self, name: &str, text: &str) -> Result<&'static ConfigDef, ConfigError> {
        let Some(def) = lookup(Scope::Broker, name) else {
            return Err(ConfigError::UnknownKey { key: name.to_owned(), nearest: nearest(Scope::Broker, name) });
        };
        let value = def.parse(text)?;
        self.values.insert(def.name, (value, ConfigSource::StaticBroker));
        Ok(def)
    }

    /// The effective value.
    #[must_use]
    pub fn get<T: ConfigType>(&self, key: BrokerKey<T>) -> T {
        T::from_value(self.value(key.name())).expect("a handle and its entry in the registry have one declaration")
    }

    /// True where the config was given, and is not its default.
    #[must_use]
    pub fn is_set<T: ConfigType>(&self, key: BrokerKey<T>) -> bool {
        self.source(key.name()) == ConfigSource::StaticBroker
    }

    /// All configs that were given, by name.
    pub fn given(&self) -> impl Iterator<Item = &'static ConfigDef> {
        self.values
            .iter()
            .filter(|(_, (_, source))| *source == ConfigSource::StaticBroker)
            .map(|(name, _)| lookup(Scope::Broker, name).expect("only registered names are inserted"))
    }

    /// All configs with their values, by name.
    #[must_use]
    pub fn describe(&self) -> Vec<Described> {
        self.values
            .keys()
            .map(|name| {
                let def = lookup(Scope::Broker, name).expect("only registered names are inserted");
                let synonyms = self.places(def.name);
                Described { def, value: self.value(def.name).shown(), source: self.source(def.name), synonyms }
            })
            .collect()
    }

    pub(super) fn value(&self, name: &str) -> &Value {
        &self.entry(name).0
    }

    pub(super) fn source(&self, name: &str) -> ConfigSource {
        self.entry(name).1
    }

    /// The places that give this config a value: the file, then the default.
    pub(super) fn places(&self, name: &'static str) -> Vec<DescribedSynonym> {
        let (value, source) = self.entry(name);
        let default = lookup(Scope::Broker, name).expect("only registered names are asked for").default_value();
        let given = (*source == ConfigSource::StaticBroker).then_some((value.clone(), *source));
        let default = (default != Value::Null).then_some((default, ConfigSource::Default));
        [given, default]
            .into_iter()
            .flatten()
            .map(|(value, source)| DescribedSynonym { name, value: value.shown(), source })
            .collect()
    }

    fn entry(&self, name: &str) -> &(Value, ConfigSource) {
        self.values.get(name).expect("every config of the registry has a value, and only these are asked for")
    }
}
