//! A new server takes the listeners over from the one that runs: nobody is refused, nothing is lost.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::fleet::database;
use crate::harness::peer::{Peer, send};
use crate::harness::{Server, agent, connect, http, launch, on_both, until};

/// Clients that connect, ask one thing and leave, again and again.
struct Callers {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    thread: std::thread::JoinHandle<()>,
}

impl Callers {
    fn start(ws: SocketAddr, api: SocketAddr) -> Self {
        let (stop, served) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let (stopping, serving) = (Arc::clone(&stop), Arc::clone(&served));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let call = async |number: usize| {
                while !stopping.load(Ordering::Relaxed) {
                    if number == 0 {
                        let get = format!(
                            "GET /health/live HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\n\r\n"
                        );
                        assert_eq!(http(api, &get).await.0, 200);
                    } else {
                        // Refused or reset connections fail here.
                        let mut client = connect(ws, "/", &[]).await;
                        let asked = client.try_post("ping", json!({})).await;
                        match client.next().await {
                            Ok(answer) => {
                                let answer: Value = serde_json::from_slice(&answer).unwrap();
                                assert_eq!(answer["id"].as_u64(), asked);
                            }
                            Err((code, reason)) => assert_eq!(code, 1012, "{reason}"),
                        }
                    }
                    serving.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            runtime.block_on(futures_util::future::join_all((0..6).map(call)));
        });
        Self {
            stop,
            served,
            thread,
        }
    }

    /// Waits until so many more were served.
    async fn serve(&self, more: usize) {
        let enough = self.served.load(Ordering::Relaxed) + more;
        let is_over = || self.thread.is_finished() || self.served.load(Ordering::Relaxed) >= enough;
        until(async || is_over()).await;
        assert!(!self.thread.is_finished(), "a client was refused");
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no client was refused");
    }
}

#[test]
fn two_take_overs_refuse_nobody_and_lose_nothing() {
    on_both(async |io| take_over_twice(io, &[]).await);
}

#[test]
fn nor_do_they_on_postgres() {
    let urls = [database(), database()];
    on_both(async |io| {
        let url = &urls[usize::from(io == "epoll")];
        take_over_twice(io, &["--database-url", url]).await;
    });
}

/// Two servers take over, one after the other; `store` are the flags of what they keep things in.
async fn take_over_twice(io: &str, store: &[&str]) {
    let other = if io == "uring" { "epoll" } else { "uring" };
    let data = tempfile::tempdir().unwrap();
    let start = |io: &str, shards: &str| -> Server {
        let flags = [
            "--io",
            io,
            "--shards",
            shards,
            "--drain-seconds",
            "1",
            "--take-over",
        ];
        let flags = [&flags[..], store].concat();
        launch(&flags).data(data.path()).start()
    };
    // With nobody to take over from it starts all the same.
    let mut server = start(io, "2");
    let socket = data.path().join("handover.sock");
    let mode = socket.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (ws, api) = (server.ws, server.api);
    let callers = Callers::start(ws, api);
    let mut welcome = Peer::connect(&server, "bob").await.welcome;
    let mut sent = Vec::new();
    for (io, shards) in [(other, "1"), (io, "3")] {
        let mut alice = agent(&server, "alice").await;
        for _ in 0..3 {
            let n = sent.len();
            send(&mut alice, "bob", json!(n)).await;
            let params = json!({"to": {"agent": "bob"}, "body": n + 1, "durable": false});
            alice.result("agent/send", params).await;
            sent.extend([json!(n), json!(n + 1)]);
        }
        callers.serve(50).await;
        let next = start(io, shards);
        assert_eq!((next.ws, next.api, &*next.io), (ws, api, io));
        assert_eq!(server.wait().code(), Some(0));
        server = next;
        callers.serve(50).await;
        let (mut bob, resumed) = Peer::resume(&server, "bob", &welcome, 0).await;
        assert_eq!(resumed["recovered"], true, "{resumed}");
        assert_eq!(bob.bodies(sent.len()).await, sent);
        welcome["epoch"] = resumed["epoch"].clone();
        welcome["resume_token"] = resumed["resume_token"].clone();
    }
    callers.end();
    // A stop that nobody follows leaves nothing behind.
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(!socket.exists());
    assert!(std::net::TcpStream::connect(ws).is_err());
}

#[test]
fn whoever_only_looks_or_breaks_off_takes_nothing() {
    on_both(async |io| {
        // Longer than the path of a socket may be.
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("d".repeat(120));
        let mut server = launch(&["--io", io]).data(&dir).start();
        let reach = std::fs::File::open(&dir).unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&reach);
        let path = format!("/proc/self/fd/{fd}/handover.sock");
        for word in ["", "x", "t"] {
            let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
            std::io::Write::write_all(&mut stream, word.as_bytes()).unwrap();
        }
        let mut client = agent(&server, "alice").await;
        client.result("ping", json!({})).await;
        let next = launch(&["--io", io, "--take-over"]).data(&dir).start();
        assert_eq!(next.ws, server.ws);
        assert_eq!(server.wait().code(), Some(0));
    });
}
