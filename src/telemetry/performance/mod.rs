//! Performance as operators see it: samples at a fixed interval, an hour of them, and what they mean.
//!
//! ```text
//! shards' counters --\
//! store, model, post --+--> Reading, every 5 s on the main thread --> Sample --> History --> reports
//! kernel (/proc) -----/
//! ```
//!
//! Invariants: a sample is the difference of two readings, so nothing is counted for it that is not
//! counted anyway; what is not known is left out, and never 0; advice follows from figures only.

mod advice;
mod figure;
mod groups;
mod history;
mod kernel;
mod reading;
mod rules;
mod sample;

pub use advice::{Facts, Finding, judge};
pub use figure::Figure;
pub use groups::{Calls, Cpu, Deliveries, Disk, Memory, Network, Queues, Shard, Troubles};
pub use history::{Bounds, History, RECENT};
pub use kernel::{Kernel, load_average};
pub use reading::{
    Around, EmbeddedLoad, EmbeddingLoad, OperationReading, Reading, StoreLoad, operations,
};
pub use sample::Sample;
