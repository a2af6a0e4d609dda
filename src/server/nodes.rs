//! The other nodes of a fleet: joining them at the start, and taking leave at the end.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::ServerError;
use crate::config::Secret;
use crate::config::limits::LEAVE_MS_MAX;
use crate::delivery::courier::{Link, Post};
use crate::delivery::{Changes, Registry};
use crate::store::Store;
use crate::store::redis::BusAddress;
use crate::telemetry::Process;

/// What the link to the other nodes works with.
pub(super) type Parts = (Arc<Post>, Arc<Registry>, Arc<Changes>, Arc<Process>);

/// The link to the other nodes.
pub(super) struct Joined {
    stop: mpsc::Sender<()>,
    task: JoinHandle<()>,
}

/// Joins the nodes that share this store, over the Redis server at `url`. One that is not there yet is
/// waited for beside the work.
pub(super) async fn join(
    url: &Secret,
    store: &dyn Store,
    (post, registry, changes, process): Parts,
    window: Duration,
) -> Result<Option<Joined>, ServerError> {
    let address = BusAddress::parse(url.reveal())?;
    let secret = store.session_secret().await.map_err(ServerError::State)?;
    // Fleets over different stores may share a Redis server, and none learns the other's secret.
    let digest = Sha256::new()
        .chain_update(b"nodes")
        .chain_update(secret)
        .finalize();
    let fleet: String = digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let link = Link::new(post, registry, changes, process, (address, &fleet), window);
    Ok(link.map(|link| {
        let (stop, stopped) = mpsc::channel(1);
        let task = tokio::task::spawn_local(link.run(stopped));
        Joined { stop, task }
    }))
}

impl Joined {
    /// Tells the other nodes that this one goes.
    pub(super) async fn leave(self) {
        // Full or closed only if it stops already.
        let _ = self.stop.try_send(());
        let patience = Duration::from_millis(LEAVE_MS_MAX);
        if timeout(patience, self.task).await.is_err() {
            tracing::debug!("other nodes were not told of the stop");
        }
    }
}
