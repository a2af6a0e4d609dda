//! permessage-deflate (RFC 7692): negotiating it; `compress` and `inflate` do it.
//!
//! Neither side takes its context over: both are told so in every answer. A compressor then belongs to a
//! message and not to a connection, which is what keeps 10,000 idle connections small.

use std::fmt;

mod compress;
mod endings;
mod inflate;

pub use compress::{Deflater, finish, write};
pub(super) use endings::Endings;
pub(super) use inflate::{Inflater, LentInflater};

/// The windows that zlib can compress with; the raw format of 8 bits is beyond it.
const WINDOW_BITS: std::ops::RangeInclusive<u8> = 9..=15;

/// What the server is willing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// zlib level, 1 to 9.
    pub level: u8,
    /// The largest window that answers are compressed with, as the power of two, 9 to 15. Small windows
    /// cost the client little memory and a short message nothing.
    pub server_window_bits: u8,
    /// Shorter messages are sent as they are.
    pub threshold_bytes: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            level: 6,
            server_window_bits: 10,
            threshold_bytes: 1024,
        }
    }
}

/// What was agreed for one connection; displayed, it is the answer's `Sec-WebSocket-Extensions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// zlib level; the peer need not know it.
    pub level: u8,
    /// The window that answers are compressed with, 9 to 15.
    pub server_window_bits: u8,
    /// Shorter messages are sent as they are.
    pub threshold_bytes: u32,
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // RFC 7692, 7.1.1.2 and 7.1.2.1 let a server ask for these even when the offer was silent about them.
        f.write_str("permessage-deflate; server_no_context_takeover; client_no_context_takeover")?;
        if self.server_window_bits < *WINDOW_BITS.end() {
            write!(f, "; server_max_window_bits={}", self.server_window_bits)?;
        }
        Ok(())
    }
}

/// Takes the first offer that can be met; `values` are those of every `Sec-WebSocket-Extensions` field.
///
/// An offer with an unknown, repeated or malformed parameter is declined and the next one tried
/// (RFC 7692, 7.1). What the client says of its own window needs no answer: every window can be inflated.
pub fn negotiate<'a>(config: &Config, values: impl Iterator<Item = &'a [u8]>) -> Option<Params> {
    values
        .filter_map(|value| std::str::from_utf8(value).ok())
        .flat_map(|value| split_unquoted(value, ','))
        .find_map(|offer| accept(config, offer))
}

fn accept(config: &Config, offer: &str) -> Option<Params> {
    let mut parts = split_unquoted(offer, ';').map(trim);
    if !parts.next()?.eq_ignore_ascii_case("permessage-deflate") {
        return None;
    }
    let mut seen = [false; PARAMETERS.len()];
    let mut server_window_bits = config
        .server_window_bits
        .clamp(*WINDOW_BITS.start(), *WINDOW_BITS.end());
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (trim(name), Some(unquote(trim(value))?)),
            None => (part, None),
        };
        let parameter = PARAMETERS
            .iter()
            .position(|known| name.eq_ignore_ascii_case(known))?;
        if std::mem::replace(&mut seen[parameter], true) {
            return None;
        }
        match (parameter, value) {
            (
                SERVER_NO_CONTEXT_TAKEOVER | CLIENT_NO_CONTEXT_TAKEOVER | CLIENT_MAX_WINDOW_BITS,
                None,
            ) => {}
            (CLIENT_MAX_WINDOW_BITS, Some(bits)) => {
                window_bits(bits)?;
            }
            (SERVER_MAX_WINDOW_BITS, Some(bits)) => {
                server_window_bits = server_window_bits.min(window_bits(bits)?);
            }
            _ => return None,
        }
    }
    WINDOW_BITS.contains(&server_window_bits).then_some(Params {
        level: config.level.clamp(1, 9),
        server_window_bits,
        threshold_bytes: config.threshold_bytes,
    })
}

const PARAMETERS: [&str; 4] = [
    "server_no_context_takeover",
    "client_no_context_takeover",
    "server_max_window_bits",
    "client_max_window_bits",
];
const SERVER_NO_CONTEXT_TAKEOVER: usize = 0;
const CLIENT_NO_CONTEXT_TAKEOVER: usize = 1;
const SERVER_MAX_WINDOW_BITS: usize = 2;
const CLIENT_MAX_WINDOW_BITS: usize = 3;

/// RFC 7692, 7.1.2: 8 to 15 without a leading zero.
fn window_bits(value: &str) -> Option<u8> {
    let bits = match value.as_bytes() {
        [digit @ b'8'..=b'9'] => digit - b'0',
        [b'1', digit @ b'0'..=b'5'] => 10 + digit - b'0',
        _ => return None,
    };
    Some(bits)
}

/// The inside of a quoted string. A value we know has nothing to escape, so an escape makes it unknown.
fn unquote(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(rest) => rest
            .strip_suffix('"')
            .filter(|inside| !inside.contains(['"', '\\'])),
        None => Some(value).filter(|value| !value.contains('"')),
    }
}

fn trim(part: &str) -> &str {
    part.trim_matches([' ', '\t'])
}

/// The parts between separators that stand outside of quoted strings.
fn split_unquoted(value: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    value.split(move |character| {
        let escape = quoted && !escaped && character == '\\';
        if character == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = escape;
        character == separator && !quoted
    })
}

#[cfg(test)]
mod tests;
