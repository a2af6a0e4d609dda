//! Filters and visibility as SQL.
//!
//! Invariant: every statement over many memories takes its condition from here; a value reaches
//! SQLite only as a bound parameter.

use rusqlite::types::Value;

use super::rows::list_item;
use crate::domain::{AgentKey, Filter, Timestamp};

/// A statement in the making: numbered parameters, so that a condition can stand in it repeatedly.
#[derive(Debug, Default)]
pub(super) struct Criteria {
    pub(super) values: Vec<Value>,
    conditions: Vec<String>,
}

impl Criteria {
    /// What `filter` admits at `now`, without regard to who asks.
    pub(super) fn of_filter(filter: &Filter, now: Timestamp) -> Self {
        let mut criteria = Self::default();
        criteria.add_presence(filter.as_of, now);
        if !filter.ids.is_empty() {
            let places: Vec<_> = filter
                .ids
                .iter()
                .map(|id| criteria.bind(id.as_bytes().to_vec()))
                .collect();
            criteria.require(format!("m.id IN ({})", places.join(", ")));
        }
        for tag in &filter.tags {
            let place = criteria.bind(list_item(tag));
            criteria.require(format!("instr(m.tags, {place}) > 0"));
        }
        if let Some(kind) = &filter.kind {
            criteria.compare("m.kind =", kind.clone());
        }
        if let Some(agent) = &filter.agent {
            criteria.compare("m.agent =", agent.clone());
        }
        if let Some(source) = &filter.source {
            criteria.compare("m.source =", source.clone());
        }
        if let Some(trust) = filter.trust_min {
            criteria.compare("m.trust >=", trust);
        }
        if let Some(importance) = filter.importance_min {
            criteria.compare("m.importance >=", importance);
        }
        if let Some(from) = filter.created_from {
            criteria.compare("m.created_at >=", from.as_micros());
        }
        if let Some(to) = filter.created_to {
            criteria.compare("m.created_at <", to.as_micros());
        }
        criteria
    }

    /// Neither deleted nor expired, and valid and not superseded at the time asked about. What
    /// names no start was valid from when it was stored.
    fn add_presence(&mut self, as_of: Option<Timestamp>, now: Timestamp) {
        self.require("m.deleted_at IS NULL".into());
        let now = self.bind(now.as_micros());
        self.require(format!("(m.expires_at IS NULL OR m.expires_at > {now})"));
        let at = match as_of {
            None => {
                self.require("m.superseded_by IS NULL".into());
                self.require(format!("(m.valid_from IS NULL OR m.valid_from <= {now})"));
                now
            }
            Some(time) => {
                let at = self.bind(time.as_micros());
                self.require(format!(
                    "(m.superseded_at IS NULL OR m.superseded_at > {at})"
                ));
                self.require(format!("coalesce(m.valid_from, m.created_at) <= {at}"));
                at
            }
        };
        self.require(format!("(m.valid_to IS NULL OR m.valid_to > {at})"));
    }

    /// Binds a value and returns its place in the statement.
    pub(super) fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    /// Adds a condition on `m`.
    pub(super) fn require(&mut self, condition: String) {
        self.conditions.push(condition);
    }

    fn compare(&mut self, left: &str, value: impl Into<Value>) {
        let place = self.bind(value);
        self.require(format!("{left} {place}"));
    }

    /// All conditions joined.
    pub(super) fn condition(&self) -> String {
        self.conditions.join(" AND ")
    }

    /// The places of the viewer's namespace and agent.
    fn viewer(&mut self, viewer: &AgentKey) -> (String, String) {
        (
            self.bind(viewer.namespace.to_string()),
            self.bind(viewer.agent.to_string()),
        )
    }

    /// The condition that `viewer` may read row `m`, or owns it.
    pub(super) fn visible(&mut self, viewer: &AgentKey, owned_only: bool) -> String {
        let (namespace, agent) = self.viewer(viewer);
        let owned = format!("(m.namespace = {namespace} AND m.agent = {agent})");
        if owned_only {
            return owned;
        }
        format!(
            "({owned} OR m.access IN ('public', 'system')
             OR (m.access = 'team' AND m.namespace = {namespace})
             OR (m.access <> 'private' AND EXISTS (SELECT 1 FROM memory_grant g
                 WHERE g.memory = m.seq AND g.namespace = {namespace} AND g.agent = {agent})))"
        )
    }

    /// The same as disjoint sources, each a `FROM ... WHERE ...` that an index serves: the owned
    /// ones first, then the team's, the open ones and the granted ones. All of them leave out
    /// what is deleted.
    pub(super) fn visible_sources(&mut self, viewer: &AgentKey, owned_only: bool) -> Vec<String> {
        let (namespace, agent) = self.viewer(viewer);
        let owned = format!(
            "FROM memory m INDEXED BY memory_owner
             WHERE m.namespace = {namespace} AND m.agent = {agent} AND m.deleted_at IS NULL"
        );
        if owned_only {
            return vec![owned];
        }
        let foreign = format!("NOT (m.namespace = {namespace} AND m.agent = {agent})");
        vec![
            owned,
            format!(
                "FROM memory m INDEXED BY memory_team
                 WHERE m.namespace = {namespace} AND m.access = 'team' AND m.agent <> {agent}
                   AND m.deleted_at IS NULL"
            ),
            format!(
                "FROM memory m INDEXED BY memory_open
                 WHERE m.access = 'public' AND m.access IN ('public', 'system') AND {foreign} AND m.deleted_at IS NULL"
            ),
            format!(
                "FROM memory m INDEXED BY memory_open
                 WHERE m.access = 'system' AND m.access IN ('public', 'system') AND {foreign} AND m.deleted_at IS NULL"
            ),
            format!(
                "FROM memory_grant g INDEXED BY memory_grant_receiver
                 CROSS JOIN memory m ON m.seq = g.memory
                 WHERE g.namespace = {namespace} AND g.agent = {agent} AND m.deleted_at IS NULL
                   AND (m.access = 'shared'
                        OR (m.access = 'team' AND m.namespace <> {namespace})) AND {foreign}"
            ),
        ]
    }
}
