//! From a query in a person's words to phrases of FTS5, and from a text to what FTS5 can split.
//!
//! Invariants: every phrase is quoted and holds no control character, so no query is a syntax
//! error and none reaches FTS5's operators; the number of phrases is bounded.
//!
//! Scripts without spaces (Han, kana, Hangul, Thai and their neighbours): unicode61 would make one
//! token of a whole run. Such characters are indexed one by one, and a query looks for each pair
//! of neighbours as a phrase.

use std::borrow::Cow;

use super::stop_words;

/// Phrases of one query; each costs a walk of its own. A question has ten, a pasted page more.
pub(super) const TERMS_MAX: usize = 32;

/// One thing to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    /// The words in lower case, as the query had them.
    pub(super) text: String,
    /// The same as an FTS5 string.
    pub(super) phrase: String,
}

/// What to look for; stop words only if there is nothing else.
pub(super) fn of_query(query: &str) -> Vec<Term> {
    let mut texts: Vec<String> = Vec::new();
    let mut push = |text: &str| {
        if !texts.iter().any(|known| known == text) {
            texts.push(text.into());
        }
    };
    for word in query
        .to_lowercase()
        .split(|c: char| c.is_whitespace() || c.is_control())
    {
        for run in runs(word) {
            if run.starts_with(is_unspaced) {
                pairs(run).for_each(&mut push);
                continue;
            }
            // A code such as INC-20417 or a path is looked for as a whole and in its parts.
            let whole = run.trim_matches(|c: char| !c.is_alphanumeric());
            if whole.is_empty() {
                continue;
            }
            push(whole);
            for part in whole.split(|c: char| !c.is_alphanumeric()) {
                if part.len() > 1 && part != whole {
                    push(part);
                }
            }
        }
    }
    if texts.iter().any(|text| !stop_words::contains(text)) {
        texts.retain(|text| !stop_words::contains(text));
    }
    texts.truncate(TERMS_MAX);
    texts
        .into_iter()
        .map(|text| Term {
            phrase: phrase(&text),
            text,
        })
        .collect()
}

/// `text` as one FTS5 string: a phrase, whatever it holds.
pub(super) fn phrase(text: &str) -> String {
    let printable: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    format!("\"{}\"", spaced(&printable).replace('"', "\"\""))
}

/// `text` with the characters of scripts without spaces set apart.
pub(super) fn spaced(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || !text.contains(is_unspaced) {
        return Cow::Borrowed(text);
    }
    let mut apart = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if is_unspaced(c) {
            apart.extend([' ', c, ' ']);
        } else {
            apart.push(c);
        }
    }
    Cow::Owned(apart)
}

/// How long a text is, for ranking: words, and characters of scripts without spaces.
pub(super) fn length(text: &str) -> usize {
    spaced(text).split_whitespace().count()
}

/// Parts of a word that lie wholly inside or wholly outside the scripts without spaces.
fn runs(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let unspaced = is_unspaced(rest.chars().next()?);
        let end = rest
            .find(|c| is_unspaced(c) != unspaced)
            .unwrap_or(rest.len());
        let (run, tail) = rest.split_at(end);
        rest = tail;
        Some(run)
    })
}

/// Each pair of neighbours, or the only character.
fn pairs(run: &str) -> impl Iterator<Item = &str> {
    let starts: Vec<usize> = run
        .char_indices()
        .map(|(at, _)| at)
        .chain([run.len()])
        .collect();
    let width = if starts.len() > 2 { 2 } else { 1 };
    (0..starts.len() - width).map(move |first| &run[starts[first]..starts[first + width]])
}

fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{0E01}'..='\u{0EFF}'      // Thai, Lao
        | '\u{1000}'..='\u{109F}'    // Myanmar
        | '\u{1780}'..='\u{17D3}'    // Khmer
        | '\u{3041}'..='\u{30FF}'    // kana
        | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' // Han
        | '\u{AC00}'..='\u{D7A3}'    // Hangul
        | '\u{20000}'..='\u{3134F}') // Han beyond the basic plane
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(query: &str) -> Vec<String> {
        of_query(query).into_iter().map(|term| term.text).collect()
    }

    #[test]
    fn stop_words_go_unless_alone() {
        assert_eq!(
            texts("What is the deploy of the Server?"),
            ["deploy", "server"]
        );
        assert_eq!(texts("to be or not to be"), ["to", "be", "or", "not"]);
    }

    #[test]
    fn codes_stay_whole_and_in_parts() {
        assert_eq!(texts("(INC-20417)"), ["inc-20417", "inc", "20417"]);
        assert_eq!(phrase("a\"b\0"), "\"a\"\"b \"");
    }

    #[test]
    fn scripts_without_spaces_become_pairs() {
        assert_eq!(texts("東京都 B社"), ["東京", "京都", "b", "社"]);
        assert_eq!(phrase("東京"), "\" 東  京 \"");
        assert_eq!(length("東京 is big"), 4);
    }
}
