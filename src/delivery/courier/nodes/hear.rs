//! What a node does with what it hears of others.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use uuid::Uuid;

use super::super::directory::{Home, Taken};
use super::super::letters::Letter;
use super::abroad::Abroad;
use super::link::Link;
use super::peers::{Heard, Peer};
use super::wire::{self, Agent, Changed, Offered, Saying};
use crate::config::limits::BUS_ITEMS_MAX;
use crate::delivery::Change;
use crate::delivery::queue::{Entry, Parcel};
use crate::domain::{Priority, Timestamp};

/// What goes with every delivery of one message.
struct Common {
    parcel: Arc<Parcel>,
    priority: Priority,
    expires_at: Timestamp,
    is_forwarded: bool,
}

impl Link {
    pub(super) fn hear(&mut self, message: &Bytes) {
        let Some((head, texts)) = wire::read(message) else {
            tracing::warn!(
                "a node of another version speaks on the bus; its sessions are not known"
            );
            return;
        };
        let now = Instant::now();
        if head.from == self.node {
            self.heard_self = now;
            if let Saying::Echo = head.saying {
                self.hear_echo(head.number);
            }
            return;
        }
        let from = head.from;
        if let Saying::Goodbye = head.saying {
            return self.lose_node(from);
        }
        if !self.peers.contains_key(&from) {
            self.lost.remove(&from);
            self.peers.insert(from, Peer::new(now));
            if let Some(abroad) = self.abroad() {
                abroad.set_heard(from, true);
            }
        }
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        peer.hear(now);
        match head.saying {
            Saying::Hello { missed } => {
                peer.doubt(now);
                self.say_to(from, Saying::Tell, &[]);
                self.tell_all(from);
                if missed {
                    self.catch_up(false);
                }
            }
            Saying::Goodbye | Saying::Echo => {}
            saying @ (Saying::Beat { .. }
            | Saying::Sessions(_)
            | Saying::Presence(_)
            | Saying::CatchUp
            | Saying::Changes(_)) => {
                let heard = peer.told(head.number, now);
                if let Saying::Beat { sent } = &saying {
                    self.check(from, sent);
                }
                match heard {
                    Heard::Next => self.take_up(from, saying),
                    Heard::Before | Heard::Gap(false) => {}
                    Heard::Gap(true) => self.say_to(from, Saying::Tell, &[]),
                }
            }
            saying => {
                if !peer.directly(head.number) {
                    self.catch_up(false);
                }
                self.take_letter(from, saying, &texts);
            }
        }
    }

    /// Was everything heard that a node has sent here?
    fn check(&mut self, from: Uuid, sent: &[(Uuid, u64, u64)]) {
        let own = sent.iter().find(|(node, ..)| *node == self.node);
        let (Some((_, number, volatile)), Some(peer)) = (own, self.peers.get_mut(&from)) else {
            return;
        };
        let (is_all, is_sent) = (peer.has_said(*number), peer.has_sent(*volatile));
        if !is_all || !is_sent {
            self.catch_up(!is_sent);
        }
    }

    /// Takes what was said to all.
    fn take_up(&mut self, from: Uuid, saying: Saying) {
        match saying {
            Saying::Sessions(notes) => {
                for note in notes {
                    let session = note.session;
                    let taken = self.post.directory.lock().take_note(from, note);
                    self.noted(from, session, taken);
                }
            }
            Saying::CatchUp => self.catch_up(false),
            Saying::Presence(notes) => {
                for (agent, is_there, status) in notes {
                    let agent = agent.into();
                    self.registry.note_elsewhere(from, agent, is_there, status);
                }
            }
            Saying::Changes(changes) => {
                for changed in changes {
                    self.changes.publish_here(&changed.into());
                }
            }
            _ => {}
        }
    }

    /// Sees to messages that were sent before it was known where the session is.
    fn noted(&mut self, node: Uuid, session: Uuid, taken: Taken) {
        match taken {
            Taken::Known => {}
            Taken::Disputed => self.pass(session, Letter::Disputed(session)),
            Taken::Moved => self.say_to(node, Saying::Ring(session), &[]),
            Taken::Absent(agent) => {
                // What waits there a session here may deliver.
                let here = self.post.directory.lock().here(&[agent]);
                for (session, shard) in here {
                    self.post.leave(shard, Letter::News(session));
                }
            }
            Taken::Here(agent) => {
                if self.abroad().is_some_and(|abroad| abroad.has_noted(&agent)) {
                    self.say_to(node, Saying::Ring(session), &[]);
                }
            }
        }
    }

    /// Tells a node everything of the sessions here.
    fn tell_all(&mut self, node: Uuid) {
        let mut sessions = self.post.directory.lock().all_notes();
        let present = self.registry.agents_here().into_iter();
        let mut present: Vec<_> = present
            .map(|(agent, status)| (Agent::from(&agent), status))
            .collect();
        loop {
            let rest = sessions.split_off(sessions.len().min(BUS_ITEMS_MAX));
            let later = present.split_off(present.len().min(BUS_ITEMS_MAX));
            let is_last = rest.is_empty() && later.is_empty();
            let saying = Saying::All {
                number: self.told,
                sessions: std::mem::replace(&mut sessions, rest),
                present: std::mem::replace(&mut present, later),
                is_last,
            };
            self.say_to(node, saying, &[]);
            if is_last {
                return;
            }
        }
    }

    /// Takes what was said to this node.
    fn take_letter(&mut self, from: Uuid, saying: Saying, texts: &[Bytes]) {
        match saying {
            Saying::Tell => self.tell_all(from),
            Saying::All {
                number,
                sessions,
                present,
                is_last,
            } => {
                let Some(peer) = self.peers.get_mut(&from) else {
                    return;
                };
                peer.sessions.extend(sessions);
                peer.present.extend(present);
                if is_last {
                    peer.knows_all(number);
                    self.know_all(from);
                }
            }
            Saying::Offers {
                id,
                priority,
                expires_at,
                to,
                is_forwarded,
            } => {
                let volatile = to.iter().filter(|offered| offered.key.is_none()).count();
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.volatile += volatile as u64;
                }
                let text = texts.first().map_or(&[][..], |text| text);
                let common = Common {
                    parcel: Arc::new(Parcel {
                        id,
                        text: text.into(),
                    }),
                    priority,
                    expires_at,
                    is_forwarded,
                };
                for offered in to {
                    self.offer(from, &common, offered);
                }
            }
            Saying::News(session) => self.pass(session, Letter::News(session)),
            Saying::Ring(session) => self.pass(session, Letter::Ring(session)),
            Saying::Withdraw { session, keys } => {
                self.pass(session, Letter::Withdraw { session, keys });
            }
            Saying::Release {
                request,
                session,
                agent,
            } => {
                let letter = Letter::Release {
                    request,
                    node: from,
                    session,
                    agent: agent.into(),
                };
                let entrance = self.post.directory.lock().entrance(session);
                match entrance {
                    Some(shard) => self.post.leave(shard, letter),
                    None => {
                        let saying = Saying::Released {
                            request,
                            session,
                            handed: None,
                        };
                        self.say_to(from, saying, &[]);
                    }
                }
            }
            Saying::Released {
                request,
                session,
                handed,
            } => {
                let parcels = |handed: &wire::Handed| {
                    let named = handed.in_memory.iter().zip(texts);
                    named
                        .map(|(message, text)| {
                            Arc::new(Parcel {
                                id: message.id,
                                text: text[..].into(),
                            })
                        })
                        .collect()
                };
                let handed = handed.map(|handed| {
                    let parcels = parcels(&handed);
                    (handed, parcels)
                });
                let was_handed = handed.is_some();
                let is_late = |abroad: &Abroad| !abroad.answer(request, handed);
                if self.abroad().is_some_and(is_late) && was_handed {
                    // It was taken from the store, and that node has gone on with it for a while.
                    self.pass(session, Letter::Ring(session));
                }
            }
            _ => {}
        }
    }

    /// Takes over everything that a node has told of its sessions.
    fn know_all(&mut self, from: Uuid) {
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        let (sessions, present) = (
            std::mem::take(&mut peer.sessions),
            std::mem::take(&mut peer.present),
        );
        let mut changed = Vec::new();
        {
            // At once: in between, its agents would seem to be gone.
            let mut directory = self.post.directory.lock();
            directory.forget(from);
            for note in sessions {
                let session = note.session;
                changed.push((session, directory.take_note(from, note)));
            }
        }
        for (session, taken) in changed {
            self.noted(from, session, taken);
        }
        let present = present.into_iter();
        let present = present
            .map(|(agent, status)| (agent.into(), status))
            .collect();
        self.registry.set_elsewhere(from, present);
        // Whoever tells everything was not heard before: its changes may have been missed, too.
        self.changes.publish_here(&Change::Memories);
    }

    fn offer(&mut self, from: Uuid, common: &Common, offered: Offered) {
        let Offered {
            session,
            agent,
            key,
            begun,
        } = offered;
        let (entrance, home) = {
            let directory = self.post.directory.lock();
            (directory.entrance(session), directory.home(session))
        };
        let parcel = Arc::clone(&common.parcel);
        let (priority, expires_at) = (common.priority, common.expires_at);
        let entry = match key {
            Some(key) => Entry::stored(key, begun, parcel, priority, expires_at),
            None => Entry::volatile(parcel, priority, expires_at),
        };
        match (entrance, key, home) {
            (Some(shard), ..) => {
                let letter = Letter::Offer {
                    session,
                    agent: agent.into(),
                    entry,
                    from: Some(from),
                };
                self.post.leave(shard, letter);
            }
            // Whoever has the queue is found in the store.
            (None, Some(_), _) => {
                let agent = agent.into();
                self.post.leave(0, Letter::Stray { session, agent });
            }
            (None, None, Some(Home::Node(node))) if !common.is_forwarded && node != from => {
                let saying = Saying::Offers {
                    id: common.parcel.id,
                    priority,
                    expires_at,
                    to: vec![Offered {
                        session,
                        agent,
                        key,
                        begun,
                    }],
                    is_forwarded: true,
                };
                self.say_to(node, saying, &[Arc::clone(&common.parcel)]);
            }
            // The session has ended, and what is in memory only ends with it.
            (None, None, _) => {}
        }
    }

    /// To the shard of a session, if it is here.
    fn pass(&self, session: Uuid, letter: Letter) {
        let entrance = self.post.directory.lock().entrance(session);
        if let Some(shard) = entrance {
            self.post.leave(shard, letter);
        }
    }
}

impl From<Changed> for Change {
    fn from(changed: Changed) -> Self {
        match changed {
            Changed::Memory {
                namespace,
                id,
                happened,
            } => Self::Memory {
                namespace,
                id,
                happened,
            },
            Changed::Memories => Self::Memories,
            Changed::Agent(agent) => Self::Agent(agent.into()),
            Changed::McpTask { owner, id } => Self::McpTask {
                owner: owner.into(),
                id,
            },
        }
    }
}
