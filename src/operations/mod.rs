//! What the server does, whatever wire carries it: one row per operation.
//!
//! A new operation is one row in its noun's file and one function. Every wire looks operations up
//! here; tool lists, schemas and metrics come from the same rows.
//!
//! Architecture invariant: typed arguments in, typed results out. Nothing here knows a wire.

mod agent;
mod arguments;
mod dead_letter;
mod delivery;
mod embedding;
mod fault;
mod idempotency;
mod meaning;
mod memory;
mod memory_recall;
mod memory_search;
mod memory_transfer;
mod memory_write;
mod message;
mod operation;
mod performance;
mod performance_report;
mod presence;
mod resume;
mod schema;
mod services;
mod session;
mod snippet;
mod subscribe;
mod system;
mod table;
mod turns;
mod upkeep;

pub use meaning::{Meaning, Switch};
pub use memory_transfer::{Misfit, check_record, export_page, read_record};
pub use operation::{Later, Operation, Outcome, Scope, Tool, Touches};
pub use performance_report::{
    Advice, Bottleneck, HotOperation, Hottest, Point, Report, ShardTotals, Totals,
};
pub use schema::{or_error, outline};
pub use services::{Context, Services, viewer};
pub use system::{Stats, stats};
pub use table::Table;
pub use turns::Turns;
pub use upkeep::Upkeep;
