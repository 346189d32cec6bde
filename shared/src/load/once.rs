//! `once`: one session in the run, or one on each agent. For end-to-end tests.

use std::time::Duration;

use super::closed::{self, Closed};
use super::contract::{LoadForm, LoadModel, Model, Pacer, Part, Start, WorkerShare};
use crate::plan::keys::{Form, Key, Keys, State};

pub(super) static FORM: LoadForm = LoadForm {
    name: "once",
    doc: "One session: in the run (`load: once`), or on each agent.",
    state: State::Built,
    keys: &KEYS,
    read: |item| {
        item.key("once")?.word(&["per_agent"])?;
        Some(Box::new(Once::new(Where::OnEachAgent)))
    },
};

static KEYS: Keys = Keys {
    name: "load: once",
    doc: "One session on each agent. `load: once` is one session in the run.",
    groups: &[],
    keys: &[Key::new(
        "once",
        Form::Word(&["per_agent"]),
        "One session on each agent.",
    )
    .required()],
};

/// One session in the run.
pub(super) fn in_the_run() -> Box<dyn LoadModel> {
    Box::new(Once::new(Where::InTheRun))
}

/// One session in each of these places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Once {
    place: Where,
    most: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    InTheRun,
    OnEachAgent,
}

impl Once {
    const fn new(place: Where) -> Self {
        Self { place, most: None }
    }

    fn closed(self, part: &Part) -> Closed {
        let users = match self.place {
            Where::InTheRun => 1,
            Where::OnEachAgent => u64::from(part.agents),
        };
        Closed {
            users,
            sessions: Some(users),
            most: self.most,
            activity: closed::Activity::Always,
            pause: Duration::ZERO,
        }
    }

    /// The user of the part, if it has one: in the run the owner of number 0, else each agent its own.
    fn user(self, part: &Part) -> Option<u64> {
        match self.place {
            Where::InTheRun => part.share.owns(0).then_some(0),
            Where::OnEachAgent => (!part.share.is_empty()).then_some(u64::from(part.agent)),
        }
    }
}

impl LoadModel for Once {
    fn model(&self) -> Model {
        Model::Once
    }

    fn end(&self) -> Option<Duration> {
        None
    }

    fn planned(&self, whole: &Part) -> Option<u64> {
        self.closed(whole).planned()
    }

    fn at_most(self: Box<Self>, sessions: u64) -> Box<dyn LoadModel> {
        Box::new(Self {
            most: Some(self.most.map_or(sessions, |most| most.min(sessions))),
            ..*self
        })
    }

    fn starts<'a>(&'a self, part: &'a Part) -> Box<dyn Iterator<Item = Start> + 'a> {
        let closed = self.closed(part);
        Box::new(closed.starts(self.user(part).into_iter()))
    }

    fn pacer(&self, share: WorkerShare) -> Box<dyn Pacer> {
        let user = self.user(&share.part).filter(|_| share.worker == 0);
        Box::new(closed::Users::new(self.closed(&share.part), user))
    }
}
