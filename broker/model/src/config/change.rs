//! What the operations of IncrementalAlterConfigs make of the configs that a resource has (KIP-339).

use std::collections::BTreeMap;

use super::def::{ConfigError, Scope};
use super::lookup;
use super::value::Kind;

/// One change of one config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOp {
    /// It has this value.
    Set(String),
    /// It has its default.
    Delete,
    /// These stand in its list too.
    Append(String),
    /// These do not stand in its list.
    Subtract(String),
}

/// All configs of a resource after these operations. Whether they are legal is not asked.
///
/// # Errors
/// [`ConfigError::Conflict`] where a list's operation is asked of what is no list.
pub fn changed(
    scope: Scope,
    current: &BTreeMap<String, String>,
    ops: &[(String, ConfigOp)],
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut after = current.clone();
    for (name, op) in ops {
        let value = match op {
            ConfigOp::Set(value) => Some(value.clone()),
            ConfigOp::Delete => None,
            ConfigOp::Append(more) => {
                let mut list = list_of(scope, (name, current), "APPEND")?;
                for text in more.split(',').map(str::to_owned) {
                    if !list.contains(&text) {
                        list.push(text);
                    }
                }
                Some(list.join(","))
            }
            ConfigOp::Subtract(less) => {
                let mut list = list_of(scope, (name, current), "SUBTRACT")?;
                for text in less.split(',') {
                    if let Some(at) = list.iter().position(|known| known == text) {
                        list.remove(at);
                    }
                }
                Some(list.join(","))
            }
        };
        match value {
            Some(value) => drop(after.insert(name.clone(), value)),
            None => drop(after.remove(name)),
        }
    }
    Ok(after)
}

/// The members of a list now; of one that is not given, those of its default.
fn list_of(
    scope: Scope,
    (name, current): (&str, &BTreeMap<String, String>),
    operation: &str,
) -> Result<Vec<String>, ConfigError> {
    let Some(def) = lookup(scope, name).filter(|def| def.kind == Kind::List) else {
        let what = format!("Can't {operation} to key {name} because its type is not LIST.");
        return Err(ConfigError::Conflict(what));
    };
    let text = current.get(name).map(String::as_str).or(def.default).unwrap_or_default();
    Ok(text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect())
}
