//! The life of a running server on its main thread: signals, the probe of the store, the stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::{Reload, Server, ServerError};
use crate::config::limits::STOP_SECONDS_MAX;
use crate::shard::Mail;
use crate::telemetry::log::Log;

/// Time between probes of the store.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// Time for the store to answer a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

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
    let failed = loop {
        tokio::select! {
            _ = probe.tick() => server.probe_store().await,
            _ = signals.hangup.recv() => server.reload(reload, log),
            _ = signals.terminate.recv() => break None,
            _ = signals.interrupt.recv() => break None,
            ended = server.ended.recv() => break ended.map(|(index, _)| index),
        }
    };
    server.drain(&mut signals, failed).await;
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
            (None, Some(reason)) => tracing::error!(reason, "the store does not answer"),
            (Some(_), None) => tracing::info!("the store answers again"),
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
        self.post(|| Mail::Reload(Arc::clone(&self.config)));
        tracing::info!("the configuration was reloaded");
    }

    /// Stops: no new connections, not ready, calls under way finished, connections closed over
    /// the drain time, the store closed. A second signal cuts it short.
    async fn drain(mut self, signals: &mut Signals, failed: Option<usize>) {
        let over = self.config.drain;
        tracing::info!(
            connections = self.metrics.connections(),
            seconds = over.as_secs(),
            "stopping"
        );
        self.process.set_draining();
        // Only an error if no shard is left to hear it.
        let _ = self.stopping.send(true);
        self.post(|| Mail::Drain(over));
        let deadline = Instant::now() + Duration::from_secs(STOP_SECONDS_MAX);
        let mut left = self.threads.len() - usize::from(failed.is_some());
        while left > 0 {
            tokio::select! {
                ended = self.ended.recv() => match ended {
                    Some(_) => left -= 1,
                    None => break,
                },
                () = signals.stop() => {
                    tracing::warn!("stopping at once");
                    break;
                }
                () = sleep_until(deadline) => {
                    tracing::warn!(left = self.gate.websockets(), "the drain took too long");
                    break;
                }
            }
        }
        if left == 0 {
            for thread in self.threads.drain(..) {
                // A panicked shard has been reported already.
                let _ = thread.join();
            }
        } else {
            self.post(|| Mail::Stop);
        }
        if let Some(link) = self.link.take() {
            link.leave().await;
        }
        self.meaning.embedder().close();
        self.backing.close();
        tracing::info!("stopped");
    }
}
