//! The declaration of a config, its typed handles, and the error of a value that does not fit.
//!
//! The macro `configs!` writes both from one line, so that handle and registry cannot differ. A declaration is checked by
//! the tests of the registry: its default parses and keeps its rule, its synonyms exist.

use std::marker::PhantomData;

use super::value::{ConfigType, Kind, Value};

/// Where a config applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A config of the broker: in its file or on its command line.
    Broker,
    /// A config of one topic, given when it is created.
    Topic,
}

/// What giving a value does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The value is honoured.
    Served,
    /// The value is taken, so that a Kafka configuration file works as it is, and changes nothing; the text says why.
    Noted(&'static str),
}

/// What a value must keep to, beyond its type.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// Every value of the type.
    Any,
    /// A number within these bounds, both included.
    Range(i64, i64),
    /// This one number, or one within these bounds, both included.
    OrRange(i64, i64, i64),
    /// A share of a whole, from 0 to 1.
    Share,
    /// `*`, or replicas as partition:broker.
    Replicas,
    /// One of these texts; in a list, each of its members.
    OneOf(&'static [&'static str]),
    /// A list with at least one member, or a text that is not empty.
    NotEmpty,
    /// No value but the empty one: what is named is not there yet, and ignoring it would be worse than stopping.
    Empty(&'static str),
}

impl Rule {
    fn holds(self, value: &Value) -> bool {
        match (self, value) {
            (Rule::Range(min, max), value) => value.as_number().is_some_and(|number| (min..=max).contains(&number)),
            (Rule::OrRange(other, min, max), value) => {
                value.as_number().is_some_and(|number| number == other || (min..=max).contains(&number))
            }
            (Rule::OneOf(known), Value::Text(text)) => known.contains(&text.as_str()),
            (Rule::OneOf(known), Value::List(list)) => {
                let is_first = |at: usize, text: &String| !list[..at].contains(text);
                list.iter().enumerate().all(|(at, text)| known.contains(&text.as_str()) && is_first(at, text))
            }
            (Rule::Share, Value::Double(share)) => (0.0..=1.0).contains(share),
            (Rule::Replicas, Value::List(list)) => list == &["*"] || list.iter().all(|text| is_replica(text)),
            (Rule::NotEmpty, Value::Text(text)) => !text.is_empty(),
            (Rule::NotEmpty, Value::List(list)) => !list.is_empty(),
            (Rule::Empty(_), Value::Text(text)) => text.is_empty(),
            (Rule::Empty(_), Value::List(list)) => list.is_empty(),
            _ => true,
        }
    }

    fn expected(self, kind: Kind) -> String {
        match self {
            Rule::Any => kind.expected().to_owned(),
            Rule::Range(min, max) if max == i64::MAX || (kind == Kind::Int && max == i64::from(i32::MAX)) => {
                format!("{}, at least {min}", kind.expected())
            }
            Rule::Range(min, max) => format!("{} from {min} to {max}", kind.expected()),
            Rule::OrRange(other, min, max) => format!("{other}, or {} from {min} to {max}", kind.expected()),
            Rule::Share => format!("{} from 0 to 1", kind.expected()),
            Rule::Replicas => "*, or partition:broker separated by commas".to_owned(),
            Rule::OneOf(known) if kind == Kind::List => format!("a list of: {}", known.join(", ")),
            Rule::OneOf(known) => format!("one of: {}", known.join(", ")),
            Rule::NotEmpty => format!("{} that is not empty", kind.expected()),
            Rule::Empty(why) => format!("no value: {why}"),
        }
    }
}

fn is_replica(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once(':').is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
}

/// A broker config that gives a topic config its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// Name of the broker config.
    pub name: &'static str,
    /// What one unit of it is in units of the topic config: 3,600,000 where it counts hours and the topic milliseconds.
    pub scale: i64,
}

/// The declaration of one config.
#[derive(Clone, Copy, Debug)]
pub struct ConfigDef {
    /// Its name in files, on the command line and in the protocol.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Where it applies.
    pub scope: Scope,
    /// The text of its default; `None` means that there is no value.
    pub default: Option<&'static str>,
    /// What a value must keep to.
    pub rule: Rule,
    /// The broker configs that give a topic config its default, first one first. Empty for broker configs.
    pub synonyms: &'static [Synonym],
    /// True where it can change while the broker runs: where Kafka lets it and Strata does so too.
    pub dynamic: bool,
    /// What giving it does.
    pub standing: Standing,
    doc: &'static str,
}

impl ConfigDef {
    pub(super) const fn new(
        name: &'static str,
        kind: Kind,
        scope: Scope,
        default: Option<&'static str>,
        doc: &'static str,
    ) -> ConfigDef {
        let dynamic = matches!(scope, Scope::Topic);
        let (rule, standing) = (Rule::Any, Standing::Served);
        ConfigDef { name, kind, scope, default, rule, synonyms: &[], dynamic, standing, doc }
    }

    pub(super) const fn range(mut self, min: i64, max: i64) -> ConfigDef {
        self.rule = Rule::Range(min, max);
        self
    }

    pub(super) const fn or_range(mut self, other: i64, min: i64, max: i64) -> ConfigDef {
        self.rule = Rule::OrRange(other, min, max);
        self
    }

    pub(super) const fn at_least(self, min: i64) -> ConfigDef {
        let max = if matches!(self.kind, Kind::Int) { i32::MAX as i64 } else { i64::MAX };
        self.range(min, max)
    }

    pub(super) const fn one_of(mut self, known: &'static [&'static str]) -> ConfigDef {
        self.rule = Rule::OneOf(known);
        self
    }

    pub(super) const fn share(mut self) -> ConfigDef {
        self.rule = Rule::Share;
        self
    }

    pub(super) const fn replicas(mut self) -> ConfigDef {
        self.rule = Rule::Replicas;
        self
    }

    pub(super) const fn not_empty(mut self) -> ConfigDef {
        self.rule = Rule::NotEmpty;
        self
    }

    pub(super) const fn empty(mut self, why: &'static str) -> ConfigDef {
        self.rule = Rule::Empty(why);
        self
    }

    pub(super) const fn synonyms(mut self, synonyms: &'static [Synonym]) -> ConfigDef {
        self.synonyms = synonyms;
        self
    }

    pub(super) const fn dynamic(mut self) -> ConfigDef {
        self.dynamic = true;
        self
    }

    pub(super) const fn noted(mut self, why: &'static str) -> ConfigDef {
        self.standing = Standing::Noted(why);
        self
    }

    /// What it is for, in one or two sentences.
    #[must_use]
    pub fn doc(&self) -> &'static str {
        self.doc.trim()
    }

    /// True where its value is never shown.
    #[must_use]
    pub fn sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    /// What a value looks like, for messages.
    #[must_use]
    pub fn expected(&self) -> String {
        self.rule.expected(self.kind)
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`ConfigError::BadValue`] with key, value and what is expected.
    pub fn parse(&self, text: &str) -> Result<Value, ConfigError> {
        match self.kind.read(text) {
            Some(value) if self.rule.holds(&value) => Ok(value),
            _ => Err(self.refuse(text, self.expected())),
        }
    }

    /// The value that holds when none is given.
    #[must_use]
    pub fn default_value(&self) -> Value {
        match self.default {
            None => Value::Null,
            Some(text) => self.parse(text).expect("a default keeps its own rule: the tests parse every one"),
        }
    }

    pub(super) fn refuse(&self, value: &str, expected: String) -> ConfigError {
        let value = if self.sensitive() { "[hidden]".to_owned() } else { value.to_owned() };
        ConfigError::BadValue { key: self.name.to_owned(), value, expected }
    }
}

/// A config cannot be taken. In the protocol this is INVALID_CONFIG.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No config has this name.
    #[error("unknown config {key}{}", suggestion(.nearest))]
    UnknownKey {
        /// The name that was given.
        key: String,
        /// The known name that is most like it.
        nearest: Option<&'static str>,
    },
    /// The value is not one that this config can have.
    #[error("{key}={value}: expected {expected}")]
    BadValue {
        /// The config.
        key: String,
        /// The value that was given; `[hidden]` where it is secret.
        value: String,
        /// What can be given instead.
        expected: String,
    },
    /// These hold from a start of the broker to its end. In the protocol this is INVALID_REQUEST, as in Kafka.
    #[error("Cannot update these configs dynamically: {}", keys.join(", "))]
    NotDynamic {
        /// The configs.
        keys: Vec<&'static str>,
    },
    /// Configs of a topic that do not go together, or a change that would lose records.
    #[error("{0}")]
    Conflict(String),
}

fn suggestion(nearest: &Option<&'static str>) -> String {
    nearest.map(|name| format!(", did you mean {name}?")).unwrap_or_default()
}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<T> {
            name: &'static str,
            value: PhantomData<fn() -> T>,
        }

        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<T> Copy for $name<T> {}

        impl<T: ConfigType> $name<T> {
            pub(super) const fn new(name: &'static str) -> Self {
                $name { name, value: PhantomData }
            }

            /// The config's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                self.name
            }
        }
    };
}

key! {
    /// A typed handle of a broker config.
    BrokerKey
}
key! {
    /// A typed handle of a topic config.
    TopicKey
}

/// Declares configs: `/// doc`, `HANDLE: type = "name", default text or None, rules…;` makes the handle and its entry.
macro_rules! configs {
    ($handle:ident, $scope:ident;
     $($(#[doc = $doc:literal])+ $key:ident: $type:ty = $name:literal, $default:expr $(, $rule:ident($($arg:expr),*))*;)*) => {
        $($(#[doc = $doc])+ pub const $key: $crate::config::$handle<$type> = $crate::config::$handle::new($name);)*

        pub(super) const TABLE: &[$crate::config::ConfigDef] = &[$(
            $crate::config::ConfigDef::new(
                $name,
                <$type as $crate::config::ConfigType>::KIND,
                $crate::config::Scope::$scope,
                $default,
                concat!($($doc),+),
            )$(.$rule($($arg),*))*,
        )*];
    };
}
pub(super) use configs;
