//! Services that a fleet shares, the way to them, and the nodes of one.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, tcp};
use tokio::sync::watch;

use crate::harness::{Server, agent, launch};

/// One of `tests/services`.
pub(crate) struct Service {
    kind: &'static str,
    name: String,
}

impl Service {
    /// One of one's own, unless the name is `shared`.
    pub(crate) fn new(kind: &'static str, name: &str) -> Self {
        Self {
            kind,
            name: name.to_owned(),
        }
    }

    fn run(&self, command: &str) -> String {
        let script = format!(
            "{}/tests/services/{}",
            env!("CARGO_MANIFEST_DIR"),
            self.kind
        );
        let output = Command::new(script)
            .args([command, &self.name])
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Starts it, or brings it back, and tells its URL.
    pub(crate) fn up(&self) -> String {
        self.run("up")
    }

    /// Kills it.
    pub(crate) fn kill(&self) {
        let pid: i32 = self.run("pid").parse().unwrap();
        // SAFETY: the process is the service that this test has started.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.name != "shared" {
            self.run("down");
        }
    }
}

/// A Redis of one test's own, by this name, and its URL.
pub(crate) fn redis(name: &str) -> (Service, String) {
    let redis = Service::new("redis", &format!("{name}-{}", std::process::id()));
    let url = redis.up();
    (redis, url)
}

/// The way to a Redis server, on which what Redis says can be held up.
pub(crate) struct Line {
    pub(crate) url: String,
    is_held: watch::Sender<bool>,
}

impl Line {
    pub(crate) async fn to(redis: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let target = redis.strip_prefix("redis://").unwrap().to_owned();
        let (is_held, held) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&*target).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) =
                    (near.into_split(), far.into_split());
                let (_, free) = watch::channel(false);
                tokio::spawn(carry(near_in, far_out, free));
                tokio::spawn(carry(far_in, near_out, held.clone()));
            }
        });
        Self { url, is_held }
    }

    pub(crate) fn hold(&self, is_held: bool) {
        self.is_held.send(is_held).unwrap();
    }
}

async fn carry(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    mut held: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        // Whoever says that it is held may be gone; then it is not.
        let _ = held.wait_for(|held| !held).await;
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

/// A new database of the server that the tests share.
pub(crate) fn database() -> String {
    let url = std::env::var("POSTGRES_TEST_URL")
        .unwrap_or_else(|_| Service::new("postgres", "shared").up());
    database_of(&url)
}

/// A new database of this server.
pub(crate) fn database_of(url: &str) -> String {
    let name = format!("server_{}", uuid::Uuid::new_v4().simple());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
            .await
            .unwrap();
        let connection = tokio::spawn(connection);
        client
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        drop(client);
        connection.await.unwrap().unwrap();
    });
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

/// A node over this database and this Redis.
pub(crate) fn node(io: &str, database: &str, redis: &str) -> Server {
    let flags = [
        "--io",
        io,
        "--shards",
        "2",
        "--database-url",
        database,
        "--redis-url",
        redis,
    ];
    launch(&flags).start()
}

/// Waits until a node knows that it can, or cannot, reach the others.
pub(crate) async fn until_health(server: &Server, status: &str) -> Value {
    let mut client = agent(server, "watcher").await;
    for _ in 0..200 {
        let health = client.result("system/health", json!({})).await;
        if health["status"] == status {
            return health;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the node does not become {status}");
}
