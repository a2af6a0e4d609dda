//! The embedding model: what it computes, how it is installed, how the pool serves it.
//!
//! `cargo nextest run --release --test embed` compares all reference texts, a build without
//! optimisation only a few. Where the model is needed it is installed into the usual directory, as `tmws serve` does it.

#![allow(clippy::print_stdout, reason = "figures of a run are worth seeing")]

mod install;
mod model;
mod recall;

use std::ops::ControlFlow;
use std::path::PathBuf;

use tmws::config::Config;
use tmws::embed::{self, Installed};

/// The usual directory of models.
fn models() -> PathBuf {
    let settings = tmws::config::gather(None, &[], &[]).unwrap();
    Config::from_settings(&settings)
        .unwrap()
        .embedding
        .model_dir
}

/// The model, with its published weights.
fn model() -> Installed {
    embed::install(&models(), true, &mut |_| ControlFlow::Continue(())).unwrap()
}
