//! One request under way: what the server may say before its answer, and ask its client.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::outlet::Outlet;
use crate::config::limits::{ASKED_SECONDS_MAX, ASKS_MAX};
use crate::rpc::mcp::{self, ClientCapabilities, LogLevel};

/// Why a client gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It answered with an error: the JSON text of the error object.
    #[error("the client refused: {0}")]
    Refused(Box<str>),
    /// It did not answer in time.
    #[error("the client did not answer within {ASKED_SECONDS_MAX} seconds")]
    Timeout,
    /// It is gone, or reads nothing.
    #[error("the client cannot be reached")]
    Unreachable,
    /// It is asked too much already.
    #[error("the client has {ASKS_MAX} requests to answer")]
    TooMany,
    /// Its revision knows no requests of a server.
    #[error("the client's revision takes no requests of a server")]
    NotPossible,
}

type Outcome = Result<Box<str>, Box<str>>;

/// Requests of ours that a client has yet to answer.
#[derive(Debug, Default)]
pub struct Asks {
    latest: Cell<u64>,
    waiting: RefCell<HashMap<String, oneshot::Sender<Outcome>>>,
}

impl Asks {
    /// Takes a client's answer; one that nothing waits for is ignored. `id` is JSON text.
    pub fn answered(&self, id: &str, outcome: Result<&str, &str>) {
        let waiting = self.waiting.borrow_mut().remove(id.trim_matches('"'));
        if let Some(waiting) = waiting {
            // Whoever asked may have given up meanwhile.
            let _ = waiting.send(outcome.map(Box::from).map_err(Box::from));
        }
    }

    fn begin(&self) -> Result<(String, oneshot::Receiver<Outcome>), AskError> {
        let mut waiting = self.waiting.borrow_mut();
        waiting.retain(|_, sender| !sender.is_closed());
        if waiting.len() >= ASKS_MAX {
            return Err(AskError::TooMany);
        }
        self.latest.set(self.latest.get() + 1);
        let id = format!("tmws-{}", self.latest.get());
        let (sender, receiver) = oneshot::channel();
        waiting.insert(id.clone(), sender);
        Ok((id, receiver))
    }
}

/// What a call may use besides its arguments, as its request allows it.
#[derive(Debug)]
pub struct Exchange {
    /// What the client can do.
    pub capabilities: ClientCapabilities,
    /// Where messages of this request go.
    pub outlet: Outlet,
    /// The token that progress is told by, as JSON text.
    pub progress_token: Option<Box<str>>,
    /// The lowest level of log lines that the client wants.
    pub log_level: Option<LogLevel>,
    /// Requests of ours; none in the modern era, which has none.
    pub asks: Option<Rc<Asks>>,
    /// The latest progress told: it only ever grows (MCP, progress).
    progress: Cell<Option<f64>>,
}

impl Exchange {
    /// The exchange of a request that goes by this outlet, and asks for nothing more.
    pub fn new(outlet: Outlet, capabilities: ClientCapabilities) -> Self {
        Self {
            capabilities,
            outlet,
            progress_token: None,
            log_level: None,
            asks: None,
            progress: Cell::new(None),
        }
    }

    /// Tells how far the call is, if its client wants to know. What is not more than before is
    /// not told.
    pub fn progress(&self, progress: f64, total: Option<f64>, message: Option<&str>) {
        let Some(token) = &self.progress_token else {
            return;
        };
        if !progress.is_finite() || self.progress.get().is_some_and(|told| progress <= told) {
            return;
        }
        self.progress.set(Some(progress));
        let mut out = Vec::new();
        let total = total.filter(|total| total.is_finite());
        mcp::write_progress(&mut out, token, progress, total, message);
        self.outlet.send(out);
    }

    /// Sends a log line, if its client wants lines of this level; `data` is JSON text.
    pub fn log(&self, level: LogLevel, logger: &str, data: &str) {
        if self.log_level.is_some_and(|lowest| level >= lowest) {
            let mut out = Vec::new();
            mcp::write_log(&mut out, level, logger, data);
            self.outlet.send(out);
        }
    }

    /// Asks a legacy client and waits for its answer; `params` and the result are JSON text.
    pub async fn ask(&self, method: &str, params: &str) -> Result<Box<str>, AskError> {
        let asks = self.asks.as_ref().ok_or(AskError::NotPossible)?;
        let (id, answer) = asks.begin()?;
        let mut out = Vec::new();
        mcp::write_request(&mut out, &id, method, params);
        if !self.outlet.send(out) {
            return Err(AskError::Unreachable);
        }
        let patience = Duration::from_secs(ASKED_SECONDS_MAX);
        match tokio::time::timeout(patience, answer).await {
            Err(_) => Err(AskError::Timeout),
            Ok(Err(_)) => Err(AskError::Unreachable),
            Ok(Ok(outcome)) => outcome.map_err(AskError::Refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::{AskError, Asks, Exchange};
    use crate::delivery::Outgoing;
    use crate::rpc::mcp::{ClientCapabilities, LogLevel};

    fn exchange(queue: &Rc<Outgoing>) -> Exchange {
        Exchange::new(queue.outlet(0), ClientCapabilities::default())
    }

    fn sent(queue: &Outgoing) -> Vec<String> {
        let mut taken = Vec::new();
        queue.take(&mut taken);
        let texts = taken.into_iter().map(|(_, text)| String::from_utf8(text));
        texts.map(|text| text.expect("UTF-8")).collect()
    }

    #[test]
    fn progress_is_told_by_token_only_and_only_grows() {
        let queue = Outgoing::of_stream();
        let mut exchange = exchange(&queue);
        exchange.progress(1.0, None, None);
        assert!(sent(&queue).is_empty(), "nobody asked");
        exchange.progress_token = Some("7".into());
        for progress in [0.0, 50.0, 50.0, 20.0, f64::NAN, 100.0] {
            exchange.progress(progress, Some(100.0), None);
        }
        let told = sent(&queue);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(
            told[2].contains("\"progress\":100,\"total\":100"),
            "{told:?}"
        );
    }

    #[test]
    fn lines_below_the_level_are_not_sent() {
        let queue = Outgoing::of_stream();
        let mut exchange = exchange(&queue);
        exchange.log(LogLevel::Error, "tests", "1");
        exchange.log_level = Some(LogLevel::Warning);
        exchange.log(LogLevel::Info, "tests", "2");
        exchange.log(LogLevel::Warning, "tests", "3");
        let told = sent(&queue);
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("\"data\":3"), "{told:?}");
    }

    #[tokio::test]
    async fn a_client_answers_refuses_or_cannot_be_asked() {
        let queue = Outgoing::of_stream();
        let mut exchange = exchange(&queue);
        assert_eq!(
            exchange.ask("roots/list", "{}").await,
            Err(AskError::NotPossible)
        );
        let asks = Rc::new(Asks::default());
        exchange.asks = Some(Rc::clone(&asks));
        let (answer, ()) = tokio::join!(exchange.ask("roots/list", "{}"), async {
            assert!(sent(&queue)[0].contains("\"tmws-1\""));
            asks.answered("\"tmws-9\"", Ok("{}"));
            asks.answered("\"tmws-1\"", Ok("{\"roots\":[]}"));
        });
        assert_eq!(answer.as_deref(), Ok("{\"roots\":[]}"));
        let (answer, ()) = tokio::join!(exchange.ask("roots/list", "{}"), async {
            asks.answered("\"tmws-2\"", Err("{\"code\":-1}"));
        });
        assert_eq!(answer, Err(AskError::Refused("{\"code\":-1}".into())));
    }
}
