//! From words to a client: addresses, and the properties file of Kafka's tools.
//!
//! Only PLAINTEXT is spoken: a file that asks for TLS or SASL is refused, so that nobody takes an open connection for a safe
//! one. Keys that mean nothing here are named on standard error.

use std::path::Path;
use std::time::Duration;

use broker_client::{Address, Client, ClientSettings};

use crate::args::Connect;
use crate::output::note;
use crate::{Failure, Surroundings};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(60);
/// Where a broker is when nobody says where.
const BOOTSTRAP_DEFAULT: &str = "127.0.0.1:9092";
const CLIENT_ID: &str = "strata-cli";

/// A client as the words and the file say. It is not connected yet.
///
/// # Errors
/// An address or the file cannot be understood, or the file asks for what is not spoken.
pub fn client(words: &Connect, surroundings: &Surroundings) -> Result<Client, Failure> {
    let mut settings = ClientSettings {
        bootstrap: Vec::new(),
        client_id: CLIENT_ID.to_owned(),
        request_timeout: REQUEST_TIMEOUT,
        patience: PATIENCE,
    };
    let mut servers = words.bootstrap_server.clone();
    if let Some(path) = &words.command_config {
        let pairs = (surroundings.read_properties)(path)
            .map_err(|error| Failure::usage(format!("--command-config {}: {error}", path.display())))?;
        apply(&mut settings, &mut servers, path, pairs)?;
    }
    let servers = servers.as_deref().unwrap_or(BOOTSTRAP_DEFAULT);
    settings.bootstrap =
        Address::list(servers).map_err(|error| Failure::usage(format!("--bootstrap-server: {error}")))?;
    Ok(Client::new(settings))
}

fn apply(
    settings: &mut ClientSettings,
    servers: &mut Option<String>,
    path: &Path,
    pairs: Vec<(String, String)>,
) -> Result<(), Failure> {
    let mut unused = Vec::new();
    for (key, value) in pairs {
        let value = value.trim();
        match key.as_str() {
            // The option and the variable stand above the file.
            "bootstrap.servers" => *servers = servers.take().or(Some(value.to_owned())),
            "client.id" => value.clone_into(&mut settings.client_id),
            "request.timeout.ms" => settings.request_timeout = milliseconds(path, &key, value)?,
            "default.api.timeout.ms" => settings.patience = milliseconds(path, &key, value)?,
            "security.protocol" if value.eq_ignore_ascii_case("PLAINTEXT") => {}
            secure if ["security.", "sasl.", "ssl."].iter().any(|prefix| secure.starts_with(prefix)) => {
                let what =
                    format!("{}: {key}={value} cannot be honoured: strata speaks PLAINTEXT only", path.display());
                return Err(Failure::usage(what).hint("connect to a PLAINTEXT listener, without this key in the file"));
            }
            _ => unused.push(key),
        }
    }
    if !unused.is_empty() {
        note(&format!("{}: these keys have no effect here: {}", path.display(), unused.join(", ")));
    }
    Ok(())
}

fn milliseconds(path: &Path, key: &str, value: &str) -> Result<Duration, Failure> {
    let wrong =
        || Failure::usage(format!("{}: {key}={value}: expected is a number of milliseconds from 1", path.display()));
    value.parse().ok().filter(|ms| *ms > 0).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(pairs: &[(&str, &str)]) -> Result<(ClientSettings, Option<String>), Failure> {
        let mut settings = ClientSettings {
            bootstrap: Vec::new(),
            client_id: String::new(),
            request_timeout: REQUEST_TIMEOUT,
            patience: PATIENCE,
        };
        let mut servers = None;
        let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        apply(&mut settings, &mut servers, Path::new("client.properties"), pairs)?;
        Ok((settings, servers))
    }

    #[test]
    fn the_file_of_kafkas_tools_is_taken() {
        let (settings, servers) = applied(&[
            ("bootstrap.servers", "one:9092,two:9092"),
            ("client.id", "nightly"),
            ("security.protocol", "plaintext"),
            ("request.timeout.ms", "1500"),
        ])
        .unwrap();
        assert_eq!((servers.as_deref(), settings.client_id.as_str()), (Some("one:9092,two:9092"), "nightly"));
        assert_eq!(settings.request_timeout, Duration::from_millis(1500));
    }

    #[test]
    fn what_is_not_spoken_is_refused_by_name() {
        for (key, value) in [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "PLAIN"),
            ("ssl.truststore.location", "trust.jks"),
            ("request.timeout.ms", "soon"),
        ] {
            let failure = applied(&[(key, value)]).unwrap_err();
            assert_eq!(failure.exit_code(), 2);
            assert!(failure.to_string().contains(key), "{failure}");
        }
    }
}
