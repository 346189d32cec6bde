//! A driver with a stream that has its first message at once, and ends as its stage says.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use testmesh_shared::plan::keys::{Form, Key, Keys, State};
use testmesh_shared::plan::{DriverForm, DriverStage, ErrorKind, Item};
use tokio::time::sleep;

use crate::driver::{Attempt, Driver, Drives, Results, StageError};

pub(super) static FLOW: DriverForm = DriverForm {
    name: "flow",
    doc: "A stream.",
    state: State::Built,
    stage: Form::Object(&KEYS),
    target: None,
    read,
    read_target: |_| None,
};

static KEYS: Keys = Keys {
    name: "flow",
    doc: "A stream.",
    keys: &[
        Key::new(
            "for",
            Form::Duration,
            "Ends after so long, and otherwise with `during`.",
        ),
        Key::new("fails", Form::Text, "Ends with this error."),
        Key::new("during", Form::List(&Form::Stage), "Runs meanwhile."),
    ],
    groups: &[],
};

fn read(item: Item<'_>) -> Option<Box<dyn DriverStage>> {
    let lasts = item
        .key("for")
        .map(|lasts| lasts.duration().expect("a duration"));
    let fails = item.key("fails").and_then(Item::text);
    Some(Drives::stage(Flow {
        lasts,
        fails: fails.map(|kind| kind.parse().expect("an error's kind")),
    }))
}

#[derive(Debug)]
struct Flow {
    lasts: Option<Duration>,
    fails: Option<ErrorKind>,
}

impl Driver for Flow {
    fn streams(&self) -> bool {
        true
    }

    fn run<'a>(
        &'a self,
        attempt: &'a Attempt<'a>,
    ) -> LocalBoxFuture<'a, Result<Results, StageError>> {
        async move {
            let mut running = attempt.during.map(|during| during.run());
            let during = async {
                match &mut running {
                    Some(running) => running.await,
                    None => std::future::pending().await,
                }
            };
            match self.lasts {
                None => during.await?,
                Some(lasts) => {
                    let both = async {
                        match during.await {
                            Ok(()) => std::future::pending().await,
                            Err(error) => error,
                        }
                    };
                    tokio::select! {
                        error = both => return Err(error),
                        () = sleep(lasts) => {}
                    }
                }
            }
            match self.fails {
                Some(kind) => Err(StageError::new(kind, "as the plan says")),
                None => Ok(Results::default()),
            }
        }
        .boxed_local()
    }
}
