//! The schedule of a scenario: who starts which session, and when. An agent computes its own part from the load model and
//! its segment alone; the parts of all agents make the schedule that one agent would have.

use std::time::Duration;

use crate::id::SessionIndex;
use crate::plan::{Load, UsersUntil};
use crate::segment::{Indices, Share};

/// An agent's place in one scenario of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it owns.
    pub share: Share,
    /// Its number among the agents of the run, from 0.
    pub agent: u32,
    /// How many agents there are.
    pub agents: u32,
}

impl Part {
    /// The part of an agent that is alone.
    #[must_use]
    pub fn whole() -> Self {
        Self {
            share: Share::all(),
            agent: 0,
            agents: 1,
        }
    }
}

/// The planned start of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Start {
    /// Since the start of the scenario.
    pub at: Duration,
    /// The session.
    pub session: SessionIndex,
    /// The virtual user that runs it.
    pub user: u64,
}

/// A closed load: virtual users that run sessions one after another. Session i belongs to user i mod N, so that every agent
/// can number its sessions without asking anyone. `once` is one user with one session, `once: per_agent` one on each agent.
///
/// Open loads will be another such type, whose `starts` are all arrivals and not only the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Virtual users of the run.
    pub users: u64,
    /// Sessions of the run; none: as many as there is time for.
    pub sessions: Option<u64>,
    /// No session starts from then on; none: there is no end but that of `sessions`.
    pub end: Option<Duration>,
    /// Users start evenly over this time.
    pub ramp_up: Duration,
    /// Users end evenly over this last part of the time.
    pub ramp_down: Duration,
    /// Between two sessions of a user.
    pub pause: Duration,
    /// User i runs on agent i, whatever the shares are.
    per_agent: bool,
}

impl Closed {
    /// The closed load that a plan's load model is, in a run of so many agents; none if the model is open.
    #[must_use]
    pub fn of(load: &Load, agents: u32) -> Option<Self> {
        let once = |users: u64, per_agent: bool| Self {
            users,
            sessions: Some(users),
            end: None,
            ramp_up: Duration::ZERO,
            ramp_down: Duration::ZERO,
            pause: Duration::ZERO,
            per_agent,
        };
        match load {
            Load::Once { per_agent: false } => Some(once(1, false)),
            Load::Once { per_agent: true } => Some(once(u64::from(agents), true)),
            Load::VirtualUsers {
                users,
                until,
                ramp_up,
                ramp_down,
                pause,
            } => {
                let (sessions, end) = match until {
                    UsersUntil::Sessions(sessions) => (Some(*sessions), None),
                    UsersUntil::For(end) => (None, Some(*end)),
                };
                let users = u64::from(*users);
                let (ramp_up, ramp_down, pause) = (*ramp_up, *ramp_down, *pause);
                Some(Self {
                    users,
                    sessions,
                    end,
                    ramp_up,
                    ramp_down,
                    pause,
                    per_agent: false,
                })
            }
        }
    }

    /// The users that an agent runs, ascending.
    #[must_use]
    pub fn own_users<'a>(&self, part: &'a Part) -> OwnUsers<'a> {
        let listed = (!self.per_agent).then(|| part.share.indices(self.users));
        let alone = self.per_agent && !part.share.is_empty();
        OwnUsers {
            listed,
            alone: alone.then_some(u64::from(part.agent)),
        }
    }

    /// When a user starts its first session.
    #[must_use]
    pub fn first(&self, user: u64) -> Duration {
        part_of(self.ramp_up, user, self.users)
    }

    /// From when on a user starts no session; none: it has a number of sessions instead.
    #[must_use]
    pub fn last(&self, user: u64) -> Option<Duration> {
        let early = part_of(
            self.ramp_down,
            self.users.saturating_sub(user + 1),
            self.users,
        );
        self.end.map(|end| end.saturating_sub(early))
    }

    /// How many sessions belong to a user; none: as many as there is time for.
    #[must_use]
    pub fn sessions_of(&self, user: u64) -> Option<u64> {
        let (sessions, users) = (self.sessions?, self.users.max(1));
        Some(sessions / users + u64::from(user < sessions % users))
    }

    /// The n-th session of a user, from 0; none if there is none.
    #[must_use]
    pub fn session(&self, user: u64, n: u64) -> Option<SessionIndex> {
        let within = self.sessions_of(user).is_none_or(|most| n < most);
        let index = n.checked_mul(self.users)?.checked_add(user)?;
        within.then_some(SessionIndex::new(index))
    }

    /// How many sessions an agent is to run; none: as many as there is time for.
    #[must_use]
    pub fn planned(&self, part: &Part) -> Option<u64> {
        let sessions = self.sessions?;
        if self.per_agent {
            return Some(self.own_users(part).count() as u64);
        }
        // Users take turns, so sessions divide as whole rounds of users and the rest.
        let (rounds, rest) = (sessions / self.users.max(1), sessions % self.users.max(1));
        Some(rounds * part.share.count(self.users) + part.share.count(rest))
    }

    /// The first start of each of an agent's users, by time. When the others follow depends on how long sessions take.
    pub fn starts(&self, part: &Part) -> impl Iterator<Item = Start> {
        let (closed, users) = (*self, self.own_users(part));
        // A user's start grows with its number, so these ascend.
        users.filter_map(move |user| {
            let at = closed.first(user);
            let in_time = closed.last(user).is_none_or(|last| at < last);
            let session = closed.session(user, 0)?;
            in_time.then_some(Start { at, session, user })
        })
    }
}

/// The users that an agent runs, ascending.
#[derive(Debug, Clone)]
pub struct OwnUsers<'a> {
    listed: Option<Indices<'a>>,
    alone: Option<u64>,
}

impl Iterator for OwnUsers<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.listed
            .as_mut()
            .and_then(Iterator::next)
            .or_else(|| self.alone.take())
    }
}

/// `whole * part / parts`, exact to the nanosecond.
fn part_of(whole: Duration, part: u64, parts: u64) -> Duration {
    let nanos = whole.as_nanos().saturating_mul(u128::from(part)) / u128::from(parts.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::segment::shares;

    const SECOND: Duration = Duration::from_secs(1);

    fn users(users: u32, until: UsersUntil, ramp_up: Duration) -> Load {
        Load::VirtualUsers {
            users,
            until,
            ramp_up,
            ramp_down: Duration::ZERO,
            pause: Duration::ZERO,
        }
    }

    /// All first starts of a run whose agents have these weights.
    fn starts(load: &Load, weights: &[u32]) -> Vec<Start> {
        let agents = u32::try_from(weights.len()).unwrap();
        let closed = Closed::of(load, agents).unwrap();
        let mut all = Vec::new();
        for (agent, share) in (0..).zip(shares(weights)) {
            let own: Vec<Start> = closed
                .starts(&Part {
                    share,
                    agent,
                    agents,
                })
                .collect();
            assert!(own.is_sorted());
            all.extend(own);
        }
        all.sort_unstable();
        all
    }

    #[track_caller]
    fn check(load: &Load, weights: &[u32], expect: &[(u64, u64)]) {
        let found: Vec<_> = starts(load, weights)
            .iter()
            .map(|start| (start.at.as_secs(), start.session.get()))
            .collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn first_starts_follow_the_load_model() {
        check(&Load::Once { per_agent: false }, &[1, 1, 1], &[(0, 0)]);
        check(
            &Load::Once { per_agent: true },
            &[2, 1, 1],
            &[(0, 0), (0, 1), (0, 2)],
        );
        check(
            &Load::Once { per_agent: true },
            &[2, 0, 1],
            &[(0, 0), (0, 2)],
        );
        check(
            &users(4, UsersUntil::For(SECOND * 9), SECOND * 4),
            &[2, 1],
            &[(0, 0), (1, 1), (2, 2), (3, 3)],
        );
        check(
            &users(4, UsersUntil::For(SECOND * 2), SECOND * 4),
            &[1],
            &[(0, 0), (1, 1)],
        );
        check(
            &users(4, UsersUntil::Sessions(2), SECOND * 4),
            &[1, 1],
            &[(0, 0), (1, 1)],
        );
    }

    #[test]
    fn sessions_belong_to_users_in_turn() {
        let closed = Closed::of(&users(3, UsersUntil::Sessions(7), Duration::ZERO), 1).unwrap();
        assert_eq!(
            [0, 1, 2].map(|user| closed.sessions_of(user)),
            [Some(3), Some(2), Some(2)]
        );
        assert_eq!(closed.session(1, 1).map(SessionIndex::get), Some(4));
        assert_eq!(closed.session(1, 2), None);
        let timed = Closed::of(&users(3, UsersUntil::For(SECOND), Duration::ZERO), 1).unwrap();
        assert_eq!(
            (timed.sessions_of(0), timed.planned(&Part::whole())),
            (None, None)
        );
        assert_eq!(timed.session(2, 100).map(SessionIndex::get), Some(302));
        assert_eq!(timed.session(2, u64::MAX), None);
    }

    #[test]
    fn users_end_in_the_order_in_which_they_began() {
        let load = Load::VirtualUsers {
            users: 4,
            until: UsersUntil::For(SECOND * 10),
            ramp_up: SECOND * 4,
            ramp_down: SECOND * 4,
            pause: Duration::ZERO,
        };
        let closed = Closed::of(&load, 1).unwrap();
        assert_eq!(
            [0, 1, 2, 3].map(|user| closed.last(user).unwrap().as_secs()),
            [7, 8, 9, 10]
        );
    }

    proptest! {
        /// The schedules of all agents together are the schedule of one agent.
        #[test]
        fn the_union_of_schedules_is_the_whole(
            weights in prop::collection::vec(1u32..6, 1..8),
            user_count in 1u32..60,
            sessions in prop::option::of(1u64..200),
            ramp_up_ms in 0u64..20_000,
        ) {
            let timed = UsersUntil::For(Duration::from_secs(10));
            let until = sessions.map_or(timed, UsersUntil::Sessions);
            let load = users(user_count, until, Duration::from_millis(ramp_up_ms));
            prop_assert_eq!(starts(&load, &weights), starts(&load, &[1]));
            let agents = u32::try_from(weights.len()).unwrap();
            let closed = Closed::of(&load, agents).unwrap();
            let planned = |(agent, share)| closed.planned(&Part { share, agent, agents });
            let parts: Option<Vec<u64>> = (0..).zip(shares(&weights)).map(planned).collect();
            prop_assert_eq!(parts.map(|parts| parts.iter().sum::<u64>()), sessions);
        }

        /// Every session of the run has one user, and is that user's once.
        #[test]
        fn sessions_are_numbered_without_gap_or_overlap(user_count in 1u32..20, sessions in 0u64..100) {
            let closed = Closed::of(&users(user_count, UsersUntil::Sessions(sessions), Duration::ZERO), 1).unwrap();
            let mut seen = Vec::new();
            for user in 0..u64::from(user_count) {
                seen.extend((0..).map_while(|n| closed.session(user, n)).map(SessionIndex::get));
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..sessions).collect::<Vec<_>>());
        }
    }
}
