//! A memory with everything that hangs on it, for export, import and backup.

use std::collections::HashSet;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{
    GRANTS_MAX, check_content, check_fraction, check_label, check_metadata, check_validity,
    normalize_tags,
};
use super::{Memory, Permission, Revision};
use crate::domain::Violation;
use crate::domain::agent::check_name;

/// Largest count or version: stores keep signed numbers of 64 bits.
const COUNT_MAX: u64 = i64::MAX as u64;

/// One line of an export: nothing of the memory is left out but its vectors, which are computed
/// anew from the text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The memory as it stands; its relevance is that of the latest read, before time lowered it,
    /// so that the same comes out whenever it is exported.
    pub memory: Memory,
    /// It was deleted and only its history remains.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// What made the present version, as in the history.
    pub change: String,
    /// Who made it.
    pub changed_by: Arc<str>,
    /// Who else may do what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// Versions before the present one, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<Revision>,
}

/// What one agent may do with a memory of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Namespace of the agent.
    pub namespace: Arc<str>,
    /// The agent.
    pub agent_id: Arc<str>,
    /// What it may do.
    pub permission: Permission,
}

/// What became of imported records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Imported {
    /// Stored.
    pub created: u64,
    /// Left alone, as a memory with this id is stored already or its time to live is over.
    pub skipped: u64,
}

impl Record {
    /// Checks every rule of a memory and of what hangs on it, and sorts tags: an imported memory
    /// is one that could have been written here.
    pub fn normalize(&mut self, content_chars_max: usize) -> Result<(), Violation> {
        let memory = &mut self.memory;
        check_name("namespace", &memory.namespace)?;
        check_name("agent_id", &memory.agent_id)?;
        check_content(&memory.content, content_chars_max)?;
        normalize_tags(&mut memory.tags)?;
        check_fraction("importance", memory.importance)?;
        check_fraction("trust", memory.trust)?;
        check_fraction("relevance", memory.relevance)?;
        check_label("type", memory.kind.as_deref())?;
        check_label("source", memory.source.as_deref())?;
        check_metadata(&memory.metadata)?;
        check_validity(memory.valid_from, memory.valid_to)?;
        if !(1..=COUNT_MAX).contains(&memory.version) {
            return Err(Violation::new("version", "must be at least 1"));
        }
        if memory.access_count > COUNT_MAX {
            let problem = format!("must be at most {COUNT_MAX}");
            return Err(Violation::new("access_count", problem));
        }
        check_label("change", Some(&self.change))?;
        check_name("changed_by", &self.changed_by)?;
        self.check_grants()?;
        self.normalize_revisions(content_chars_max)
    }

    fn check_grants(&self) -> Result<(), Violation> {
        if self.grants.len() > GRANTS_MAX {
            let problem = format!("at most {GRANTS_MAX}, got {}", self.grants.len());
            return Err(Violation::new("grants", problem));
        }
        let mut seen = HashSet::with_capacity(self.grants.len());
        for grant in &self.grants {
            let within = |violation: Violation| Violation::new("grants", violation.to_string());
            check_name("namespace", &grant.namespace).map_err(within)?;
            check_name("agent_id", &grant.agent_id).map_err(within)?;
            if !seen.insert((&grant.namespace, &grant.agent_id)) {
                let problem = format!("name {} of {} twice", grant.agent_id, grant.namespace);
                return Err(Violation::new("grants", problem));
            }
        }
        Ok(())
    }

    fn normalize_revisions(&mut self, content_chars_max: usize) -> Result<(), Violation> {
        let mut before = 0;
        for revision in &mut self.revisions {
            let version = revision.version;
            if version <= before || version >= self.memory.version {
                return Err(Violation::new(
                    "revisions",
                    format!(
                        "must rise to below version {}, found {version} after {before}",
                        self.memory.version
                    ),
                ));
            }
            before = version;
            normalize_revision(revision, content_chars_max).map_err(|violation| {
                Violation::new("revisions", format!("version {version}: {violation}"))
            })?;
        }
        Ok(())
    }
}

fn normalize_revision(revision: &mut Revision, content_chars_max: usize) -> Result<(), Violation> {
    check_content(&revision.content, content_chars_max)?;
    normalize_tags(&mut revision.tags)?;
    check_fraction("importance", revision.importance)?;
    check_label("change", Some(&revision.change))?;
    check_name("changed_by", &revision.changed_by)
}
