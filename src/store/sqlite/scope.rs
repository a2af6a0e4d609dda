//! Who may see a memory, as tokens in the full-text index.
//!
//! A search intersects its words with the viewer's tokens inside FTS5, so that it never walks
//! through other people's matches. The tokens only narrow down: two names may share a token, and
//! the rows themselves are checked in SQL afterwards.
//!
//! | token | memory carries it | viewer looks for it |
//! |---|---|---|
//! | `o` + agent | always | own agent |
//! | `n` + namespace | level team | own namespace |
//! | `p1` | levels public, system | always |
//! | `g` + agent | for each grant unless private | own agent |
//!
//! The tokens of a superseded memory begin with `z`; only a search in the past looks for those.

use sha1::{Digest, Sha1};

use crate::domain::{Access, AgentKey};

const OPEN: &str = "p1";
const SUPERSEDED: &str = "z";

/// The tokens of a memory, spaced.
pub(super) fn of_memory(
    owner: &AgentKey,
    access: Access,
    grantees: &[AgentKey],
    superseded: bool,
) -> String {
    let mut tokens = vec![agent_token('o', owner)];
    match access {
        Access::Team => tokens.push(namespace_token(&owner.namespace)),
        Access::Public | Access::System => tokens.push(OPEN.into()),
        Access::Private | Access::Shared => {}
    }
    if access != Access::Private {
        tokens.extend(grantees.iter().map(|key| agent_token('g', key)));
    }
    let mark = if superseded { SUPERSEDED } else { "" };
    let marked: Vec<_> = tokens
        .iter()
        .map(|token| format!("{mark}{token}"))
        .collect();
    marked.join(" ")
}

/// The condition on the column `scope` that admits what `viewer` may see, or only what it owns.
pub(super) fn of_viewer(viewer: &AgentKey, owned_only: bool, with_superseded: bool) -> String {
    let mut tokens = vec![agent_token('o', viewer)];
    if !owned_only {
        tokens.push(namespace_token(&viewer.namespace));
        tokens.push(OPEN.into());
        tokens.push(agent_token('g', viewer));
    }
    if with_superseded {
        let marked: Vec<_> = tokens
            .iter()
            .map(|token| format!("{SUPERSEDED}{token}"))
            .collect();
        tokens.extend(marked);
    }
    format!("scope : ({})", tokens.join(" OR "))
}

fn namespace_token(namespace: &str) -> String {
    format!("n{}", digits(&[namespace]))
}

fn agent_token(kind: char, key: &AgentKey) -> String {
    format!("{kind}{}", digits(&[&key.namespace, &key.agent]))
}

/// 64 bits of a hash in decimal: the stemmer leaves a token alone that ends in a digit.
fn digits(names: &[&str]) -> u64 {
    let mut hash = Sha1::new();
    for name in names {
        hash.update(name.as_bytes());
        // No name holds a NUL, so (a, bc) and (ab, c) differ.
        hash.update([0]);
    }
    let digest = hash.finalize();
    digest
        .iter()
        .take(8)
        .fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}
