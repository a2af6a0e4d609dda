//! Requests that were read before, all but their ids.
//!
//! Agents ask the same again and again: they look into their inbox, call `health_check`, list tools. Such
//! a request has the bytes of an earlier one except for its id, so every part of it stands where it stood
//! then, and comparing bytes takes a tenth of reading JSON. What was read depends on nothing but the text,
//! hence one cache serves all connections of a shard.

use std::borrow::Cow;

use super::Era;
use super::params::ToolCall;
use crate::config::limits::{PARSE_CACHE_BYTES_MAX, PARSE_CACHE_ENTRIES_MAX, REQUEST_ID_BYTES_MAX};
use crate::rpc::json::{Member, Text};
use crate::rpc::jsonrpc::Call;

/// A request that was read, borrowed from its text.
#[derive(Debug)]
pub struct Known<'a> {
    /// The id's JSON text.
    pub id: &'a str,
    /// What is asked.
    pub target: Target<'a>,
    /// Of the modern era its `_meta` carries the whole envelope, of the legacy one nothing of it.
    pub era: Era,
}

/// What a request asks.
#[derive(Debug)]
pub enum Target<'a> {
    /// A call of a tool.
    Tool(ToolCall<'a>),
    /// Any other method.
    Method(Call<'a>),
}

/// The latest requests of a shard.
#[derive(Debug, Default)]
pub struct ParseCache {
    /// What comes again moves up by one, what is new takes the last place: requests that come once push
    /// nothing out but each other.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    text: String,
    id: Span,
    era: Era,
    spans: Spans,
}

#[derive(Debug)]
enum Spans {
    Tool {
        meta: Option<Span>,
        name: Span,
        arguments: Option<Span>,
        input_responses: Option<Span>,
        request_state: Option<Span>,
    },
    Method {
        method: Span,
        params: Option<Span>,
    },
}

/// Where a part of a text stands.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
}

impl Span {
    /// The place of `part` in `text`; `None` if it is a copy.
    fn of(part: &str, text: &str) -> Option<Self> {
        let start = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
        let end = start.checked_add(part.len())?;
        (end <= text.len()).then_some(Self { start, end })
    }

    /// The same for a part that may be absent.
    fn of_any(part: Option<&str>, text: &str) -> Option<Option<Self>> {
        part.map_or(Some(None), |part| Self::of(part, text).map(Some))
    }
}

/// A text, and how far its id differs in length from the one that was read.
struct Shifted<'a, 'e> {
    text: &'a str,
    entry: &'e Entry,
}

impl<'a> Shifted<'a, '_> {
    fn get(&self, span: Span) -> Option<&'a str> {
        if span.start < self.entry.id.end {
            return self.text.get(span.start..span.end);
        }
        // Counted from the end, what stands behind the id is where it was.
        let (length, before) = (self.text.len(), self.entry.text.len());
        self.text
            .get(length - (before - span.start)..length - (before - span.end))
    }

    fn any(&self, span: Option<Span>) -> Option<&'a str> {
        self.get(span?)
    }
}

impl ParseCache {
    /// The request with this text, if one with another id was read.
    pub fn find<'a>(&mut self, text: &'a str) -> Option<Known<'a>> {
        let mut entries = self.entries.iter().enumerate();
        let (at, id) = entries.find_map(|(at, entry)| Some((at, entry.id_in(text)?)))?;
        let up = at.saturating_sub(1);
        if up != at {
            self.entries.swap(up, at);
        }
        let entry = &self.entries[up];
        let parts = Shifted { text, entry };
        let target = match &entry.spans {
            Spans::Tool {
                meta,
                name,
                arguments,
                input_responses,
                request_state,
            } => Target::Tool(ToolCall {
                meta: Member::of(parts.any(*meta)),
                name: Text::of(Some(parts.get(*name)?)),
                arguments: Member::of(parts.any(*arguments)),
                input_responses: Member::of(parts.any(*input_responses)),
                request_state: Member::of(parts.any(*request_state)),
            }),
            Spans::Method { method, params } => Target::Method(Call {
                method: Cow::Borrowed(parts.get(*method)?),
                params: parts.any(*params).map(Cow::Borrowed),
            }),
        };
        Some(Known {
            id,
            target,
            era: entry.era,
        })
    }

    /// Keeps a call of a tool that was read from `text` and admitted to this era.
    pub fn keep_tool(&mut self, text: &str, id: &str, era: Era, call: &ToolCall<'_>) {
        let spans = || {
            Some(Spans::Tool {
                meta: Span::of_any(call.meta.raw(), text)?,
                name: Span::of(call.name.get()?, text)?,
                arguments: Span::of_any(call.arguments.raw(), text)?,
                input_responses: Span::of_any(call.input_responses.raw(), text)?,
                request_state: Span::of_any(call.request_state.raw(), text)?,
            })
        };
        self.keep(text, id, era, spans);
    }

    /// Keeps another request that was read from `text` and admitted to this era.
    pub fn keep_method(&mut self, text: &str, id: &str, era: Era, call: &Call<'_>) {
        let spans = || {
            Some(Spans::Method {
                method: Span::of(&call.method, text)?,
                params: Span::of_any(call.params.as_deref(), text)?,
            })
        };
        self.keep(text, id, era, spans);
    }

    fn keep(&mut self, text: &str, id: &str, era: Era, spans: impl FnOnce() -> Option<Spans>) {
        if text.len() > PARSE_CACHE_BYTES_MAX {
            return;
        }
        let (Some(id), Some(spans)) = (Span::of(id, text), spans()) else {
            return;
        };
        // The last place's buffer is used again: a request that comes once allocates nothing.
        let mut kept = match self.entries.len() {
            PARSE_CACHE_ENTRIES_MAX => self.entries.pop().map(|entry| entry.text),
            _ => None,
        }
        .unwrap_or_default();
        kept.clear();
        kept.push_str(text);
        self.entries.push(Entry {
            text: kept,
            id,
            era,
            spans,
        });
    }
}

impl Entry {
    /// The id of `text`, if everything else in it is this entry's.
    fn id_in<'a>(&self, text: &'a str) -> Option<&'a str> {
        let (head, tail) = (&self.text[..self.id.start], &self.text[self.id.end..]);
        let id = text.strip_suffix(tail)?.strip_prefix(head)?;
        is_plain(id).then_some(id)
    }
}

/// True for the whole text of a JSON integer without sign, or of a string without escapes. Any of them
/// may take the place of another one.
fn is_plain(id: &str) -> bool {
    let plain = match id.as_bytes() {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        [b'"', inner @ .., b'"'] => inner
            .iter()
            .all(|&byte| byte >= b' ' && byte != b'"' && byte != b'\\'),
        _ => false,
    };
    plain && id.len() <= REQUEST_ID_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::{ParseCache, Target};
    use crate::config::limits::{PARSE_CACHE_BYTES_MAX, PARSE_CACHE_ENTRIES_MAX};
    use crate::rpc::jsonrpc::{Message, parse, parse_request};
    use crate::rpc::mcp::{Era, ToolCall, ToolsCall};

    fn keep(cache: &mut ParseCache, text: &str) {
        if let Some((id, call)) = parse_request::<ToolsCall, ToolCall<'_>>(text) {
            cache.keep_tool(text, &id, Era::Legacy, &call);
        } else if let Ok(Message::Request { id, call }) = parse(text) {
            cache.keep_method(text, &id, Era::Legacy, &call);
        }
    }

    /// What was found, against what reading the text anew gives.
    fn agrees(cache: &mut ParseCache, text: &str) -> bool {
        let Some(known) = cache.find(text) else {
            return false;
        };
        match known.target {
            Target::Tool(found) => {
                let (id, read) = parse_request::<ToolsCall, ToolCall<'_>>(text).expect(text);
                assert_eq!(known.id, id, "{text}");
                assert_eq!(format!("{found:?}"), format!("{read:?}"), "{text}");
            }
            Target::Method(found) => {
                let Ok(Message::Request { id, call }) = parse(text) else {
                    panic!("{text}")
                };
                assert_eq!(known.id, id, "{text}");
                assert_eq!(format!("{found:?}"), format!("{call:?}"), "{text}");
            }
        }
        true
    }

    /// Requests with `ID` where the id stands.
    const REQUESTS: [&str; 6] = [
        r#"{"jsonrpc":"2.0","id":ID,"method":"ping"}"#,
        r#"{ "method":"tools/list", "params":{"cursor":"7"} , "jsonrpc":"2.0", "id" : ID }"#,
        r#"{"jsonrpc":"2.0","id":ID,"method":"tools/call","params":{"name":"health_check","arguments":{}}}"#,
        r#"{"params":{"arguments":{"id":7},"name":"a","_meta":{"progressToken":7}},"id":ID,"method":"tools/call","jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","params":{"name":"a","requestState":"s"},"id":ID,"method":"tools/call"}"#,
        r#"{"id":ID,"jsonrpc":"2.0","method":"memory/get","params":{"id":"ID","name":"\u00e9é"}}"#,
    ];

    #[test]
    fn a_request_is_known_by_all_but_its_id() {
        let ids = [
            "0",
            "7",
            "42",
            "18446744073709551616",
            "\"a\"",
            "\"\"",
            "\"é-1\"",
        ];
        for request in REQUESTS {
            for kept in ids {
                let mut cache = ParseCache::default();
                let with = |id: &str| request.replacen("ID", id, 1);
                keep(&mut cache, &with(kept));
                for id in ids {
                    assert!(agrees(&mut cache, &with(id)), "{request} {kept} {id}");
                }
            }
        }
    }

    #[test]
    fn whatever_else_differs_is_read() {
        for request in REQUESTS {
            let text = request.replacen("ID", "17", 1);
            let mut cache = ParseCache::default();
            keep(&mut cache, &text);
            for at in 0..text.len() {
                for byte in [b' ', b'"', b'\\', b'0', b'9', b'{', b'}', b','] {
                    let mut other = text.clone().into_bytes();
                    other[at] = byte;
                    let Ok(changed) = String::from_utf8(other) else {
                        continue;
                    };
                    agrees(&mut cache, &changed);
                    other = text.clone().into_bytes();
                    other.insert(at, byte);
                    if let Ok(longer) = String::from_utf8(other) {
                        agrees(&mut cache, &longer);
                    }
                }
                if let (Some(head), Some(tail)) = (text.get(..at), text.get(at + 1..)) {
                    agrees(&mut cache, &format!("{head}{tail}"));
                    agrees(&mut cache, head);
                }
            }
        }
    }

    #[test]
    fn an_id_that_needs_a_second_look_is_not_known() {
        let mut cache = ParseCache::default();
        let with = |id: &str| REQUESTS[0].replacen("ID", id, 1);
        keep(&mut cache, &with("1"));
        let long = format!("\"{}\"", "a".repeat(256));
        for id in [
            "01",
            "-1",
            "1.5",
            "1e3",
            "null",
            "\"\\n\"",
            "\"",
            "\"a\",\"b\"",
            "",
            &long,
        ] {
            assert!(cache.find(&with(id)).is_none(), "{id}");
        }
    }

    #[test]
    fn requests_that_come_once_push_out_each_other() {
        let mut cache = ParseCache::default();
        let of =
            |name: usize, id: usize| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m{name}"}}"#);
        for name in 0..PARSE_CACHE_ENTRIES_MAX {
            keep(&mut cache, &of(name, 1));
        }
        for name in 100..1_000 {
            assert!(cache.find(&of(0, name)).is_some());
            assert!(cache.find(&of(name, 1)).is_none());
            keep(&mut cache, &of(name, 1));
        }
        assert_eq!(cache.entries.len(), PARSE_CACHE_ENTRIES_MAX);
        keep(
            &mut cache,
            &of(1, 1).replace("m1", &"m".repeat(PARSE_CACHE_BYTES_MAX)),
        );
        assert!(
            cache.find(&of(999, 7)).is_some(),
            "what is too long is not kept"
        );
    }
}
