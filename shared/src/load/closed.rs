//! The closed model: virtual users that run sessions one after another. Session i belongs to user i mod N, so that every agent
//! can number its sessions without asking anyone.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use super::contract::{Freed, Pace, Pacer, Planned, Start};
use super::profile::Levels;
use crate::id::SessionIndex;

/// A virtual user whose session failed starts the next one at the earliest this long after the failed one started: ten tries
/// a second show that a server is down, and leave it room to come back. Passing sessions follow each other at once.
const FAILED_SESSION_FLOOR: Duration = Duration::from_millis(100);

/// A closed load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Closed {
    /// Virtual users of the run.
    pub(super) users: u64,
    /// Sessions of the run; none: as many as there is time for.
    pub(super) sessions: Option<u64>,
    /// No more than so many, however long there is time.
    pub(super) most: Option<u64>,
    /// When each user may start sessions.
    pub(super) activity: Activity,
    /// Between two sessions of a user.
    pub(super) pause: Duration,
}

/// When virtual users may start sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Activity {
    /// At any time.
    Always,
    /// Users start evenly over `ramp_up`, and end evenly over the last `ramp_down` before `end`, those first that began first.
    Ramps {
        ramp_up: Duration,
        ramp_down: Duration,
        end: Option<Duration>,
    },
    /// As many users at a time as the levels say: the lowest numbers.
    Levels(Levels),
}

impl Closed {
    /// The earliest time from `at` on at which the user may start a session; none: never again.
    pub(super) fn active_from(&self, user: u64, at: Duration) -> Option<Duration> {
        match &self.activity {
            Activity::Always => Some(at),
            Activity::Ramps {
                ramp_up,
                ramp_down,
                end,
            } => {
                let first = part_of(*ramp_up, user, self.users);
                let at = at.max(first);
                let early = part_of(*ramp_down, self.users.saturating_sub(user + 1), self.users);
                let last = end.map(|end| end.saturating_sub(early));
                last.is_none_or(|last| at < last).then_some(at)
            }
            Activity::Levels(levels) => levels.above(user, at),
        }
    }

    /// How many sessions the run is to have; none: as many as there is time for.
    pub(super) fn planned(&self) -> Option<u64> {
        Some(self.sessions?.min(self.most.unwrap_or(u64::MAX)))
    }

    /// How many sessions belong to a user; none: as many as there is time for.
    pub(super) fn sessions_of(&self, user: u64) -> Option<u64> {
        let sessions = self.sessions.into_iter().chain(self.most).min()?;
        let users = self.users.max(1);
        Some(sessions / users + u64::from(user < sessions % users))
    }

    /// The n-th session of a user, from 0; none if there is none.
    pub(super) fn session(&self, user: u64, n: u64) -> Option<SessionIndex> {
        let within = self.sessions_of(user).is_none_or(|most| n < most);
        let index = n.checked_mul(self.users)?.checked_add(user)?;
        within.then_some(SessionIndex::new(index))
    }

    /// The first start of each of these users, by time.
    pub(super) fn starts(&self, users: impl Iterator<Item = u64>) -> std::vec::IntoIter<Start> {
        let first = |user| {
            let at = self.active_from(user, Duration::ZERO)?;
            let session = self.session(user, 0)?;
            Some(Start { at, session })
        };
        let mut starts: Vec<Start> = users.filter_map(first).collect();
        starts.sort_unstable();
        starts.into_iter()
    }
}

/// `whole * part / parts`, exact to the nanosecond.
fn part_of(whole: Duration, part: u64, parts: u64) -> Duration {
    let nanos = whole.as_nanos().saturating_mul(u128::from(part)) / u128::from(parts.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Paces some of the users of a closed load.
#[derive(Debug)]
pub(super) struct Users {
    load: Closed,
    planned: Option<u64>,
    /// Free users, the one that is due first on top.
    free: BinaryHeap<Reverse<(Duration, u64)>>,
    /// Sessions that each user has started.
    started: HashMap<u64, u64>,
}

impl Users {
    pub(super) fn new(load: Closed, users: impl IntoIterator<Item = u64>) -> Self {
        let mut pacer = Self {
            planned: load.sessions.map(|_| 0),
            load,
            free: BinaryHeap::new(),
            started: HashMap::new(),
        };
        for user in users {
            let sessions = pacer.load.sessions_of(user);
            if let (Some(planned), Some(more)) = (&mut pacer.planned, sessions) {
                *planned += more;
            }
            let first = pacer.load.active_from(user, Duration::ZERO);
            if let Some(first) = first.filter(|_| sessions != Some(0)) {
                pacer.free.push(Reverse((first, user)));
                pacer.started.insert(user, 0);
            }
        }
        pacer
    }
}

impl Pacer for Users {
    fn planned(&self) -> Option<u64> {
        self.planned
    }

    fn try_acquire(&mut self, now: Duration) -> Pace {
        while let Some(&Reverse((at, user))) = self.free.peek() {
            let Some(from) = self.load.active_from(user, at.max(now)) else {
                // This user's time is over, whenever it would have been due.
                self.free.pop();
                self.started.remove(&user);
                continue;
            };
            if from > now {
                if from == at {
                    return Pace::Until(at);
                }
                // It has to pause longer than it would by itself; others may be due before.
                self.free.pop();
                self.free.push(Reverse((from, user)));
                continue;
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
            next = next.max(freed.started + FAILED_SESSION_FLOOR);
        }
        self.free.push(Reverse((next, user)));
    }
}

#[cfg(test)]
#[path = "closed_tests.rs"]
mod tests;
