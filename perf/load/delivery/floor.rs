//! The floor of `load fanout`: the same bytes to as many plain TCP connections.

use serde::Serialize;

use super::fanout::{Arguments, CLOSE_SECONDS_MAX, PAUSE, ROUND_SECONDS_MAX, quiet, until_quiet};
use crate::connection::{Dial, Event};
use crate::fleet::Fleet;
use crate::own_cpu::{OwnCpu, Stopwatch};
use crate::report::{self, Faults, rounded};
use crate::server_cpu::ServerCpu;

#[derive(Serialize)]
struct Report {
    sessions: usize,
    frame_bytes: usize,
    /// Each until it was sent to the last connection.
    server_cpu_ms: Vec<f64>,
    #[serde(flatten)]
    own: OwnCpu,
    #[serde(flatten)]
    faults: Faults,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let sessions = arguments.sessions as usize;
    let server = ServerCpu::of(arguments.server_pid)?;
    let mut fleet = Fleet::dialled(sessions + 1, Dial::PEER)?;
    fleet.open(&arguments.url, sessions + 1, |_| String::new())?;
    let mut faults = Faults::default();
    // It takes the connections in meanwhile.
    quiet(&mut fleet, PAUSE, &mut faults)?;
    let line = vec![b'x'; arguments.body as usize - 1];
    let watch = Stopwatch::start()?;
    let mut server_cpu_ms = Vec::new();
    for _ in 0..arguments.rounds {
        let mut received = 0;
        let cpu = server.nanoseconds()?;
        fleet.write(sessions, |out| out.text(&line))?;
        let cpu = until_quiet(&server)? - cpu;
        fleet.run_until(ROUND_SECONDS_MAX, |index, event, _, _| {
            match event {
                Event::Text(text) if text == line && index < sessions => received += 1,
                Event::Text(text) => {
                    faults.add(|| format!("connection {index}: {} bytes", text.len()))
                }
                Event::Closed(reason) => faults.add(|| format!("connection {index}: {reason}")),
                Event::Open | Event::Accepted => {}
            }
            received == sessions || !faults.none()
        })?;
        server_cpu_ms.push(rounded(cpu as f64 / 1e6));
        if received < sessions {
            faults.add(|| format!("{received} of {sessions} have it"));
        }
        if !faults.none() {
            break;
        }
        quiet(&mut fleet, PAUSE, &mut faults)?;
    }
    let own = watch.read()?;
    fleet.close(CLOSE_SECONDS_MAX)?;
    let whole = faults.none();
    report::print(&Report {
        sessions,
        frame_bytes: arguments.body as usize,
        server_cpu_ms,
        own,
        faults,
    })?;
    Ok(whole)
}
