//! Listeners as types: where the broker listens, and what clients of each listener are told to connect to.
//!
//! Kafka's rules hold: a listener has a name, the name has a security protocol, names are unique, what is advertised
//! names a listener that exists. Only PLAINTEXT is served; a listener that promises more stops the program instead of
//! serving in the clear. Listeners of the controller are left out: this node is its own controller.

use std::fmt;

use broker_model::config::{BrokerKey, ConfigError, ConfigType, ConfigValues, network, tier};

use super::refuse;
use super::sources::Environment;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address, IPv6 without brackets. Empty means all interfaces.
    pub host: String,
    /// The port; 0 means one that is free.
    pub port: u16,
}

/// The form that a URL has: IPv6 in brackets.
impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl HostPort {
    fn parse(text: &str) -> Option<HostPort> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        let legal = host.chars().all(|letter| letter.is_ascii_alphanumeric() || ".-_:%".contains(letter));
        legal.then_some(HostPort { host: host.to_owned(), port: port.parse().ok()? })
    }

    /// True where this means every interface, so that it cannot be told to clients.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        matches!(self.host.as_str(), "" | "0.0.0.0" | "::")
    }

    /// The host to bind: all interfaces where none is named.
    #[must_use]
    pub fn bind_host(&self) -> &str {
        if self.host.is_empty() { "0.0.0.0" } else { &self.host }
    }
}

/// The security protocol of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// No encryption and no authentication.
    Plaintext,
}

/// A Kafka listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, in capitals.
    pub name: String,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Where it listens.
    pub bind: HostPort,
    /// What clients that came through it are told. Port 0 means the port that was bound.
    pub advertised: HostPort,
}

/// An HTTP listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpListener {
    /// Where it listens.
    pub bind: HostPort,
}

const LISTENER_FORM: &str = "NAME://host:port, separated by commas";

/// The Kafka listeners.
pub(super) fn kafka(values: &ConfigValues, environment: &Environment) -> Result<Vec<Listener>, ConfigError> {
    let given = named(network::LISTENERS, &values.get(network::LISTENERS))?;
    let advertised = match values.get(network::ADVERTISED_LISTENERS) {
        Some(texts) => named(network::ADVERTISED_LISTENERS, &texts)?,
        None => Vec::new(),
    };
    for (name, endpoint) in &advertised {
        check_advertised(name, endpoint, &given)?;
    }
    let controllers = values.get(network::CONTROLLER_LISTENER_NAMES);
    let mut listeners = Vec::new();
    for (name, bind) in given {
        if controllers.iter().any(|controller| controller.eq_ignore_ascii_case(&name)) {
            continue;
        }
        let protocol = protocol(values, &name, &bind)?;
        let told = advertised.iter().find(|(other, _)| *other == name).map(|(_, endpoint)| endpoint.clone());
        let advertised = told.unwrap_or_else(|| as_bound(&bind, environment));
        listeners.push(Listener { name, protocol, bind, advertised });
    }
    if listeners.is_empty() {
        let texts = values.get(network::LISTENERS).join(",");
        return Err(refuse(network::LISTENERS, &texts, "at least one listener that is not the controller's"));
    }
    Ok(listeners)
}

/// The HTTP listeners.
pub(super) fn http(values: &ConfigValues) -> Result<Vec<HttpListener>, ConfigError> {
    let key = tier::HTTP_LISTENERS;
    values
        .get(key)
        .iter()
        .map(|text| {
            if text.starts_with("https://") {
                return Err(refuse(key, text, "http://host:port: TLS is not served yet"));
            }
            let rest = text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
            let bind = rest.and_then(HostPort::parse).ok_or_else(|| refuse(key, text, "http://host:port"))?;
            Ok(HttpListener { bind })
        })
        .collect()
}

fn named<T: ConfigType>(key: BrokerKey<T>, texts: &[String]) -> Result<Vec<(String, HostPort)>, ConfigError> {
    let mut listeners: Vec<(String, HostPort)> = Vec::new();
    for text in texts {
        let parts = text.split_once("://").filter(|(name, _)| !name.is_empty());
        let parsed = parts.and_then(|(name, rest)| Some((name.to_ascii_uppercase(), HostPort::parse(rest)?)));
        let (name, endpoint) = parsed.ok_or_else(|| refuse(key, text, LISTENER_FORM))?;
        if listeners.iter().any(|(other, _)| *other == name) {
            return Err(refuse(key, text, "each listener name once"));
        }
        if endpoint.port != 0 && listeners.iter().any(|(_, other)| *other == endpoint) {
            return Err(refuse(key, text, "each host and port once"));
        }
        listeners.push((name, endpoint));
    }
    Ok(listeners)
}

fn check_advertised(name: &str, endpoint: &HostPort, given: &[(String, HostPort)]) -> Result<(), ConfigError> {
    let text = format!("{name}://{endpoint}");
    if endpoint.is_wildcard() {
        return Err(refuse(network::ADVERTISED_LISTENERS, &text, "a host that clients can connect to"));
    }
    if !given.iter().any(|(other, _)| other == name) {
        return Err(refuse(network::ADVERTISED_LISTENERS, &text, "names that stand in listeners"));
    }
    Ok(())
}

fn protocol(values: &ConfigValues, name: &str, bind: &HostPort) -> Result<Protocol, ConfigError> {
    let key = network::LISTENER_SECURITY_PROTOCOL_MAP;
    let map = values.get(key);
    let found = map.iter().find_map(|text| {
        let (known, protocol) = text.split_once(':')?;
        known.eq_ignore_ascii_case(name).then_some(protocol)
    });
    // A name that is itself a protocol needs no entry, also where the map was written without it.
    let found = found.unwrap_or(name);
    match found.to_ascii_uppercase().as_str() {
        "PLAINTEXT" => Ok(Protocol::Plaintext),
        "SSL" | "SASL_PLAINTEXT" | "SASL_SSL" => {
            let expected = "a PLAINTEXT listener: TLS and SASL are not served yet, and Strata does not serve in the clear \
                            what is meant to be secured";
            Err(refuse(network::LISTENERS, &format!("{name}://{bind}"), expected))
        }
        _ => Err(refuse(key, &map.join(","), &format!("an entry {name}:PLAINTEXT for the listener {name}"))),
    }
}

/// What is advertised where nothing is said: the listener itself, with the machine's name for all interfaces.
fn as_bound(bind: &HostPort, environment: &Environment) -> HostPort {
    if !bind.is_wildcard() {
        return bind.clone();
    }
    let name = environment.host_name.as_str();
    let host = if name.is_empty() { "localhost" } else { name };
    HostPort { host: host.to_owned(), port: bind.port }
}
