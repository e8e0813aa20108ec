//! The broker's values in their layers, and how a config is described to a client.
//!
//! A value comes from the first of four places that has one: this broker by the protocol, all brokers by the protocol, the
//! file or command line, the default (KIP-226). [`ConfigValues`] always has every config of the broker. The first snapshot
//! is built at the start; one with other dynamic layers takes its place when they change. Nobody copies values out of it
//! to keep them.
//!
//! Names that the registry does not know are kept in the dynamic layers, as Kafka keeps what plug-ins read; they do
//! nothing, and their values are never shown.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::def::{BrokerKey, ConfigDef, ConfigError, Scope, Standing};
use super::value::{ConfigType, Value};
use super::{broker_defs, lookup, nearest, topic_defs};

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// The topic's own configs.
    Topic,
    /// This broker's configs that were given by the protocol.
    DynamicBroker,
    /// What was given by the protocol for all brokers.
    DynamicDefault,
    /// The broker's file or command line.
    StaticBroker,
    /// Nobody said anything.
    Default,
    /// The level of a logger.
    BrokerLogger,
}

impl ConfigSource {
    /// The number of the source in DescribeConfigs (KIP-226, KIP-412).
    #[must_use]
    pub const fn code(self) -> i8 {
        match self {
            ConfigSource::Topic => 1,
            ConfigSource::DynamicBroker => 2,
            ConfigSource::DynamicDefault => 3,
            ConfigSource::StaticBroker => 4,
            ConfigSource::Default => 5,
            ConfigSource::BrokerLogger => 6,
        }
    }
}

/// Whose dynamic configs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DynamicLevel {
    /// All brokers'.
    Cluster,
    /// This broker's.
    Broker,
}

/// A config with its effective value, as DescribeConfigs answers it.
#[derive(Clone, Debug)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// Its declaration; `None` for a name that only a dynamic layer knows.
    pub def: Option<&'static ConfigDef>,
    /// The effective value as text; `None` where there is none or it is secret.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Every place that gives it a value, in Kafka's order. The first one is the one that holds.
    pub synonyms: Vec<DescribedSynonym>,
}

impl Described {
    /// True where a client cannot change it while the broker runs.
    #[must_use]
    pub fn read_only(&self) -> bool {
        self.def.is_none_or(|def| def.scope == Scope::Broker && !def.dynamic)
    }

    /// True where its value is never shown: a secret, or a config of which nothing is known.
    #[must_use]
    pub fn sensitive(&self) -> bool {
        self.def.is_none_or(ConfigDef::sensitive)
    }

    /// The number of its type in DescribeConfigs; 0 where it is not known.
    #[must_use]
    pub fn kind_code(&self) -> i8 {
        self.def.map_or(0, |def| def.kind.code())
    }

    /// What it is for, and why a value changes nothing where that is so.
    #[must_use]
    pub fn documentation(&self) -> Option<String> {
        self.def.map(|def| match def.standing {
            Standing::Served => def.doc().to_owned(),
            Standing::Noted(why) => format!("{} It has no effect: {why}.", def.doc()),
        })
    }
}

/// One place that gives a config a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedSynonym {
    /// The config's name there.
    pub name: String,
    /// The value there, in its own unit; `None` where it is secret.
    pub value: Option<String>,
    /// The place.
    pub source: ConfigSource,
}

/// What the protocol gave at one level.
#[derive(Clone, Default)]
struct Dynamic {
    texts: Arc<BTreeMap<String, String>>,
    /// Those of the texts that are a dynamic config's legal value.
    values: BTreeMap<&'static str, Value>,
}

impl fmt::Debug for Dynamic {
    /// The texts may hold what the registry does not know, and so also secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.values.fmt(f)
    }
}

/// All values of a broker.
#[derive(Clone, Debug)]
pub struct ConfigValues {
    broker: Dynamic,
    cluster: Dynamic,
    given: BTreeMap<&'static str, Value>,
    defaults: BTreeMap<&'static str, Value>,
}

impl Default for ConfigValues {
    fn default() -> Self {
        let defaults = broker_defs().map(|def| (def.name, def.default_value())).collect();
        ConfigValues { broker: Dynamic::default(), cluster: Dynamic::default(), given: BTreeMap::new(), defaults }
    }
}

impl ConfigValues {
    /// Gives a config a value, as the file and the command line do; a later call holds.
    ///
    /// # Errors
    /// [`ConfigError::UnknownKey`] with the nearest known name, [`ConfigError::BadValue`] with what is expected.
    pub fn set(&mut self, name: &str, text: &str) -> Result<&'static ConfigDef, ConfigError> {
        let Some(def) = lookup(Scope::Broker, name) else {
            return Err(ConfigError::UnknownKey { key: name.to_owned(), nearest: nearest(Scope::Broker, name) });
        };
        self.given.insert(def.name, def.parse(text)?);
        Ok(def)
    }

    /// The same with other dynamic configs at one level. What cannot hold (an older or newer program took it) is left out, and told.
    #[must_use]
    pub fn with_dynamic(&self, level: DynamicLevel, texts: Arc<BTreeMap<String, String>>) -> (Self, Vec<ConfigError>) {
        let (mut values, mut left_out) = (BTreeMap::new(), Vec::new());
        let known = texts.iter().filter_map(|(name, text)| Some((lookup(Scope::Broker, name)?, text)));
        for (def, text) in known {
            match def.parse(text) {
                Ok(value) if def.dynamic => drop(values.insert(def.name, value)),
                Ok(_) => left_out.push(ConfigError::NotDynamic { keys: vec![def.name] }),
                Err(error) => left_out.push(error),
            }
        }
        let mut other = self.clone();
        *other.level_mut(level) = Dynamic { texts, values };
        (other, left_out)
    }

    /// Whether these could be the dynamic configs of a level (the names that Kafka does not know either are taken).
    ///
    /// # Errors
    /// [`ConfigError::NotDynamic`] with all that cannot change while the broker runs, [`ConfigError::BadValue`].
    pub fn check_dynamic(texts: &BTreeMap<String, String>) -> Result<(), ConfigError> {
        let known = || texts.iter().filter_map(|(name, text)| Some((lookup(Scope::Broker, name)?, text)));
        let fixed: Vec<_> = known().filter(|(def, _)| !def.dynamic).map(|(def, _)| def.name).collect();
        if !fixed.is_empty() {
            return Err(ConfigError::NotDynamic { keys: fixed });
        }
        known().try_for_each(|(def, text)| def.parse(text).map(|_| ()))
    }

    /// What the protocol gave at a level, as text; also names that the registry does not know.
    #[must_use]
    pub fn dynamic(&self, level: DynamicLevel) -> &Arc<BTreeMap<String, String>> {
        match level {
            DynamicLevel::Cluster => &self.cluster.texts,
            DynamicLevel::Broker => &self.broker.texts,
        }
    }

    fn level_mut(&mut self, level: DynamicLevel) -> &mut Dynamic {
        match level {
            DynamicLevel::Cluster => &mut self.cluster,
            DynamicLevel::Broker => &mut self.broker,
        }
    }

    /// The effective value.
    #[must_use]
    pub fn get<T: ConfigType>(&self, key: BrokerKey<T>) -> T {
        T::from_value(self.value(key.name())).expect("a handle and its entry in the registry have one declaration")
    }

    /// True where the file or the command line gave the config a value.
    #[must_use]
    pub fn is_set<T: ConfigType>(&self, key: BrokerKey<T>) -> bool {
        self.given.contains_key(key.name())
    }

    /// All configs that the file or the command line gave, by name.
    pub fn given(&self) -> impl Iterator<Item = &'static ConfigDef> {
        self.given.keys().map(|name| lookup(Scope::Broker, name).expect("only registered names are inserted"))
    }

    /// All configs with their values, by name; then what only a dynamic layer knows.
    #[must_use]
    pub fn describe(&self) -> Vec<Described> {
        let known = self.defaults.keys().map(|name| {
            let def = lookup(Scope::Broker, name).expect("only registered names are inserted");
            let synonyms = self.places(def.name);
            let source = synonyms.first().map_or(ConfigSource::Default, |place| place.source);
            Described { name: def.name.to_owned(), def: Some(def), value: self.value(name).shown(), source, synonyms }
        });
        let mut custom: BTreeMap<String, Vec<DescribedSynonym>> = BTreeMap::new();
        for place in [DynamicLevel::Broker, DynamicLevel::Cluster].into_iter().flat_map(|level| self.custom(level)) {
            custom.entry(place.name.clone()).or_default().push(place);
        }
        known.chain(custom.into_values().filter_map(custom_row)).collect()
    }

    /// What holds for all brokers by the protocol, by name: what the cluster's default resource is described with.
    #[must_use]
    pub fn describe_cluster(&self) -> Vec<Described> {
        let source = ConfigSource::DynamicDefault;
        let known = self.cluster.values.iter().map(|(name, value)| {
            let place = DescribedSynonym { name: (*name).to_owned(), value: value.shown(), source };
            let def = lookup(Scope::Broker, name);
            Described { name: (*name).to_owned(), def, value: value.shown(), source, synonyms: vec![place] }
        });
        let custom = self.custom(DynamicLevel::Cluster).into_iter().filter_map(|place| custom_row(vec![place]));
        known.chain(custom).collect()
    }

    /// What the registry does not know at a level.
    fn custom(&self, level: DynamicLevel) -> Vec<DescribedSynonym> {
        let source = match level {
            DynamicLevel::Cluster => ConfigSource::DynamicDefault,
            DynamicLevel::Broker => ConfigSource::DynamicBroker,
        };
        let names = self.dynamic(level).keys().filter(|name| lookup(Scope::Broker, name).is_none());
        names.map(|name| DescribedSynonym { name: name.clone(), value: None, source }).collect()
    }

    pub(super) fn value(&self, name: &str) -> &Value {
        self.layers()
            .find_map(|(layer, _)| layer.get(name))
            .expect("every config of the registry has a default, and only these are asked for")
    }

    pub(super) fn source(&self, name: &str) -> ConfigSource {
        let held = self.layers().find(|(layer, _)| layer.contains_key(name));
        held.map_or(ConfigSource::Default, |(_, source)| source)
    }

    /// The places that give a broker config a value: of each layer, the strongest first, all names that stand for the
    /// config in the order of their strength, and of these from the config's own name on. So does Kafka.
    fn places(&self, name: &'static str) -> Vec<DescribedSynonym> {
        let mut places = self.places_of(&names_beside(name));
        let own = places.iter().position(|place| place.name == name).unwrap_or(places.len());
        places.split_off(own)
    }

    /// The places that give one of these names a value: the layers, and within a layer the names in their order.
    pub(super) fn places_of(&self, names: &[&'static str]) -> Vec<DescribedSynonym> {
        let in_layer = |(layer, source): (&BTreeMap<&'static str, Value>, ConfigSource)| {
            let found = names.iter().filter_map(|name| Some((*name, layer.get(name)?)));
            let found = found.filter(|(_, value)| **value != Value::Null);
            let place = |(name, value): (&'static str, &Value)| DescribedSynonym {
                name: name.to_owned(),
                value: value.shown(),
                source,
            };
            found.map(place).collect::<Vec<_>>()
        };
        self.layers().flat_map(in_layer).collect()
    }

    /// The strongest first.
    fn layers(&self) -> impl Iterator<Item = (&BTreeMap<&'static str, Value>, ConfigSource)> {
        [
            (&self.broker.values, ConfigSource::DynamicBroker),
            (&self.cluster.values, ConfigSource::DynamicDefault),
            (&self.given, ConfigSource::StaticBroker),
            (&self.defaults, ConfigSource::Default),
        ]
        .into_iter()
    }
}

/// A config of which only its name and its places are known, the strongest first.
fn custom_row(synonyms: Vec<DescribedSynonym>) -> Option<Described> {
    let DescribedSynonym { name, source, .. } = synonyms.first()?.clone();
    Some(Described { name, def: None, value: None, source, synonyms })
}

/// The broker configs that say the same thing as this one in other units, the strongest first; itself among them.
fn names_beside(name: &'static str) -> Vec<&'static str> {
    let together = topic_defs().find(|def| def.synonyms.iter().any(|synonym| synonym.name == name));
    match together {
        Some(def) => def.synonyms.iter().map(|synonym| synonym.name).collect(),
        None => vec![name],
    }
}
