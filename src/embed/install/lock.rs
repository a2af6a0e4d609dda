//! One installation at a time, over all processes.

use std::fs::{File, TryLockError};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use super::error::InstallError;

const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Held while it lives; the system lets go of it when the process dies.
pub(super) struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl Lock {
    /// Waits for the lock, and says so by and by.
    pub(super) fn wait(
        models: &Path,
        waiting: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Self, InstallError> {
        let path = models.join(".lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(InstallError::file(&path))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(InstallError::file(&path)(error)),
            }
            if waiting().is_break() {
                return Err(InstallError::Stopped);
            }
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }
}
