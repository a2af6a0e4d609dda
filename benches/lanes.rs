//! Messages in memory through the lanes of a session: offered, polled, sent, acknowledged.
//!
//! Each benchmark checks that everything offered was sent, once and in the order that its lanes give,
//! and prints the rate of one core beside the goal.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use tmws::delivery::hub::{Effect, Hub};
use tmws::delivery::queue::{Acked, Action, Entry, Parcel, SessionQueue};
use tmws::domain::{AgentKey, Priority, Timestamp};
use uuid::Uuid;

/// What R4 is held to here.
const GOAL_PER_SECOND: f64 = 100_000.0;
/// Messages offered before the client answers: half a window.
const BATCH: usize = 128;
/// Sessions of the hub.
const SESSIONS: usize = 1_000;
/// Bodies; with what surrounds them in a delivery, 128 of the largest fit into the lanes.
const BODY_BYTES: [usize; 3] = [64, 512, 4_096];

/// A session's queue, and a hub of a thousand sessions.
pub(crate) fn lanes(c: &mut Criterion) {
    let mut group = c.benchmark_group("lanes");
    group.throughput(Throughput::Elements(BATCH as u64));
    let one: &[Priority] = &[Priority::Normal];
    for bytes in BODY_BYTES {
        through_queue(&mut group, "queue-one-lane", bytes, one);
        through_queue(&mut group, "queue-four-lanes", bytes, &Priority::ALL);
    }
    for bytes in BODY_BYTES {
        through_hub(&mut group, "hub-one-lane", bytes, one);
        through_hub(&mut group, "hub-four-lanes", bytes, &Priority::ALL);
    }
    group.finish();
}

/// Messages that expire long after the benchmark.
fn parcels(bytes: usize, now: Timestamp) -> (Vec<Arc<Parcel>>, Timestamp) {
    let text: Box<[u8]> = "x".repeat(bytes).into_bytes().into();
    let parcel = || {
        let (id, text) = (Uuid::now_v7(), text.clone());
        Arc::new(Parcel { id, text })
    };
    let expires_at = now.plus_seconds(3_600).expect("a time");
    ((0..BATCH).map(|_| parcel()).collect(), expires_at)
}

/// The order in which a batch leaves the lanes: the higher ones first, each as it was filled.
fn order(priorities: &[Priority]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..BATCH).collect();
    order.sort_by_key(|at| priorities[at % priorities.len()].rank());
    order
}

fn through_queue(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    bytes: usize,
    priorities: &[Priority],
) {
    let (parcels, expires_at) = parcels(bytes, Timestamp::now());
    let order = order(priorities);
    let mut queue = SessionQueue::new(7);
    queue.connect();
    let mut actions = Vec::new();
    let mut seq = 0;
    let mut rate = Rate::default();
    group.bench_function(BenchmarkId::new(name, bytes), |b| {
        b.iter_custom(|rounds| {
            let started = Instant::now();
            for _ in 0..rounds {
                let now = Timestamp::now();
                for (at, parcel) in parcels.iter().enumerate() {
                    let priority = priorities[at % priorities.len()];
                    let entry = Entry::volatile(Arc::clone(parcel), priority, expires_at);
                    assert!(queue.offer(entry, now));
                }
                queue.poll(now, &mut actions);
                assert_eq!(actions.len(), BATCH);
                for (action, at) in actions.drain(..).zip(&order) {
                    seq += 1;
                    match black_box(action) {
                        Action::Send {
                            seq: place, parcel, ..
                        } => assert!(place == seq && parcel.id == parcels[*at].id),
                        other => panic!("{other:?}"),
                    }
                }
                let acked = queue.ack(Acked::UpTo(seq)).expect("sent");
                assert_eq!(acked.accepted, BATCH as u64);
            }
            rate.add(rounds, started.elapsed())
        });
    });
    rate.print(name, bytes);
}

/// Each round is one session's, and the sessions take turns.
fn through_hub(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    bytes: usize,
    priorities: &[Priority],
) {
    let (parcels, expires_at) = parcels(bytes, Timestamp::now());
    let order = order(priorities);
    let mut hub = Hub::new(300_000);
    let mut effects = Vec::new();
    let now = Timestamp::now();
    let mut sessions: Vec<(Uuid, u64)> = (0..SESSIONS)
        .map(|number| {
            let session = Uuid::new_v4();
            let agent = AgentKey::new("bench", &format!("agent-{number}")).expect("a name");
            hub.open(session, agent, 1, number);
            hub.start(session);
            hub.filled(session, 1, Some(Vec::new()), now);
            (session, 0)
        })
        .collect();
    hub.poll(now, &mut effects);
    effects.clear();
    let mut turn = 0;
    let mut rate = Rate::default();
    group.bench_function(BenchmarkId::new(name, bytes), |b| {
        b.iter_custom(|rounds| {
            let started = Instant::now();
            for _ in 0..rounds {
                turn = (turn + 1) % SESSIONS;
                let (session, seq) = &mut sessions[turn];
                let now = Timestamp::now();
                for (at, parcel) in parcels.iter().enumerate() {
                    let priority = priorities[at % priorities.len()];
                    let entry = Entry::volatile(Arc::clone(parcel), priority, expires_at);
                    assert_eq!(hub.offer(*session, entry, now), Some(true));
                }
                hub.poll(now, &mut effects);
                assert_eq!(effects.len(), BATCH);
                for (effect, at) in effects.drain(..).zip(&order) {
                    *seq += 1;
                    match black_box(effect) {
                        Effect::Send {
                            connection,
                            seq: place,
                            parcel,
                            ..
                        } => assert!(
                            connection == turn && place == *seq && parcel.id == parcels[*at].id
                        ),
                        other => panic!("{other:?}"),
                    }
                }
                let acked = hub.ack(*session, turn, Acked::UpTo(*seq));
                let acked = acked.expect("its connection").expect("sent");
                assert_eq!(acked.accepted, BATCH as u64);
                hub.poll(now, &mut effects);
                assert!(effects.is_empty());
            }
            rate.add(rounds, started.elapsed())
        });
    });
    rate.print(name, bytes);
}

/// What all samples of a benchmark come to.
#[derive(Default)]
struct Rate {
    messages: u64,
    time: Duration,
}

impl Rate {
    fn add(&mut self, rounds: u64, time: Duration) -> Duration {
        self.messages += rounds * BATCH as u64;
        self.time += time;
        time
    }

    /// Nothing if the benchmark was filtered out.
    #[allow(clippy::print_stdout, reason = "the figure beside its goal")]
    fn print(&self, name: &str, bytes: usize) {
        if self.messages == 0 {
            return;
        }
        let rate = self.messages as f64 / self.time.as_secs_f64();
        let verdict = if rate >= GOAL_PER_SECOND {
            "PASS"
        } else {
            "MISS"
        };
        println!(
            "{verdict}  lanes/{name}/{bytes}: {rate:.0} messages a second, goal at least {GOAL_PER_SECOND:.0}"
        );
    }
}
