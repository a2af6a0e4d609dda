//! `tmws bench`: figures of this host, and nothing left behind.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::PATIENCE;
use crate::place::*;

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}

/// Processes whose command line names this directory.
fn users(dir: &Path) -> usize {
    let named = text(dir);
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(&named))
        .count()
}

#[test]
fn every_stage_is_measured_beside_the_recorded_figures() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let (recording, name) = file(&elsewhere, "baseline.toml");
    let place = text(dir.path());
    let short = [
        "bench",
        "--seconds",
        "0.05",
        "--connections",
        "4",
        "--dir",
        &place,
    ];
    let output = tmws(&[&short[..], &["--json", "--record", &name]].concat(), "");
    let line: Value = serde_json::from_str(&succeeded(&output)).unwrap();
    let stages = |run: &str| {
        let stages = line[run]["stages"].as_array().unwrap().iter();
        let named = stages.map(|stage| {
            assert!(stage["server_cpu_ns"].as_f64().unwrap() >= 0.0, "{line}");
            assert!(
                stage["answers_per_second"].as_f64().unwrap() > 0.0,
                "{line}"
            );
            (stage["name"].clone(), stage["in_flight"].clone())
        });
        named.collect::<Vec<_>>()
    };
    assert_eq!(stages("run").len(), 6);
    assert_eq!(stages("run"), stages("recorded"));
    assert!(line["run"]["sync_us"].as_f64().unwrap() > 0.0);
    assert!(line["busy"].is_boolean());
    let written = std::fs::read_to_string(&recording).unwrap();
    assert!(written.contains("[[stages]]") && written.contains("tmws bench --seconds 0.05"));
    assert!(is_empty(dir.path()) && users(dir.path()) == 0);
    let table = succeeded(&tmws(&short, ""));
    for text in [
        "echo",
        "health_check",
        "store_memory",
        "semantic_search",
        "sync of a page",
    ] {
        assert!(table.contains(text), "{text} is missing in\n{table}");
    }
    assert!(table.contains("of 64 connections"), "{table}");
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_tmws"))
            .args(["bench", "--seconds", "60", "--dir", &text(dir.path())])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let started = Instant::now();
        // The server's command line names its log in the directory.
        while users(dir.path()) < 2 {
            assert!(started.elapsed() < 3 * PATIENCE, "no server was started");
            std::thread::sleep(Duration::from_millis(10));
        }
        // SAFETY: the process is our child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
        let output = child.wait_with_output().unwrap();
        assert!(failed(&output, 1).contains("interrupted"));
        assert!(is_empty(dir.path()));
        assert_eq!(users(dir.path()), 0, "the server is gone");
    }
}

#[test]
fn what_cannot_be_measured_is_said() {
    for line in [
        &["bench", "--seconds", "0"][..],
        &["bench", "--seconds", "61"],
        &["bench", "--seconds", "nan"],
        &["bench", "--connections", "0"],
        &["bench", "--dir", "/proc/none"],
    ] {
        failed(&tmws(line, ""), 2);
    }
}
