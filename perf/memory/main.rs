//! Measures the memory store: search, recall against exact comparison, insert, start and size, for one namespace
//! of 1,000 to 100,000 memories and for 1,000 namespaces of 100; and durable creates from 64 callers. SQLite, and
//! PostgreSQL beside it if an empty database is named. `perf/README.md` has the recorded runs.
//!
//!   cargo run --release --example memory -- [--sizes 1000,10000,100000] [--searches 300] [--postgres URL]

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures and prints"
)]

mod corpus;
mod measure;
mod subject;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What to measure.
#[derive(Parser)]
struct Options {
    /// Memories of one namespace, one run each.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000")]
    sizes: Vec<usize>,
    /// Namespaces of 100 memories in one more run; 0 leaves it out.
    #[arg(long, default_value_t = 1_000)]
    namespaces: usize,
    /// Searches of each mode.
    #[arg(long, default_value_t = 300)]
    searches: usize,
    /// Durable creates from 64 callers; 0 leaves them out.
    #[arg(long, default_value_t = 20_000)]
    creates: usize,
    /// A server in which databases may be created, such as `tests/services/postgres up` prints it.
    #[arg(long)]
    postgres: Option<String>,
}

fn main() {
    let options = Options::parse();
    println!("kernels: {}", tmws::store::vectors::kernels::name());
    println!("{}", measure::HEADER);
    let mut runs: Vec<_> = options.sizes.iter().map(|size| (1, *size)).collect();
    if options.namespaces > 0 {
        runs.push((options.namespaces, 100));
    }
    let backends: Vec<Option<&str>> = match &options.postgres {
        Some(url) => vec![None, Some(url)],
        None => vec![None],
    };
    for (namespaces, size) in runs {
        let corpus = corpus::Corpus::new(namespaces, size);
        for backend in &backends {
            subject::on_shard(measure::run(*backend, &corpus, options.searches));
        }
    }
    if options.creates > 0 {
        for backend in &backends {
            subject::on_shard(measure::creates(*backend, options.creates));
        }
    }
}
