//! The link of a node to the others: what it says, and when.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{interval, sleep};
use uuid::Uuid;

use super::super::letters::{Letter, Post};
use super::abroad::Abroad;
use super::peers::Peer;
use super::wire::{self, Agent, Changed, Head, Saying, VERSION};
use crate::config::limits::{BEAT_MS, BUS_ITEMS_MAX, BUS_SECONDS_MAX};
use crate::delivery::queue::Parcel;
use crate::delivery::{Change, Changes, Inbox, News, Registry};
use crate::store::redis::{self, BusAddress, BusError, Listener, Publisher};
use crate::telemetry::Process;

/// Pause before the bus is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// Letters that go out together.
const LETTERS_AT_ONCE: usize = 256;
/// What is heard in a row before this node says something.
const HEARD_AT_ONCE: usize = 1_024;

/// The link of this node to the others.
pub struct Link {
    pub(super) post: Arc<Post>,
    pub(super) registry: Arc<Registry>,
    pub(super) changes: Arc<Changes>,
    process: Arc<Process>,
    watched: Arc<Inbox>,
    address: BusAddress,
    /// The channel that all listen to; that of a node has its name behind it.
    channel: String,
    pub(super) node: Uuid,
    pub(super) peers: HashMap<Uuid, Peer>,
    /// How much was said to all.
    pub(super) told: u64,
    /// How much was said to each node, and how many messages in memory only were among it.
    sent: HashMap<Uuid, (u64, u64)>,
    /// Nodes that have gone, and when.
    pub(super) lost: HashMap<Uuid, Instant>,
    /// So long their sessions may be resumed.
    window: Duration,
    /// When this node last heard itself.
    pub(super) heard_self: Instant,
    /// What waits to be said.
    out: Vec<(String, Bytes)>,
    /// Who waits until it is.
    said: Vec<oneshot::Sender<()>>,
    /// What this node has said to itself, and who waits until it hears that.
    echo: u64,
    echoes: VecDeque<(u64, Vec<oneshot::Sender<()>>)>,
}

impl Link {
    /// The link of the node whose couriers share `post`, to the others of this fleet. Sessions may be
    /// resumed within `window`. `None` if `post` is of a process that is alone.
    pub fn new(
        post: Arc<Post>,
        registry: Arc<Registry>,
        changes: Arc<Changes>,
        process: Arc<Process>,
        (address, fleet): (BusAddress, &str),
        window: Duration,
    ) -> Option<Self> {
        let node = post.abroad.as_ref()?.node;
        let watched = changes.abroad();
        watched.watch(true);
        Some(Self {
            post,
            registry,
            changes,
            process,
            watched,
            address,
            channel: format!("tmws:{fleet}"),
            node,
            peers: HashMap::new(),
            told: 0,
            sent: HashMap::new(),
            lost: HashMap::new(),
            window,
            heard_self: Instant::now(),
            out: Vec::new(),
            said: Vec::new(),
            echo: 0,
            echoes: VecDeque::new(),
        })
    }

    /// Keeps the link up, until `stop` says that this node goes; then the others are told.
    pub async fn run(mut self, mut stop: mpsc::Receiver<()>) {
        loop {
            let own = self.channel_of(self.node);
            let channels = [self.channel.as_str(), own.as_str()];
            let failure = tokio::select! {
                connected = redis::connect(&self.address, &channels) => match connected {
                    Ok((publisher, mut listener)) => {
                        tokio::select! {
                            failure = self.serve(&publisher, &mut listener) => failure,
                            _ = stop.recv() => return self.leave(&publisher).await,
                        }
                    }
                    Err(error) => error,
                },
                _ = stop.recv() => return,
            };
            self.down(&failure);
            tokio::select! {
                () = sleep(RETRY) => {}
                _ = stop.recv() => return,
            }
        }
    }

    pub(super) fn abroad(&self) -> Option<&Abroad> {
        self.post.abroad.as_ref()
    }

    fn channel_of(&self, node: Uuid) -> String {
        format!("{}:{node}", self.channel)
    }

    fn down(&mut self, failure: &BusError) {
        if let Some(abroad) = self.abroad() {
            abroad.down();
        }
        self.said.clear();
        self.echoes.clear();
        if self.process.nodes_failure().is_none() {
            tracing::error!(%failure, "other nodes cannot be reached");
            let detail = Some(failure.to_string());
            self.post.events().diagnose("nodes_unreachable", detail);
        }
        self.process.set_nodes_failure(Some(failure.to_string()));
    }

    fn up(&mut self) {
        self.out.clear();
        self.heard_self = Instant::now();
        let now = Instant::now();
        for peer in self.peers.values_mut() {
            peer.doubt(now);
            peer.hear(now);
        }
        let was_down = self.process.nodes_failure().is_some();
        let missed = self
            .abroad()
            .is_some_and(|abroad| abroad.take_dropped() || was_down);
        if let Some(abroad) = self.abroad() {
            abroad.up(was_down);
        }
        self.process.set_nodes_failure(None);
        self.say_to_all(Saying::Hello { missed });
        if was_down {
            tracing::info!("other nodes can be reached");
            self.post.events().diagnose("nodes_back", None);
            self.catch_up(false);
        }
    }

    /// Something that was sent to this node's sessions may not have been heard of.
    pub(super) fn catch_up(&self, volatile: bool) {
        self.post.leave_all(|| Letter::CatchUp { volatile });
    }

    async fn serve(&mut self, publisher: &Publisher, listener: &mut Listener) -> BusError {
        self.up();
        let wake = self.abroad().map(Abroad::wake).unwrap_or_default();
        let watched = Arc::clone(&self.watched);
        let mut beat = interval(Duration::from_millis(BEAT_MS));
        loop {
            self.gather();
            if let Err(error) = self.publish(publisher).await {
                return error;
            }
            for _ in 0..HEARD_AT_ONCE {
                match listener.heard() {
                    Ok(Some(message)) => self.hear(&message),
                    Ok(None) => break,
                    Err(error) => return error,
                }
            }
            if !self.out.is_empty() {
                continue;
            }
            tokio::select! {
                heard = listener.next() => match heard {
                    Ok(message) => self.hear(&message),
                    Err(error) => return error,
                },
                () = wake.notified() => {}
                news = watched.next() => self.tell_change(news),
                _ = beat.tick() => {
                    let patience = Duration::from_secs(BUS_SECONDS_MAX);
                    if self.heard_self.elapsed() > patience {
                        return BusError::Silent;
                    }
                    self.beat();
                }
            }
        }
    }

    /// Tells the others that this node goes; whoever cannot be told notices it by its silence.
    async fn leave(mut self, publisher: &Publisher) {
        // Of what was on its way nobody knows.
        self.said.clear();
        self.gather();
        self.say_to_all(Saying::Goodbye);
        if let Err(error) = self.publish(publisher).await {
            tracing::debug!(%error, "other nodes were not told of the stop");
        }
        if let Some(abroad) = self.abroad() {
            abroad.down();
        }
    }

    /// Says what waits to be said, and tells who waits for that.
    async fn publish(&mut self, publisher: &Publisher) -> Result<(), BusError> {
        if self.out.is_empty() {
            return Ok(());
        }
        publisher.publish(std::mem::take(&mut self.out)).await?;
        for waits in self.said.drain(..) {
            // It may have been given up.
            let _ = waits.send(());
        }
        Ok(())
    }

    /// Collects what is to be said.
    fn gather(&mut self) {
        let notes = self.post.directory.lock().take_notes();
        for notes in notes.chunks(BUS_ITEMS_MAX) {
            self.say_to_all(Saying::Sessions(notes.to_vec()));
        }
        if self.abroad().is_some_and(Abroad::take_ring) {
            self.say_to_all(Saying::CatchUp);
        }
        let notes = self.registry.take_notes();
        for notes in notes.chunks(BUS_ITEMS_MAX) {
            let notes = notes
                .iter()
                .map(|(agent, is, status)| (Agent::from(agent), *is, status.clone()));
            self.say_to_all(Saying::Presence(notes.collect()));
        }
        self.call_out();
        for _ in 0..LETTERS_AT_ONCE {
            let Some(letter) = self.abroad().and_then(Abroad::take) else {
                return;
            };
            self.say_to(letter.node, letter.saying, &letter.texts);
            self.said.extend(letter.waits);
        }
        // There may be more.
        if let Some(abroad) = self.abroad() {
            abroad.wake().notify_one();
        }
    }

    /// Says something to itself for those who wait until everything before it is heard.
    fn call_out(&mut self) {
        let waiting = self.abroad().map(Abroad::take_echoes).unwrap_or_default();
        if waiting.is_empty() {
            return;
        }
        self.echo += 1;
        self.echoes.push_back((self.echo, waiting));
        let head = Head {
            version: VERSION,
            from: self.node,
            number: self.echo,
            saying: Saying::Echo,
            texts: Vec::new(),
        };
        let message = wire::written(&head, &[]);
        self.out.push((self.channel_of(self.node), message));
    }

    /// This node has heard itself.
    pub(super) fn hear_echo(&mut self, number: u64) {
        while let Some((_, waiting)) = self.echoes.pop_front_if(|(echo, _)| *echo <= number) {
            for waits in waiting {
                // It may have been given up.
                let _ = waits.send(());
            }
        }
    }

    fn tell_change(&mut self, news: News) {
        let changed = match news {
            News::Lost | News::Change(Change::Memories) => Changed::Memories,
            News::Change(Change::Memory {
                namespace,
                id,
                happened,
            }) => Changed::Memory {
                namespace,
                id,
                happened,
            },
            News::Change(Change::Agent(agent)) => Changed::Agent((&agent).into()),
            News::Change(Change::McpTask { owner, id }) => Changed::McpTask {
                owner: (&owner).into(),
                id,
            },
            // Every node has its own.
            News::Change(Change::Tools | Change::Prompts) => return,
        };
        self.say_to_all(Saying::Changes(vec![changed]));
    }

    fn beat(&mut self) {
        let sent = self.sent.iter();
        let sent = sent
            .map(|(node, (number, volatile))| (*node, *number, *volatile))
            .collect();
        self.say_to_all(Saying::Beat { sent });
        self.lose_silent();
        self.forget_lost();
        if let Some(abroad) = self.abroad() {
            abroad.forget_absent();
        }
    }

    pub(super) fn say_to_all(&mut self, saying: Saying) {
        self.told += 1;
        let head = Head {
            version: VERSION,
            from: self.node,
            number: self.told,
            saying,
            texts: Vec::new(),
        };
        let message = wire::written(&head, &[]);
        self.out.push((self.channel.clone(), message));
    }

    pub(super) fn say_to(&mut self, node: Uuid, saying: Saying, texts: &[Arc<Parcel>]) {
        let sent = self.sent.entry(node).or_default();
        sent.0 += 1;
        if let Saying::Offers { to, .. } = &saying {
            sent.1 += to.iter().filter(|offered| offered.key.is_none()).count() as u64;
        }
        let head = Head {
            version: VERSION,
            from: self.node,
            number: sent.0,
            saying,
            texts: texts.iter().map(|text| text.text.len() as u32).collect(),
        };
        let message = wire::written(&head, texts);
        self.out.push((self.channel_of(node), message));
    }

    /// A node has gone. Its sessions may turn up elsewhere as long as they may be resumed.
    pub(super) fn lose_node(&mut self, node: Uuid) {
        self.peers.remove(&node);
        self.sent.remove(&node);
        self.lost.insert(node, Instant::now());
        if let Some(abroad) = self.abroad() {
            abroad.set_heard(node, false);
        }
        let here = self.post.directory.lock().lose(node);
        for (session, shard) in here {
            self.post.leave(shard, Letter::Ring(session));
        }
        self.registry.set_elsewhere(node, Default::default());
        // What it changed last may not have been heard.
        self.changes.publish_here(&Change::Memories);
    }

    fn lose_silent(&mut self) {
        let now = Instant::now();
        let peers = self.peers.iter();
        let silent = peers.filter(|(_, peer)| peer.is_silent(now));
        let silent: Vec<Uuid> = silent.map(|(node, _)| *node).collect();
        for node in silent {
            tracing::warn!(%node, "a node is not heard of any more");
            let detail = Some(node.to_string());
            self.post.events().diagnose("node_silent", detail);
            self.lose_node(node);
        }
    }

    /// Forgets the sessions that nobody may resume any more; what they had returns to inboxes.
    fn forget_lost(&mut self) {
        let window = self.window;
        let over = self.lost.extract_if(|_, at| at.elapsed() > window);
        for (node, _) in over {
            self.post.directory.lock().forget(node);
        }
    }
}
