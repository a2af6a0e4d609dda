//! Who receives a message.

use std::collections::{BTreeMap, HashSet};

use uuid::Uuid;

use super::Courier;
use super::directory::{Home, Listed};
use super::send::{Sending, Target};
use crate::domain::{AgentKey, Destination};

/// The sessions of one agent that get a copy; its inbox does if there are none.
pub(super) type Recipient = (AgentKey, Vec<Listed>);

impl Courier {
    /// The agents that are to receive a message, with their sessions, each once. `present` are those
    /// of the namespace that are here by other wires.
    pub(super) fn recipients(&self, sending: &Sending, present: Vec<AgentKey>) -> Vec<Recipient> {
        let directory = self.post.directory.lock();
        let mut recipients: Vec<Recipient> = match &sending.to {
            Target::Agent(agent) => vec![(agent.clone(), directory.of_agent(agent))],
            Target::Namespace(namespace) => {
                with_present(directory.of_namespace(namespace), present)
            }
            Target::Topic(namespace, topic) => {
                let mut by_agent = BTreeMap::<AgentKey, Vec<Listed>>::new();
                for (agent, listed) in directory.subscribers(namespace, topic) {
                    by_agent.entry(agent).or_default().push(listed);
                }
                by_agent.into_iter().collect()
            }
        };
        let exclude: HashSet<&AgentKey> = sending.exclude.iter().collect();
        let to_many = !matches!(sending.to, Target::Agent(_));
        let is_sender = |agent: &AgentKey| to_many && *agent == sending.message.sender;
        recipients.retain(|(agent, _)| !exclude.contains(agent) && !is_sender(agent));
        recipients
    }
}

/// Where a message goes.
pub(super) fn destinations(recipients: Vec<Recipient>) -> Vec<Destination> {
    let mut to = Vec::with_capacity(recipients.len());
    for (agent, sessions) in recipients {
        if sessions.is_empty() {
            to.push(Destination {
                agent: agent.clone(),
                session: None,
                node: None,
                begun: false,
            });
        }
        for listed in sessions {
            to.push(Destination {
                agent: agent.clone(),
                session: Some(listed.session),
                node: match listed.home {
                    Home::Node(node) => Some(node),
                    Home::Shard(_) => None,
                },
                begun: listed.connected,
            });
        }
    }
    to
}

/// Adds agents that are here without a session that takes deliveries; `listed` are in the order of their
/// names, as the answer is.
fn with_present(mut listed: Vec<Recipient>, present: Vec<AgentKey>) -> Vec<Recipient> {
    let is_listed = |agent: &AgentKey| {
        let found = listed.binary_search_by(|(other, _)| other.cmp(agent));
        found.is_ok()
    };
    let mut others: Vec<AgentKey> = present;
    others.retain(|agent| !is_listed(agent));
    if !others.is_empty() {
        others.sort_unstable();
        others.dedup();
        listed.extend(others.into_iter().map(|agent| (agent, Vec::new())));
        listed.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    }
    listed
}

/// The other nodes whose sessions are among the recipients.
pub(super) fn nodes_of(recipients: &[Recipient]) -> Vec<Uuid> {
    let homes = recipients.iter().flat_map(|(_, sessions)| sessions);
    let nodes = homes.filter_map(|listed| match listed.home {
        Home::Node(node) => Some(node),
        Home::Shard(_) => None,
    });
    let mut nodes: Vec<Uuid> = nodes.collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}
