//! `virtual_users`: a number of clients that run sessions one after another, or as many as a profile says.

use std::time::Duration;

use super::closed::{Activity, Closed, Users};
use super::contract::{LoadForm, LoadModel, Model, Pacer, Part, Start, WorkerShare};
use super::profile::{Levels, Piece};
use crate::plan::keys::{Form, Group, Key, Keys, State};
use crate::plan::{Item, ProblemCode};

const MOST_USERS: i64 = 1_000_000;

pub(super) static FORM: LoadForm = LoadForm {
    name: "virtual_users",
    doc: "The closed model: clients that run sessions one after another.",
    state: State::Built,
    keys: &KEYS,
    read,
};

static KEYS: Keys = Keys {
    name: "load: virtual_users",
    doc: "The closed model: clients that run sessions one after another, so that a slow server gets fewer of them.",
    groups: &[Group::AtMostOne(&["for", "sessions"])],
    keys: &[
        Key::new(
            "virtual_users",
            Form::Either(&[
                Form::Int(1, MOST_USERS),
                Form::List(&Form::Object(&RAMP)),
            ]),
            "How many. A list is a profile that begins with none: `[ { to: 50, over: 30s }, { hold: 60s } ]`.",
        )
        .required(),
        Key::new(
            "for",
            Form::Duration,
            "How long they start sessions; not with a profile.",
        ),
        Key::new(
            "sessions",
            Form::Int(1, i64::MAX),
            "How many sessions they run in total; session i belongs to user i mod N.",
        ),
        Key::new(
            "ramp_up",
            Form::Duration,
            "They start evenly over this time.",
        )
        .default("0s"),
        Key::new(
            "ramp_down",
            Form::Duration,
            "They end evenly over this last part of `for`.",
        )
        .default("0s"),
        Key::new(
            "pause",
            Form::Duration,
            "Between two sessions of a virtual user.",
        )
        .default("0s"),
    ],
};

static RAMP: Keys = Keys {
    name: "ramp of virtual users",
    doc: "One segment of a profile.",
    groups: &[Group::ExactlyOne(&["to", "hold"])],
    keys: &[
        Key::new(
            "to",
            Form::Int(0, MOST_USERS),
            "So many virtual users at the end of the segment.",
        ),
        Key::new(
            "over",
            Form::Duration,
            "How long it takes to get there; `0s` is a jump.",
        ),
        Key::new("hold", Form::Duration, "So long the number stays."),
    ],
};

fn read(item: Item<'_>) -> Option<Box<dyn LoadModel>> {
    let users = item.key("virtual_users")?;
    let pause = duration(item, "pause");
    if !users.is_list() {
        return fixed(item, users, pause);
    }
    for key in ["for", "sessions", "ramp_up", "ramp_down"] {
        if let Some(key_item) = item.key(key) {
            let message = format!("`{key}` does not go with a profile of virtual users");
            key_item.problem(
                ProblemCode::Conflict,
                message,
                "the segments say how long it lasts and how it ramps: remove it",
            );
        }
    }
    let pieces = pieces(users, |to| {
        let to = to.int(0..=MOST_USERS)?;
        u64::try_from(to).ok()
    })?;
    let levels = Levels::new(pieces);
    if levels.most() == 0 {
        users.problem(
            ProblemCode::BadValue,
            "the profile never has a virtual user",
            "let a segment lead to more than 0",
        );
    }
    let length = levels.length();
    Some(Box::new(VirtualUsers {
        end: Some(length),
        closed: Closed {
            users: levels.most(),
            sessions: None,
            most: None,
            activity: Activity::Levels(levels),
            pause: pause?,
        },
    }))
}

/// The segments of a profile, which begins with nothing. `to` reads the value that one leads to.
pub(super) fn pieces<'r>(
    list: Item<'r>,
    to: impl Fn(Item<'r>) -> Option<u64>,
) -> Option<Vec<Piece>> {
    let mut level = 0;
    let mut pieces = Vec::new();
    for segment in list.items() {
        let piece = match (segment.key("hold"), segment.key("to")) {
            (Some(hold), _) => {
                for key in ["over"] {
                    if let Some(key_item) = segment.key(key) {
                        key_item.problem(
                            ProblemCode::Conflict,
                            "a segment that holds leads nowhere",
                            "remove `over`, or write `to` instead of `hold`",
                        );
                    }
                }
                Piece {
                    from: level,
                    to: level,
                    over: hold.duration()?,
                }
            }
            (None, Some(target)) => {
                let Some(over) = segment.key("over") else {
                    segment.problem(
                        ProblemCode::MissingKey,
                        "`to` needs `over`",
                        "say how long it takes to get there; `0s` is a jump",
                    );
                    return None;
                };
                Piece {
                    from: level,
                    to: to(target)?,
                    over: over.duration()?,
                }
            }
            (None, None) => return None,
        };
        level = piece.to;
        pieces.push(piece);
    }
    let length: Duration = pieces.iter().map(|piece| piece.over).sum();
    if length.is_zero() {
        list.problem(
            ProblemCode::BadValue,
            "the load lasts no time",
            "let a segment last longer than 0s",
        );
        return None;
    }
    Some(pieces)
}

fn duration(item: Item<'_>, key: &str) -> Option<Duration> {
    item.key(key).map_or(Some(Duration::ZERO), Item::duration)
}

fn fixed(item: Item<'_>, users: Item<'_>, pause: Option<Duration>) -> Option<Box<dyn LoadModel>> {
    let users = users.int(1..=MOST_USERS)?;
    let until = until(item);
    let ramps = (duration(item, "ramp_up"), duration(item, "ramp_down"));
    let (until, ramp_up, ramp_down) = (until?, ramps.0?, ramps.1?);
    check_ramps(item, until, ramp_up, ramp_down);
    let (sessions, end) = match until {
        Until::Sessions(sessions) => (Some(sessions), None),
        Until::For(end) => (None, Some(end)),
    };
    Some(Box::new(VirtualUsers {
        end,
        closed: Closed {
            users: u64::try_from(users).ok()?,
            sessions,
            most: None,
            activity: Activity::Ramps {
                ramp_up,
                ramp_down,
                end,
            },
            pause: pause?,
        },
    }))
}

/// When virtual users stop starting sessions.
#[derive(Debug, Clone, Copy)]
enum Until {
    For(Duration),
    Sessions(u64),
}

fn until(item: Item<'_>) -> Option<Until> {
    match (item.key("for"), item.key("sessions")) {
        (Some(time), _) => {
            let duration = time.duration()?;
            if duration.is_zero() {
                time.problem(
                    ProblemCode::BadValue,
                    "the load lasts no time",
                    "write a duration above 0s",
                );
            }
            Some(Until::For(duration))
        }
        (None, Some(sessions)) => {
            let number = sessions.int(1..=i64::MAX)?;
            u64::try_from(number).ok().map(Until::Sessions)
        }
        (None, None) => {
            item.problem(
                ProblemCode::MissingKey,
                "`virtual_users` needs `for` or `sessions`",
                "say how long they run, or how many sessions",
            );
            None
        }
    }
}

fn check_ramps(item: Item<'_>, until: Until, ramp_up: Duration, ramp_down: Duration) {
    match until {
        Until::For(time) if ramp_up + ramp_down > time => {
            let key = if ramp_up > time {
                "ramp_up"
            } else {
                "ramp_down"
            };
            item.key(key).unwrap_or(item).problem(
                ProblemCode::Conflict,
                "the ramps are longer than the load",
                "shorten them, or lengthen `for`",
            );
        }
        Until::Sessions(_) if !ramp_down.is_zero() => {
            item.key("ramp_down").unwrap_or(item).problem(
                ProblemCode::Conflict,
                "`ramp_down` needs an end in time",
                "use `for` instead of `sessions`",
            );
        }
        Until::For(_) | Until::Sessions(_) => {}
    }
}

/// Virtual users, by number or by profile.
#[derive(Debug, Clone, PartialEq, Eq)]
struct VirtualUsers {
    end: Option<Duration>,
    closed: Closed,
}

impl LoadModel for VirtualUsers {
    fn model(&self) -> Model {
        Model::Closed
    }

    fn end(&self) -> Option<Duration> {
        self.end
    }

    fn planned(&self, _: &Part) -> Option<u64> {
        self.closed.planned()
    }

    fn at_most(mut self: Box<Self>, sessions: u64) -> Box<dyn LoadModel> {
        self.closed.most = Some(self.closed.most.map_or(sessions, |most| most.min(sessions)));
        self
    }

    fn starts<'a>(&'a self, part: &'a Part) -> Box<dyn Iterator<Item = Start> + 'a> {
        Box::new(self.closed.starts(part.share.indices(self.closed.users)))
    }

    fn pacer(&self, share: WorkerShare) -> Box<dyn Pacer> {
        let users = share.part.share.indices(self.closed.users);
        let users = users.skip(share.worker).step_by(share.of);
        Box::new(Users::new(self.closed.clone(), users))
    }
}

#[cfg(test)]
#[path = "virtual_users_tests.rs"]
mod tests;
