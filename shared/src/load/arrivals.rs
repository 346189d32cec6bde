//! `arrivals`: the open model. Sessions start when they are planned to, whatever became of those before, and their latency
//! counts from then: a server that stalls is seen to stall.
//!
//! Arrivals are numbered over the whole run and shared by number. Evenly spread ones are computed each by itself; a Poisson
//! sequence is generated whole by everyone from the run's seed, and each keeps its own.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::contract::{
    Freed, LoadForm, LoadModel, Model, Pace, Pacer, Part, Planned, Start, WorkerShare,
};
use super::profile::{Piece, Rates};
use super::virtual_users::pieces;
use crate::id::SessionIndex;
use crate::plan::keys::{Form, Group, Key, Keys, State};
use crate::plan::{Item, ProblemCode};
use crate::rng::SeedTree;

/// The most sessions at once that a plan may ask for.
const MOST_SESSIONS: i64 = 10_000_000;

pub(super) static FORM: LoadForm = LoadForm {
    name: "arrivals",
    doc: "The open model: sessions start when they are planned to, whatever became of those before.",
    state: State::Built,
    keys: &KEYS,
    read,
};

static KEYS: Keys = Keys {
    name: "load: arrivals",
    doc: "The open model: sessions start when they are planned to, whatever became of those before. Latency counts from the planned start.",
    groups: &[],
    keys: &[
        Key::new(
            "arrivals",
            Form::Either(&[Form::Rate, Form::List(&Form::Object(&RAMP))]),
            "Sessions per time. A list is a profile that begins with none: `[ { to: 50/s, over: 30s }, { hold: 60s } ]`.",
        )
        .required(),
        Key::new(
            "for",
            Form::Duration,
            "How long sessions arrive; not with a profile.",
        ),
        Key::new(
            "max_sessions",
            Form::Int(1, MOST_SESSIONS),
            "The most sessions at once in the run, shared among its agents. An arrival that finds no place is dropped, and counted.",
        )
        .required(),
        Key::new(
            "spread",
            Form::Word(&["constant", "poisson"]),
            "Evenly, or as independent clients arrive.",
        )
        .default("constant"),
    ],
};

static RAMP: Keys = Keys {
    name: "ramp of arrivals",
    doc: "One segment of a profile.",
    groups: &[Group::ExactlyOne(&["to", "hold"])],
    keys: &[
        Key::new(
            "to",
            Form::Rate,
            "So many sessions per time at the end of the segment.",
        ),
        Key::new(
            "over",
            Form::Duration,
            "How long it takes to get there; `0s` is a jump.",
        ),
        Key::new("hold", Form::Duration, "So long the rate stays."),
    ],
};

fn read(item: Item<'_>) -> Option<Box<dyn LoadModel>> {
    let arrivals = item.key("arrivals")?;
    let max_sessions = item
        .key("max_sessions")
        .and_then(|key| key.int(1..=MOST_SESSIONS))
        .and_then(|number| u64::try_from(number).ok());
    let spread = match item.key("spread") {
        None => Some(Spread::Constant),
        Some(key) => key.word(&["constant", "poisson"]).map(|word| match word {
            "poisson" => Spread::Poisson,
            _ => Spread::Constant,
        }),
    };
    let pieces = if arrivals.is_list() {
        if let Some(key) = item.key("for") {
            key.problem(
                ProblemCode::Conflict,
                "`for` does not go with a profile of arrivals",
                "the segments say how long it lasts: remove it",
            );
        }
        pieces(arrivals, Item::rate)
    } else {
        constant(item, arrivals)
    };
    let rates = Rates::new(pieces?);
    if rates.arrivals() == 0 {
        arrivals.problem(
            ProblemCode::BadValue,
            "no session ever arrives",
            "raise the rate, or lengthen the load",
        );
    }
    Some(Box::new(Arrivals {
        rates,
        spread: spread?,
        max_sessions: max_sessions?,
        most: u64::MAX,
    }))
}

fn constant(item: Item<'_>, arrivals: Item<'_>) -> Option<Vec<Piece>> {
    let rate = arrivals.rate();
    let Some(key) = item.key("for") else {
        item.problem(
            ProblemCode::MissingKey,
            "`arrivals` needs `for`",
            "say how long sessions arrive",
        );
        return None;
    };
    let (rate, over) = (rate?, key.duration()?);
    if over.is_zero() {
        key.problem(
            ProblemCode::BadValue,
            "the load lasts no time",
            "write a duration above 0s",
        );
        return None;
    }
    Some(vec![Piece {
        from: rate,
        to: rate,
        over,
    }])
}

/// How arrivals are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spread {
    Constant,
    Poisson,
}

/// An open load.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Arrivals {
    rates: Rates,
    spread: Spread,
    max_sessions: u64,
    /// As many sessions, whatever the rates say.
    most: u64,
}

impl Arrivals {
    fn poisson(&self, seeds: &SeedTree) -> Poisson {
        Poisson {
            most: self.most,
            ..Poisson::new(seeds, self.rates.expected())
        }
    }

    /// A part's arrivals, in their order, of which one worker takes every `of`-th.
    fn of_part(&self, part: &Part, worker: u64, of: u64) -> Own {
        let times = match self.spread {
            Spread::Constant => Times::Even {
                next: worker,
                step: of,
                end: part.share.count(self.rates.arrivals().min(self.most)),
            },
            Spread::Poisson => Times::Poisson {
                all: Box::new(self.poisson(&part.seeds)),
                turn: worker,
                of,
            },
        };
        Own {
            rates: self.rates.clone(),
            part: part.clone(),
            times,
        }
    }
}

impl LoadModel for Arrivals {
    fn model(&self) -> Model {
        Model::Open
    }

    fn end(&self) -> Option<Duration> {
        Some(self.rates.length())
    }

    fn planned(&self, whole: &Part) -> Option<u64> {
        Some(match self.spread {
            Spread::Constant => self.rates.arrivals().min(self.most),
            Spread::Poisson => self.poisson(&whole.seeds).count() as u64,
        })
    }

    fn at_most(self: Box<Self>, sessions: u64) -> Box<dyn LoadModel> {
        Box::new(Self {
            most: self.most.min(sessions),
            ..*self
        })
    }

    fn max_sessions(&self) -> Option<u64> {
        Some(self.max_sessions)
    }

    fn starts<'a>(&'a self, part: &'a Part) -> Box<dyn Iterator<Item = Start> + 'a> {
        Box::new(self.of_part(part, 0, 1))
    }

    fn pacer(&self, share: WorkerShare) -> Box<dyn Pacer> {
        let own = self.of_part(&share.part, share.worker as u64, share.of as u64);
        Box::new(Open {
            next: None,
            own,
            share,
        })
    }
}

/// The arrivals of a part, or of one worker of it, in their order.
#[derive(Debug)]
struct Own {
    rates: Rates,
    part: Part,
    times: Times,
}

#[derive(Debug)]
enum Times {
    /// The next of the part's own, and how many there are.
    Even { next: u64, step: u64, end: u64 },
    /// All of the run's; every `of`-th of the part's own after `turn` more is this worker's.
    Poisson {
        all: Box<Poisson>,
        turn: u64,
        of: u64,
    },
}

impl Iterator for Own {
    type Item = Start;

    fn next(&mut self) -> Option<Start> {
        match &mut self.times {
            Times::Even { next, step, end } => {
                let own = *next;
                if own >= *end {
                    return None;
                }
                *next = own.saturating_add(*step);
                let index = self.part.share.nth(own)?;
                Some(Start {
                    at: self.rates.even(index),
                    session: SessionIndex::new(index),
                })
            }
            Times::Poisson { all, turn, of } => loop {
                let (index, arrivals) = all.next()?;
                if !self.part.share.owns(index) {
                    continue;
                }
                if *turn > 0 {
                    *turn -= 1;
                    continue;
                }
                *turn = *of - 1;
                return Some(Start {
                    at: self.rates.at(arrivals),
                    session: SessionIndex::new(index),
                });
            },
        }
    }
}

/// A Poisson process of rate 1, cut at an expected number: exponentially distributed steps, added up. A profile's own times
/// follow by its area, which is the usual time change of an inhomogeneous process (Çinlar, *Introduction to Stochastic
/// Processes*, 4.7).
#[derive(Debug)]
struct Poisson {
    rng: ChaCha8Rng,
    index: u64,
    /// No more than so many.
    most: u64,
    at: f64,
    end: f64,
}

impl Poisson {
    fn new(seeds: &SeedTree, end: f64) -> Self {
        Self {
            rng: seeds.child("arrivals").rng(),
            index: 0,
            most: u64::MAX,
            at: 0.0,
            end,
        }
    }
}

impl Iterator for Poisson {
    type Item = (u64, f64);

    fn next(&mut self) -> Option<(u64, f64)> {
        if self.index >= self.most {
            return None;
        }
        // The upper 53 bits are what a double holds; above 0, so that the logarithm is finite.
        #[expect(clippy::cast_precision_loss, reason = "53 bits are left")]
        let uniform = ((self.rng.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        // Not the platform's logarithm: all agents must have the same arrivals, to the last bit.
        self.at -= libm::log(uniform);
        if self.at >= self.end {
            return None;
        }
        let index = self.index;
        self.index += 1;
        Some((index, self.at))
    }
}

/// Paces the arrivals of one worker.
#[derive(Debug)]
struct Open {
    own: Own,
    /// The next arrival, if it was looked at and was not due.
    next: Option<Start>,
    share: WorkerShare,
}

impl Pacer for Open {
    fn planned(&self) -> Option<u64> {
        match self.own.times {
            Times::Even { next, step, end } => Some(end.saturating_sub(next).div_ceil(step)),
            Times::Poisson { .. } => None,
        }
    }

    fn try_acquire(&mut self, now: Duration) -> Pace {
        let Some(start) = self.next.take().or_else(|| self.own.next()) else {
            return Pace::Done;
        };
        if start.at > now {
            self.next = Some(start);
            return Pace::Until(start.at);
        }
        match self.share.slots.take() {
            None => Pace::Dropped,
            Some(slot) => Pace::Start(Planned {
                index: start.session.get(),
                virtual_user: slot,
                at: start.at,
            }),
        }
    }

    fn release(&mut self, freed: Freed) {
        self.share.slots.give(freed.virtual_user);
    }
}

#[cfg(test)]
#[path = "arrivals_tests.rs"]
mod tests;
