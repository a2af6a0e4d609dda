//! A fresh store per test, with a clock that the test moves.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tmws::domain::{
    Access, AgentKey, Filter, Memory, Mode, NewMemory, Order, Permission, Recall, Search,
    SearchPage, Share, Timestamp,
};
use tmws::store::postgres::{PostgresOptions, PostgresStore};
use tmws::store::sqlite::{SqliteOptions, SqliteStore};
use tmws::store::{Store, StoreError, Viewer};
use uuid::Uuid;

use crate::service::Database;

/// A backend of the store.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

/// Makes tests of functions that take a [`Backend`]: one for each.
macro_rules! on_every_store {
    ($($property:ident),* $(,)?) => {
        $(mod $property {
            use crate::fixture::Backend;
            #[test]
            fn sqlite() {
                super::$property(Backend::Sqlite);
            }
            #[test]
            fn postgres() {
                super::$property(Backend::Postgres);
            }
        })*
    };
}
pub(crate) use on_every_store;

/// A clock that stands until it is moved.
#[derive(Clone)]
pub(crate) struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub(crate) fn new() -> Self {
        Self::at(Timestamp::now())
    }

    pub(crate) fn at(time: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(time.as_micros())))
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst)).expect("a time of this century")
    }

    pub(crate) fn advance(&self, seconds: i64) -> Timestamp {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
        self.now()
    }

    pub(crate) fn postgres_options(&self, url: &str) -> PostgresOptions {
        let clock = self.clone();
        PostgresOptions {
            clock: Arc::new(move || clock.now()),
            ..PostgresOptions::new(url)
        }
    }

    pub(crate) fn options(&self) -> SqliteOptions {
        let clock = self.clone();
        SqliteOptions {
            clock: Arc::new(move || clock.now()),
            ..SqliteOptions::default()
        }
    }
}

/// A store of its own; where it keeps its data goes with it.
pub(crate) struct Fixture {
    pub(crate) store: Rc<dyn Store>,
    pub(crate) clock: TestClock,
    place: Rc<Place>,
}

/// Where a store keeps its data.
enum Place {
    Directory(tempfile::TempDir),
    Database(Database),
}

impl Backend {
    /// An empty store.
    pub(crate) fn open(self) -> Fixture {
        self.open_at(TestClock::new())
    }

    /// An empty store with the time of `clock`.
    pub(crate) fn open_at(self, clock: TestClock) -> Fixture {
        let place = match self {
            Self::Sqlite => Place::Directory(tempfile::tempdir().expect("a temporary directory")),
            Self::Postgres => Place::Database(Database::migrated()),
        };
        Fixture::open(Rc::new(place), clock)
    }
}

impl Fixture {
    fn open(place: Rc<Place>, clock: TestClock) -> Self {
        let store: Rc<dyn Store> = match &*place {
            Place::Directory(dir) => {
                let store = SqliteStore::open(dir.path(), clock.options());
                Rc::new(store.expect("the store opens"))
            }
            Place::Database(database) => {
                let options = clock.postgres_options(&database.url);
                let store = block(PostgresStore::connect(options));
                Rc::new(store.expect("the store opens"))
            }
        };
        Self {
            store,
            clock,
            place,
        }
    }

    /// The same data in another store, as after a restart of the server.
    pub(crate) fn reopen(self) -> Self {
        let Self {
            store,
            clock,
            place,
        } = self;
        // Closes it: nobody else may hold the directory.
        drop(store);
        Self::open(place, clock)
    }

    /// The same data in `store`, which is open beside this one.
    pub(crate) fn beside(&self, store: Rc<dyn Store>) -> Self {
        Self {
            store,
            clock: self.clock.clone(),
            place: self.place.clone(),
        }
    }

    /// Another node on the same database.
    pub(crate) fn another_node(&self) -> Self {
        let options = self.clock.postgres_options(&self.database().url);
        let store = block(PostgresStore::connect(options)).expect("the store opens");
        self.beside(Rc::new(store))
    }

    /// Where a store on PostgreSQL keeps its data.
    pub(crate) fn database(&self) -> &Database {
        match &*self.place {
            Place::Database(database) => database,
            Place::Directory(_) => panic!("the store is an embedded one"),
        }
    }

    /// Stores one memory, a millisecond after whatever was before.
    pub(crate) fn create(&self, new: NewMemory) -> Memory {
        self.try_create(new).expect("the memory is stored")
    }

    /// Stores one memory at the time that the clock shows.
    pub(crate) fn create_now(&self, new: NewMemory) -> Memory {
        block(self.store.create_memories(vec![new]))
            .expect("the batch is committed")
            .remove(0)
            .expect("the memory is stored")
    }

    pub(crate) fn try_create(&self, new: NewMemory) -> Result<Memory, StoreError> {
        self.clock.0.fetch_add(1_000, Ordering::SeqCst);
        block(self.store.create_memories(vec![new]))
            .expect("the batch is committed")
            .remove(0)
    }

    pub(crate) fn get(&self, viewer: &Viewer, id: Uuid) -> Result<Memory, StoreError> {
        block(self.store.get_memory(viewer, id))
    }

    pub(crate) fn search(&self, viewer: &Viewer, query: &str) -> SearchPage {
        self.search_with(viewer, query, everything())
    }

    pub(crate) fn search_with(&self, viewer: &Viewer, query: &str, filter: Filter) -> SearchPage {
        self.search_page(viewer, query, filter, None)
    }

    pub(crate) fn search_page(
        &self,
        viewer: &Viewer,
        query: &str,
        filter: Filter,
        cursor: Option<String>,
    ) -> SearchPage {
        let query = query.into();
        block(self.store.search_memories(
            viewer,
            Search {
                query,
                mode: Mode::Lexical,
                vector: None,
                filter,
                similarity_min: None,
                limit: 10,
                cursor,
                counts_access: true,
            },
        ))
        .expect("the search is answered")
    }

    /// Ids of a search, best first.
    pub(crate) fn found(&self, viewer: &Viewer, query: &str) -> Vec<Uuid> {
        ids(self
            .search(viewer, query)
            .hits
            .into_iter()
            .map(|hit| hit.memory))
    }

    /// Ids of a recall, newest first.
    pub(crate) fn recalled(&self, viewer: &Viewer, filter: Filter) -> Vec<Uuid> {
        let recall = Recall {
            filter,
            order: Order::Newest,
            limit: 100,
            cursor: None,
            counts_access: true,
        };
        let page = block(self.store.recall_memories(viewer, recall)).expect("a recall is answered");
        ids(page.items)
    }

    pub(crate) fn share(
        &self,
        by: &Viewer,
        id: Uuid,
        to: &Viewer,
        permission: Option<Permission>,
    ) -> Result<Memory, StoreError> {
        let agents = vec![to.key.clone()];
        block(self.store.share_memory(
            by,
            Share {
                id,
                agents,
                permission,
            },
        ))
    }
}

thread_local! {
    /// Stands for a shard: tasks of a store live on from one operation to the next. It is never
    /// taken apart, as tasks may want their runtime at the end.
    static SHARD: &'static (tokio::task::LocalSet, tokio::runtime::Runtime) = {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Box::leak(Box::new((tokio::task::LocalSet::new(), runtime.expect("a runtime"))))
    };
}

/// Runs a store operation as a shard would.
pub(crate) fn block<F: Future>(future: F) -> F::Output {
    SHARD.with(|(tasks, runtime)| tasks.block_on(runtime, future))
}

pub(crate) fn viewer(namespace: &str, agent: &str) -> Viewer {
    let key = AgentKey::new(namespace, agent).expect("a valid name");
    Viewer { key, admin: false }
}

pub(crate) fn alice() -> Viewer {
    viewer("red", "alice")
}

/// Alice's colleague.
pub(crate) fn bob() -> Viewer {
    viewer("red", "bob")
}

/// A stranger with a colleague's name.
pub(crate) fn stranger() -> Viewer {
    viewer("blue", "alice")
}

pub(crate) fn admin() -> Viewer {
    Viewer {
        admin: true,
        ..viewer("ops", "root")
    }
}

pub(crate) fn new(owner: &Viewer, content: &str) -> NewMemory {
    NewMemory {
        owner: owner.key.clone(),
        admin: owner.admin,
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
        vector: None,
    }
}

pub(crate) fn at_level(owner: &Viewer, access_level: Access, content: &str) -> NewMemory {
    NewMemory {
        access_level,
        ..new(owner, content)
    }
}

pub(crate) fn everything() -> Filter {
    Filter {
        include_shared: true,
        ..Filter::default()
    }
}

pub(crate) fn ids(memories: impl IntoIterator<Item = Memory>) -> Vec<Uuid> {
    memories.into_iter().map(|memory| memory.id).collect()
}

#[track_caller]
pub(crate) fn assert_not_found<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(
        matches!(result, Err(StoreError::NotFound { what: "memory" })),
        "{result:?}"
    );
}

#[track_caller]
pub(crate) fn assert_forbidden<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(
        matches!(result, Err(StoreError::Forbidden(_))),
        "{result:?}"
    );
}
