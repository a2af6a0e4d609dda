//! The part of a text that answers a question, when there is no room for all of it.

use std::collections::HashSet;

use crate::store::ranking;

/// Stands where something was left out.
const GAP: &str = "…";

/// The beginning of `text`, cut between words at about `bytes`.
pub(super) fn beginning(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let words = words(text);
    let end = words
        .iter()
        .map(|(_, end)| *end)
        .take_while(|end| *end <= bytes)
        .last()
        .unwrap_or_else(|| text.floor_char_boundary(bytes));
    format!("{}{GAP}", &text[..end])
}

/// The part of `text` of at most `bytes` with the most words of `query` in it, the first of several.
pub(super) fn around(text: &str, query: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let wanted: HashSet<String> = ranking::of_query(query).into_iter().collect();
    let words = words(text);
    let answers: Vec<bool> = words
        .iter()
        .map(|(start, end)| {
            let terms = ranking::of_memory(&text[*start..*end], None, &[]).terms;
            terms.iter().any(|term| wanted.contains(term))
        })
        .collect();
    let (mut best, mut most) = ((0, 0), 0);
    let (mut first, mut count) = (0, 0);
    for last in 0..words.len() {
        count += usize::from(answers[last]);
        while first < last && words[last].1 - words[first].0 > bytes {
            count -= usize::from(answers[first]);
            first += 1;
        }
        if count > most && words[last].1 - words[first].0 <= bytes {
            let from = (first..=last).find(|word| answers[*word]).unwrap_or(last);
            (best, most) = ((from, last), count);
        }
    }
    if most == 0 {
        return beginning(text, bytes);
    }
    let (from, to) = widened(&words, best, bytes);
    let (start, end) = (words[from].0, words[to].1);
    let before = if start > 0 { GAP } else { "" };
    let after = if end < text.trim_end().len() { GAP } else { "" };
    format!("{before}{}{after}", &text[start..end])
}

/// Takes in what follows and then what comes before as far as there is room: an answer tends to
/// stand behind the words of its question.
fn widened(
    words: &[(usize, usize)],
    (mut from, mut to): (usize, usize),
    bytes: usize,
) -> (usize, usize) {
    loop {
        let fits = |from: usize, to: usize| words[to].1 - words[from].0 <= bytes;
        if to + 1 < words.len() && fits(from, to + 1) {
            to += 1;
        } else if from > 0 && fits(from - 1, to) {
            from -= 1;
        } else {
            return (from, to);
        }
    }
}

/// Start and end of each word.
fn words(text: &str) -> Vec<(usize, usize)> {
    let base = text.as_ptr() as usize;
    text.split_whitespace()
        .map(|word| {
            let start = word.as_ptr() as usize - base;
            (start, start + word.len())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_with_the_answer_is_kept() {
        let noise = "lorem ipsum dolor ".repeat(20);
        let text = format!("{noise}the launch code is 4711 today {noise}");
        let part = around(&text, "What is the launch code?", 60);
        assert!(part.contains("launch code is 4711"), "{part}");
        assert!(part.starts_with('…') && part.ends_with('…'), "{part}");
        assert!(part.len() <= 60 + 2 * GAP.len());
    }

    #[test]
    fn without_an_answer_it_is_the_beginning() {
        assert_eq!(around("one two three four", "zebra", 9), "one two…");
        assert_eq!(around("short", "zebra", 9), "short");
        assert_eq!(beginning("ééééé", 5), "éé…");
    }
}
