//! Fetching the package through pip, which knows the machine's index, proxies and certificates.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::error::{InstallError, Stage};
use super::package::{REQUIREMENT, WHEEL_BYTES};

/// How pip is called on one machine or another.
const PIPS: [&[&str]; 4] = [
    &["pip3"],
    &["python3", "-m", "pip"],
    &["pip"],
    &["python", "-m", "pip"],
];

/// Time between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(100);
/// Time without a new byte after which pip is given up; it tries again by itself before that.
const STILL: Duration = Duration::from_secs(180);

/// Fetches the wheel into a new directory and returns its path.
pub(super) fn download(
    to: &Path,
    progress: &mut dyn FnMut(Stage) -> ControlFlow<()>,
) -> Result<PathBuf, InstallError> {
    fs::create_dir_all(to).map_err(InstallError::file(to))?;
    let words = to.join("pip.log");
    let mut lacking = None;
    for pip in PIPS {
        let log = File::create(&words).map_err(InstallError::file(&words))?;
        match start(pip, to, log) {
            Ok(child) => {
                let done = watch(child, to, progress)?;
                if done {
                    return wheel(to);
                }
                let said = fs::read_to_string(&words).unwrap_or_default();
                // A Python without pip is no reason to give up: another one may have it.
                if !said.contains("No module named pip") {
                    return Err(reason(&said, to));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => lacking = Some(InstallError::Pip(error.to_string())),
        }
    }
    Err(lacking.unwrap_or(InstallError::NoPip))
}

fn start(pip: &[&str], to: &Path, log: File) -> io::Result<Child> {
    Command::new(pip[0])
        .args(&pip[1..])
        .args([
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--no-cache-dir",
        ])
        .args(["--disable-pip-version-check", "--no-input", "--quiet"])
        .args(["--progress-bar", "off", "--dest"])
        .arg(to)
        .arg(REQUIREMENT)
        // Where pip collects what comes, so that it can be counted and is removed with the rest.
        .env("TMPDIR", to)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
}

/// Waits for pip; true if it succeeded. It does not outlive this function.
fn watch(
    child: Child,
    to: &Path,
    progress: &mut dyn FnMut(Stage) -> ControlFlow<()>,
) -> Result<bool, InstallError> {
    let mut child = Killed(child);
    let mut most = 0;
    let mut moved = Instant::now();
    loop {
        if let Some(status) = child.0.try_wait().map_err(InstallError::file(to))? {
            return Ok(status.success());
        }
        let done = bytes(to).min(WHEEL_BYTES);
        if done > most {
            (most, moved) = (done, Instant::now());
        }
        if moved.elapsed() > STILL {
            return Err(InstallError::Stalled(STILL.as_secs()));
        }
        let stage = Stage::Downloading {
            done: most,
            total: WHEEL_BYTES,
        };
        if progress(stage).is_break() {
            return Err(InstallError::Stopped);
        }
        std::thread::park_timeout(LOOK);
    }
}

/// A child that is killed when it is no longer waited for.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Bytes in a directory and all below; what vanishes while it is counted does not count.
fn bytes(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

fn wheel(directory: &Path) -> Result<PathBuf, InstallError> {
    let entries = fs::read_dir(directory).map_err(InstallError::file(directory))?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| InstallError::Pip("it fetched nothing".to_owned()))
}

/// What pip's words mean.
fn reason(said: &str, to: &Path) -> InstallError {
    let last = said
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| line.starts_with("ERROR") || line.starts_with("WARNING"))
        .or_else(|| said.lines().rev().find(|line| !line.trim().is_empty()))
        .unwrap_or("it said nothing")
        .to_owned();
    let has = |signs: &[&str]| signs.iter().any(|sign| said.contains(sign));
    if has(&["No space left", "Errno 28", "Disk quota"]) {
        InstallError::NoSpace(to.to_owned())
    } else if has(&[
        "ConnectionError",
        "ConnectTimeout",
        "ReadTimeout",
        "NameResolution",
        "Connection refused",
        "Network is unreachable",
        "Could not fetch URL",
        "ProxyError",
    ]) {
        InstallError::NoNetwork(last)
    } else {
        InstallError::Pip(last)
    }
}
