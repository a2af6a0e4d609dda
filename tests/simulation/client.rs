//! Clients: they connect, come back, answer or do not, and make every mistake that is allowed.

use std::collections::HashSet;

use uuid::Uuid;

use super::server::{Down, Up};
use super::world::{Event, World};

pub(crate) struct Client {
    pub(crate) agent: usize,
    pub(crate) connection: Option<u64>,
    /// The session and epoch it knows, and the latest place it has received in it.
    pub(crate) position: Option<(Uuid, u64, u64)>,
    /// What the client has of its session, by message.
    got: HashSet<Uuid>,
}

/// An answer that a client gives some time after a delivery.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task {
    epoch: u64,
    seq: u64,
    delivery: u32,
}

impl Client {
    pub(crate) fn new(agent: usize) -> Self {
        Self {
            agent,
            connection: None,
            position: None,
            got: HashSet::new(),
        }
    }
}

impl World {
    /// What a client does by itself, now and then.
    pub(crate) fn client_step(&mut self, client: usize) {
        let quiet = self.quiet;
        match self.clients[client].connection {
            None => self.connect(client),
            Some(connection) if !quiet => match self.chance.below(100) {
                0..=19 => self.break_connection(connection),
                20..=27 => {
                    if let Some((_, _, last_seq)) = self.clients[client].position {
                        self.up(connection, Up::AckUpTo(last_seq));
                    }
                }
                _ => {}
            },
            Some(_) => {}
        }
        let pause = if quiet {
            500
        } else {
            200 + self.chance.below(8_000)
        };
        self.events_at(pause, Event::ClientStep(client));
    }

    fn connect(&mut self, client: usize) {
        if !self.is_up {
            return;
        }
        let connection = self.new_connection(client);
        let agent = self.clients[client].agent;
        let fresh = !self.quiet && self.chance.percent(15);
        let other = (client + 1) % self.clients.len();
        if fresh {
            self.clients[client].position = None;
        } else if !self.quiet && self.clients[other].agent == agent && self.chance.percent(20) {
            // A second login: the session of the other client goes on here.
            let (position, got) = (
                self.clients[other].position,
                self.clients[other].got.clone(),
            );
            (self.clients[client].position, self.clients[client].got) = (position, got);
        }
        let resume = self.clients[client].position;
        self.clients[client].connection = Some(connection);
        self.up(connection, Up::Hello { agent, resume });
    }

    /// A message reaches a client.
    pub(crate) fn client_receives(&mut self, connection: u64, down: Down) {
        let client = self.client_of(connection);
        if self.clients[client].connection != Some(connection) {
            return;
        }
        match down {
            Down::Welcome {
                session,
                epoch,
                recovered,
            } => {
                let before = self.clients[client].position;
                let goes_on = before.is_some_and(|(known, at, _)| (known, at) == (session, epoch));
                if !goes_on {
                    self.clients[client].position = Some((session, epoch, 0));
                }
                self.check_welcome(recovered, goes_on);
            }
            Down::Delivery {
                epoch,
                seq,
                delivery,
                parcel,
            } => {
                let agent = self.clients[client].agent;
                self.check_receiver(agent, parcel.id);
                let Some((session, known, last_seq)) = self.clients[client].position else {
                    return;
                };
                if known != epoch {
                    self.violated(format!("epoch {epoch} where {known} was told"));
                    return;
                }
                self.clients[client].position = Some((session, epoch, last_seq.max(seq)));
                self.clients[client].got.insert(parcel.id);
                self.note_received(session, parcel.id);
                let task = Task {
                    epoch,
                    seq,
                    delivery,
                };
                let pause = match self.chance.below(100) {
                    _ if self.quiet => self.chance.below(20),
                    0..=69 => self.chance.below(200),
                    70..=89 => self.chance.below(20_000),
                    _ => self.chance.below(90_000),
                };
                self.events_at(pause, Event::ClientAnswers { client, task });
                if !self.quiet && self.chance.percent(5) {
                    // Said twice.
                    self.events_at(2 * pause, Event::ClientAnswers { client, task });
                }
            }
            Down::Fenced => {
                self.close(connection);
                self.clients[client].connection = None;
                if self.chance.percent(70) {
                    self.clients[client].position = None;
                }
            }
        }
    }

    /// A client has finished with a delivery, on whatever connection it has by then.
    pub(crate) fn client_answers(&mut self, client: usize, task: Task) {
        let Task {
            epoch,
            seq,
            delivery,
        } = task;
        let (Some(connection), Some((_, known, last_seq))) = (
            self.clients[client].connection,
            self.clients[client].position,
        ) else {
            return;
        };
        // Answers belong to an epoch.
        if known != epoch || seq > last_seq {
            return;
        }
        let up = match self.chance.below(100) {
            _ if self.quiet => Up::Ack(vec![(seq, delivery)]),
            0..=79 => Up::Ack(vec![(seq, delivery)]),
            80..=87 => Up::Nack {
                seq,
                delivery,
                delay_ms: self.chance.below(40_000),
            },
            88..=92 => Up::Extend { seq, delivery },
            93..=94 => Up::Term { seq, delivery },
            _ => return,
        };
        self.up(connection, up);
    }
}
