//! The pool with a provider of the test's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};

use super::{EmbedError, Embedder, State};
use crate::config::limits::{QUERIES_WAITING_MAX, TEXTS_WAITING_MAX};
use crate::config::{Embedding, EmbeddingProvider};
use crate::domain::Vector;
use crate::embed::provider::{Provider, ProviderError};

const PATIENCE: Duration = Duration::from_secs(20);

/// Says which text it works on, then waits for leave; panics at one text, fails at another.
struct Slow {
    started: Sender<String>,
    leave: Receiver<()>,
    calls: AtomicUsize,
}

impl Provider for Slow {
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vector>, ProviderError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.started.send(texts.join("+")).unwrap();
        self.leave.recv_timeout(PATIENCE).unwrap();
        assert_ne!(texts, ["panic"]);
        if texts == ["fail"] {
            return Err(ProviderError::Service("is gone".to_owned()));
        }
        Ok(texts.iter().map(|_| Vector::from([1.0])).collect())
    }
}

struct Fixture {
    embedder: Embedder,
    started: Receiver<String>,
    leave: Sender<()>,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn settings(provider: EmbeddingProvider) -> Embedding {
    Embedding {
        provider,
        model: "test".to_owned(),
        dimension: 1,
        threads: Some(1),
        cache_size: 2,
        model_dir: "/nonexistent".into(),
    }
}

impl Fixture {
    /// One worker, and a provider that is ready.
    fn new() -> Self {
        let (started_sender, started) = unbounded();
        let (leave, leave_receiver) = bounded(1_000);
        let embedder = Embedder::new(&settings(EmbeddingProvider::MiniLm { precise: false }));
        let provider: Arc<dyn Provider> = Arc::new(Slow {
            started: started_sender,
            leave: leave_receiver,
            calls: AtomicUsize::new(0),
        });
        let shared = &embedder.queues.shared;
        assert!(shared.provider.set(provider).is_ok());
        shared.state.set(State::Ready);
        // The first worker prepares; the second works only.
        let worker = embedder.workers(2).remove(1);
        Self {
            embedder,
            started,
            leave,
            thread: Some(std::thread::spawn(move || worker.run())),
        }
    }

    fn let_pass(&self, count: usize) {
        for _ in 0..count {
            self.leave.send(()).unwrap();
        }
    }

    fn started(&self) -> String {
        self.started.recv_timeout(PATIENCE).unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.embedder.close();
        for _ in 0..20 {
            let _ = self.leave.try_send(());
        }
        self.thread.take().unwrap().join().unwrap();
    }
}

#[tokio::test]
async fn a_query_that_was_asked_lately_needs_no_worker() {
    let fixture = Fixture::new();
    fixture.let_pass(4);
    let ask = |text: &str| fixture.embedder.embed_query(text);
    for text in ["a", "b", "a", "c"] {
        ask(text).await.unwrap();
    }
    // Room for two: "b" was the one that nobody had asked for the longest.
    assert!(ask("a").now().is_ok() && ask("c").now().is_ok());
    ask("b").await.unwrap();
    let stats = fixture.embedder.stats();
    assert_eq!((stats.queries, stats.cache_hits, stats.texts), (7, 3, 0));
    assert!(stats.time > Duration::ZERO);
}

#[tokio::test]
async fn queries_are_served_before_memories() {
    let fixture = Fixture::new();
    let first = fixture.embedder.embed_text("first".into());
    assert_eq!(fixture.started(), "first");
    let memory = fixture.embedder.embed_text("memory".into());
    let query = fixture.embedder.embed_query("query");
    fixture.let_pass(3);
    assert_eq!(
        (fixture.started(), fixture.started()),
        ("query".into(), "memory".into())
    );
    for answer in [first, memory, query] {
        answer.await.unwrap();
    }
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let fixture = Fixture::new();
    let held = fixture.embedder.embed_text("held".into());
    fixture.started();
    let texts: Vec<_> = (0..TEXTS_WAITING_MAX)
        .map(|_| fixture.embedder.embed_text("waits".into()))
        .collect();
    let queries: Vec<_> = (0..QUERIES_WAITING_MAX)
        .map(|_| fixture.embedder.embed_query("waits"))
        .collect();
    assert_eq!(fixture.embedder.busyness().texts, TEXTS_WAITING_MAX);
    for refused in [
        fixture.embedder.embed_text("one too many".into()),
        fixture.embedder.embed_query("one too many"),
    ] {
        assert_eq!(refused.now().unwrap(), Err(EmbedError::Busy));
    }
    assert_eq!(fixture.embedder.stats().busy, 2);
    drop((texts, queries));
    fixture.let_pass(1);
    held.await.unwrap();
}

#[tokio::test]
async fn a_request_whose_caller_has_gone_costs_nothing() {
    let fixture = Fixture::new();
    let first = fixture.embedder.embed_text("first".into());
    fixture.started();
    drop(fixture.embedder.embed_text("nobody waits".into()));
    let last = fixture.embedder.embed_text("last".into());
    fixture.let_pass(2);
    assert_eq!(fixture.started(), "last");
    first.await.unwrap();
    last.await.unwrap();
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let fixture = Fixture::new();
    fixture.let_pass(3);
    let panics = fixture.embedder.embed_text("panic".into());
    let fails = fixture.embedder.embed_text("fail".into());
    let works = fixture.embedder.embed_text("works".into());
    assert!(matches!(panics.await, Err(EmbedError::Failed(_))));
    let reason = fails.await.unwrap_err().to_string();
    assert!(reason.contains("is gone"), "{reason}");
    works.await.unwrap();
    assert_eq!(fixture.embedder.stats().failures, 2);
}

#[test]
fn without_a_model_the_reason_is_given_at_once() {
    let off = Embedder::new(&settings(EmbeddingProvider::Off));
    assert_eq!((off.state(), off.worker_count(8)), (State::Off, 0));
    let loading = Embedder::new(&settings(EmbeddingProvider::MiniLm { precise: false }));
    assert_eq!(
        (loading.state(), loading.worker_count(8)),
        (State::Loading, 1)
    );
    for embedder in [off, loading] {
        let refused = embedder.embed_query("text").now().unwrap();
        assert!(matches!(refused, Err(EmbedError::Unavailable(_))));
    }
}

#[test]
fn hashed_words_need_no_thread() {
    let embedder = Embedder::new(&settings(EmbeddingProvider::Static));
    assert_eq!(
        (embedder.state(), embedder.worker_count(8)),
        (State::Ready, 0)
    );
    let query = embedder.embed_query("some words").now().unwrap().unwrap();
    let memory = embedder
        .embed_text("words, some".into())
        .now()
        .unwrap()
        .unwrap();
    assert_eq!(query, memory);
    embedder.close();
    assert!(embedder.embed_query("some words").now().unwrap().is_err());
}

#[test]
fn workers_end_when_nobody_can_ask_any_more() {
    let embedder = Embedder::new(&settings(EmbeddingProvider::Static));
    let worker = embedder.workers(2).remove(1);
    let thread = std::thread::spawn(move || worker.run());
    drop(embedder);
    thread.join().unwrap();
}
