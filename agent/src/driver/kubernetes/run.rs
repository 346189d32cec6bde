//! Runs one try: finds the cluster and the kind, does what the stage says, and says what it saw last if time runs out.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use testmesh_shared::plan::ErrorKind;
use testmesh_shared::plan::expr::{Scope, Template};

use super::client::Cluster;
use super::form::{KubernetesStage, Target, Work};
use super::kinds::{Kind, Resource, is_segment, root};
use super::request::{Question, garbage, read_json};
use super::{logs, objects, wait};
use crate::driver::contract::{Attempt, Driver, Evidence, Results, StageError};
use crate::driver::transcript::Said;
use crate::driver::tries::{Failure, Limit};

impl Driver for KubernetesStage {
    fn results(&self) -> &'static [&'static str] {
        match self.work {
            Work::Get(..) => &["status", "body", "text"],
            Work::List(..) | Work::Wait(_) | Work::Logs(_) | Work::Events(..) => {
                &["status", "body", "text", "docs"]
            }
        }
    }

    fn run<'a>(
        &'a self,
        attempt: &'a Attempt<'a>,
    ) -> LocalBoxFuture<'a, Result<Results, StageError>> {
        async move {
            let trial = Trial {
                stage: self,
                attempt,
                step: Cell::new("its start"),
                seen: RefCell::default(),
            };
            let limit = Limit::of(attempt.stage, self.target().timeout);
            Limit::hold(limit, trial.run(), |limit| trial.timed_out(limit)).await
        }
        .boxed_local()
    }
}

/// One try.
pub(super) struct Trial<'a> {
    pub(super) stage: &'a KubernetesStage,
    pub(super) attempt: &'a Attempt<'a>,
    /// What it waits for, for a time-out.
    step: Cell<&'static str>,
    /// What it saw last, and the evidence of it.
    seen: RefCell<(String, Bytes)>,
}

impl<'a> Trial<'a> {
    async fn run(&self) -> Result<Results, StageError> {
        let result = match &self.stage.work {
            Work::Get(kind, name) => objects::get(self, kind, name).await,
            Work::List(kind, selection) => objects::list(self, kind, selection).await,
            Work::Wait(wait) => wait::wait(self, wait).await,
            Work::Logs(logs) => logs::logs(self, logs).await,
            Work::Events(kind, name) => objects::events(self, kind, name.as_ref()).await,
        };
        let result = result.or_else(Failure::into_results);
        let status = match &result {
            Ok(results) => results.status,
            Err(error) => error.status,
        };
        if let Some(status) = status {
            self.attempt.meter.status(status);
        }
        result
    }

    pub(super) fn target(&self) -> &'a Target {
        self.stage.target()
    }

    pub(super) fn scope(&self) -> &'a Scope<'a> {
        self.attempt.scope
    }

    /// Says what is waited for from now on.
    pub(super) fn waits_for(&self, step: &'static str) {
        self.step.set(step);
    }

    /// Says what was seen last.
    pub(super) fn sees(&self, what: String, evidence: Bytes) {
        self.seen.replace((what, evidence));
    }

    /// The client to use.
    pub(super) async fn cluster(&self) -> Result<Rc<Cluster>, StageError> {
        self.waits_for("the API server");
        let connections = self.attempt.connections;
        let target = self.target();
        connections
            .open(target.connections, &self.stage.pool_key, async || {
                Cluster::new(target, self.scope(), connections.gate()).await
            })
            .await
    }

    /// The namespace to look in; none: all of them.
    pub(super) fn namespace(&self, cluster: &Cluster) -> Result<Option<String>, StageError> {
        let written = self.stage.namespace.as_ref();
        let Some(template) = written.or_else(|| self.target().namespace.as_ref()) else {
            return Ok(Some(cluster.client.default_namespace().to_owned()));
        };
        let text = template
            .text(self.scope())
            .map_err(|error| StageError::template("namespace", &error))?;
        if text == "*" {
            return Ok(None);
        }
        segment("namespace", &text).map(Some)
    }

    /// The namespace of one object, which cannot be in all of them.
    pub(super) fn one_namespace(&self, cluster: &Cluster) -> Result<String, StageError> {
        self.namespace(cluster)?.ok_or_else(|| {
            let message = "one object is in one namespace, not in `*`";
            StageError::new(ErrorKind::Expectation, message).with_code("bad_request")
        })
    }

    /// A name, rendered.
    pub(super) fn name(&self, what: &str, template: &Template) -> Result<String, StageError> {
        let text = template
            .text(self.scope())
            .map_err(|error| StageError::template(what, &error))?;
        segment(what, &text)
    }

    /// A kind: one that is known, or one that the cluster tells of, once.
    pub(super) async fn resource(
        &self,
        cluster: &Cluster,
        kind: &Kind,
    ) -> Result<Resource, Failure> {
        let (api_version, kind) = match kind {
            Kind::Known(resource) => return Ok(resource.clone()),
            Kind::Asked { api_version, kind } => (api_version, kind),
        };
        let key = (api_version.clone(), kind.clone());
        if let Some(known) = cluster.kinds.borrow().get(&key) {
            return Ok(known.clone());
        }
        let doing = format!("asking which kinds `{api_version}` has");
        let told = read_json(self, cluster, Question::new(&doing, root(api_version))).await?;
        let kinds = told["resources"].as_array();
        let kinds = kinds.ok_or_else(|| garbage(&doing, "the answer has no `resources`"))?;
        let found = kinds.iter().find(|one| {
            let name = one["name"].as_str().unwrap_or_default();
            // Those with a slash are parts of others, such as `pods/log`.
            one["kind"] == **kind && !name.contains('/')
        });
        let Some(plural) = found.and_then(|found| found["name"].as_str()) else {
            let message = format!("the cluster has no kind `{kind}` in `{api_version}`");
            let error = StageError::new(ErrorKind::Status, message).with_status(404);
            return Err(Failure::Refused(error));
        };
        let resource = Resource {
            kind: kind.clone(),
            api_version: api_version.clone(),
            plural: plural.to_owned(),
            is_namespaced: found.is_some_and(|found| found["namespaced"] == true),
        };
        cluster.kinds.borrow_mut().insert(key, resource.clone());
        Ok(resource)
    }

    /// Tells what is asked.
    pub(super) fn asked(&self, what: impl FnOnce() -> String) {
        if let Some(listener) = self.attempt.listener {
            listener.asked(&Said {
                what: &what(),
                ..Said::default()
            });
        }
    }

    /// Tells what is answered.
    pub(super) fn answered(&self, what: &str, body: &str) {
        if let Some(listener) = self.attempt.listener {
            listener.answered(&Said {
                what,
                body,
                ..Said::default()
            });
        }
    }

    fn timed_out(&self, limit: &Limit) -> StageError {
        let (seen, evidence) = &*self.seen.borrow();
        let (shown, step) = (&limit.shown, self.step.get());
        let message = format!("not done within {shown}, waiting for {step}{seen}");
        let error = StageError::new(ErrorKind::Timeout, message);
        if evidence.is_empty() {
            return error;
        }
        error.with_evidence(Evidence {
            body: evidence.clone(),
            ..Evidence::default()
        })
    }
}

/// A part of a path.
fn segment(what: &str, text: &str) -> Result<String, StageError> {
    if is_segment(text) {
        return Ok(text.to_owned());
    }
    let shown: String = text.chars().take(60).collect();
    let message = format!("`{shown}` cannot be a {what}");
    Err(StageError::new(ErrorKind::Expectation, message).with_code("bad_request"))
}
