//! The `KAFKA_*` variables with which the container images of Kafka are configured, as configs.
//!
//! The rule is that of Apache's image: the prefix goes, capitals become small, `_` becomes `.`, `__` becomes `_` and `___`
//! becomes `-`. Bitnami's `KAFKA_CFG_*` means the same. So `KAFKA_LOG_DIRS` is `log.dirs`, and `KAFKA_STRATA_TIER_URL` is
//! `strata.tier.url`. Where both spell one config, `KAFKA_CFG_*` holds.
//!
//! An empty variable is what a compose file gives for one that is not set: it counts only for a config that may be empty.
//! As in the image, `KAFKA_ADVERTISED_LISTENERS` without listeners means to listen on all interfaces at these ports.
//!
//! Variables that set up a Java process are reported as without effect. Those that images and Kubernetes put there by
//! themselves say nothing and are passed over. Only names are ever reported: a value may be a secret.

use broker_model::config::{Scope, lookup, network};

use super::sources::{Environment, Given};

const PREFIX: &str = "KAFKA_";
const BITNAMI: &str = "CFG_";

const NO_JAVA: &str = "Strata is no Java program";
const NO_LOG4J: &str = "RUST_LOG says what is logged";
const NO_SECURITY: &str = "TLS and SASL are not served yet";

/// Variables that are no config of a broker, and why they change nothing.
const NOTED: &[(&str, &str)] = &[
    ("HEAP_OPTS", NO_JAVA),
    ("OPTS", NO_JAVA),
    ("JVM_PERFORMANCE_OPTS", NO_JAVA),
    ("GC_LOG_OPTS", NO_JAVA),
    ("JMX_OPTS", NO_JAVA),
    ("JMX_PORT", NO_JAVA),
    ("JMX_HOSTNAME", NO_JAVA),
    ("LOG4J_OPTS", NO_LOG4J),
    ("LOG4J_ROOT_LOGLEVEL", NO_LOG4J),
    ("LOG4J_LOGGERS", NO_LOG4J),
    ("TOOLS_LOG4J_LOGLEVEL", NO_LOG4J),
    ("CLIENT_USERS", NO_SECURITY),
    ("CLIENT_PASSWORDS", NO_SECURITY),
    ("INTER_BROKER_USER", NO_SECURITY),
    ("INTER_BROKER_PASSWORD", NO_SECURITY),
    ("CONTROLLER_USER", NO_SECURITY),
    ("CONTROLLER_PASSWORD", NO_SECURITY),
    ("CERTIFICATE_PASSWORD", NO_SECURITY),
    ("TLS_TYPE", NO_SECURITY),
    ("TLS_CLIENT_AUTH", NO_SECURITY),
];

/// Variables of images and their entry scripts, which are read there: nobody asks the broker for anything.
const PASSED_OVER: &[&str] = &["VERSION", "HOME", "CLUSTER_ID", "KRAFT_CLUSTER_ID", "ENABLE_KRAFT"];

/// True where the variable may be one of these.
pub(super) fn is_one(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// The configs that the environment gives, the strongest last, and what is to be said of the other variables.
pub(super) fn read(environment: &Environment) -> (Vec<Given>, Vec<String>) {
    let (mut given, mut warnings): (Vec<Given>, Vec<String>) = (Vec::new(), Vec::new());
    let mut bitnami = Vec::new();
    for (name, value) in &environment.variables {
        let Some(rest) = name.strip_prefix(PREFIX).filter(|rest| !is_passed_over(rest, value)) else { continue };
        if let Some((_, why)) = NOTED.iter().find(|(noted, _)| *noted == rest) {
            warnings.push(format!("{name} has no effect: {why}"));
            continue;
        }
        let of_bitnami = rest.strip_prefix(BITNAMI);
        let key = config_name(of_bitnami.unwrap_or(rest));
        if value.is_empty() && lookup(Scope::Broker, &key).is_none_or(|def| def.parse("").is_err()) {
            continue;
        }
        let list = if of_bitnami.is_some() { &mut bitnami } else { &mut given };
        list.push(Given { key, value: value.clone(), place: name.clone() });
    }
    for stronger in bitnami {
        if let Some(weaker) = given.iter().find(|other| other.key == stronger.key) {
            warnings.push(format!("{} and {} give one config; the first one holds", stronger.place, weaker.place));
        }
        given.push(stronger);
    }
    (given, warnings)
}

/// The listeners that advertised ones of the environment stand for where nobody names any: the same names and ports on
/// all interfaces.
pub(super) fn listeners_of(given: &[Given]) -> Option<Given> {
    let advertised = given.iter().rev().find(|one| one.key == network::ADVERTISED_LISTENERS.name())?;
    let on_all = |text: &str| {
        let (name, rest) = text.split_once("://")?;
        let (_, port) = rest.rsplit_once(':')?;
        Some(format!("{}://0.0.0.0:{port}", name.trim()))
    };
    let value: Option<Vec<String>> = advertised.value.split(',').map(on_all).collect();
    Some(Given { key: network::LISTENERS.name().to_owned(), value: value?.join(","), place: advertised.place.clone() })
}

/// The name of the config that a variable stands for, both without their prefix. The order of the steps is the image's.
fn config_name(variable: &str) -> String {
    variable.to_ascii_lowercase().replace('_', ".").replace("...", "-").replace("..", "_")
}

/// True for what an image sets for itself, and for what Kubernetes sets for a service that is called `kafka`.
fn is_passed_over(rest: &str, value: &str) -> bool {
    let of_service = rest.ends_with("SERVICE_HOST") || rest.contains("SERVICE_PORT") || rest.contains("_TCP_");
    PASSED_OVER.contains(&rest) || of_service || value.starts_with("tcp://") || value.starts_with("udp://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(variables: &[(&str, &str)]) -> (Vec<(String, String)>, Vec<String>) {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (given, warnings) = read(&Environment { variables, ..Environment::default() });
        (given.into_iter().map(|one| (one.key, one.value)).collect(), warnings)
    }

    #[test]
    fn names_follow_the_rule_of_apaches_image() {
        for (variable, config) in [
            ("LOG_DIRS", "log.dirs"),
            ("ABC_DEF", "abc.def"),
            ("ABC__DEF", "abc_def"),
            ("ABC___DEF", "abc-def"),
            ("ABC____DEF", "abc-.def"),
            ("_ABC_", ".abc."),
            ("Log_Dirs", "log.dirs"),
            ("STRATA_TIER_S3_ENDPOINT", "strata.tier.s3.endpoint"),
        ] {
            assert_eq!(config_name(variable), config);
        }
    }

    #[test]
    fn what_is_no_config_is_said_or_passed_over() {
        let (given, warnings) = read_all(&[
            ("KAFKA_HEAP_OPTS", "-Xmx1G"),
            ("KAFKA_LOG4J_ROOT_LOGLEVEL", "WARN"),
            ("KAFKA_CLIENT_PASSWORDS", "hush"),
            ("KAFKA_VERSION", "4.1.0"),
            ("KAFKA_KRAFT_CLUSTER_ID", "abc"),
            ("KAFKA_PORT", "tcp://10.0.0.1:9092"),
            ("KAFKA_SERVICE_HOST", "10.0.0.1"),
            ("KAFKA_SERVICE_PORT_CLIENTS", "9092"),
            ("KAFKA_PORT_9092_TCP_ADDR", "10.0.0.1"),
            ("OTHER_LOG_DIRS", "/nowhere"),
        ]);
        assert!(given.is_empty(), "{given:?}");
        assert_eq!(
            warnings,
            [
                "KAFKA_CLIENT_PASSWORDS has no effect: TLS and SASL are not served yet",
                "KAFKA_HEAP_OPTS has no effect: Strata is no Java program",
                "KAFKA_LOG4J_ROOT_LOGLEVEL has no effect: RUST_LOG says what is logged",
            ]
        );
    }

    #[test]
    fn bitnamis_spelling_means_the_same_and_is_the_stronger() {
        let (given, warnings) = read_all(&[("KAFKA_CFG_NODE_ID", "2"), ("KAFKA_NODE_ID", "1")]);
        assert_eq!(given.last().unwrap(), &("node.id".to_owned(), "2".to_owned()));
        assert_eq!(warnings, ["KAFKA_CFG_NODE_ID and KAFKA_NODE_ID give one config; the first one holds"]);
    }

    #[test]
    fn empty_variables_count_where_a_config_may_be_empty() {
        let (given, warnings) =
            read_all(&[("KAFKA_NODE_ID", ""), ("KAFKA_ADVERTISED_LISTENERS", ""), ("KAFKA_STRATA_HTTP_LISTENERS", "")]);
        assert_eq!(given, [("strata.http.listeners".to_owned(), String::new())]);
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn advertised_listeners_give_ports_to_listen_on() {
        for (advertised, listeners) in [
            ("PLAINTEXT://localhost:9092", Some("PLAINTEXT://0.0.0.0:9092")),
            ("IN://kafka:1, OUT://[::1]:2", Some("IN://0.0.0.0:1,OUT://0.0.0.0:2")),
            ("kafka:1", None),
        ] {
            let key = network::ADVERTISED_LISTENERS.name().to_owned();
            let one = Given { key, value: advertised.to_owned(), place: String::new() };
            assert_eq!(listeners_of(&[one]).map(|given| given.value), listeners.map(str::to_owned));
        }
    }
}
