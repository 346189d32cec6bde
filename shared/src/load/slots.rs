//! Places for sessions, which the workers of one agent share.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, PoisonError};

use crate::segment::Share;

/// The places that an agent has for sessions of one scenario: its share of `max_sessions`. A session takes the lowest free one,
/// whose number is its virtual user.
///
/// It is locked once for a start and once for an end of a session, for as long as a number takes to be moved.
#[derive(Debug, Default)]
pub struct Slots {
    free: Mutex<BinaryHeap<Reverse<u64>>>,
}

impl Slots {
    /// The places of a share, of so many in the run.
    #[must_use]
    pub fn new(share: &Share, max_sessions: u64) -> Self {
        Self {
            free: Mutex::new(share.indices(max_sessions).map(Reverse).collect()),
        }
    }

    /// Takes the lowest free place, if there is one.
    pub(super) fn take(&self) -> Option<u64> {
        self.lock().pop().map(|Reverse(slot)| slot)
    }

    /// Gives a place back.
    pub(super) fn give(&self, slot: u64) {
        self.lock().push(Reverse(slot));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BinaryHeap<Reverse<u64>>> {
        // Nothing panics while it is held, and a heap of numbers is whole at any time.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_place_is_taken() {
        let slots = Slots::new(&Share::new(vec![1], 2).unwrap(), 6);
        assert_eq!([slots.take(), slots.take()], [Some(1), Some(3)]);
        slots.give(1);
        assert_eq!(
            [slots.take(), slots.take(), slots.take()],
            [Some(1), Some(5), None]
        );
    }
}
