//! Makes a failing sequence short: steps are dropped as long as it still fails in the same way.

use crate::attempt::{Cluster, Outcome};
use crate::run::{Names, attempt};
use crate::step::Step;

/// How often a failure may be tried again before it counts as one that does not repeat.
const TRIES: usize = 3;

/// Shrinks, and gives the last run that failed. None where the sequence does not fail again.
pub(crate) async fn shrink(
    cluster: &Cluster,
    names: &Names,
    steps: &[Step],
    failed: (usize, &str),
) -> Result<Option<Outcome>, String> {
    let (last, signature) = failed;
    let mut kept: Vec<usize> = (0..=last.min(steps.len().saturating_sub(1))).collect();
    let mut found = None;
    for _ in 0..TRIES {
        if let Some(outcome) = fails(cluster, names, steps, (&kept, signature)).await? {
            found = Some(outcome);
            break;
        }
    }
    let Some(mut outcome) = found else { return Ok(None) };
    let mut width = kept.len() / 2;
    while width > 0 {
        let mut end = kept.len();
        while end > 0 {
            let start = end.saturating_sub(width);
            let fewer: Vec<usize> =
                kept.iter().enumerate().filter(|(at, _)| !(start..end).contains(at)).map(|(_, step)| *step).collect();
            if let Some(again) = fails(cluster, names, steps, (&fewer, signature)).await? {
                (kept, outcome) = (fewer, again);
                end = start.min(kept.len());
            } else {
                end = start;
            }
        }
        width /= 2;
    }
    Ok(Some(outcome))
}

async fn fails(
    cluster: &Cluster,
    names: &Names,
    steps: &[Step],
    (kept, signature): (&[usize], &str),
) -> Result<Option<Outcome>, String> {
    let some: Vec<Step> = kept.iter().filter_map(|index| steps.get(*index).cloned()).collect();
    let outcome = attempt(cluster, names, &some).await?;
    let is_same = outcome.failure.as_ref().is_some_and(|failure| failure.signature() == signature);
    Ok(is_same.then_some(outcome))
}
