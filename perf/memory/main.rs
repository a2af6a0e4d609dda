//! Measures the memory store: search, recall against exact comparison, insert, start and size, for one namespace
//! of 1,000 to 100,000 memories and for 1,000 namespaces of 100. `perf/README.md` has the recorded runs.
//!
//!   cargo run --release --example memory -- [--sizes 1000,10000,100000] [--searches 300]

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures and prints"
)]

mod corpus;
mod measure;

use clap::Parser;

/// What to measure.
#[derive(Parser)]
struct Options {
    /// Memories of one namespace, one run each.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000")]
    sizes: Vec<usize>,
    /// Namespaces of 100 memories in the last run; 0 leaves it out.
    #[arg(long, default_value_t = 1_000)]
    namespaces: usize,
    /// Searches of each mode.
    #[arg(long, default_value_t = 300)]
    searches: usize,
}

fn main() {
    let options = Options::parse();
    println!("kernels: {}", tmws::store::vectors::kernels::name());
    println!("{}", measure::HEADER);
    for size in &options.sizes {
        measure::run(1, *size, options.searches);
    }
    if options.namespaces > 0 {
        measure::run(options.namespaces, 100, options.searches);
    }
}
