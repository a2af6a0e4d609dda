//! Where a page ended, as an opaque text.
//!
//! ```text
//! recall: base64url( 1 | order u8 | key i64 BE | nonce 8 bytes | masked seq i64 BE )
//! agents: base64url( 2 | id of the last agent )
//! export: base64url( 4 | seq i64 BE )
//! dead letters: base64url( 5 | id of the last letter, 16 bytes )
//! ```
//!
//! Searches have theirs in `ranking/cursor.rs`, which begins with 3.
//!
//! The row of a recall is masked with a key of the store: the numbers of two rows tell how many
//! memories all agents have stored in between. An export is the operator's, who may know.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::{Order, Violation};

const RECALL: u8 = 1;
const AGENTS: u8 = 2;
const EXPORT: u8 = 4;
const DEAD_LETTERS: u8 = 5;

/// The last memory of a page in the order of the recall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Importance as its bits, or the time of change; 0 where the order has no other key.
    pub(super) key: i64,
    pub(super) seq: i64,
}

/// The key by which a store masks rows. Random, and kept with the data: a cursor outlives a restart
/// and is good on every node.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct CursorKey(Vec<u8>);

impl CursorKey {
    /// The key that the store keeps.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Masks a row, or takes the mask off: a stream of SHA-256 over key and nonce.
    fn mask(&self, nonce: [u8; 8], seq: i64) -> i64 {
        let stream = Sha256::new()
            .chain_update(&self.0)
            .chain_update(nonce)
            .finalize();
        let (first, _) = stream.as_chunks::<8>();
        seq ^ i64::from_be_bytes(first[0])
    }
}

impl Position {
    pub(super) fn write(self, order: Order, key: &CursorKey) -> String {
        let random = Uuid::new_v4().into_bytes();
        let (halves, _) = random.as_chunks::<8>();
        let nonce = halves[0];
        let mut bytes = vec![RECALL, order_code(order)];
        bytes.extend(self.key.to_be_bytes());
        bytes.extend(nonce);
        bytes.extend(key.mask(nonce, self.seq).to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(super) fn parse(text: &str, order: Order, key: &CursorKey) -> Result<Self, Violation> {
        let bytes = decode(text)?;
        let [RECALL, code, rest @ ..] = &bytes[..] else {
            return Err(unknown());
        };
        let (&[sort, nonce, masked], []) = rest.as_chunks::<8>() else {
            return Err(unknown());
        };
        if *code != order_code(order) {
            return Err(Violation::new("cursor", "belongs to another order"));
        }
        Ok(Self {
            key: i64::from_be_bytes(sort),
            seq: key.mask(nonce, i64::from_be_bytes(masked)),
        })
    }
}

/// The cursor after the agent `id`.
pub(super) fn write_agent(id: &str) -> String {
    URL_SAFE_NO_PAD.encode([&[AGENTS], id.as_bytes()].concat())
}

/// The agent after which the page begins.
pub(super) fn parse_agent(text: &str) -> Result<String, Violation> {
    match &decode(text)?[..] {
        [AGENTS, id @ ..] => String::from_utf8(id.to_vec()).map_err(|_| unknown()),
        _ => Err(unknown()),
    }
}

/// The cursor of an export after the memory in row `seq`.
pub(super) fn write_export(seq: i64) -> String {
    let mut bytes = vec![EXPORT];
    bytes.extend(seq.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The row after which the page of an export begins.
pub(super) fn parse_export(text: &str) -> Result<i64, Violation> {
    match &decode(text)?[..] {
        [EXPORT, seq @ ..] => {
            let seq = <[u8; 8]>::try_from(seq).map_err(|_| unknown())?;
            Ok(i64::from_be_bytes(seq))
        }
        _ => Err(unknown()),
    }
}

/// The cursor after the dead letter `id`, which its owner knows: nothing is to be masked.
pub(super) fn write_dead_letter(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode([&[DEAD_LETTERS], &id.as_bytes()[..]].concat())
}

/// The dead letter after which the page begins.
pub(super) fn parse_dead_letter(text: &str) -> Result<Uuid, Violation> {
    match &decode(text)?[..] {
        [DEAD_LETTERS, id @ ..] => Uuid::from_slice(id).map_err(|_| unknown()),
        _ => Err(unknown()),
    }
}

fn decode(text: &str) -> Result<Vec<u8>, Violation> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| unknown())
}

fn unknown() -> Violation {
    Violation::new("cursor", "was not given out by this listing")
}

fn order_code(order: Order) -> u8 {
    match order {
        Order::Newest => 0,
        Order::Oldest => 1,
        Order::Importance => 2,
        Order::Updated => 3,
    }
}
