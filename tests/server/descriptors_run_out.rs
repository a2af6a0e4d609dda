//! No descriptor left: accepting waits, does not spin, and goes on when one is free.

use std::time::Duration;

use crate::harness::{agent, connect, launch, on_both};
use serde_json::json;
use tokio::net::TcpStream;

/// Enough for the server's own needs and a few connections.
const FILES_MAX: u64 = 64;

#[test]
fn accepting_pauses_and_resumes() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--shards", "1"])
            .before(|| {
                let limit = libc::rlimit {
                    rlim_cur: FILES_MAX,
                    rlim_max: FILES_MAX,
                };
                // SAFETY: setrlimit reads the struct that it is given.
                match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            })
            .start();
        let mut inside = agent(&server, "inside").await;
        let mut crowd = Vec::new();
        for _ in 0..FILES_MAX {
            crowd.push(TcpStream::connect(server.ws).await.unwrap());
        }
        // The connections that are open are served all the while.
        for _ in 0..20 {
            assert_eq!(
                inside.result("system/health", json!({})).await["status"],
                "healthy"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (cpu_seconds, elapsed_seconds) = cpu_share(server.pid()).await;
        assert!(
            cpu_seconds < elapsed_seconds / 4.0,
            "it spins: {cpu_seconds} s of {elapsed_seconds} s"
        );
        drop(crowd);
        let mut after = connect(server.ws, "/", &[]).await;
        assert_eq!(after.result("ping", json!({})).await, json!({}));
    });
}

/// CPU time that a process takes while nobody asks it anything.
async fn cpu_share(pid: i32) -> (f64, f64) {
    let read = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        // Fields 14 and 15 of proc(5), in ticks of 1/100 s.
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    };
    let (before, started) = (read(), std::time::Instant::now());
    tokio::time::sleep(Duration::from_secs(1)).await;
    (read() - before, started.elapsed().as_secs_f64())
}
