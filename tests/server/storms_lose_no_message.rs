//! Agents that lose their connections again and again, and a server that is killed under them: what
//! a sender was told is taken arrives, at its agent and nowhere else, and in order.
//!
//! ```text
//! STORM_CLIENTS=100 STORM_DISCONNECTS=1000 STORM_KILLS=200 \
//!     cargo nextest run --profile storms --test server storms_lose_no_message
//! STORM_NODES=3 STORM_CLIENTS=100 STORM_DISCONNECTS=1000 STORM_KILLS=200 STORM_REDIS_KILLS=50 \
//!     STORM_DATABASE_KILLS=20 cargo nextest run --profile storms --test server storms_over_several
//! ```

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::fleet::{Service, database_of, node};
use crate::harness::{Client, Server, connect_over, launch, on_both};

const SENDERS: usize = 4;
/// A connection that says nothing for so long is taken for dead.
const PATIENCE: Duration = Duration::from_secs(5);
/// What was sent before a session began, or so shortly after that not every node knew of it, may come by
/// way of another session's queue, later than what was sent to this one.
const SETTLING: Duration = Duration::from_secs(5);
/// So long after the bus is back every node has reached it. One that is killed before has not told the others
/// of what it took meanwhile: they find that in the store when they miss the node, perhaps after later messages.
const TELLING: Duration = Duration::from_secs(2);
/// Time for the last messages to arrive.
const END: Duration = Duration::from_secs(60);

fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// What everybody knows.
struct World {
    /// Tells its keys and messages from those of another run over the same database: what was received and
    /// not acknowledged then comes again.
    run: Uuid,
    /// Of every server that runs.
    addresses: RefCell<Vec<SocketAddr>>,
    clients: usize,
    /// Senders go on.
    sending: Cell<bool>,
    /// Receivers go on.
    receiving: Cell<bool>,
    disconnects: Cell<usize>,
    disconnects_max: usize,
    /// Acknowledged messages by id: sender and number.
    acked: RefCell<Vec<HashMap<String, (usize, u64)>>>,
    /// Ids of what was sent under a key, by sender and number.
    keyed: RefCell<HashMap<(usize, u64), String>>,
    /// Ids that each client has received.
    received: RefCell<Vec<HashSet<String>>>,
    wrong: RefCell<Vec<String>>,
    /// Messages that came after a later one of their sender: two ids, and what to say of them.
    overtaken: RefCell<Vec<(String, String, String)>>,
    recovered: Cell<(usize, usize)>,
    /// The node that has taken a message, by its id.
    taken_on: RefCell<HashMap<String, SocketAddr>>,
    /// Nodes that were killed, and when.
    killed: RefCell<Vec<(SocketAddr, u64)>>,
    /// When the bus went away, and came back.
    bus_away: RefCell<Vec<(u64, u64)>>,
    seed: Cell<u64>,
    /// Where messages can be looked for.
    database: RefCell<Option<String>>,
}

impl World {
    fn chance(&self, end: u64) -> u64 {
        let mut x = self.seed.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.seed.set(x);
        x % end
    }

    /// Was the bus away when a message was taken, and the node that took it killed before it reached that again?
    fn was_untold(&self, id: &str) -> bool {
        let (sent, telling) = (sent_at(id), TELLING.as_millis() as u64);
        let bus_away = self.bus_away.borrow();
        let mut away = bus_away.iter().map(|(from, to)| (*from, to + telling));
        let Some((_, told)) = away.find(|(from, told)| (*from..=*told).contains(&sent)) else {
            return false;
        };
        let node = self.taken_on.borrow().get(id).copied();
        let killed = self.killed.borrow();
        let mut killed = killed.iter().filter(|(address, _)| Some(*address) == node);
        killed.any(|(_, at)| (sent..=told).contains(at))
    }

    /// When a node was killed, if it was after `since`.
    fn killed_since(&self, node: SocketAddr, since: u64) -> Option<u64> {
        let killed = self.killed.borrow();
        let mut killed = killed.iter().filter(|(address, _)| *address == node);
        killed.find(|(_, at)| *at >= since).map(|(_, at)| *at)
    }

    fn missing(&self) -> Vec<(usize, String)> {
        let (acked, received) = (self.acked.borrow(), self.received.borrow());
        let mut missing = Vec::new();
        for (client, acked) in acked.iter().enumerate() {
            let lost = acked.keys().filter(|id| !received[client].contains(*id));
            missing.extend(lost.map(|id| (client, id.clone())));
        }
        missing
    }
}

/// A connection to some node, and the address of that.
async fn open(world: &World, fields: &[(&str, &str)]) -> Option<(Client, SocketAddr)> {
    let address = {
        let addresses = world.addresses.borrow();
        addresses[world.chance(addresses.len() as u64) as usize]
    };
    let stream = timeout(PATIENCE, TcpStream::connect(address))
        .await
        .ok()?
        .ok()?;
    stream.set_nodelay(true).ok()?;
    // A server that is killed meanwhile lets the handshake fail.
    let opening = tokio::task::spawn_local({
        let fields: Vec<(String, String)> = fields
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect();
        async move {
            let fields: Vec<(&str, &str)> = fields
                .iter()
                .map(|(a, b)| (a.as_str(), b.as_str()))
                .collect();
            connect_over(stream, address, "/", &fields).await
        }
    });
    Some((opening.await.ok()?, address))
}

async fn receive(client: &mut Client) -> Option<Value> {
    let message = timeout(PATIENCE, client.next()).await.ok()?.ok()?;
    serde_json::from_slice(&message).ok()
}

async fn answer(client: &mut Client, method: &str, params: Value) -> Option<Value> {
    let id = client.try_post(method, params).await?;
    loop {
        let message = receive(client).await?;
        if message["id"] == id {
            return Some(message);
        }
    }
}

/// Every other sender repeats what was not answered, under its key; the others go on with the next message.
fn repeats(sender: usize) -> bool {
    sender % 2 == 1
}

async fn sender(world: Rc<World>, index: usize) {
    let name = format!("sender{index}");
    let (mut n, mut next) = (0, None);
    while world.sending.get() {
        let Some((mut client, node)) = open(&world, &[("X-Agent-ID", &name)]).await else {
            sleep(Duration::from_millis(5)).await;
            continue;
        };
        while world.sending.get() {
            let to = next.take().unwrap_or_else(|| {
                n += 1;
                world.chance(world.clients as u64) as usize
            });
            let mut params = json!({
                "to": {"agent": format!("client{to}")}, "ttl": 3600,
                "body": {"sender": index, "n": n, "to": to, "run": world.run},
            });
            if repeats(index) {
                params["idempotency_key"] = json!(format!("{name}-{n}-{}", world.run));
                next = Some(to);
            }
            let Some(taken) = answer(&mut client, "agent/send", params).await else {
                break;
            };
            if let Some(id) = taken["result"]["message_id"].as_str() {
                world.acked.borrow_mut()[to].insert(id.to_owned(), (index, n));
                world.taken_on.borrow_mut().insert(id.to_owned(), node);
                next = None;
            }
            sleep(Duration::from_millis(world.chance(3))).await;
        }
    }
}

async fn receiver(world: Rc<World>, index: usize) {
    let name = format!("client{index}");
    let mut position: Option<(Value, u64)> = None;
    let mut began = 0;
    // The nodes that may have the session, and since when.
    let mut homes: Vec<(SocketAddr, u64)> = Vec::new();
    // From when to when no node had it: nobody knew then that messages for its agent are for it.
    let mut homeless = Vec::new();
    while world.receiving.get() {
        let fields = [
            ("X-Agent-ID", name.as_str()),
            ("Sec-WebSocket-Protocol", "tmws.v1"),
        ];
        let Some((mut client, node)) = open(&world, &fields).await else {
            sleep(Duration::from_millis(5)).await;
            continue;
        };
        let opened = now();
        let Some(welcome) = receive(&mut client).await else {
            continue;
        };
        let fresh = world.chance(10) == 0;
        homes.push((node, opened));
        let mut waiting = Vec::new();
        match position.take().filter(|_| !fresh) {
            Some((known, last_seq)) => {
                let params = json!({
                    "session_id": known["session_id"], "epoch": known["epoch"],
                    "token": known["resume_token"], "last_seq": last_seq,
                });
                let Some(id) = client.try_post("session/resume", params).await else {
                    position = Some((known, last_seq));
                    continue;
                };
                let back = loop {
                    match receive(&mut client).await {
                        Some(message) if message["id"] == id => break Some(message),
                        Some(message) => waiting.push(message),
                        None => break None,
                    }
                };
                let Some(back) = back else {
                    position = Some((known, last_seq));
                    continue;
                };
                let result = &back["result"];
                let (yes, no) = world.recovered.get();
                world.recovered.set(if result["recovered"] == true {
                    (yes + 1, no)
                } else {
                    (yes, no + 1)
                });
                if result["session_id"].is_null() {
                    // The store could not say; the next attempt does.
                    position = Some((known, last_seq));
                    continue;
                }
                if result["session_id"] != known["session_id"] {
                    began = now();
                }
                let killed = homes.iter();
                let killed = killed.filter_map(|(node, since)| world.killed_since(*node, *since));
                let settled = now() + TELLING.as_millis() as u64;
                homeless.extend(killed.min().map(|at| (at, settled)));
                let same = result["epoch"] == known["epoch"];
                position = Some((result.clone(), if same { last_seq } else { 0 }));
                // A client that is slow to ask has its new session begun: what came of that one comes
                // again.
                let own = &welcome["params"]["epoch"];
                let is_own = |message: &Value| message["params"]["epoch"] == *own;
                if result["epoch"] != *own {
                    waiting.retain(|message| !is_own(message));
                }
            }
            None => {
                began = now();
                position = Some((welcome["params"].clone(), 0));
            }
        }
        homes = vec![(node, opened)];
        let settled = began + SETTLING.as_millis() as u64;
        let is_settled = |at| {
            at > settled
                && !homeless
                    .iter()
                    .any(|(from, to)| (*from..=*to).contains(&at))
        };
        attend(
            &world,
            (index, &is_settled),
            &mut client,
            &mut position,
            waiting,
        )
        .await;
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_millis() as u64
}

/// When a message was sent: its id says so.
fn sent_at(id: &str) -> u64 {
    let id: Uuid = id.parse().unwrap();
    let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
    seconds * 1_000 + u64::from(nanos) / 1_000_000
}

/// Takes deliveries until the connection ends. Of messages that were sent while all was not `settled` the
/// order may be another one.
async fn attend(
    world: &World,
    (index, is_settled): (usize, &dyn Fn(u64) -> bool),
    client: &mut Client,
    position: &mut Option<(Value, u64)>,
    mut waiting: Vec<Value>,
) {
    let mut latest = HashMap::new();
    let mut left = 1 + world.chance(20);
    waiting.reverse();
    while world.receiving.get() {
        let message = match waiting.pop() {
            Some(message) => message,
            None => match timeout(Duration::from_millis(200), client.next()).await {
                Err(_) => continue,
                Ok(Err(_)) => return,
                Ok(Ok(bytes)) => serde_json::from_slice(&bytes).unwrap(),
            },
        };
        if message["method"] != "notifications/delivery" {
            continue;
        }
        let params = &message["params"];
        let (known, last_seq) = position.as_mut().unwrap();
        let mut wrong = Vec::new();
        if params["epoch"] != known["epoch"] {
            wrong.push(format!(
                "epoch {} where {} was told",
                params["epoch"], known["epoch"]
            ));
        }
        let body = &params["body"];
        if body["to"] != index {
            wrong.push(format!("client {index} got {body}"));
        }
        let id = params["id"].as_str().unwrap().to_owned();
        let (from, n) = (&body["sender"], body["n"].as_u64().unwrap());
        let from = from.as_u64().unwrap() as usize;
        let is_own = body["run"] == world.run.to_string();
        if is_own && repeats(from) {
            let mut keyed = world.keyed.borrow_mut();
            let known = keyed.entry((from, n)).or_insert_with(|| id.clone());
            if *known != id {
                wrong.push(format!("{n} of sender {from} came as {known} and as {id}"));
            }
        }
        let is_new = !world.received.borrow()[index].contains(&id);
        if is_own && params["delivery"] == 1 && is_new {
            let (before, other): (u64, String) =
                latest.insert(from, (n, id.clone())).unwrap_or_default();
            if before > n && is_settled(sent_at(&id)) {
                let late = now() - sent_at(&id);
                let what = format!(
                    "client {index}: {n} after {before} of sender {from}, {late} ms after it was sent"
                );
                let mut overtaken = world.overtaken.borrow_mut();
                overtaken.push((id.clone(), other, what));
            }
        }
        world.wrong.borrow_mut().extend(wrong);
        let seq = params["seq"].as_u64().unwrap();
        *last_seq = seq.max(*last_seq);
        world.received.borrow_mut()[index].insert(id);
        let ack = json!({"acks": [{"seq": seq, "delivery": params["delivery"]}]});
        if client.try_post("session/ack", ack).await.is_none() {
            return;
        }
        left = left.saturating_sub(1);
        if left == 0 && world.disconnects.get() < world.disconnects_max {
            world.disconnects.set(world.disconnects.get() + 1);
            return;
        }
    }
}

async fn dead_letters(world: &World) -> HashSet<String> {
    let mut ids = HashSet::new();
    for index in 0..world.clients {
        let name = format!("client{index}");
        let Some((mut client, _)) = open(world, &[("X-Agent-ID", &name)]).await else {
            continue;
        };
        let mut cursor = None;
        loop {
            let params = json!({"limit": 100, "cursor": cursor});
            // A store that is just coming back may not say; it is asked again.
            let Some(page) = answer(&mut client, "dlq/list", params).await else {
                break;
            };
            let letters = page["result"]["dead_letters"].as_array();
            for letter in letters.into_iter().flatten() {
                ids.insert(letter["message_id"].as_str().unwrap().to_owned());
            }
            cursor = page["result"]["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
    }
    ids
}

impl World {
    fn new(clients: usize, disconnects_max: usize) -> Rc<Self> {
        Rc::new(Self {
            run: Uuid::new_v4(),
            addresses: RefCell::default(),
            clients,
            sending: Cell::new(true),
            receiving: Cell::new(true),
            disconnects: Cell::new(0),
            disconnects_max,
            acked: RefCell::new(vec![HashMap::new(); clients]),
            keyed: RefCell::default(),
            received: RefCell::new(vec![HashSet::new(); clients]),
            wrong: RefCell::default(),
            overtaken: RefCell::default(),
            recovered: Cell::default(),
            taken_on: RefCell::default(),
            killed: RefCell::default(),
            bus_away: RefCell::default(),
            seed: Cell::new(0x5EED),
            database: RefCell::default(),
        })
    }

    /// Lets senders and receivers work while `trouble` happens, and judges what they have seen.
    async fn judge(self: &Rc<Self>, trouble: impl AsyncFnOnce(&Self)) {
        let world = self;
        let local = tokio::task::LocalSet::new();
        for index in 0..SENDERS {
            local.spawn_local(sender(Rc::clone(world), index));
        }
        for index in 0..world.clients {
            local.spawn_local(receiver(Rc::clone(world), index));
        }
        local
            .run_until(async {
                trouble(world).await;
                let started = Instant::now();
                while world.disconnects.get() < world.disconnects_max && started.elapsed() < END {
                    sleep(Duration::from_millis(50)).await;
                }
                world.sending.set(false);
                let started = Instant::now();
                let missing = loop {
                    let mut missing = world.missing();
                    if !missing.is_empty() {
                        let dead = dead_letters(world).await;
                        missing.retain(|(_, id)| !dead.contains(id));
                    }
                    if missing.is_empty() || started.elapsed() > END {
                        break missing;
                    }
                    sleep(Duration::from_millis(100)).await;
                };
                world.receiving.set(false);
                let database = world.database.borrow().clone();
                let places = match &database {
                    Some(url) if !missing.is_empty() => whereabouts(url, &missing).await,
                    _ => String::new(),
                };
                assert_eq!(
                    missing,
                    [],
                    "acknowledged, and neither received nor dead{places}"
                );
            })
            .await;
        assert_eq!(*world.wrong.borrow(), Vec::<String>::new());
        // Whoever was not told that a message is taken knows nothing of its order.
        let acked = world.acked.borrow();
        let is_acked = |id: &String| acked.iter().any(|acked| acked.contains_key(id));
        let mut overtaken = world.overtaken.take();
        overtaken.retain(|(id, other, _)| is_acked(id) && is_acked(other) && !world.was_untold(id));
        assert_eq!(overtaken, []);
        let acked: usize = acked.iter().map(HashMap::len).sum();
        assert!(
            acked > 100 && world.disconnects.get() > world.disconnects_max / 2,
            "{acked} acknowledged"
        );
        let (yes, no) = world.recovered.get();
        assert!(yes > 0, "recovered {yes} times, not {no} times");
    }
}

#[test]
fn storms_lose_no_message() {
    let clients = number("STORM_CLIENTS", 12);
    let disconnects = number("STORM_DISCONNECTS", 100);
    let kills = number("STORM_KILLS", 3);
    on_both(async |io| {
        let data = tempfile::tempdir().unwrap();
        let start = || {
            launch(&["--io", io, "--shards", "2"])
                .data(data.path())
                .start()
        };
        // Outlives the trouble: in a closure that takes it apart it would end with that.
        let mut servers = vec![start()];
        let world = World::new(clients, disconnects);
        world.addresses.replace(vec![servers[0].ws]);
        world
            .judge(async |world| {
                for _ in 0..kills {
                    sleep(Duration::from_millis(200 + world.chance(800))).await;
                    servers.remove(0).kill();
                    servers.push(start());
                    world.addresses.replace(vec![servers[0].ws]);
                }
            })
            .await;
    });
}

/// Where the database has messages that were not received.
async fn whereabouts(url: &str, missing: &[(usize, String)]) -> String {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut text = String::new();
    let nodes = "SELECT id::text, (extract(epoch FROM now()) - seen_at / 1e6)::int FROM tmws.node";
    for row in client.query(nodes, &[]).await.unwrap() {
        let (id, age): (String, i32) = (row.get(0), row.get(1));
        text += &format!("\nnode {id} seen {age} s ago");
    }
    let place = "SELECT coalesce(d.session::text, 'inbox'), coalesce(q.node::text, 'nobody'),
            d.deliveries, d.copied, d.filled
        FROM tmws.delivery d LEFT JOIN tmws.queue q ON q.session = d.session
        WHERE d.message::text = $1";
    for (client_number, id) in missing {
        text += &format!("\nclient {client_number}, {id}:");
        for row in client.query(place, &[id]).await.unwrap() {
            let (session, node): (String, String) = (row.get(0), row.get(1));
            let (deliveries, copied, filled): (i32, bool, bool) =
                (row.get(2), row.get(3), row.get(4));
            text += &format!(
                " session {session} of {node}, {deliveries} deliveries, copied {copied}, filled {filled};"
            );
        }
    }
    text
}

/// What a fleet may lose for a while.
#[derive(Clone, Copy)]
enum Loss {
    Node,
    Redis,
    Database,
}

#[test]
fn storms_over_several_nodes_lose_no_message() {
    let clients = number("STORM_CLIENTS", 12);
    let disconnects = number("STORM_DISCONNECTS", 100);
    let nodes = number("STORM_NODES", 2);
    let mut losses = vec![Loss::Node; number("STORM_KILLS", 3)];
    losses.extend(vec![Loss::Redis; number("STORM_REDIS_KILLS", 2)]);
    losses.extend(vec![Loss::Database; number("STORM_DATABASE_KILLS", 1)]);
    let own = format!("storm-{}", std::process::id());
    let (redis, postgres) = (Service::new("redis", &own), Service::new("postgres", &own));
    let (redis_url, database_url) = (redis.up(), database_of(&postgres.up()));
    on_both(async |io| {
        let start = || node(io, &database_url, &redis_url);
        let mut servers: Vec<Server> = (0..nodes).map(|_| start()).collect();
        let addresses = |servers: &[Server]| servers.iter().map(|server| server.ws).collect();
        let world = World::new(clients, disconnects);
        world.addresses.replace(addresses(&servers));
        world.database.replace(Some(database_url.clone()));
        let mut losses = losses.clone();
        world
            .judge(async |world| {
                while !losses.is_empty() {
                    sleep(Duration::from_millis(200 + world.chance(1_800))).await;
                    let next = world.chance(losses.len() as u64) as usize;
                    match losses.swap_remove(next) {
                        Loss::Node => {
                            let index = world.chance(nodes as u64) as usize;
                            let address = servers[index].ws;
                            world.killed.borrow_mut().push((address, now()));
                            servers.remove(index).kill();
                            world.addresses.replace(addresses(&servers));
                            servers.push(start());
                            world.addresses.replace(addresses(&servers));
                        }
                        Loss::Redis => {
                            let from = now();
                            redis.kill();
                            sleep(Duration::from_millis(world.chance(1_500))).await;
                            redis.up();
                            world.bus_away.borrow_mut().push((from, now()));
                        }
                        Loss::Database => {
                            postgres.kill();
                            sleep(Duration::from_millis(world.chance(500))).await;
                            postgres.up();
                        }
                    }
                }
            })
            .await;
    });
}
