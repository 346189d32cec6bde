//! The driver `wait`: lets time pass.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use testmesh_shared::plan::keys::{Form, Group, Key, Keys, State};
use testmesh_shared::plan::{DriverForm, DriverStage, Item};

use super::contract::{Attempt, Driver, Drives, Results, StageError};

/// The driver `wait`.
pub(super) static FORM: DriverForm = DriverForm {
    name: "wait",
    doc: "Lets time pass.",
    state: State::Built,
    stage: Form::Object(&STAGE),
    target: None,
    read,
    read_target: |_| None,
};

static STAGE: Keys = Keys {
    name: "wait",
    doc: "How long to wait.",
    keys: &[
        Key::new("for", Form::Duration, "So long."),
        Key::new(
            "at",
            Form::Duration,
            "Until this time of the run; not at all if it has passed.",
        ),
    ],
    groups: &[Group::ExactlyOne(&["for", "at"])],
};

fn read(item: Item<'_>) -> Option<Box<dyn DriverStage>> {
    let wait = match item.key("for") {
        Some(duration) => Wait::For(duration.duration()?),
        None => Wait::At(item.key("at")?.duration()?),
    };
    Some(Drives::stage(wait))
}

/// Until when a stage waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// So long from the try's start.
    For(Duration),
    /// Until this time of the run; not at all if it has passed.
    At(Duration),
}

impl Driver for Wait {
    /// It waits as long as the plan says.
    fn default_timeout(&self) -> Option<Duration> {
        None
    }

    fn run<'a>(
        &'a self,
        attempt: &'a Attempt<'a>,
    ) -> LocalBoxFuture<'a, Result<Results, StageError>> {
        async move {
            match *self {
                Self::For(duration) => tokio::time::sleep(duration).await,
                Self::At(offset) => tokio::time::sleep_until(attempt.run_started + offset).await,
            }
            Ok(Results::default())
        }
        .boxed_local()
    }
}
