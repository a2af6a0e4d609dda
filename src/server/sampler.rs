//! Takes the samples that the performance report is made from, on the main thread.
//!
//! Invariant: it reads what others count and holds nobody up for it.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::backing::Backing;
use crate::allocator;
use crate::config::limits::SAMPLE_SECONDS;
use crate::delivery::courier::Post;
use crate::delivery::{Changes, Registry};
use crate::operations::Meaning;
use crate::shard::Mailbox;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::telemetry::performance::{
    Around, Bounds, EmbeddingLoad, History, Kernel, Reading, StoreLoad,
};

/// The first sample, so that a server that has just begun tells something.
const FIRST: Duration = Duration::from_secs(1);

/// Where figures come from.
pub(super) struct Sampler {
    pub(super) backing: Backing,
    /// The store as the main thread sees it.
    pub(super) store: Rc<dyn Store>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) meaning: Arc<Meaning>,
    pub(super) registry: Arc<Registry>,
    pub(super) changes: Arc<Changes>,
    pub(super) post: Arc<Post>,
    pub(super) mailboxes: Vec<Arc<Mailbox>>,
    pub(super) data_dir: PathBuf,
    pub(super) cores: usize,
}

impl Sampler {
    /// The history that begins now.
    pub(super) fn begin(&self, connections_max: usize) -> History {
        let bounds = Bounds {
            cores: self.cores as u64,
            shards: self.mailboxes.len() as u64,
            connections_max: connections_max as u64,
            compute_threads: self.meaning.embedder().worker_count(self.cores) as u64,
            embedded: self.backing.load().is_some(),
        };
        History::new(self.read(), bounds)
    }

    /// Takes samples until it is dropped.
    pub(super) async fn run(self, history: Arc<History>) {
        let mut next = Instant::now() + FIRST;
        loop {
            sleep_until(next).await;
            history.add(self.read());
            // The main thread's own.
            allocator::give_back();
            // The model may have been changed meanwhile.
            let threads = self.meaning.embedder().worker_count(self.cores) as u64;
            history.set_bounds(|bounds| bounds.compute_threads = threads);
            next = Instant::now() + Duration::from_secs(SAMPLE_SECONDS);
        }
    }

    fn read(&self) -> Reading {
        let around = Around {
            kernel: Kernel::read(&self.data_dir),
            sessions: self.registry.presence().open,
            store: self.store(),
            embedding: self.embedding(),
            letters: self.post.waiting(),
            changes: self.changes.waiting(),
            mail: self
                .mailboxes
                .iter()
                .map(|mailbox| mailbox.waiting() as u64)
                .collect(),
        };
        Reading::new(&self.metrics, around)
    }

    fn store(&self) -> StoreLoad {
        let own = self.store.waiting();
        // Of the queues that each shard has for itself, where it has.
        let writes = self.metrics.total(|shard| shard.store_writes.get());
        let reads = self.metrics.total(|shard| shard.store_reads.get());
        StoreLoad {
            writes: own.writes + writes,
            reads: own.reads + reads,
            embedded: self.backing.load(),
        }
    }

    fn embedding(&self) -> EmbeddingLoad {
        let embedder = self.meaning.embedder();
        let (stats, busyness) = (embedder.stats(), embedder.busyness());
        EmbeddingLoad {
            queries: busyness.queries as u64,
            texts: busyness.texts as u64,
            threads: embedder.worker_count(self.cores) as u64,
            busy_ns: stats.time.as_nanos() as u64,
            refused: stats.busy,
        }
    }
}
