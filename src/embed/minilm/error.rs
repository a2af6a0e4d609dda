//! Why the model could not be loaded.

use std::path::{Path, PathBuf};

/// Why weights could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The system refused.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path} is damaged: {what}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl LoadError {
    pub(super) fn file(path: &Path) -> impl Fn(std::io::Error) -> Self + '_ {
        move |error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::damaged(path)("it is too short".to_owned()),
            _ => Self::File {
                path: path.to_owned(),
                error,
            },
        }
    }

    pub(super) fn damaged(path: &Path) -> impl Fn(String) -> Self + '_ {
        move |what| Self::Damaged {
            path: path.to_owned(),
            what,
        }
    }
}
