//! The closed model: virtual users that run sessions one after another.
//!
//! Who they are, when each starts and ends, and which sessions are theirs is [`schedule::Closed`]'s to say; what follows from
//! how long sessions take is here.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use testmesh_shared::schedule;

use super::contract::{Freed, Pace, Pacer, Planned};
use crate::limits;

/// Paces some of the users of a closed load.
#[derive(Debug)]
pub struct Closed {
    load: schedule::Closed,
    planned: Option<u64>,
    /// Free users, the one that is due first on top.
    free: BinaryHeap<Reverse<(Duration, u64)>>,
    /// Sessions that each user has started.
    started: HashMap<u64, u64>,
}

impl Closed {
    /// Paces these users.
    pub fn new(load: schedule::Closed, users: impl IntoIterator<Item = u64>) -> Self {
        let mut pacer = Self {
            load,
            planned: load.sessions.map(|_| 0),
            free: BinaryHeap::new(),
            started: HashMap::new(),
        };
        for user in users {
            let sessions = load.sessions_of(user);
            if let (Some(planned), Some(more)) = (&mut pacer.planned, sessions) {
                *planned += more;
            }
            if sessions != Some(0) {
                pacer.free.push(Reverse((load.first(user), user)));
                pacer.started.insert(user, 0);
            }
        }
        pacer
    }
}

impl Pacer for Closed {
    fn planned(&self) -> Option<u64> {
        self.planned
    }

    fn try_acquire(&mut self, now: Duration) -> Pace {
        while let Some(&Reverse((at, user))) = self.free.peek() {
            if self.load.last(user).is_some_and(|last| at.max(now) >= last) {
                // This user's time is over, whenever it would have been due.
                self.free.pop();
                self.started.remove(&user);
                continue;
            }
            if at > now {
                return Pace::Until(at);
            }
            self.free.pop();
            let started = self
                .started
                .get_mut(&user)
                .expect("a free user has a count");
            let session = self
                .load
                .session(user, *started)
                .expect("a user without sessions left is not free");
            *started += 1;
            return Pace::Start(Planned {
                index: session.get(),
                virtual_user: user,
                at,
            });
        }
        if self.started.is_empty() {
            Pace::Done
        } else {
            Pace::Held
        }
    }

    fn release(&mut self, freed: Freed) {
        let user = freed.virtual_user;
        let Some(&started) = self.started.get(&user) else {
            return;
        };
        if self
            .load
            .sessions_of(user)
            .is_some_and(|sessions| started >= sessions)
        {
            self.started.remove(&user);
            return;
        }
        let mut next = freed.ended + self.load.pause;
        if freed.failed {
            // A user whose sessions fail at once would otherwise do nothing but fail, as fast as the machine can.
            next = next.max(freed.started + limits::FAILED_SESSION_FLOOR);
        }
        self.free.push(Reverse((next, user)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use testmesh_shared::plan::{Load, UsersUntil};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn of(users: u32, until: UsersUntil, ramps: [Duration; 2]) -> schedule::Closed {
        let [ramp_up, ramp_down] = ramps;
        let load = Load::VirtualUsers {
            users,
            until,
            ramp_up,
            ramp_down,
            pause: Duration::ZERO,
        };
        schedule::Closed::of(&load, 1).unwrap()
    }

    /// Runs a pacer with sessions of one length; returns what it started.
    fn play(mut pacer: Closed, length: Duration, failed: bool) -> Vec<Planned> {
        let (mut now, mut running, mut started) = (Duration::ZERO, BinaryHeap::new(), Vec::new());
        loop {
            let wait = match pacer.try_acquire(now) {
                Pace::Start(planned) => {
                    running.push(Reverse((now + length, now, planned.virtual_user)));
                    started.push(planned);
                    continue;
                }
                Pace::Until(at) => Some(at),
                Pace::Held => None,
                Pace::Done => return started,
            };
            let next_end = running.peek().map(|Reverse((ended, ..))| *ended);
            let next = [wait, next_end]
                .into_iter()
                .flatten()
                .min()
                .expect("a held pacer has sessions running");
            now = next.max(now);
            while let Some(&Reverse((ended, began, virtual_user))) =
                running.peek().filter(|one| one.0.0 <= now)
            {
                running.pop();
                pacer.release(Freed {
                    virtual_user,
                    started: began,
                    ended,
                    failed,
                });
            }
        }
    }

    #[test]
    fn users_start_over_the_ramp_and_stop_at_the_end() {
        let load = of(
            4,
            UsersUntil::For(SECOND * 10),
            [SECOND * 4, Duration::ZERO],
        );
        let started = play(Closed::new(load, 0..4), SECOND * 3, false);
        let at: Vec<_> = started
            .iter()
            .map(|one| (one.at.as_secs(), one.index))
            .collect();
        let expected = [
            (0, 0),
            (1, 1),
            (2, 2),
            (3, 4),
            (3, 3),
            (4, 5),
            (5, 6),
            (6, 8),
            (6, 7),
            (7, 9),
            (8, 10),
            (9, 12),
            (9, 11),
        ];
        let sorted = |mut list: Vec<(u64, u64)>| {
            list.sort_unstable();
            list
        };
        assert_eq!(sorted(at), sorted(expected.to_vec()));
    }

    #[test]
    fn users_end_over_the_ramp_down() {
        let load = of(2, UsersUntil::For(SECOND * 8), [Duration::ZERO, SECOND * 4]);
        let started = play(Closed::new(load, 0..2), SECOND, false);
        let count = |user| {
            started
                .iter()
                .filter(|one| one.virtual_user == user)
                .count()
        };
        assert_eq!((count(0), count(1)), (6, 8));
    }

    #[test]
    fn a_user_whose_sessions_fail_at_once_does_not_spin() {
        let load = of(1, UsersUntil::For(SECOND), [Duration::ZERO; 2]);
        assert_eq!(play(Closed::new(load, [0]), Duration::ZERO, true).len(), 10);
    }

    #[test]
    fn users_without_sessions_are_not_waited_for() {
        let pacer = Closed::new(of(5, UsersUntil::Sessions(2), [Duration::ZERO; 2]), 0..5);
        assert_eq!(pacer.planned(), Some(2));
        assert_eq!(play(pacer, SECOND, false).len(), 2);
    }

    proptest! {
        #[test]
        fn however_users_are_shared_every_session_runs_once(
            users in 1_u32..40, sessions in 0_u64..200, parts in 1_u64..6, millis in 0_u64..50,
        ) {
            let load = of(users, UsersUntil::Sessions(sessions), [Duration::ZERO; 2]);
            let mut all: Vec<u64> = (0..parts)
                .flat_map(|part| {
                    let own = (0..u64::from(users)).filter(move |user| user % parts == part);
                    play(Closed::new(load, own), Duration::from_millis(millis), false)
                })
                .map(|planned| planned.index)
                .collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..sessions).collect::<Vec<_>>());
        }
    }
}
