//! Upkeep removes what has expired and deletes what nobody uses, and stops when there is nothing
//! left to do.

use std::time::Duration;

use tmws::config::limits::SESSION_WINDOW_SECONDS;
use tmws::domain::{Access, Retention};

use crate::fixture::*;

const DAY: u64 = 86_400;

on_every_store!(what_nobody_uses_is_pruned);

fn what_nobody_uses_is_pruned(store: Backend) {
    let fixture = store.open();
    let mut weak = new(&alice(), "never asked for");
    weak.importance = 0.1;
    let weak = fixture.create(weak).id;
    let mut worthless = new(&alice(), "of no importance at all");
    worthless.importance = 0.0;
    let worthless = fixture.create(worthless).id;
    let mut strong = new(&alice(), "important");
    strong.importance = 1.0;
    let strong = fixture.create(strong).id;
    let mut system = at_level(&admin(), Access::System, "the admins'");
    system.importance = 0.0;
    let system = fixture.create(system).id;
    let mut brief = new(&alice(), "gone tomorrow");
    brief.ttl_seconds = Some(DAY);
    let brief = fixture.create(brief).id;
    let retention = Retention {
        half_life: Duration::from_secs(30 * DAY),
        prune_below: 0.03,
        prune_age: Duration::from_secs(10 * DAY),
        session_window: Duration::from_secs(SESSION_WINDOW_SECONDS),
    };
    let run = || block(fixture.store.upkeep(retention)).expect("upkeep");
    assert_eq!(run().pruned, 0, "all are young");
    fixture.clock.advance(30 * DAY as i64);
    // 0.5 * 0.5 * 0.1 and 0.5 * 0.5 * 1.
    assert_eq!(run().pruned, 2);
    assert_eq!(run(), Default::default());
    for gone in [weak, worthless, brief] {
        assert_not_found(fixture.get(&alice(), gone));
    }
    assert!(fixture.get(&alice(), strong).is_ok());
    assert!(fixture.get(&alice(), system).is_ok());
    let history = block(fixture.store.memory_history(&alice(), weak)).expect("kept");
    assert_eq!(
        (&*history[1].change, &*history[1].changed_by),
        ("pruned", "server")
    );
    assert_not_found(block(fixture.store.memory_history(&alice(), brief)));
}
