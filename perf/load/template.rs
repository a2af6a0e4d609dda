//! Requests as text in which little changes from one to the next. All numbers have ten digits, so all
//! requests of a template have one size.

use crate::jsonrpc::{DIGITS, number};

/// Where the id of the request goes, as often as wanted.
const ID: &str = "$ID";
/// Where the number goes that differs in every request.
const NUMBER: &str = "$NUMBER";

/// A text with room for numbers.
pub(crate) struct Template {
    bytes: Vec<u8>,
    ids: Vec<usize>,
    numbers: Vec<usize>,
}

impl Template {
    /// `text` has `$ID` and `$NUMBER` where those go.
    pub(crate) fn new(text: &str) -> Self {
        let (mut bytes, mut ids, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, from) = rest.split_at(at);
            bytes.extend_from_slice(before.as_bytes());
            if let Some(after) = from.strip_prefix(ID) {
                ids.push(bytes.len());
                bytes.extend([b'0'; DIGITS]);
                rest = after;
            } else if let Some(after) = from.strip_prefix(NUMBER) {
                numbers.push(bytes.len());
                bytes.extend([b'0'; DIGITS]);
                rest = after;
            } else {
                bytes.push(b'$');
                rest = &from[1..];
            }
        }
        bytes.extend_from_slice(rest.as_bytes());
        Self {
            bytes,
            ids,
            numbers,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn has_id(&self) -> bool {
        !self.ids.is_empty()
    }

    pub(crate) fn has_number(&self) -> bool {
        !self.numbers.is_empty()
    }

    /// The text with this id and this number, of ten digits each.
    pub(crate) fn with(&mut self, id: u64, number: u64) -> &[u8] {
        put(&mut self.bytes, &self.ids, id);
        put(&mut self.bytes, &self.numbers, number);
        &self.bytes
    }

    /// The id of an answer that repeats the text, if it does; the text has one id and no number.
    pub(crate) fn id_of_echo(&self, answer: &[u8]) -> Option<u64> {
        let start = *self.ids.first()?;
        let end = start + DIGITS;
        let same = answer.len() == self.bytes.len()
            && answer[..start] == self.bytes[..start]
            && answer[end..] == self.bytes[end..];
        if !same {
            return None;
        }
        number(&answer[start..end])
    }
}

/// Writes a number to all its places.
fn put(bytes: &mut [u8], places: &[usize], number: u64) {
    let Some((&first, others)) = places.split_first() else {
        return;
    };
    let mut rest = number;
    for digit in bytes[first..first + DIGITS].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    for &place in others {
        bytes.copy_within(first..first + DIGITS, place);
    }
}
