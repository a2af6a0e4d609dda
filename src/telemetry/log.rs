//! Logs: one event per line, as text or JSON, to standard error or a file.

use std::io;
use std::path::Path;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config::limits::LOG_LINES_WAITING_MAX;

/// Keeps the log's writing thread; dropped last, it writes what is still queued.
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    _writer: WorkerGuard,
}

/// Starts logging for the process. Events are written by a thread of their own: a full disk or a
/// stopped terminal must not stop a shard.
pub fn start(level: &str, json: bool, file: Option<&Path>) -> io::Result<Log> {
    let queue = NonBlockingBuilder::default().buffered_lines_limit(LOG_LINES_WAITING_MAX);
    let (writer, guard) = match file {
        Some(path) => {
            let file = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)?;
            queue.finish(file)
        }
        None => queue.finish(io::stderr()),
    };
    let (filter, handle) = reload::Layer::new(parse(level)?);
    let output = fmt::layer()
        .with_writer(writer)
        .with_ansi(false)
        .with_target(true);
    let output: Box<dyn tracing_subscriber::Layer<_> + Send + Sync> = if json {
        Box::new(
            output
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false),
        )
    } else {
        Box::new(output.compact())
    };
    Registry::default()
        .with(filter)
        .with(output)
        .try_init()
        .map_err(io::Error::other)?;
    Ok(Log {
        filter: handle,
        _writer: guard,
    })
}

impl Log {
    /// Changes the level of a running server.
    pub fn set_level(&self, level: &str) -> io::Result<()> {
        self.filter.reload(parse(level)?).map_err(io::Error::other)
    }
}

fn parse(level: &str) -> io::Result<EnvFilter> {
    EnvFilter::try_new(level)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, format!("log_level: {error}")))
}
