//! Where partitions end, of which some may be gone.

use std::collections::{BTreeMap, BTreeSet};

use broker_client::{Client, Place, TimeSpec};

use crate::Failure;

/// The ends of those partitions that are still there.
pub(crate) async fn of(client: &mut Client, places: &BTreeSet<Place>) -> Result<BTreeMap<Place, i64>, Failure> {
    let topics = client.topics().await?;
    let there: BTreeSet<Place> = topics
        .iter()
        .filter_map(|topic| Some((topic.name.as_deref()?, topic)))
        .flat_map(|(name, topic)| {
            let led = topic.partitions.iter().filter(|partition| partition.leader_id >= 0);
            led.map(|partition| Place { topic: name.to_owned(), partition: partition.partition_index })
        })
        .collect();
    let asked: Vec<Place> = places.intersection(&there).cloned().collect();
    Ok(client.list_offsets(&asked, TimeSpec::End).await?)
}
