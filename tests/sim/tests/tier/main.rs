//! The commit protocol of the tier under a seeded simulation: uploader, root and collector as they are in production, a
//! second writer, and a store that loses replies, delays puts past their callers, tears reads and refuses requests.
//!
//! Every run prints its seed when it fails; a failing seed becomes a named test below. The mutations show that the checks
//! notice: each breaks one rule, and some seed must find the promise that falls.

mod check;
mod random;
mod store;
mod world;

use store::Mutation;
use world::World;

const TURNS: usize = 3_000;
const SEEDS: u64 = 40;

/// What one seed came to.
fn run(seed: u64, mutation: Mutation, turns: usize) -> (World, Result<(), check::Broken>) {
    let mut world = World::new(seed, mutation);
    let result = world.live(turns);
    (world, result)
}

fn must_hold(seed: u64, turns: usize) -> World {
    let (world, result) = run(seed, Mutation::None, turns);
    if let Err((promise, detail)) = result {
        let state = world.store.0.lock();
        let from = state.trace.len().saturating_sub(60);
        panic!("seed {seed}: {promise}: {detail}\n{}", state.trace[from..].join("\n"));
    }
    world
}

#[test]
fn the_promises_hold_for_every_seed() {
    let mut met = std::collections::BTreeMap::new();
    let mut crashes = 0;
    for seed in 0..SEEDS {
        let world = must_hold(seed, TURNS);
        crashes += world.crashes;
        for (what, count) in &world.store.0.lock().faults {
            *met.entry(*what).or_insert(0) += count;
        }
    }
    println!("met in {SEEDS} seeds: {met:?}, crashes: {crashes}");
    // A simulation that no longer reaches a part of the protocol says nothing about it.
    assert_eq!(met.len(), 16, "{met:?}");
    assert!(crashes > SEEDS && met.values().all(|count| *count > 0), "{met:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 17] {
        let (one, two) = (must_hold(seed, TURNS), must_hold(seed, TURNS));
        assert_eq!(one.store.0.lock().trace, two.store.0.lock().trace);
    }
}

/// Runs seeds until one breaks the promise, and says which.
fn caught(mutation: Mutation, promises: &[&str]) {
    let mut others = std::collections::BTreeSet::new();
    for seed in 0..200 {
        match run(seed, mutation, TURNS).1 {
            Err((promise, detail)) if promises.contains(&promise) => {
                assert!(!detail.is_empty(), "seed {seed} says what it found");
                return;
            }
            Err((promise, _)) => drop(others.insert(promise)),
            Ok(()) => {}
        }
    }
    panic!("{mutation:?} broke none of {promises:?} in 200 seeds, but {others:?}");
}

#[test]
fn a_skipped_fence_is_caught() {
    caught(Mutation::SkipFence, &["TIER-4"]);
}

#[test]
fn a_reused_id_is_caught() {
    caught(Mutation::ReuseId, &["TIER-4"]);
}

#[test]
fn a_commit_without_its_put_is_caught() {
    caught(Mutation::CommitWithoutPut, &["TIER-3"]);
}

#[test]
fn forgotten_ids_of_dead_writers_are_caught() {
    caught(Mutation::NoOccupy, &["TIER-5"]);
}

#[test]
fn a_delete_before_the_swap_is_caught() {
    caught(Mutation::DeleteBeforeSwap, &["TIER-3"]);
}

#[test]
fn an_early_local_delete_is_caught() {
    caught(Mutation::DeleteLocalEarly, &["TIER-2"]);
}

#[test]
fn a_lost_range_is_caught() {
    caught(Mutation::DropEntry, &["TIER-1"]);
}

#[test]
fn a_flipped_bit_is_caught() {
    caught(Mutation::FlipBit, &["TIER-6"]);
}
