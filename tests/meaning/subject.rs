//! What is judged: the embedder as the server runs it, and a store.

use std::future::Future;
use std::rc::Rc;

use futures_util::future::join_all;
use tmws::config::{self, Config};
use tmws::domain::{Access, AgentKey, Embedded, Filter, Mode, NewMemory, Search, Vector};
use tmws::embed::{Embedder, State};
use tmws::store::sqlite::{SqliteOptions, SqliteStore};
use tmws::store::{Store, Viewer};
use uuid::Uuid;

use crate::sets::Set;

/// The model of the configuration's default, installed if need be.
pub(crate) fn embedder() -> Embedder {
    let settings = config::gather(None, &[], &[]).unwrap();
    let embedder = Embedder::new(&Config::from_settings(&settings).unwrap().embedding);
    for worker in embedder.workers(2) {
        std::thread::spawn(move || worker.run());
    }
    while embedder.state() != State::Ready {
        assert!(
            !matches!(embedder.state(), State::Failed(_)),
            "{:?}",
            embedder.state()
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    embedder
}

/// A store that holds a set.
pub(crate) struct Subject {
    store: Rc<dyn Store>,
    ids: Vec<Uuid>,
    embedder: Embedder,
    questions: Vec<(String, Vector, usize)>,
    _dir: tempfile::TempDir,
}

impl Subject {
    pub(crate) fn new(embedder: &Embedder, set: &Set) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path(), SqliteOptions::default()).unwrap();
        let vectors = vectors(embedder, set.memories.iter());
        let new = set.memories.iter().zip(vectors).map(|(content, vector)| {
            let vector = Embedded {
                model: embedder.model().clone(),
                vector,
            };
            memory(content, vector)
        });
        let stored = block(store.create_memories(new.collect())).unwrap();
        let ids = stored
            .into_iter()
            .map(|memory| memory.unwrap().id)
            .collect();
        let asked = vectors_of_questions(embedder, set);
        Self {
            store: Rc::new(store),
            ids,
            embedder: embedder.clone(),
            questions: asked,
            _dir: dir,
        }
    }

    /// Share of the questions whose answer is the best hit, and among the best five.
    pub(crate) fn recall(&self, mode: Mode) -> (f64, f64) {
        let (mut first, mut five) = (0, 0);
        for (question, vector, answer) in &self.questions {
            let search = Search {
                query: question.clone(),
                mode,
                vector: Some(Embedded {
                    model: self.embedder.model().clone(),
                    vector: vector.clone(),
                }),
                filter: Filter {
                    include_shared: true,
                    ..Filter::default()
                },
                similarity_min: None,
                limit: 5,
                cursor: None,
                counts_access: false,
            };
            let page = block(self.store.search_memories(&viewer(), search)).unwrap();
            let place = page
                .hits
                .iter()
                .position(|hit| hit.memory.id == self.ids[*answer]);
            first += usize::from(place == Some(0));
            five += usize::from(place.is_some());
        }
        let share = |count: usize| count as f64 / self.questions.len() as f64;
        (share(first), share(five))
    }
}

fn vectors_of_questions(embedder: &Embedder, set: &Set) -> Vec<(String, Vector, usize)> {
    let vectors = vectors(embedder, set.questions.iter().map(|(question, _)| question));
    let questions = set.questions.iter().zip(vectors);
    questions
        .map(|((question, answer), vector)| (question.clone(), vector, *answer))
        .collect()
}

fn vectors<'t>(embedder: &Embedder, texts: impl Iterator<Item = &'t String>) -> Vec<Vector> {
    let vectors = texts.map(|text| embedder.embed_text(text.as_str().into()));
    let vectors: Vec<_> = vectors.collect();
    let vectors = block(join_all(vectors));
    vectors
        .into_iter()
        .map(|vector| vector.expect("a vector"))
        .collect()
}

fn viewer() -> Viewer {
    Viewer {
        key: AgentKey::new("meaning", "judge").unwrap(),
        admin: false,
    }
}

fn memory(content: &str, vector: Embedded) -> NewMemory {
    NewMemory {
        owner: viewer().key,
        admin: false,
        session_id: None,
        content: content.into(),
        kind: None,
        tags: Vec::new(),
        importance: 0.5,
        access_level: Access::Private,
        metadata: Default::default(),
        source: None,
        trust: 1.0,
        valid_from: None,
        valid_to: None,
        ttl_seconds: None,
        supersedes: None,
        vector: Some(vector),
    }
}

fn block<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}
