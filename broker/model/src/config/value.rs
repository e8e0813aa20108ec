//! Values of configs: the types that a config can have, and how its text becomes a value of Rust and text again.
//!
//! The text forms are Kafka's: numbers in decimal, `true` and `false` in any case, lists separated by commas. Units stand
//! in the name of the config and never in its value.

use std::fmt;

/// The type of a config, with the number that DescribeConfigs gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// Text.
    Text,
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 64 bits.
    Long,
    /// A number with a fraction.
    Double,
    /// Texts separated by commas.
    List,
    /// Text that is never shown.
    Password,
}

impl Kind {
    /// The number of the type in DescribeConfigs (`ConfigDef.Type` of KIP-569).
    #[must_use]
    pub const fn code(self) -> i8 {
        match self {
            Kind::Bool => 1,
            Kind::Text => 2,
            Kind::Int => 3,
            Kind::Long => 5,
            Kind::Double => 6,
            Kind::List => 7,
            Kind::Password => 9,
        }
    }

    /// What a value of this type looks like, for messages.
    #[must_use]
    pub const fn expected(self) -> &'static str {
        match self {
            Kind::Bool => "true or false",
            Kind::Text | Kind::Password => "text",
            Kind::Int => "a whole number of 32 bits",
            Kind::Long => "a whole number of 64 bits",
            Kind::Double => "a number",
            Kind::List => "a list of words separated by commas",
        }
    }

    /// Reads a text as a value of this type; `None` when it is not one.
    #[must_use]
    pub fn read(self, text: &str) -> Option<Value> {
        let text = text.trim();
        Some(match self {
            Kind::Bool if text.eq_ignore_ascii_case("true") => Value::Bool(true),
            Kind::Bool if text.eq_ignore_ascii_case("false") => Value::Bool(false),
            Kind::Bool => return None,
            Kind::Text => Value::Text(text.to_owned()),
            Kind::Int => Value::Int(text.parse().ok()?),
            Kind::Long => Value::Long(text.parse().ok()?),
            Kind::Double => Value::Double(text.parse().ok().filter(|number: &f64| number.is_finite())?),
            Kind::List => Value::List(split_list(text)?),
            Kind::Password => Value::Password(Password(text.to_owned())),
        })
    }
}

/// An empty text is an empty list; a list with an empty member is none (KIP-1161).
fn split_list(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split(',').map(str::trim).map(|part| (!part.is_empty()).then(|| part.to_owned())).collect()
}

/// A secret. It prints as `[hidden]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Wraps a secret.
    #[must_use]
    pub fn new(secret: String) -> Password {
        Password(secret)
    }

    /// The secret itself: for the one call that needs it, never for a message.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// A parsed value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// There is no value.
    Null,
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of [`Kind::Text`].
    Text(String),
    /// Of [`Kind::Int`].
    Int(i32),
    /// Of [`Kind::Long`].
    Long(i64),
    /// Of [`Kind::Double`].
    Double(f64),
    /// Of [`Kind::List`].
    List(Vec<String>),
    /// Of [`Kind::Password`].
    Password(Password),
}

impl Value {
    /// The text that DescribeConfigs shows; `None` where there is no value or it is secret.
    #[must_use]
    pub fn shown(&self) -> Option<String> {
        match self {
            Value::Null | Value::Password(_) => None,
            Value::Bool(value) => Some(value.to_string()),
            Value::Text(value) => Some(value.clone()),
            Value::Int(value) => Some(value.to_string()),
            Value::Long(value) => Some(value.to_string()),
            // With a fraction even where it is zero, as Java writes it.
            Value::Double(value) => Some(format!("{value:?}")),
            Value::List(values) => Some(values.join(",")),
        }
    }

    /// The value as a number, where it is one.
    #[must_use]
    pub fn as_number(&self) -> Option<i64> {
        match self {
            Value::Int(value) => Some(i64::from(*value)),
            Value::Long(value) => Some(*value),
            _ => None,
        }
    }
}

/// A type of Rust that a config's value can have.
pub trait ConfigType: Sized {
    /// The kind that such a config is declared with.
    const KIND: Kind;

    /// The value as this type; `None` when it is of another kind.
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! config_type {
    ($($type:ty => $kind:ident;)*) => {$(
        impl ConfigType for $type {
            const KIND: Kind = Kind::$kind;

            fn from_value(value: &Value) -> Option<Self> {
                match value { Value::$kind(value) => Some(value.clone()), _ => None }
            }
        }
    )*};
}

config_type! {
    bool => Bool;
    String => Text;
    i32 => Int;
    i64 => Long;
    f64 => Double;
    Vec<String> => List;
    Password => Password;
}

/// A config that may have no value.
impl<T: ConfigType> ConfigType for Option<T> {
    const KIND: Kind = T::KIND;

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}
