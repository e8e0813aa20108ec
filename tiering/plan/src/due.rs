//! How long a plan holds when nothing happens but that time passes: what an idle partition sleeps until.
//!
//! Never late: between `now` and the time that [`due`] gives, [`plan`](crate::plan) finds nothing that it does not find at
//! `now`. It may be early where several things must come together; then the plan at that time is empty, and gives the next.

use broker_model::Timestamp;
use tiering_manifest::{Root, State};

use crate::retention::first_expiry;
use crate::{Facts, Rules};

/// The first time after `now` at which there may be more to do, `None` where only an event can bring that.
#[must_use]
pub fn due(root: &Root, facts: &Facts<'_>, rules: &Rules, now: Timestamp) -> Option<Timestamp> {
    let mut times: Vec<Timestamp> = root.occupied.iter().map(|row| row.until).collect();
    times.extend(root.condemned.iter().map(|row| row.delete_after));
    if root.state == State::Active {
        times.extend(root.registered.iter().map(|row| row.deadline));
        times.extend(rules.rpo_ms.zip(facts.oldest_unshipped).map(|(rpo_ms, oldest)| oldest.plus_ms(rpo_ms)));
        times.extend(first_expiry(root, facts, rules));
    }
    times.into_iter().filter(|time| *time > now).min()
}
