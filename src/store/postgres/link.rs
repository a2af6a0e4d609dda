//! A connection that comes back: whoever needs it while it is down has it made anew.
//!
//! Invariants: while PostgreSQL is down, one attempt at a time is made for all links of a shard,
//! at growing intervals, and everybody else is told at once; nothing runs by itself.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Config;
use uuid::Uuid;

use super::failure::Failure;
use super::session::Session;
use crate::store::StoreError;

/// Pause after the first failed attempt; each further one doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause between attempts.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How to connect, and since when that fails; shared by the links of a shard.
pub(super) struct Target {
    config: Config,
    opening: String,
    outage: RefCell<Option<Outage>>,
}

struct Outage {
    failures: u32,
    next_attempt: Instant,
    reason: String,
}

impl Target {
    /// Connects by `config`; each session begins with the statements of `opening`.
    pub(super) fn new(config: Config, opening: String) -> Rc<Self> {
        Rc::new(Self {
            config,
            opening,
            outage: RefCell::default(),
        })
    }

    /// Why there is no connection, if the last attempt failed.
    fn down(&self) -> Option<String> {
        self.outage
            .borrow()
            .as_ref()
            .map(|outage| outage.reason.clone())
    }

    async fn connect(&self) -> Result<Rc<Session>, StoreError> {
        if let Some(outage) = &*self.outage.borrow()
            && outage.next_attempt > Instant::now()
        {
            return Err(StoreError::Unavailable(outage.reason.clone()));
        }
        // Whoever comes while this attempt lasts must not begin another.
        if let Some(outage) = &mut *self.outage.borrow_mut() {
            outage.next_attempt = Instant::now() + super::session::CONNECT_MAX;
        }
        match Session::connect(&self.config, &self.opening).await {
            Ok(session) => {
                if self.outage.take().is_some() {
                    tracing::info!("PostgreSQL is back");
                }
                Ok(Rc::new(session))
            }
            Err(failure) => Err(self.note(failure)),
        }
    }

    fn note(&self, failure: Failure) -> StoreError {
        let mut outage = self.outage.borrow_mut();
        let failures = outage.as_ref().map_or(0, |outage| outage.failures) + 1;
        let error = StoreError::from(failure);
        let reason = match &error {
            StoreError::Unavailable(reason) => reason.clone(),
            other => other.to_string(),
        };
        if failures == 1 {
            tracing::warn!(reason, "PostgreSQL cannot be reached");
        }
        *outage = Some(Outage {
            failures,
            next_attempt: Instant::now() + pause(failures),
            reason,
        });
        error
    }
}

/// The pause after that many failures, off by up to half, so that nodes do not come back in step.
fn pause(failures: u32) -> Duration {
    let whole = PAUSE_MIN
        .saturating_mul(1 << (failures - 1).min(16))
        .min(PAUSE_MAX);
    let chance = f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
    whole.mul_f64(0.5 + chance / 2.0)
}

/// One connection of a shard.
pub(super) struct Link {
    target: Rc<Target>,
    session: RefCell<Option<Rc<Session>>>,
    /// One connects; those who come meanwhile wait for it, unless the last attempt failed.
    connecting: tokio::sync::Mutex<()>,
}

impl Link {
    /// A link that connects when it is first used.
    pub(super) fn new(target: Rc<Target>) -> Self {
        Self {
            target,
            session: RefCell::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    /// The session, a new one if the last is gone.
    pub(super) async fn session(&self) -> Result<Rc<Session>, StoreError> {
        if let Some(session) = self.up() {
            return Ok(session);
        }
        let _turn = match self.connecting.try_lock() {
            Ok(turn) => turn,
            // An attempt is under way that will hardly be the one that succeeds.
            Err(_) if let Some(reason) = self.target.down() => {
                return Err(StoreError::Unavailable(reason));
            }
            Err(_) => self.connecting.lock().await,
        };
        if let Some(session) = self.up() {
            return Ok(session);
        }
        let session = self.target.connect().await?;
        *self.session.borrow_mut() = Some(session.clone());
        Ok(session)
    }

    /// Leaves `session`, which broke: it may not have noticed yet itself.
    pub(super) fn forget(&self, session: &Rc<Session>) {
        let mut current = self.session.borrow_mut();
        if current
            .as_ref()
            .is_some_and(|current| Rc::ptr_eq(current, session))
        {
            *current = None;
        }
    }

    fn up(&self) -> Option<Rc<Session>> {
        self.session
            .borrow()
            .clone()
            .filter(|session| session.is_up())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        for failures in 1..100 {
            let pause = pause(failures);
            assert!(
                pause >= PAUSE_MIN / 2 && pause <= PAUSE_MAX,
                "{failures}: {pause:?}"
            );
        }
        assert!(pause(10) > pause(1) * 4);
    }
}
