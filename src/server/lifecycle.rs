//! The life of a running server on its main thread: signals, the probe of the store, the stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::takeover::Successor;
use super::{Reload, Server, ServerError};
use crate::config::limits::{LET_GO_MS, STOP_MS_MAX};
use crate::shard::Mail;
use crate::telemetry::log::Log;

/// Time between probes of the store.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// Time for the store to answer a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for the store to note that nothing was lost.
const WITHDRAW_TIMEOUT: Duration = Duration::from_millis(400);

/// Time for the shards to stop accepting, a matter of one turn.
const DEAF_TIMEOUT: Duration = Duration::from_secs(1);

/// The signals that the process listens to.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, ServerError> {
        let listen = |kind| signal(kind).map_err(ServerError::system("cannot listen for signals"));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Runs until the process is asked to stop, then stops it.
pub(super) async fn run(
    mut server: Server,
    mut signals: Signals,
    reload: &Reload,
    log: &Log,
) -> Result<(), ServerError> {
    let mut probe = interval(PROBE_INTERVAL);
    probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let handover = server.handover.take();
    let mut taken = Box::pin(async {
        match handover {
            Some(handover) => handover.taken().await,
            None => std::future::pending().await,
        }
    });
    let (failed, successor) = loop {
        tokio::select! {
            _ = probe.tick() => server.probe_store().await,
            _ = signals.hangup.recv() => server.reload(reload, log),
            _ = signals.terminate.recv() => break (None, None),
            _ = signals.interrupt.recv() => break (None, None),
            successor = &mut taken => break (None, Some(successor)),
            ended = server.ended.recv() => break (ended.map(|(index, _)| index), None),
        }
    };
    // Nobody else takes the listeners: they are closed, unless another process has them.
    drop(taken);
    server.drain(&mut signals, failed, successor).await;
    failed.map_or(Ok(()), |index| Err(ServerError::Shard(index)))
}

impl Server {
    async fn probe_store(&self) {
        let failure = match timeout(PROBE_TIMEOUT, self.store.status()).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {} s", PROBE_TIMEOUT.as_secs())),
        };
        match (&self.process.store_failure(), &failure) {
            (None, Some(reason)) => {
                tracing::error!(reason, "the store does not answer");
                let events = self.post.events();
                events.diagnose("store_unreachable", Some(reason.clone()));
            }
            (Some(_), None) => {
                tracing::info!("the store answers again");
                self.post.events().diagnose("store_back", None);
            }
            _ => {}
        }
        self.process.set_store_failure(failure);
    }

    fn reload(&mut self, reload: &Reload, log: &Log) {
        let newer = match reload() {
            Ok(newer) => newer,
            Err(problems) => {
                tracing::error!(%problems, "the configuration was not reloaded");
                return;
            }
        };
        let (config, restart) = self.config.reload(&newer);
        if restart {
            tracing::warn!("some changes of the configuration need a restart");
        }
        if config.log.level != self.config.log.level
            && let Err(error) = log.set_level(&config.log.level)
        {
            tracing::error!(%error, "the log level was not changed");
        }
        self.config = Arc::new(config);
        let connections_max = self.config.connections_max as u64;
        self.history
            .set_bounds(|bounds| bounds.connections_max = connections_max);
        self.post(|| Mail::Reload(Arc::clone(&self.config)));
        tracing::info!("the configuration was reloaded");
    }

    /// Stops: no new connections, not ready, calls under way finished, connections closed over
    /// the drain time, messages in memory stored, the store closed. A second signal cuts it short.
    /// A server that follows is told when nobody accepts here any more.
    async fn drain(
        mut self,
        signals: &mut Signals,
        failed: Option<usize>,
        successor: Option<Successor>,
    ) {
        let over = self.config.drain;
        tracing::info!(
            connections = self.metrics.connections(),
            seconds = over.as_secs(),
            "stopping"
        );
        self.process.set_draining();
        self.post.events().diagnose("draining", None);
        // Only an error if no shard is left to hear it.
        let _ = self.stopping.send(true);
        let begun = Arc::new(AtomicUsize::new(0));
        self.post(|| Mail::Drain(over, Arc::clone(&begun)));
        if let Some(successor) = successor {
            tracing::info!("another server has taken the listeners over");
            self.wait_until_deaf(&begun).await;
            successor.release();
        }
        if failed.is_some() {
            self.post.shard_failed();
        }
        let left = self.wait_for_shards(signals, failed).await;
        if left == 0 {
            for thread in self.threads.drain(..) {
                // A panicked shard has been reported already.
                let _ = thread.join();
            }
        }
        self.withdraw_mark().await;
        if let Some(link) = self.link.take() {
            link.leave().await;
        }
        self.meaning.embedder().close();
        self.backing.close();
        tracing::info!("stopped");
    }

    /// Waits until no shard accepts any more, or it takes too long.
    async fn wait_until_deaf(&self, begun: &AtomicUsize) {
        let started = Instant::now();
        while begun.load(Ordering::Acquire) < self.threads.len() && started.elapsed() < DEAF_TIMEOUT
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until the shards have ended; a second signal, or the end of patience, has them let go
    /// of what they hold. Returns how many have not ended even then.
    async fn wait_for_shards(&mut self, signals: &mut Signals, failed: Option<usize>) -> usize {
        let started = Instant::now();
        let mut let_go = started + Duration::from_millis(LET_GO_MS);
        let mut deadline = started + Duration::from_millis(STOP_MS_MAX);
        let mut has_let_go = false;
        let mut left = self.threads.len() - usize::from(failed.is_some());
        while left > 0 {
            tokio::select! {
                ended = self.ended.recv() => match ended {
                    Some((_, asked)) => {
                        left -= 1;
                        if !asked {
                            self.post.shard_failed();
                        }
                    }
                    None => break,
                },
                () = signals.stop(), if !has_let_go => {
                    tracing::warn!("stopping at once");
                    deadline = Instant::now() + (deadline - let_go);
                    let_go = Instant::now();
                }
                () = sleep_until(let_go), if !has_let_go => {
                    tracing::warn!(left = self.gate.websockets(), "connections are let go");
                    has_let_go = true;
                    self.post(|| Mail::Stop);
                }
                () = sleep_until(deadline) => {
                    tracing::warn!("the stop took too long; messages in memory may be lost");
                    break;
                }
            }
        }
        left
    }

    /// Takes back that messages may be lost with this run, if none is.
    async fn withdraw_mark(&self) {
        if !self.post.has_sent_volatile() || !self.post.has_kept_everything() {
            return;
        }
        match timeout(WITHDRAW_TIMEOUT, self.store.withdraw_volatile()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "sessions will be told of a loss that was none")
            }
            Err(_) => tracing::warn!("sessions will be told of a loss that was none"),
        }
    }
}
