//! How well memories are found by meaning: hand-written sets, the real model, the store as it is.
//!
//! The figures of the reference (exact comparison of unrounded vectors by another implementation) stand in
//! `tests/data/README.md`; whoever changes the kernels, the scan or the ranking sees here what it does to them.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a judge that prints what it measured, on threads of its own"
)]

mod modes;
mod sets;
mod subject;
