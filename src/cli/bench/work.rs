//! What is asked of the server, and how its answers are judged.

use std::collections::VecDeque;

use serde::Deserialize;
use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

use super::super::client::Failure;

/// One kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// The text of a health check, sent back.
    Echo,
    /// A call of health_check.
    Health,
    /// A call of store_memory: each is durable before it is answered.
    Create,
    /// A call of semantic_search for one of the first so many memories that the connection has stored.
    Search(u64),
}

#[derive(Deserialize)]
struct Answer {
    id: u64,
    result: Option<ToolResult>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolResult {
    #[serde(default)]
    is_error: bool,
    structured_content: Value,
}

impl Work {
    /// The request with this id.
    pub(super) fn request(self, connection: u64, id: u64) -> String {
        let (name, arguments) = match self {
            Self::Echo | Self::Health => ("health_check", "{}".to_owned()),
            Self::Create => {
                let content = content(connection, id);
                ("store_memory", format!("{{\"content\":\"{content}\"}}"))
            }
            Self::Search(stored) => {
                let word = word(connection, id % stored.max(1));
                (
                    "semantic_search",
                    format!("{{\"query\":\"{word}\",\"limit\":1}}"),
                )
            }
        };
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\
             \"params\":{{\"name\":\"{name}\",\"arguments\":{arguments}}}}}"
        )
    }

    /// Judges an answer and takes its request from those that wait.
    pub(super) fn check(
        self,
        connection: u64,
        answer: &[u8],
        waiting: &mut VecDeque<u64>,
    ) -> Result<(), Failure> {
        let right = match self {
            // An echo comes back byte by byte, in the order of the requests.
            Self::Echo => waiting
                .pop_front()
                .is_some_and(|id| self.request(connection, id).as_bytes() == answer),
            _ => sonic_rs::from_slice(answer)
                .is_ok_and(|answer| self.is_right(connection, &answer, waiting)),
        };
        if right {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&answer[..answer.len().min(ANSWER_SHOWN_MAX)]);
        Err(Failure::Failed(format!(
            "a wrong answer to {self:?}: {text}"
        )))
    }

    fn is_right(self, connection: u64, answer: &Answer, waiting: &mut VecDeque<u64>) -> bool {
        let Some(place) = waiting.iter().position(|id| *id == answer.id) else {
            return false;
        };
        waiting.remove(place);
        let Some(result) = answer.result.as_ref().filter(|result| !result.is_error) else {
            return false;
        };
        let told = &result.structured_content;
        match self {
            Self::Echo => false,
            Self::Health => told["status"] == "healthy",
            Self::Create => told["content"].as_str() == Some(&*content(connection, answer.id)),
            Self::Search(stored) => {
                let expected = content(connection, answer.id % stored.max(1));
                let hits = told["hits"].as_array();
                hits.and_then(|hits| hits.first())
                    .is_some_and(|hit| hit["content"].as_str() == Some(&*expected))
            }
        }
    }
}

/// Bytes of a wrong answer that are shown.
const ANSWER_SHOWN_MAX: usize = 300;

/// A word that one memory has.
fn word(connection: u64, id: u64) -> String {
    format!("part{connection}x{id}")
}

fn content(connection: u64, id: u64) -> String {
    let word = word(connection, id);
    format!("The inventory lists {word} in the second hall, next to the spare relays of last year")
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::{Work, content};

    fn judged(work: Work, answer: &str) -> bool {
        let mut waiting = VecDeque::from([6, 7]);
        let right = work.check(3, answer.as_bytes(), &mut waiting).is_ok();
        assert_eq!(right, waiting.len() == 1, "{answer}");
        right
    }

    #[test]
    fn only_right_answers_count() {
        let healthy = r#"{"id":7,"result":{"structuredContent":{"status":"healthy"}}}"#;
        assert!(judged(Work::Health, healthy));
        let created = |id| {
            let content = content(3, id);
            format!(r#"{{"id":7,"result":{{"structuredContent":{{"content":"{content}"}}}}}}"#)
        };
        assert!(judged(Work::Create, &created(7)));
        let found = |id| {
            let content = content(3, id);
            format!(
                r#"{{"id":7,"result":{{"structuredContent":{{"hits":[{{"content":"{content}"}}]}}}}}}"#
            )
        };
        assert!(judged(Work::Search(5), &found(2)));
        assert!(judged(Work::Echo, &Work::Echo.request(3, 6)));
        let wrong = |work: Work, answer: &str| {
            let mut waiting = VecDeque::from([6, 7]);
            assert!(
                work.check(3, answer.as_bytes(), &mut waiting).is_err(),
                "{answer}"
            );
        };
        wrong(Work::Health, &healthy.replace('7', "8"));
        wrong(Work::Health, &healthy.replace("healthy", "degraded"));
        wrong(Work::Health, r#"{"id":7,"error":{"code":1}}"#);
        wrong(Work::Create, &created(6));
        wrong(Work::Search(5), &found(3));
        wrong(
            Work::Search(5),
            r#"{"id":7,"result":{"structuredContent":{"hits":[]}}}"#,
        );
        wrong(Work::Echo, &Work::Echo.request(3, 7));
        wrong(Work::Create, "torn");
    }
}
