//! The line in which the messages of one sender stand until they are offered.
//!
//! Invariants: a place is taken where a message is read, without waiting, so the line is in the order in which they
//! were sent; the store is asked for messages in this order; each is offered when all before it have been. A message
//! that stands alone is stored beside the others or not at all, so it waits until all before it are offered, and all
//! behind it until it is.
//!
//! No lock of an asynchronous library does this: those make who takes the 129th in one turn of a task wait without a
//! place.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Places from the first that is still needed on.
#[derive(Debug, Default)]
pub(super) struct Line {
    standing: RefCell<Standing>,
}

#[derive(Debug, Default)]
struct Standing {
    /// Number of the first place.
    first: u64,
    /// Number of the first place whose message the store has not been asked for.
    asking: u64,
    places: VecDeque<Stage>,
}

/// How far the message in a place has come.
#[derive(Debug)]
enum Stage {
    /// The store was not asked for it.
    Waiting(Option<Waker>),
    /// The store was asked for it; others may be asked for.
    Asked(Option<Waker>),
    /// It was offered, or given up.
    Gone,
}

/// A message's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    line: Rc<Line>,
    number: u64,
    is_alone: bool,
}

impl Place {
    /// Takes the last place.
    pub(super) fn take(line: &Rc<Line>, is_alone: bool) -> Self {
        let mut standing = line.standing.borrow_mut();
        let number = standing.first + standing.places.len() as u64;
        standing.places.push_back(Stage::Waiting(None));
        Self {
            line: Rc::clone(line),
            number,
            is_alone,
        }
    }

    /// Waits until the store may be asked for this message.
    pub(super) async fn may_ask(&self) {
        poll_fn(|context| {
            let turn = |standing: &Standing| match self.is_alone {
                true => standing.first,
                false => standing.asking,
            };
            self.line.poll_turn(self.number, turn, context)
        })
        .await;
    }

    /// The store was asked for it: now it may be asked for the next, unless this one stands alone.
    pub(super) fn asked(&self) {
        if !self.is_alone {
            self.line.set(self.number, Stage::Asked(None));
        }
    }

    /// Waits until all before it are offered.
    pub(super) async fn may_offer(&self) {
        poll_fn(|context| {
            let first = |standing: &Standing| standing.first;
            self.line.poll_turn(self.number, first, context)
        })
        .await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.line.set(self.number, Stage::Gone);
    }
}

// Wakers are woken and dropped when nothing is borrowed any more: they may run code of others.
impl Line {
    /// Ready for the place `number` once `turn` says its number or a later one.
    fn poll_turn(
        &self,
        number: u64,
        turn: impl Fn(&Standing) -> u64,
        context: &Context<'_>,
    ) -> Poll<()> {
        let mut standing = self.standing.borrow_mut();
        if number <= turn(&standing) {
            return Poll::Ready(());
        }
        let Some(Stage::Waiting(waker) | Stage::Asked(waker)) = standing.at(number) else {
            return Poll::Pending;
        };
        let before = waker.replace(context.waker().clone());
        drop(standing);
        drop(before);
        Poll::Pending
    }

    fn set(&self, number: u64, stage: Stage) {
        let mut standing = self.standing.borrow_mut();
        let before = standing
            .at(number)
            .map(|place| std::mem::replace(place, stage));
        let next = standing.go_on();
        drop(standing);
        drop(before);
        next.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Standing {
    fn at(&mut self, number: u64) -> Option<&mut Stage> {
        let place = number.checked_sub(self.first)?;
        self.places.get_mut(usize::try_from(place).ok()?)
    }

    /// Whoever may wait for what has changed: who stands first now, and for whom the store may be asked now.
    fn go_on(&mut self) -> [Option<Waker>; 2] {
        while let Some(Stage::Gone) = self.places.front() {
            self.places.pop_front();
            self.first += 1;
        }
        self.asking = self.asking.max(self.first);
        while let Some(Stage::Asked(_) | Stage::Gone) = self.at(self.asking) {
            self.asking += 1;
        }
        [self.first, self.asking].map(|number| match self.at(number) {
            Some(Stage::Waiting(waker) | Stage::Asked(waker)) => waker.take(),
            Some(Stage::Gone) | None => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn is_ready(future: impl Future<Output = ()>) -> bool {
        pin!(future)
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    #[test]
    fn the_store_is_asked_in_turn_and_each_is_offered_after_those_before_it() {
        let line = Rc::default();
        let [first, second, third] = [(); 3].map(|()| Place::take(&line, false));
        assert!(is_ready(first.may_ask()));
        assert!(!is_ready(second.may_ask()) && !is_ready(third.may_ask()));
        first.asked();
        assert!(is_ready(second.may_ask()) && !is_ready(third.may_ask()));
        second.asked();
        assert!(is_ready(third.may_ask()));
        third.asked();
        assert!(!is_ready(second.may_offer()) && !is_ready(third.may_offer()));
        // Given up, or offered: whoever is behind does not wait for it.
        drop(second);
        assert!(!is_ready(third.may_offer()));
        drop(first);
        assert!(is_ready(third.may_offer()));
    }

    #[test]
    fn who_stands_alone_has_nothing_beside_it() {
        let line = Rc::default();
        let before = Place::take(&line, false);
        let alone = Place::take(&line, true);
        let behind = Place::take(&line, false);
        before.asked();
        assert!(!is_ready(alone.may_ask()) && !is_ready(behind.may_ask()));
        drop(before);
        assert!(is_ready(alone.may_ask()));
        alone.asked();
        assert!(!is_ready(behind.may_ask()));
        drop(alone);
        assert!(is_ready(behind.may_ask()) && is_ready(behind.may_offer()));
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        const MANY: usize = 300;
        let line = Rc::default();
        let offered = Rc::new(RefCell::new(Vec::new()));
        let local = tokio::task::LocalSet::new();
        // Taken in order, and run in another one.
        let mut places: Vec<_> = (0..MANY)
            .map(|number| (number, Place::take(&line, number % 7 == 3)))
            .collect();
        places.sort_by_key(|(number, _)| number * 7_919 % MANY);
        for (number, place) in places {
            let offered = Rc::clone(&offered);
            local.spawn_local(async move {
                place.may_ask().await;
                place.asked();
                tokio::task::yield_now().await;
                place.may_offer().await;
                offered.borrow_mut().push(number);
            });
        }
        local.await;
        assert!(offered.borrow().iter().copied().eq(0..MANY));
    }
}
