//! A driver that does what its stage says, and a kit that runs sessions with it.
//!
//! `fake: "refused; status 503; ok {\"a\": 1}"` says what each try of a session gives; the last word repeats. Words: `ok`
//! with an optional JSON body, `status N` with one, an error kind, `answers` with one that the server itself gives, `hang`, `sleep MS` before the next word, `jump MS`
//! as if the thread stood still for so long, `panic`.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use testmesh_shared::clock::TimeAnchor;
use testmesh_shared::metric::Histogram;
use testmesh_shared::plan::expr::{Secrets, Template};
use testmesh_shared::plan::keys::{Form, State};
use testmesh_shared::plan::{
    self, DriverForm, DriverStage, ErrorKind, Files, Item, Plan, Source, VarOverrides,
};
use testmesh_shared::rng::SeedTree;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::flow::FLOW;
use crate::driver::{Attempt, Body, Connections, Driver, Drives, Gate, Results, StageError};
use crate::integrity::Truths;
use crate::limits;
use crate::recorder::{Catalog, Delta, Recorder, RunClock};
use crate::runner::context::{Part, RunContext, RunFacts, ScenarioContext};
use crate::runner::session::{self, SessionEnd, SessionStart};
use crate::runner::trace::Tracer;

pub(super) static FAKE: DriverForm = DriverForm {
    name: "fake",
    doc: "Does what its stage says.",
    state: State::Built,
    stage: Form::Template,
    target: None,
    read,
    read_target: |_| None,
};

fn read(item: Item<'_>) -> Option<Box<dyn DriverStage>> {
    Some(Drives::stage(Fake {
        script: item.template()?,
        tries: Mutex::default(),
    }))
}

#[derive(Debug)]
struct Fake {
    script: Template,
    tries: Mutex<HashMap<u64, usize>>,
}

impl Driver for Fake {
    fn results(&self) -> &'static [&'static str] {
        &["status", "body", "text", "headers"]
    }

    fn run<'a>(
        &'a self,
        attempt: &'a Attempt<'a>,
    ) -> LocalBoxFuture<'a, Result<Results, StageError>> {
        async move {
            let script = self
                .script
                .text(attempt.scope)
                .map_err(|error| StageError::new(ErrorKind::Internal, error.to_string()))?;
            let words: Vec<&str> = script.split(';').map(str::trim).collect();
            let at = {
                let mut tries = self.tries.lock().unwrap();
                let tries = tries.entry(attempt.session).or_default();
                *tries += 1;
                *tries - 1
            };
            let said = say(words[at.min(words.len() - 1)]).await;
            if let Some(status) = said.as_ref().ok().and_then(|results| results.status) {
                attempt.meter.status(status);
            }
            said
        }
        .boxed_local()
    }
}

async fn say(words: &str) -> Result<Results, StageError> {
    let (word, rest) = words.split_once(' ').unwrap_or((words, ""));
    let body = |text: &str| {
        if text.is_empty() {
            Body::None
        } else {
            Body::Bytes(Bytes::from(text.to_owned()))
        }
    };
    match word {
        "ok" => Ok(Results {
            status: Some(200),
            body: body(rest),
            ..Results::default()
        }),
        "status" => {
            let (code, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            let status: i64 = code.parse().unwrap();
            let failure = StageError::new(
                ErrorKind::Status,
                format!("the answer's status is {status}"),
            );
            let failure = (status >= 400).then(|| failure.with_status(status));
            Ok(Results {
                status: Some(status),
                body: body(rest),
                failure,
                ..Results::default()
            })
        }
        "answers" => Ok(Results {
            failure: Some(StageError::new(rest.parse().unwrap(), "as the server says")),
            ..Results::default()
        }),
        "hang" => std::future::pending().await,
        "sleep" => {
            let (millis, rest) = rest.split_once(' ').unwrap_or((rest, "ok"));
            tokio::time::sleep(Duration::from_millis(millis.parse().unwrap())).await;
            Box::pin(say(rest)).await
        }
        "jump" => {
            tokio::time::advance(Duration::from_millis(rest.parse().unwrap())).await;
            Box::pin(say("ok")).await
        }
        "panic" => panic!("as the plan says"),
        kind => Err(StageError::new(
            kind.parse().unwrap(),
            format!("as the plan says: {kind}"),
        )),
    }
}

/// A plan with one scenario `s`; `stages` is the YAML behind `stages:`, indented by six.
pub(super) fn plan_of(load: &str, rest: &str) -> Arc<Plan> {
    plan_with("", load, rest)
}

/// The same with more keys of the plan.
pub(super) fn plan_with(head: &str, load: &str, rest: &str) -> Arc<Plan> {
    let text =
        format!("testmesh: v1\nname: test\n{head}scenarios:\n  s:\n    load: {load}\n{rest}");
    let source = Source {
        name: "test.yaml",
        text: &text,
        files: &Codes,
    };
    let loaded = plan::load(source, &VarOverrides::default(), &[&FAKE, &FLOW]);
    Arc::new(
        loaded
            .unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
            .0,
    )
}

/// A feed of numbers, whatever it is called.
struct Codes;

impl Files for Codes {
    fn read(&self, _path: &str) -> Result<Arc<[u8]>, String> {
        Ok(Arc::from(&b"code\n201\n202\n203\n204\n205\n"[..]))
    }
}

/// One run on one worker, without an assignment.
pub(super) struct Kit {
    pub(super) context: Rc<RunContext>,
    pub(super) recorder: Recorder,
}

impl Kit {
    pub(super) fn new(plan: &Arc<Plan>) -> Self {
        let catalog = Arc::new(Catalog::new(limits::SERIES));
        let recorder = Recorder::new(RunClock::new(), catalog);
        recorder.clock().start_at(Instant::now());
        let facts = RunFacts {
            run: "20261122-000000-0000".parse().unwrap(),
            plan: Arc::clone(plan),
            feeds: RunFacts::feeds_of(plan, 1),
            transcript: None,
            truths: Truths::default(),
            seed: 1,
            agent: "a".parse().unwrap(),
            site: "local".parse().unwrap(),
            secrets: Secrets::new(vec![("token".into(), "hunter2".into())]),
        };
        let tracer = Tracer {
            sink: None,
            rules: plan.trace.clone(),
            run: None,
            seeds: SeedTree::new(1),
            anchor: TimeAnchor::now(),
        };
        let connections = Connections::worker(0, 1, &Arc::new(Gate::default()));
        let context = RunContext::new(Arc::new(facts), recorder.clone(), tracer, connections);
        Self {
            context: Rc::new(context),
            recorder,
        }
    }

    /// Runs one session of the plan's scenario.
    pub(super) async fn session(&self, interrupt: CancellationToken) -> SessionEnd {
        let scenario = Rc::new(ScenarioContext::new(
            &self.context.facts.plan,
            Part::Scenario(0),
        ));
        let connections = self.context.connections.for_virtual_user();
        let start = SessionStart {
            index: 0,
            virtual_user: 0,
            connections,
        };
        session::run(Rc::clone(&self.context), scenario, start, interrupt).await
    }

    pub(super) fn cut(&self) -> Measured {
        Measured {
            delta: self.recorder.cut(Instant::now()),
            recorder: self.recorder.clone(),
        }
    }
}

/// What was measured, by name.
pub(super) struct Measured {
    pub(super) delta: Delta,
    recorder: Recorder,
}

impl Measured {
    pub(super) fn count(&self, metric: &str) -> u64 {
        self.delta.counter(&self.recorder, metric)
    }

    /// All that a trend holds, over its labels and seconds.
    pub(super) fn trend(&self, metric: &str) -> Histogram {
        let mut whole = Histogram::new();
        for ((_, id), trend) in &self.delta.trends {
            let key = self.recorder.catalog().trend_key(*id).unwrap();
            if key.metric.name() == metric {
                whole.merge(trend);
            }
        }
        whole
    }

    /// `stage error` pairs of `stage_errors`, sorted.
    pub(super) fn errors(&self) -> Vec<String> {
        let mut errors = Vec::new();
        for ((_, id), value) in &self.delta.counters {
            let key = self.recorder.catalog().counter_key(*id).unwrap();
            if key.metric.name() == "stage_errors" {
                let label = |name| {
                    key.labels
                        .iter()
                        .find(|(known, _)| *known == name)
                        .unwrap()
                        .1
                        .to_string()
                };
                errors
                    .extend((0..*value).map(|_| format!("{} {}", label("stage"), label("error"))));
            }
        }
        errors.sort();
        errors
    }

    /// The values of a label of a counter, each with its count, sorted.
    pub(super) fn by_label(&self, metric: &str, name: &str) -> Vec<(String, u64)> {
        let mut counts = Vec::new();
        for ((_, id), value) in &self.delta.counters {
            let key = self.recorder.catalog().counter_key(*id).unwrap();
            if key.metric.name() == metric {
                let label = key.labels.iter().find(|(known, _)| *known == name);
                counts.push((label.unwrap().1.to_string(), *value));
            }
        }
        counts.sort();
        counts
    }

    /// Codes of findings, sorted.
    pub(super) fn findings(&self) -> Vec<&'static str> {
        let mut codes: Vec<_> = self
            .delta
            .findings
            .iter()
            .map(|finding| finding.key.code)
            .collect();
        codes.sort_unstable();
        codes
    }
}
