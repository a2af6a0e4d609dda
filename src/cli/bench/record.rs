//! Recorded figures: those that a version carries with it, and how they are written.

use serde::{Deserialize, Serialize};

use super::load::Stage;
use crate::domain::Timestamp;
use crate::net::affinity;
use crate::telemetry::performance::load_average;

/// The figures of this version.
const RECORDED: &str = include_str!("../../../perf/baseline.toml");

/// One run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// How it was made.
    pub(super) command: String,
    /// The day.
    pub(super) date: String,
    /// The commit of the working directory.
    pub(super) commit: String,
    /// Of the program.
    pub(super) version: String,
    /// `release` or `dev`.
    pub(super) build: String,
    /// The processor.
    pub(super) machine: String,
    /// Cores that it may use.
    pub(super) cores: usize,
    /// The kernel.
    pub(super) kernel: String,
    /// How sockets were driven.
    pub(super) io: String,
    /// Load average of the minute before.
    pub(super) load_average: f64,
    /// Connections of the load.
    pub(super) connections: u64,
    /// Time of each stage.
    pub(super) seconds: f64,
    /// Write and sync of a page, median.
    pub(super) sync_us: f64,
    /// What was measured.
    pub(super) stages: Vec<Stage>,
}

/// The build of this program.
pub(super) const BUILD: &str = if cfg!(debug_assertions) {
    "dev"
} else {
    "release"
};

impl Record {
    /// A run that begins now, on this machine.
    pub(super) fn begin(command: String, connections: u64, seconds: f64) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo").lines().find_map(|line| {
            Some(
                line.strip_prefix("model name")?
                    .split_once(": ")?
                    .1
                    .to_owned(),
            )
        });
        let now = Timestamp::now().to_string();
        Self {
            command,
            date: now.split('T').next().unwrap_or_default().to_owned(),
            commit: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build: BUILD.to_owned(),
            machine: processor.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: affinity::cores().len(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            io: String::new(),
            load_average: load_average().unwrap_or_default(),
            connections,
            seconds,
            sync_us: 0.0,
            stages: Vec::new(),
        }
    }

    /// The figures that this version carries.
    pub(super) fn recorded() -> Result<Self, toml::de::Error> {
        toml::from_str(RECORDED)
    }

    /// The stage of this name with as many requests in flight.
    pub(super) fn stage(&self, name: &str, in_flight: usize) -> Option<&Stage> {
        let same = |stage: &&Stage| stage.name == name && stage.in_flight == in_flight;
        self.stages.iter().find(same)
    }

    /// A stage's CPU as a multiple of what an echo with as many in flight costs: what remains when
    /// machines differ.
    pub(super) fn to_echo(&self, stage: &Stage) -> Option<f64> {
        let echo = self.stage(super::ECHO, stage.in_flight)?.server_cpu_ns;
        (echo > 0.0).then(|| stage.server_cpu_ns / echo)
    }

    /// True if others keep the machine busy.
    pub(super) fn is_busy(&self) -> bool {
        self.load_average > self.cores as f64 / 2.0
    }
}

/// The commit of the working directory, for a recording.
pub(super) fn commit() -> Option<String> {
    let mut git = std::process::Command::new("git");
    let output = git
        .args(["rev-parse", "--short=10", "HEAD"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::STAGES;
    use super::Record;

    #[test]
    fn every_stage_has_a_recorded_figure() {
        let recorded = Record::recorded().unwrap();
        for (name, in_flight) in STAGES {
            let stage = recorded.stage(name, *in_flight).expect(name);
            assert!(
                stage.server_cpu_ns > 0.0 && stage.answers_per_second > 0.0,
                "{stage:?}"
            );
            assert!(recorded.to_echo(stage).unwrap() > 0.0);
        }
        assert_eq!(recorded.stages.len(), STAGES.len());
        let written = toml::to_string(&recorded).unwrap();
        assert!(toml::from_str::<Record>(&written).is_ok());
    }
}
