//! Where a broker listens, and the text form that people write: `host:port`, `[::1]:port`, several with commas between.

use std::fmt;
use std::str::FromStr;

/// Kafka's port, where a text names none.
const PORT: u16 = 9092;

/// A host and a port; the host is not resolved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// The text names no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address: expected is HOST:PORT, for example 127.0.0.1:9092")]
pub struct ParseAddressError {
    text: String,
}

impl Address {
    /// A list with commas between, as in `bootstrap.servers`.
    ///
    /// # Errors
    /// One of them is no address, or there is none.
    pub fn list(text: &str) -> Result<Vec<Address>, ParseAddressError> {
        text.split(',').map(str::trim).filter(|one| !one.is_empty() || text.is_empty()).map(str::parse).collect()
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseAddressError { text: text.to_owned() };
        let (host, rest) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or_else(wrong)?,
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match rest.strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| wrong())?,
            None if rest.is_empty() => PORT,
            None => return Err(wrong()),
        };
        if host.is_empty() || host.contains(['/', ' ', '@']) || port == 0 {
            return Err(wrong());
        }
        Ok(Address { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
