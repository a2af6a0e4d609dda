//! A store to copy from or to, and the program that does it.

use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tmws::domain::{Access, AgentKey, MemoryPatch, NewMemory, Permission, Share, Timestamp};
use tmws::store::sqlite::{SqliteOptions, SqliteStore};
use tmws::store::{Store, Viewer};

use crate::harness::{self, Server};

/// A data directory, with a server on it or without.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) server: Option<Server>,
}

/// Both ways to reach a store.
pub(crate) const WAYS: [Way; 2] = [Way::Direct, Way::Server];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Direct,
    Server,
}

impl Place {
    /// A store that is filled by `fill`, reached in this way.
    pub(crate) fn new(way: Way, fill: impl FnOnce(&SqliteStore)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        fill(&store);
        store.close();
        let server = (way == Way::Server).then(|| harness::launch(&[]).data(dir.path()).start());
        Self { dir, server }
    }

    pub(crate) fn empty(way: Way) -> Self {
        Self::new(way, |_| ())
    }

    /// Runs a command on it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, "")
    }

    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut line: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        match &self.server {
            Some(server) => line.extend(["--url".to_owned(), format!("ws://{}/", server.ws)]),
            None => line.extend(["--data-dir".to_owned(), text(self.dir.path())]),
        }
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        tmws(&line, input)
    }

    /// Everything in it.
    #[track_caller]
    pub(crate) fn export(&self) -> String {
        let output = self.run(&["export"]);
        succeeded(&output);
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Runs the program with these arguments and this input.
pub(crate) fn tmws(arguments: &[&str], input: &str) -> Output {
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tmws"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TMWS_") {
            command.env_remove(name);
        }
    }
    let mut child = command
        .args(arguments)
        .current_dir(elsewhere.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Who does not read it has ended already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

#[track_caller]
pub(crate) fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command that fails with this code complains about.
#[track_caller]
pub(crate) fn failed(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

pub(crate) fn file(dir: &tempfile::TempDir, name: &str) -> (PathBuf, String) {
    let path = dir.path().join(name);
    let name = text(&path);
    (path, name)
}

pub(crate) fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(dir, SqliteOptions::default()).unwrap()
}

pub(crate) fn block<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

pub(crate) fn viewer(agent: &str) -> Viewer {
    Viewer {
        key: AgentKey::new("red", agent).unwrap(),
        admin: true,
    }
}

pub(crate) fn new(owner: &str, content: &str) -> NewMemory {
    NewMemory {
        owner: viewer(owner).key,
        admin: true,
        session_id: Some(uuid::Uuid::new_v4()),
        content: content.into(),
        kind: Some("fact".into()),
        tags: vec!["a".into(), "b".into()],
        importance: 0.25,
        access_level: Access::Private,
        metadata: tmws::domain::JsonObject::parse(r#"{"k":[1,2.50,"ü\n"],"deep":{"x":null}}"#)
            .unwrap(),
        source: Some("a test".into()),
        trust: 0.75,
        valid_from: None,
        valid_to: None,
        ttl_seconds: None,
        supersedes: None,
        vector: None,
    }
}

/// One memory of every kind that a store can hold.
pub(crate) fn every_kind(store: &SqliteStore) {
    let time = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    let create = |new| {
        block(store.create_memories(vec![new]))
            .unwrap()
            .remove(0)
            .unwrap()
    };
    let alice = viewer("alice");
    // Changed, shared with two, and read.
    let shared = create(new("alice", "first text"));
    for (agent, permission) in [("bob", Permission::Write), ("carol", Permission::Read)] {
        let share = Share {
            id: shared.id,
            agents: vec![viewer(agent).key],
            permission: Some(permission),
        };
        block(store.share_memory(&alice, share)).unwrap();
    }
    let patch = MemoryPatch {
        content: Some("second text, \"quoted\"\nand broken".into()),
        tags: Some(vec!["z".into()]),
        ..MemoryPatch::default()
    };
    block(store.update_memory(&viewer("bob"), shared.id, patch, None)).unwrap();
    for _ in 0..3 {
        block(store.get_memory(&alice, shared.id)).unwrap();
    }
    // Replaced, deleted, valid for a time, and of every level.
    let old = create(new("alice", "superseded"));
    create(NewMemory {
        supersedes: Some(old.id),
        ..new("alice", "supersedes")
    });
    let deleted = create(new("bob", "deleted"));
    block(store.delete_memory(&viewer("bob"), deleted.id, false, None)).unwrap();
    create(NewMemory {
        valid_from: time("2020-01-01T00:00:00.000001Z"),
        valid_to: time("2120-01-01T00:00:00Z"),
        ttl_seconds: Some(1_000_000),
        kind: None,
        source: None,
        session_id: None,
        tags: Vec::new(),
        metadata: Default::default(),
        ..new("carol", "valid for a century")
    });
    for access_level in [Access::Team, Access::Public, Access::System] {
        create(NewMemory {
            access_level,
            ..new("dave", access_level.as_str())
        });
    }
}

/// So many memories of which a page cannot hold all.
pub(crate) fn many(store: &SqliteStore) {
    let text = "filler of a longer text. ".repeat(160);
    let memories = (0..300).map(|number| new("alice", &format!("number {number}: {text}")));
    for memory in block(store.create_memories(memories.collect())).unwrap() {
        memory.unwrap();
    }
}
