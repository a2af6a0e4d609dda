//! From texts and questions to terms: what a search by words compares.
//!
//! The same analysis serves documents and questions on every backend, so that all of them find the
//! same: words in lower case without accents, English ones by their stem; a code such as
//! `INC-20417`, `src/main.rs` or `getUserById` as a whole and in its parts; scripts without
//! spaces (Han, kana, Hangul, Thai and their neighbours) in pairs of neighbours.
//!
//! Invariants: a term has 1 to [`TERM_BYTES_MAX`] bytes and no space, control character, quote or
//! backslash; a question has at most [`TERMS_MAX`] terms.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::LazyLock;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::stop_words;

/// Terms of one question: a question has ten, a pasted page more; a set of them fits in 32 bits.
pub const TERMS_MAX: usize = 32;
/// Bytes of one term; a longer run of letters is cut here, in documents and questions alike.
pub const TERM_BYTES_MAX: usize = 64;

static STEMMER: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::create(Algorithm::English));

/// What a memory can be found by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DocumentTerms {
    /// Each term once, in the order of appearance.
    pub terms: Vec<String>,
    /// How long the text is: words, and characters of scripts without spaces.
    pub words: u32,
}

/// The terms of a memory; its labels count as words of it but do not make it longer.
pub fn of_memory(content: &str, kind: Option<&str>, tags: &[String]) -> DocumentTerms {
    let mut seen = HashSet::new();
    let mut terms = Vec::new();
    let mut words = 0;
    let mut push = |term: Cow<'_, str>| {
        if !seen.contains(&*term) {
            seen.insert(term.to_string());
            terms.push(term.into_owned());
        }
    };
    analyze(content, Side::Document, &mut |token| {
        words += u32::from(token.counts);
        push(token.term);
    });
    for label in kind.into_iter().chain(tags.iter().map(String::as_str)) {
        analyze(label, Side::Document, &mut |token| push(token.term));
    }
    DocumentTerms { terms, words }
}

/// The terms of a question, each once; stop words only if there is nothing else.
pub fn of_query(query: &str) -> Vec<String> {
    let mut content: Vec<String> = Vec::new();
    let mut common: Vec<String> = Vec::new();
    analyze(query, Side::Question, &mut |token| {
        let list = if token.common {
            &mut common
        } else {
            &mut content
        };
        if list.len() < TERMS_MAX && !list.iter().any(|known| **known == *token.term) {
            list.push(token.term.into_owned());
        }
    });
    if content.is_empty() { common } else { content }
}

/// One term where it stands in a text.
struct Token<'t> {
    term: Cow<'t, str>,
    /// It is a stop word.
    common: bool,
    /// It is a word of its own and not the whole of which parts are counted.
    counts: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Document,
    Question,
}

fn analyze<'t>(text: &'t str, side: Side, emit: &mut impl FnMut(Token<'t>)) {
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_ascii() {
            split_word(Cow::Borrowed(word), emit);
            continue;
        }
        let plain: String = word
            .nfkd()
            .filter(|c| !is_combining_mark(*c))
            .nfc()
            .collect();
        let mut rest = plain.as_str();
        while let Some(first) = rest.chars().next() {
            let unspaced = is_unspaced(first);
            let end = rest
                .find(|c| is_unspaced(c) != unspaced)
                .unwrap_or(rest.len());
            let (run, tail) = rest.split_at(end);
            rest = tail;
            if unspaced {
                pairs(run, side, emit);
            } else {
                split_word(Cow::Owned(run.to_owned()), emit);
            }
        }
    }
}

/// A word without spaces in it: its parts, and the whole if there is more than one.
fn split_word<'t>(word: Cow<'t, str>, emit: &mut impl FnMut(Token<'t>)) {
    let whole = without_possessive(word.trim_matches(|c: char| !c.is_alphanumeric()));
    if whole.is_empty() {
        return;
    }
    let mut parts = 0;
    for piece in whole.split(|c: char| !c.is_alphanumeric()) {
        for part in humps(piece) {
            parts += 1;
            let lower = part.to_lowercase();
            let common = stop_words::contains(&lower);
            let term = if common { lower } else { stem(lower) };
            let counts = true;
            emit(Token {
                term: Cow::Owned(cut(term)),
                common,
                counts,
            });
        }
    }
    if parts > 1 {
        let lower = whole.to_lowercase().replace(['\'', '"', '\\'], "");
        let term = Cow::Owned(cut(lower));
        emit(Token {
            term,
            common: false,
            counts: false,
        });
    }
}

fn without_possessive(word: &str) -> &str {
    ["'s", "\u{2019}s", "'S", "\u{2019}S"]
        .iter()
        .find_map(|suffix| word.strip_suffix(suffix))
        .unwrap_or(word)
}

/// The parts of `getUserById` or `HTTPServer2`: cut before a capital that follows a small letter
/// or a digit, and before the last capital of several that a small letter follows.
fn humps(piece: &str) -> impl Iterator<Item = &str> {
    let mut rest = piece;
    std::iter::from_fn(move || {
        let mut chars = rest.char_indices().peekable();
        let (_, mut before) = chars.next()?;
        let mut end = rest.len();
        while let Some((at, c)) = chars.next() {
            let ends_small = !before.is_uppercase() && c.is_uppercase();
            let ends_capitals = before.is_uppercase()
                && c.is_uppercase()
                && chars.peek().is_some_and(|(_, next)| next.is_lowercase());
            if ends_small || ends_capitals {
                end = at;
                break;
            }
            before = c;
        }
        let (part, tail) = rest.split_at(end);
        rest = tail;
        Some(part)
    })
}

/// Names of versions and numbers have no stem.
fn stem(word: String) -> String {
    if word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        STEMMER.stem(&word).into_owned()
    } else {
        word
    }
}

fn cut(mut term: String) -> String {
    if term.len() > TERM_BYTES_MAX {
        term.truncate(term.floor_char_boundary(TERM_BYTES_MAX));
    }
    term
}

/// Each pair of neighbours; and each character, of a question only if it is alone.
fn pairs<'t>(run: &str, side: Side, emit: &mut impl FnMut(Token<'t>)) {
    let mut push = |term: String, counts| {
        let term = Cow::Owned(term);
        emit(Token {
            term,
            common: false,
            counts,
        });
    };
    let mut before: Option<char> = None;
    let alone = run.chars().nth(1).is_none();
    for c in run.chars() {
        if side == Side::Document || alone {
            push(c.to_string(), true);
        }
        if let Some(before) = before {
            push(String::from_iter([before, c]), false);
        }
        before = Some(c);
    }
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

    fn of_text(text: &str) -> Vec<String> {
        of_memory(text, None, &[]).terms
    }

    #[test]
    fn stop_words_go_unless_alone() {
        assert_eq!(
            of_query("What is the deploy of the Server?"),
            ["deploy", "server"]
        );
        assert_eq!(of_query("to be or not to be"), ["to", "be", "or", "not"]);
    }

    #[test]
    fn codes_stay_whole_and_in_parts() {
        assert_eq!(of_query("(INC-20417)"), ["inc", "20417", "inc-20417"]);
        assert_eq!(
            of_text("getUserById"),
            ["get", "user", "by", "id", "getuserbyid"]
        );
        assert_eq!(of_text("HTTPServer2"), ["http", "server2", "httpserver2"]);
        assert_eq!(of_query("v2.14.3"), ["v2", "14", "3", "v2.14.3"]);
    }

    #[test]
    fn words_meet_by_stem_case_and_accent() {
        assert_eq!(of_query("Deployments"), of_text("deployment"));
        assert_eq!(of_query("Café’s"), ["cafe"]);
        assert_eq!(of_query("Ünïcode"), of_text("unicode"));
    }

    #[test]
    fn scripts_without_spaces_become_pairs() {
        assert_eq!(of_query("東京都 B社"), ["東京", "京都", "b", "社"]);
    }

    #[test]
    fn labels_are_terms_but_no_length() {
        let terms = of_memory("a red door", Some("fact"), &["on-call".into()]);
        assert_eq!(terms.words, 3);
        assert!(terms.terms.contains(&"on-call".to_owned()));
        assert!(terms.terms.contains(&"fact".to_owned()));
    }

    #[test]
    fn nothing_needs_quoting() {
        for text in ["a\"b\\c'd", "x'y", "O'Brien's", "\u{0}\u{1}", "----"] {
            for term in of_text(text) {
                assert!(!term.contains(['\'', '"', '\\', ' ', '\u{0}']), "{term:?}");
                assert!(!term.is_empty());
            }
        }
    }
}
