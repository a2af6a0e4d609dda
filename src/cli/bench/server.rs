//! The server that is measured: a child of its own on free ports, with a directory of its own.
//!
//! Invariant: whatever ends the measurement, the child is killed and its directory removed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use std::os::unix::process::CommandExt;
use tokio::time::sleep;
use uuid::Uuid;

use super::super::client::Failure;
use crate::net::cpu_clock::CpuClock;

/// The path of the echo.
const ECHO: &str = "/echo";
/// Time for the child to listen.
const START_MAX: Duration = Duration::from_secs(20);
/// Pause between two looks whether it does.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A directory that is removed with everything in it.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// A new one in `parent`.
    pub(super) fn new(parent: &Path) -> Result<Self, Failure> {
        let name = format!("tmws-bench-{}", Uuid::new_v4().simple());
        let path = parent.join(name);
        std::fs::create_dir(&path)
            .map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing is left to be done if even that fails.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The child; dropped before the directory that it uses.
pub(super) struct Server {
    child: Child,
    address: SocketAddr,
    pub(super) io: String,
    clock: CpuClock,
}

/// What the log says when it listens.
#[derive(Deserialize)]
struct Listening {
    message: String,
    ws: String,
    io: String,
}

impl Server {
    /// Starts this program as a server with one shard and no model, and waits until it listens.
    pub(super) async fn start(scratch: &Scratch) -> Result<Self, Failure> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            Failure::Failed(format!("the server to measure {what}: {error}"))
        };
        let program = std::env::current_exe().map_err(|error| failed("is not found", &error))?;
        let log = scratch.path().join("log");
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TMWS_") {
                command.env_remove(name);
            }
        }
        let mut child = Guard(
            command
                .args([
                    "serve",
                    "--api-port",
                    "0",
                    "--ws-port",
                    "0",
                    "--shards",
                    "1",
                ])
                .args(["--embedding-model", "none", "--echo-path", ECHO])
                .args(["--log-format", "json", "--data-dir", "data", "--log-file"])
                .arg(&log)
                // No tmws.toml of the caller's.
                .current_dir(scratch.path())
                // An interrupt is for us, who stop the child.
                .process_group(0)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .map(Some)
                .map_err(|error| failed("did not start", &error))?,
        );
        let started = Instant::now();
        let listening = loop {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if let Some(listening) = text.lines().find_map(listening) {
                break listening;
            }
            let ended = child.0.as_mut().and_then(|child| child.try_wait().ok()?);
            if ended.is_some() || started.elapsed() > START_MAX {
                let last = text.lines().last().unwrap_or("nothing in its log");
                return Err(failed("does not listen", &last));
            }
            sleep(LOOK_EVERY).await;
        };
        let lost = |_| Failure::Failed("the server told no address".to_owned());
        let address = listening.ws.parse().map_err(lost)?;
        let Some(child) = child.0.take() else {
            return Err(failed("is gone", &"it was taken"));
        };
        let clock = CpuClock::of(child.id());
        Ok(Self {
            clock: clock.map_err(|error| failed("has no CPU clock", &error))?,
            child,
            address,
            io: listening.io,
        })
    }

    /// CPU time that it has taken.
    pub(super) fn cpu_ns(&self) -> Result<u64, Failure> {
        let gone = |error| Failure::Failed(format!("the server ended: {error}"));
        self.clock.nanoseconds().map_err(gone)
    }

    /// Where it takes calls, or echoes.
    pub(super) fn url(&self, echo: bool) -> String {
        format!("ws://{}{}", self.address, if echo { ECHO } else { "/" })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A child that has not listened yet.
struct Guard(Option<Child>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

/// What it has stored goes with its directory, so it need not be asked.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn listening(line: &str) -> Option<Listening> {
    let line: Listening = sonic_rs::from_str(line).ok()?;
    (line.message == "listening").then_some(line)
}

#[cfg(test)]
mod tests {
    use super::{Scratch, listening};

    #[test]
    fn a_directory_is_removed_with_what_is_in_it() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(parent.path()).unwrap();
        std::fs::create_dir(scratch.path().join("data")).unwrap();
        std::fs::write(scratch.path().join("data/file"), b"x").unwrap();
        drop(scratch);
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
        assert!(Scratch::new(&parent.path().join("absent")).is_err());
    }

    #[test]
    fn only_the_line_that_says_so_tells_the_address() {
        let line =
            r#"{"level":"INFO","message":"listening","api":"a","ws":"127.0.0.1:7","io":"uring"}"#;
        assert_eq!(listening(line).unwrap().ws, "127.0.0.1:7");
        assert!(listening(&line.replace("listening", "stopping")).is_none());
        assert!(listening("torn").is_none());
    }
}
