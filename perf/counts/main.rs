//! What one operation of a named path costs in allocations, and between which marks callgrind finds its
//! instructions: the counted side of `perf/budget`.
//!
//! Each path is prepared and warmed up first. Then it runs in rounds of a fixed number of operations, each
//! between two calls of [`counts_mark`]; callgrind writes down what it has counted at each of them
//! (`--dump-after=*counts_mark*`), so every second of its dumps is a round. One line of JSON for each path says
//! how many operations a round had and what its thread allocated. Of several rounds the least is taken:
//! a few answers are made anew every 100 ms, and how often that happens depends on the clock.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a command line tool"
)]

mod allocations;
mod codec;
#[expect(dead_code, reason = "the example memory has more uses for it")]
#[path = "../memory/corpus.rs"]
mod corpus;
mod dispatch;
#[path = "../../benches/dispatching.rs"]
mod dispatching;
mod lanes;
mod search;
mod vectors;

use std::hint::black_box;

use serde_json::json;

/// Rounds of each path.
const ROUNDS: usize = 5;
/// Allocations of a round whose place is told.
const SITES_MAX: usize = 8;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

/// Where callgrind writes down what it has counted.
#[inline(never)]
fn counts_mark() {
    black_box(());
}

/// Runs the paths whose names begin with a word of the command line, or all.
pub(crate) struct Counter {
    wanted: Vec<String>,
    /// `--sites`: says where each path allocates instead of how much.
    sites: bool,
}

impl Counter {
    /// Is this path, or one that begins so, asked for?
    pub(crate) fn wants(&self, prefix: &str) -> bool {
        let fits = |word: &String| word.starts_with(prefix) || prefix.starts_with(word.as_str());
        self.wanted.is_empty() || self.wanted.iter().any(fits)
    }

    /// Counts `round`, which does `operations` of them each time; the first one warms up.
    pub(crate) fn count(&self, name: &str, operations: u64, mut round: impl FnMut()) {
        if !self.wants(name) {
            return;
        }
        round();
        if self.sites {
            for trace in allocations::traces(SITES_MAX, &mut round) {
                println!("{name}: {trace}");
            }
            return;
        }
        let mut least = allocations::Count::MAX;
        for _ in 0..ROUNDS {
            let before = allocations::Count::now();
            counts_mark();
            round();
            counts_mark();
            least = least.min(allocations::Count::now() - before);
        }
        let line = json!({
            "path": name, "operations": operations, "rounds": ROUNDS,
            "allocations": least.calls, "bytes": least.bytes,
        });
        println!("{line}");
    }

    /// Says why a path is not counted.
    pub(crate) fn leave_out(&self, name: &str, reason: &str) {
        if self.wants(name) {
            println!("{}", json!({ "path": name, "left_out": reason }));
        }
    }
}

fn main() {
    let (options, wanted): (Vec<_>, Vec<_>) = std::env::args()
        .skip(1)
        .partition(|word| word.starts_with("--"));
    let counter = Counter {
        wanted,
        sites: options.iter().any(|option| option == "--sites"),
    };
    println!(
        "{}",
        json!({ "instructions": tmws::embed::Isa::best().name() })
    );
    codec::count(&counter);
    lanes::count(&counter);
    vectors::count(&counter);
    search::count(&counter);
    dispatch::count(&counter);
}
