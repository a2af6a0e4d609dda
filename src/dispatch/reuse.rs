//! Answers that are the same for every caller and may be some milliseconds old, kept as they were
//! written.

use std::time::{Duration, Instant};

use super::wrapping::Wrapping;

/// The latest answers, by operation and wrapping.
#[derive(Debug, Default)]
pub(super) struct Recent {
    answers: Vec<[Option<Answer>; Wrapping::COUNT]>,
}

#[derive(Debug)]
struct Answer {
    until: Instant,
    result: Box<[u8]>,
}

impl Recent {
    /// An answer that is not too old.
    pub(super) fn get(&self, index: usize, wrapping: Wrapping, now: Instant) -> Option<&[u8]> {
        let answer = self.answers.get(index)?[wrapping.index()].as_ref()?;
        (now < answer.until).then_some(&answer.result[..])
    }

    /// Keeps an answer for this long.
    pub(super) fn keep(
        &mut self,
        index: usize,
        wrapping: Wrapping,
        now: Instant,
        age: Duration,
        result: &[u8],
    ) {
        if self.answers.len() <= index {
            self.answers.resize_with(index + 1, Default::default);
        }
        self.answers[index][wrapping.index()] = Some(Answer {
            until: now + age,
            result: result.into(),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Recent, Wrapping};
    use crate::rpc::mcp::Era;

    #[test]
    fn an_answer_is_reused_until_it_is_too_old_and_only_as_it_was_wrapped() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        let (tool, direct) = (Wrapping::Tool(Era::Legacy), Wrapping::Direct(Era::Legacy));
        let age = Duration::from_millis(100);
        recent.keep(3, tool, now, age, b"{}");
        assert_eq!(recent.get(3, tool, now + age / 2), Some(&b"{}"[..]));
        assert_eq!(recent.get(3, tool, now + age), None);
        assert_eq!(recent.get(3, direct, now), None);
        assert_eq!(recent.get(2, tool, now), None);
        assert_eq!(recent.get(9, tool, now), None);
    }
}
