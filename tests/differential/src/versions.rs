//! Which APIs and versions both brokers advertise, and which only one has.

use std::collections::BTreeMap;
use std::fmt::Write;

use broker_wire::messages::ApiVersionsRequest;
use broker_wire::tree::Node;
use broker_wire::{ApiKey, RequestBody, Str};

use crate::link::{self, Link};

/// By API number: the oldest and the newest version.
type Ranges = BTreeMap<i16, (i16, i16)>;

/// What may be sent to both.
#[derive(Clone, Debug, Default)]
pub(crate) struct Versions {
    common: Ranges,
    /// Lines that say what is left out.
    pub(crate) skipped: Vec<String>,
}

impl Versions {
    /// Asks both brokers, Strata first.
    pub(crate) async fn ask(addresses: &[String; 2]) -> Result<Versions, String> {
        let [strata, kafka] = addresses;
        Ok(Versions::of(&advertised(strata).await?, &advertised(kafka).await?))
    }

    fn of(strata: &Ranges, kafka: &Ranges) -> Versions {
        let mut found = Versions::default();
        let name = |key: i16| ApiKey::from_code(key).map_or_else(|| format!("API {key}"), |api| api.name().to_owned());
        for (key, theirs) in kafka {
            let Some(ours) = strata.get(key) else {
                found.skipped.push(format!("{} (Kafka only)", name(*key)));
                continue;
            };
            let Some(api) = ApiKey::from_code(*key) else {
                found.skipped.push(format!("{} (unknown to the codec)", name(*key)));
                continue;
            };
            let first = ours.0.max(theirs.0).max(api.version_first());
            let last = ours.1.min(theirs.1).min(api.version_last());
            if ours != theirs {
                let mut line = String::new();
                let _ = write!(line, "{}: {}–{} of both; Strata has ", api.name(), first, last);
                let _ = write!(line, "{}–{}, Kafka {}–{}", ours.0, ours.1, theirs.0, theirs.1);
                found.skipped.push(line);
            }
            if first <= last {
                found.common.insert(*key, (first, last));
            }
        }
        found.skipped.extend(
            strata.keys().filter(|key| !kafka.contains_key(key)).map(|key| format!("{} (Strata only)", name(*key))),
        );
        found
    }

    /// The versions of an API that both have.
    pub(crate) fn range(&self, api: ApiKey) -> Option<(i16, i16)> {
        self.common.get(&api.code()).copied()
    }

    /// All APIs that both have.
    pub(crate) fn apis(&self) -> impl Iterator<Item = (ApiKey, (i16, i16))> {
        self.common.iter().filter_map(|(key, range)| Some((ApiKey::from_code(*key)?, *range)))
    }
}

async fn advertised(address: &str) -> Result<Ranges, String> {
    let mut link = Link::open(address).await.map_err(|error| format!("{address}: {error}"))?;
    let request = ApiVersionsRequest {
        client_software_name: Str::from_static("differential"),
        client_software_version: Str::from_static("1"),
    };
    let frame = link::encode(ApiKey::ApiVersions, 3, 1, &RequestBody::ApiVersions(request))?;
    link.send(&frame).await;
    let answer = link.next().await.ok_or_else(|| format!("{address} closed the connection"))?;
    let answer = link::decode(ApiKey::ApiVersions, 3, 1, answer)?;
    let number = |item: &Node, field: &str| match item.field(field) {
        Some(Node::Number(value)) => i16::try_from(*value).ok(),
        _ => None,
    };
    let keys = answer.field("api_keys").map(Node::items).unwrap_or_default();
    Ok(keys
        .iter()
        .filter_map(|item| {
            Some((number(item, "api_key")?, (number(item, "min_version")?, number(item, "max_version")?)))
        })
        .collect())
}
