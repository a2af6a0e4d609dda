//! The sets: what is stored, what is asked, and which of the stored answers it.

use serde::Deserialize;

/// Memories and questions about them.
pub(crate) struct Set {
    pub(crate) memories: Vec<String>,
    /// A question and the place of the memory that answers it.
    pub(crate) questions: Vec<(String, usize)>,
}

#[derive(Deserialize)]
struct Pair {
    memory: String,
    question: String,
}

#[derive(Deserialize)]
struct Conversation {
    turns: Vec<Turn>,
    questions: Vec<Question>,
}

#[derive(Deserialize)]
struct Turn {
    text: String,
}

#[derive(Deserialize)]
struct Question {
    question: String,
    turn: usize,
}

fn lines<T: serde::de::DeserializeOwned>(name: &str) -> Vec<T> {
    let path = format!("{}/tests/data/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// `paraphrases` or `codes`.
pub(crate) fn pairs(name: &str) -> Set {
    let (mut memories, mut questions) = (Vec::new(), Vec::new());
    for Pair { memory, question } in lines(name) {
        questions.push((question, memories.len()));
        memories.push(memory);
    }
    Set {
        memories,
        questions,
    }
}

/// Every turn of every conversation is a memory.
pub(crate) fn conversations() -> Set {
    let (mut memories, mut questions) = (Vec::new(), Vec::new());
    for Conversation {
        turns,
        questions: asked,
    } in lines("conversations")
    {
        let first = memories.len();
        memories.extend(turns.into_iter().map(|turn| turn.text));
        questions.extend(
            asked
                .into_iter()
                .map(|asked| (asked.question, first + asked.turn)),
        );
    }
    Set {
        memories,
        questions,
    }
}
