//! Bounds of memories and queries, and the checks that need no I/O.

use crate::domain::{JsonObject, Timestamp, Violation};

/// Characters of one memory unless the configuration says otherwise: a few pages of text; longer
/// material is better found when it is stored in parts.
pub const CONTENT_CHARS_MAX: usize = 10_000;
/// Tags of one memory.
pub const TAGS_MAX: usize = 32;
/// Characters of one tag.
pub const TAG_CHARS_MAX: usize = 64;
/// Bytes of a memory's metadata: it travels with every hit of a search.
pub const METADATA_BYTES_MAX: usize = 16 * 1024;
/// Levels of nesting in a memory's metadata: a message may have 64 (`config::limits`), and a record
/// that is imported by a tool call in a batch lies seven levels down, with one to spare.
pub const METADATA_DEPTH_MAX: usize = 56;
/// Agents that one memory is shared with; each is looked at whenever the memory is indexed.
pub const GRANTS_MAX: usize = 1_000;
/// Characters of `source` and `type`.
pub const LABEL_CHARS_MAX: usize = 256;
/// Ids, agents or tags in one criterion.
pub const CRITERION_MAX: usize = 100;
/// Longest time to live: ten years; beyond that a memory simply has none.
pub const TTL_SECONDS_MAX: u64 = 10 * 366 * 86_400;
/// Characters of a search query.
pub const QUERY_CHARS_MAX: usize = 2_000;
/// Largest page of a search or a recall.
pub const PAGE_MAX: u32 = 100;
/// Default page of a search or a recall.
pub const PAGE_DEFAULT: u32 = 10;

pub(super) fn check_content(content: &str, chars_max: usize) -> Result<(), Violation> {
    if content.trim().is_empty() {
        return Err(Violation::new("content", "must not be empty"));
    }
    // A character has at least one byte, so short texts need no count.
    if content.len() > chars_max {
        let chars = content.chars().count();
        if chars > chars_max {
            return Err(Violation::new(
                "content",
                format!("exceeds {chars_max} characters, has {chars}"),
            ));
        }
    }
    Ok(())
}

pub(super) fn normalize_tags(tags: &mut Vec<String>) -> Result<(), Violation> {
    if tags.len() > TAGS_MAX {
        return Err(Violation::new(
            "tags",
            format!("at most {TAGS_MAX}, got {}", tags.len()),
        ));
    }
    for tag in tags.iter() {
        let chars = tag.chars().count();
        if tag.trim().is_empty() || chars > TAG_CHARS_MAX || tag.contains(char::is_control) {
            return Err(Violation::new(
                "tags",
                format!("each needs 1 to {TAG_CHARS_MAX} printable characters"),
            ));
        }
    }
    tags.sort_unstable();
    tags.dedup();
    Ok(())
}

pub(super) fn check_fraction(field: &'static str, value: f64) -> Result<(), Violation> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(Violation::new(
            field,
            format!("must lie between 0 and 1, is {value}"),
        ))
    }
}

pub(super) fn check_label(field: &'static str, label: Option<&str>) -> Result<(), Violation> {
    let Some(label) = label else { return Ok(()) };
    let chars = label.chars().count();
    if label.trim().is_empty() || chars > LABEL_CHARS_MAX || label.contains(char::is_control) {
        return Err(Violation::new(
            field,
            format!("needs 1 to {LABEL_CHARS_MAX} printable characters"),
        ));
    }
    Ok(())
}

pub(super) fn check_metadata(metadata: &JsonObject) -> Result<(), Violation> {
    let bytes = metadata.as_str().len();
    if bytes > METADATA_BYTES_MAX {
        return Err(Violation::new(
            "metadata",
            format!("exceeds {METADATA_BYTES_MAX} bytes, has {bytes}"),
        ));
    }
    let depth = metadata.depth();
    if depth > METADATA_DEPTH_MAX {
        return Err(Violation::new(
            "metadata",
            format!("nests deeper than {METADATA_DEPTH_MAX} levels, has {depth}"),
        ));
    }
    Ok(())
}

pub(super) fn check_ttl(ttl_seconds: Option<u64>) -> Result<(), Violation> {
    match ttl_seconds {
        Some(0) => Err(Violation::new("ttl", "must be at least 1 second")),
        Some(ttl) if ttl > TTL_SECONDS_MAX => Err(Violation::new(
            "ttl",
            format!("must be at most {TTL_SECONDS_MAX} seconds, is {ttl}"),
        )),
        _ => Ok(()),
    }
}

/// A validity that has both ends must not be empty.
pub fn check_validity(from: Option<Timestamp>, to: Option<Timestamp>) -> Result<(), Violation> {
    match (from, to) {
        (Some(from), Some(to)) if from >= to => {
            Err(Violation::new("valid_to", "must be later than valid_from"))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_limit(limit: u32) -> Result<(), Violation> {
    if (1..=PAGE_MAX).contains(&limit) {
        Ok(())
    } else {
        Err(Violation::new(
            "limit",
            format!("must lie between 1 and {PAGE_MAX}, is {limit}"),
        ))
    }
}

/// When a time to live that begins now ends.
pub fn expiry(now: Timestamp, ttl_seconds: u64) -> Result<Timestamp, Violation> {
    now.plus_seconds(ttl_seconds)
        .ok_or_else(|| Violation::new("ttl", "ends beyond the calendar"))
}
