//! The delivery core under faults that chance finds: clients, connections, a store and senders, in
//! simulated time. A seed gives the same run each time.
//!
//! ```text
//! SEED=1234 cargo test --test simulation nothing_    # one run, as a failure prints it
//! tests/simulation/many 1000000                      # many
//! ```

mod chance;
mod checks;
mod client;
mod server;
mod store;
mod world;

use world::{Sabotage, World};

/// Runs in the usual test run.
const SEEDS: u64 = 10_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nothing_acknowledged_is_lost_whatever_fails() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let seeds = seeds.clone();
            scope.spawn(move || {
                for seed in seeds.filter(|seed| seed % threads == thread) {
                    if let Some(violation) = World::run(seed, Sabotage::None) {
                        panic!("{violation}\n  SEED={seed} cargo test --test simulation nothing_");
                    }
                }
            });
        }
    });
}

/// Seeds until a broken server is noticed.
fn noticed(sabotage: Sabotage) {
    let found = (0..SEEDS).find_map(|seed| World::run(seed, sabotage));
    assert!(found.is_some(), "nobody notices {sabotage:?}");
}

#[test]
fn a_server_that_answers_before_the_commit_is_noticed() {
    noticed(Sabotage::AckBeforeCommit);
}

#[test]
fn a_server_that_forgets_which_delivery_was_answered_is_noticed() {
    noticed(Sabotage::ForgetDelivery);
}

#[test]
fn a_server_that_does_not_count_deliveries_is_noticed() {
    noticed(Sabotage::SkipCounting);
}

#[test]
fn a_server_that_forgets_what_is_in_memory_when_it_stops_is_noticed() {
    noticed(Sabotage::ForgetVolatile);
}
