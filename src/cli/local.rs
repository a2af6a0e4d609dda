//! A runtime for commands that speak to PostgreSQL themselves.

use std::future::Future;

/// Runs `future` on this thread, with what it spawns locally.
///
/// # Panics
///
/// If the system refuses the few descriptors of a runtime.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs a few descriptors");
    tokio::task::LocalSet::new().block_on(&runtime, future)
}
