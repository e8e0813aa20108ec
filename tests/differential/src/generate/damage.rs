//! Frames that are not what the protocol says, and requests of no particular kind.

use broker_wire::messages::ApiVersionsRequest;
use broker_wire::{ApiKey, RequestBody, Str};

use super::{MAIN, Plan};
use crate::step::Damage;

/// The lane of what may close its connection.
const ROUGH: u8 = 60;

/// A damaged request, or one of ApiVersions.
pub(super) fn damage(plan: &mut Plan<'_>) {
    if plan.dice.percent(40) {
        return api_versions(plan);
    }
    let before = plan.steps.len();
    match plan.dice.below(6) {
        0 => super::data::look(plan),
        1 => super::fetch::fetch(plan),
        2 => super::admin::metadata(plan),
        3 => super::offsets::offsets(plan),
        4 => super::admin::admin(plan),
        _ => super::groups::rough(plan),
    }
    let (kind, damage) = match plan.dice.below(8) {
        0 | 1 => ("damage/cut", Damage::Cut(1 + plan.dice.below(12))),
        2 => ("damage/extend", Damage::Extend(1 + plan.dice.below(9))),
        3 | 4 => ("damage/flip", Damage::Flip(plan.dice.below(400))),
        5 => ("damage/version", Damage::Version(plan.dice.of(&[-1, 99, i16::MAX]))),
        6 => ("damage/key", Damage::Key(plan.dice.of(&[-1, 999, i16::MAX, 4, 7]))),
        _ => {
            let length = plan.dice.below(30);
            ("damage/raw", Damage::Raw((0..length).map(|_| plan.dice.u64() as u8).collect()))
        }
    };
    // What was planned on the way stays; only the last request is damaged.
    if plan.steps.len() > before
        && let Some(step) = plan.steps.last_mut()
    {
        step.kind = kind;
        step.damage = Some(damage);
        step.lane = ROUGH;
        step.settles = true;
    }
}

fn api_versions(plan: &mut Plan<'_>) {
    let names = ["apache-kafka-java", "", "a b", "-x", "x-", "librdkafka", "ü"];
    let (name, version) = (plan.dice.of(&names), plan.dice.of(&["1.0", "", "v2", "1 0", "-1"]));
    let made = plan.add("api-versions", ApiKey::ApiVersions, move |_| {
        RequestBody::ApiVersions(ApiVersionsRequest {
            client_software_name: Str::from_static(name),
            client_software_version: Str::from_static(version),
        })
    });
    let Some(step) = made else { return };
    step.lane = MAIN;
    if plan.dice.percent(20) {
        let version = plan.dice.of(&[-1, 5, 99, i16::MAX]);
        if let Some(step) = plan.steps.last_mut() {
            step.kind = "api-versions/unknown-version";
            // The head of an unknown version has tagged fields.
            step.version = step.version.max(3);
            step.damage = Some(Damage::Version(version));
            step.lane = ROUGH;
        }
    }
}
