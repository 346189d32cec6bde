//! The link's state machine: pure, told the time, returns what to do.
//!
//! | phase | event | next | actions |
//! | --- | --- | --- | --- |
//! | Idle | time to dial | Dialing | Dial |
//! | Dialing | Dialled | Greeting | Greet |
//! | Greeting | Welcomed | Connected | Announce up |
//! | Dialing, Greeting | Broke, or no answer in time | Idle, later | HangUp |
//! | Connected | Heard | Connected | |
//! | Connected | time to beat | Connected | Beat |
//! | Connected | Broke, or silence for half a lease | Idle, soon | HangUp, Announce down |
//! | any but Closed | silence since the last message for a whole lease, once | same | ExpireLease |
//! | any but Closed | Refused, and welcomed within the lease | Idle, later | HangUp, Announce down if it was up |
//! | any but Closed | Refused otherwise, or never welcomed within `give_up` | Closed | HangUp, Close |
//!
//! An event that a phase does not expect (an answer from a connection given up meanwhile) changes nothing.

use std::time::Duration;

use tokio::time::Instant;

/// How patient the link is.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Before the second attempt to dial; doubles with each further one.
    pub backoff_first: Duration,
    /// The longest pause between two attempts.
    pub backoff_most: Duration,
    /// For the connection, and then for the welcome.
    pub answer_within: Duration,
    /// If no coordinator has ever welcomed this agent for so long, it gives up. None: it tries for ever.
    pub give_up: Option<Duration>,
    /// Spreads the attempts of many agents that lost one coordinator.
    pub jitter_seed: u64,
}

/// Where the link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting to dial.
    Idle {
        /// When.
        dial_at: Instant,
    },
    /// A connection is being opened.
    Dialing {
        /// When to stop waiting for it.
        until: Instant,
    },
    /// Hello was sent.
    Greeting {
        /// When to stop waiting for the welcome.
        until: Instant,
    },
    /// Welcomed.
    Connected {
        /// When the next heartbeat is due.
        beat_at: Instant,
    },
    /// Over.
    Closed,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// The connection is open.
    Dialled,
    /// The coordinator welcomed this agent, with these terms.
    Welcomed {
        /// Between two heartbeats.
        heartbeat: Duration,
        /// How long to go on without a word.
        lease: Duration,
    },
    /// Any other message arrived.
    Heard,
    /// The connection broke or could not be opened.
    Broke,
    /// The coordinator will never accept this agent.
    Refused,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a connection.
    Dial,
    /// Wait for the answer to Hello.
    Greet,
    /// Send a heartbeat and a clock probe.
    Beat,
    /// Drop the connection.
    HangUp,
    /// Tell runs that the coordinator can be reached, again.
    AnnounceUp,
    /// Tell runs that it cannot.
    AnnounceDown,
    /// Tell runs that the lease has ended: they drain.
    ExpireLease,
    /// Stop for good.
    Close,
}

/// The state machine.
#[derive(Debug)]
pub struct LinkState {
    policy: Policy,
    phase: Phase,
    began: Instant,
    attempts: u32,
    terms: Option<Terms>,
    heard: Instant,
    expired: bool,
}

#[derive(Clone, Copy, Debug)]
struct Terms {
    heartbeat: Duration,
    lease: Duration,
}

impl LinkState {
    /// A link that dials at once.
    pub fn new(policy: Policy, now: Instant) -> Self {
        let phase = Phase::Idle { dial_at: now };
        Self {
            policy,
            phase,
            began: now,
            attempts: 0,
            terms: None,
            heard: now,
            expired: false,
        }
    }

    /// Where the link stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// When [`Event::Tick`] is next worth sending.
    pub fn wake_at(&self) -> Option<Instant> {
        let lease = (!self.expired)
            .then(|| self.terms.map(|terms| self.heard + terms.lease))
            .flatten();
        let silence = self.terms.map(|terms| self.heard + terms.lease / 2);
        let own = match self.phase {
            Phase::Idle { dial_at } => Some(dial_at),
            Phase::Dialing { until } | Phase::Greeting { until } => Some(until),
            Phase::Connected { beat_at } => {
                Some(silence.map_or(beat_at, |silence| silence.min(beat_at)))
            }
            Phase::Closed => return None,
        };
        [own, lease, self.gives_up_at()].into_iter().flatten().min()
    }

    /// Takes one event in and says what to do about it.
    pub fn step(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match (self.phase, event) {
            (Phase::Closed, _) => return actions,
            // What an agent is in the middle of it finishes: what stands before a coordinator may refuse for a while, too.
            (_, Event::Refused) if self.terms.is_some() && !self.expired => {
                self.hang_up(now, &mut actions);
            }
            (_, Event::Refused) => self.close(&mut actions),
            (Phase::Dialing { .. }, Event::Dialled) => {
                self.phase = Phase::Greeting {
                    until: now + self.policy.answer_within,
                };
                actions.push(Action::Greet);
            }
            (Phase::Greeting { .. }, Event::Welcomed { heartbeat, lease }) => {
                self.terms = Some(Terms { heartbeat, lease });
                self.attempts = 0;
                self.hear(now);
                // The first heartbeat at once: it carries the first clock probe.
                self.phase = Phase::Connected { beat_at: now };
                actions.push(Action::AnnounceUp);
            }
            (Phase::Connected { .. }, Event::Heard) => self.hear(now),
            (
                Phase::Dialing { .. } | Phase::Greeting { .. } | Phase::Connected { .. },
                Event::Broke,
            ) => {
                self.hang_up(now, &mut actions);
            }
            _ => {}
        }
        self.pass_time(now, &mut actions);
        actions
    }

    fn pass_time(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.gives_up_at().is_some_and(|at| now >= at) {
            self.close(actions);
        }
        match self.phase {
            Phase::Idle { dial_at } if now >= dial_at => {
                self.phase = Phase::Dialing {
                    until: now + self.policy.answer_within,
                };
                actions.push(Action::Dial);
            }
            Phase::Dialing { until } | Phase::Greeting { until } if now >= until => {
                self.hang_up(now, actions)
            }
            Phase::Connected { beat_at } => {
                let terms = self
                    .terms
                    .expect("a connected link was welcomed with terms");
                if now >= self.heard + terms.lease / 2 {
                    self.hang_up(now, actions);
                } else if now >= beat_at {
                    self.phase = Phase::Connected {
                        beat_at: now + terms.heartbeat,
                    };
                    actions.push(Action::Beat);
                }
            }
            _ => {}
        }
        let lease = self.terms.map(|terms| terms.lease);
        if self.phase != Phase::Closed
            && !self.expired
            && lease.is_some_and(|lease| now >= self.heard + lease)
        {
            self.expired = true;
            actions.push(Action::ExpireLease);
        }
    }

    fn hear(&mut self, now: Instant) {
        self.heard = now;
        self.expired = false;
    }

    fn hang_up(&mut self, now: Instant, actions: &mut Vec<Action>) {
        actions.push(Action::HangUp);
        if matches!(self.phase, Phase::Connected { .. }) {
            actions.push(Action::AnnounceDown);
        }
        self.phase = Phase::Idle {
            dial_at: now + self.backoff(),
        };
        self.attempts = self.attempts.saturating_add(1);
    }

    fn close(&mut self, actions: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Idle { .. }) {
            actions.push(Action::HangUp);
        }
        self.phase = Phase::Closed;
        actions.push(Action::Close);
    }

    fn gives_up_at(&self) -> Option<Instant> {
        if self.terms.is_some() || self.phase == Phase::Closed {
            return None;
        }
        self.policy.give_up.map(|after| self.began + after)
    }

    /// Between half and all of the doubled pause, by a number that only this agent and attempt have.
    fn backoff(&self) -> Duration {
        let doubled = self
            .policy
            .backoff_first
            .saturating_mul(1 << self.attempts.min(16));
        let pause = doubled.min(self.policy.backoff_most);
        let mixed = (self.policy.jitter_seed ^ u64::from(self.attempts))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let share = u32::try_from(mixed >> 48).expect("16 bits are left");
        pause / 2 + pause / 2 * share / (1 << 16)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy() -> Policy {
        Policy {
            backoff_first: SECOND,
            backoff_most: SECOND * 8,
            answer_within: SECOND * 5,
            give_up: None,
            jitter_seed: 7,
        }
    }

    fn welcomed() -> Event {
        Event::Welcomed {
            heartbeat: SECOND,
            lease: SECOND * 10,
        }
    }

    /// Plays events at seconds after the start and compares the actions of each.
    #[track_caller]
    fn check(policy: Policy, script: &[(u64, Event, &[Action])]) {
        let start = Instant::now();
        let mut state = LinkState::new(policy, start);
        for (at, event, expected) in script {
            let actions = state.step(start + SECOND * u32::try_from(*at).unwrap(), *event);
            assert_eq!(
                actions,
                *expected,
                "{event:?} at {at}s in {:?}",
                state.phase()
            );
        }
    }

    #[test]
    fn dials_greets_and_beats() {
        check(
            policy(),
            &[
                (0, Event::Tick, &[Action::Dial]),
                (0, Event::Dialled, &[Action::Greet]),
                (0, welcomed(), &[Action::AnnounceUp, Action::Beat]),
                (1, Event::Heard, &[Action::Beat]),
                (1, Event::Heard, &[]),
            ],
        );
    }

    #[test]
    fn a_broken_link_is_dialled_again_and_the_lease_ends_once() {
        check(
            policy(),
            &[
                (0, Event::Tick, &[Action::Dial]),
                (0, Event::Dialled, &[Action::Greet]),
                (0, welcomed(), &[Action::AnnounceUp, Action::Beat]),
                (2, Event::Broke, &[Action::HangUp, Action::AnnounceDown]),
                (3, Event::Tick, &[Action::Dial]),
                (3, Event::Broke, &[Action::HangUp]),
                (10, Event::Tick, &[Action::Dial, Action::ExpireLease]),
                (11, Event::Dialled, &[Action::Greet]),
                (11, welcomed(), &[Action::AnnounceUp, Action::Beat]),
            ],
        );
    }

    #[test]
    fn silence_for_half_a_lease_breaks_the_link() {
        check(
            policy(),
            &[
                (0, Event::Tick, &[Action::Dial]),
                (0, Event::Dialled, &[Action::Greet]),
                (0, welcomed(), &[Action::AnnounceUp, Action::Beat]),
                (4, Event::Tick, &[Action::Beat]),
                (5, Event::Tick, &[Action::HangUp, Action::AnnounceDown]),
            ],
        );
    }

    #[test]
    fn answers_that_never_come_are_not_waited_for() {
        check(
            policy(),
            &[
                (0, Event::Tick, &[Action::Dial]),
                (5, Event::Tick, &[Action::HangUp]),
                (5, Event::Dialled, &[]),
                (6, Event::Tick, &[Action::Dial]),
                (7, Event::Dialled, &[Action::Greet]),
                (12, Event::Tick, &[Action::HangUp]),
            ],
        );
    }

    #[test]
    fn refusal_and_impatience_close_for_good() {
        check(
            policy(),
            &[
                (0, Event::Tick, &[Action::Dial]),
                (0, Event::Refused, &[Action::HangUp, Action::Close]),
                (9, Event::Tick, &[]),
            ],
        );
        check(
            Policy {
                give_up: Some(SECOND * 3),
                ..policy()
            },
            &[
                (0, Event::Tick, &[Action::Dial]),
                (1, Event::Broke, &[Action::HangUp]),
                (3, Event::Tick, &[Action::Close]),
            ],
        );
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            3 => Just(Event::Tick),
            2 => Just(Event::Dialled),
            2 => Just(welcomed()),
            2 => Just(Event::Heard),
            2 => Just(Event::Broke),
            1 => Just(Event::Refused),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_announcements_alternate_and_time_moves_on(
            events in proptest::collection::vec((0_u64..4_000, any_event()), 0..200),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut state = LinkState::new(Policy { give_up: Some(SECOND * 20), ..policy() }, start);
            let (mut up, mut open) = (false, false);
            for (millis, event) in events {
                now += Duration::from_millis(millis);
                for action in state.step(now, event) {
                    match action {
                        Action::AnnounceUp => prop_assert!(!std::mem::replace(&mut up, true)),
                        Action::AnnounceDown => prop_assert!(std::mem::replace(&mut up, false)),
                        Action::Dial => prop_assert!(!std::mem::replace(&mut open, true), "one connection at a time"),
                        Action::HangUp => prop_assert!(std::mem::replace(&mut open, false)),
                        Action::Close => { prop_assert!(!open); up = false; }
                        Action::Greet | Action::Beat => prop_assert!(open),
                        Action::ExpireLease => {}
                    }
                }
                let closed = state.phase() == Phase::Closed;
                prop_assert_eq!(state.wake_at().is_none(), closed, "an open link always wakes up");
                // A tick at the time it asked for leaves nothing due: no busy loop.
                if let Some(at) = state.wake_at() {
                    now = now.max(at);
                    for action in state.step(now, Event::Tick) {
                        match action {
                            Action::AnnounceDown => up = false,
                            Action::Dial => open = true,
                            Action::HangUp | Action::Close => open = false,
                            _ => {}
                        }
                    }
                    prop_assert!(state.wake_at().is_none_or(|next| next > now));
                }
            }
        }
    }
}
