//! What the server tells about itself: metrics, samples of them with what they mean, and logs.
//!
//! Architecture invariant: recording never blocks and never allocates. Each shard writes its own
//! counters; whoever scrapes adds them up.

pub mod counter;
pub mod delivery;
pub mod log;
pub mod metrics;
pub mod performance;
pub mod process;
pub mod prometheus;

pub use counter::{Counter, Gauge, Histogram};
pub use delivery::{DeliveryMetrics, ResumeOutcome};
pub use metrics::{Metrics, OperationMetrics, ShardMetrics};
pub use process::Process;
