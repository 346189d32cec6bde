//! Waits until objects are as a plan wants them: reads them once, and then hears of every change.
//!
//! The server ends watches as it likes, and forgets old versions: a watch that ended goes on where it was, and after `410
//! Gone` all is read again. Nothing is asked for again and again in between.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value as Json;
use testmesh_shared::plan::expr::{EvalError, Expr, Scope, Value};
use tokio::time::{Instant, sleep_until};

use super::client::Cluster;
use super::form::{Goal, Wait};
use super::objects::{Selected, tidy};
use super::request::answer;
use super::run::Trial;
use super::watch::{Change, Watch};
use crate::driver::contract::Results;
use crate::driver::limits;
use crate::driver::tries::Failure;

/// Changes that are told; the rest is counted.
const TOLD: u64 = 20;

/// Waits until the goal is met.
///
/// # Cancel safety
///
/// Dropping the future closes the connection of its watch.
pub(super) async fn wait(trial: &Trial<'_>, wait: &Wait) -> Result<Results, Failure> {
    let cluster = trial.cluster().await?;
    let resource = trial.resource(&cluster, &wait.kind).await?;
    let selected = Selected::new(trial, &cluster, resource, &wait.selection)?;
    let mut waiting = Waiting {
        trial,
        goal: &wait.goal,
        selected: &selected,
        objects: BTreeMap::new(),
        version: String::new(),
        changes: 0,
        why: None,
    };
    loop {
        waiting.read(&cluster).await?;
        if let Some(results) = waiting.judge(None) {
            return Ok(results);
        }
        waiting.sees(None);
        if let Some(results) = waiting.watch(&cluster).await? {
            return Ok(results);
        }
    }
}

/// An object, and what expressions see of it.
struct Object {
    json: Json,
    value: Value,
}

impl Object {
    fn new(json: Json) -> Self {
        let value = Value::from_json(&json);
        Self { json, value }
    }
}

/// The namespace and name of an object.
type Key = (String, String);

struct Waiting<'w> {
    trial: &'w Trial<'w>,
    goal: &'w Goal,
    selected: &'w Selected,
    objects: BTreeMap<Key, Object>,
    /// The state of the cluster that the objects are of.
    version: String,
    changes: u64,
    /// Why the goal had no value, when it was last looked at.
    why: Option<String>,
}

fn key(object: &Json) -> Key {
    let text = |name: &str| {
        object["metadata"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (text("namespace"), text("name"))
}

impl Waiting<'_> {
    /// Reads all objects.
    async fn read(&mut self, cluster: &Cluster) -> Result<(), Failure> {
        self.trial.waits_for("the API server");
        let (objects, version) = self.selected.read(self.trial, cluster).await?;
        let objects = objects.into_iter();
        self.objects = objects
            .map(|json| (key(&json), Object::new(json)))
            .collect();
        self.version = version;
        Ok(())
    }

    /// Hears of changes until the goal is met, or until all must be read again.
    async fn watch(&mut self, cluster: &Cluster) -> Result<Option<Results>, Failure> {
        loop {
            let again = Instant::now() + limits::KUBERNETES_WATCH_AGAIN;
            let opened = Watch::open(self.trial, cluster, self.selected, &self.version).await?;
            let Some(mut watch) = opened else {
                sleep_until(again).await;
                return Ok(None);
            };
            self.trial.waits_for("a change");
            loop {
                match watch.next().await? {
                    Change::Now(object) => {
                        if let Some(results) = self.now(object)? {
                            return Ok(Some(results));
                        }
                    }
                    Change::Gone(object) => {
                        if let Some(results) = self.gone(&object) {
                            return Ok(Some(results));
                        }
                    }
                    Change::Upto(version) => self.version = version,
                    Change::Closed => break,
                    Change::Lost => {
                        sleep_until(again).await;
                        return Ok(None);
                    }
                }
            }
            sleep_until(again).await;
        }
    }

    fn now(&mut self, mut json: Json) -> Result<Option<Results>, Failure> {
        tidy(&mut json);
        let key = key(&json);
        self.heard("there is", &json);
        self.objects.insert(key.clone(), Object::new(json));
        self.selected.check(self.objects.len())?;
        let results = self.judge(Some(&key));
        self.sees(Some(&key));
        Ok(results)
    }

    fn gone(&mut self, json: &Json) -> Option<Results> {
        let key = key(json);
        self.heard("gone is", json);
        self.objects.remove(&key);
        let results = self.judge(Some(&key));
        self.sees(None);
        results
    }

    fn heard(&mut self, what: &str, json: &Json) {
        if let Some(version) = json["metadata"]["resourceVersion"].as_str() {
            self.version = version.to_owned();
        }
        self.changes += 1;
        if self.trial.attempt.listener.is_some() && self.changes <= TOLD {
            let kind = &self.selected.resource.kind;
            let (_, name) = key(json);
            let what = format!("{what} {kind} `{name}`");
            self.trial.answered(&what, &state(json).to_string());
        }
    }

    /// The results if the goal is met. Only one object can have come to meet it, if one changed.
    fn judge(&mut self, changed: Option<&Key>) -> Option<Results> {
        self.why = None;
        match self.goal {
            Goal::Gone if self.objects.is_empty() => Some(Results {
                docs: Some(Value::list(Vec::new())),
                ..answer("null")
            }),
            Goal::Gone => None,
            Goal::Objects(expr) => {
                let held = self.holds(expr, None);
                self.take(held).then(|| {
                    let all: Vec<&Json> = self.objects.values().map(|one| &one.json).collect();
                    self.results(&serde_json::json!(all))
                })
            }
            Goal::Object(expr) => {
                // Where an expression reads the others too, any of them may be the one.
                let only = changed.filter(|_| !expr.reads("objects"));
                let candidates: Vec<Key> = match only {
                    Some(key) => vec![key.clone()],
                    None => self.objects.keys().cloned().collect(),
                };
                let found = candidates.into_iter().find(|key| {
                    let object = self.objects.get(key);
                    let held = object.map_or(Ok(false), |object| self.holds(expr, Some(object)));
                    self.take(held)
                })?;
                let object = self.objects.get(&found)?;
                Some(self.results(&object.json))
            }
        }
    }

    fn holds(&self, expr: &Expr, object: Option<&Object>) -> Result<bool, EvalError> {
        let mut layer = Scope::over(self.trial.scope());
        if let Some(object) = object {
            layer.set("object", object.value.clone());
        }
        if expr.reads("objects") {
            layer.set("objects", self.list());
        }
        expr.holds(&layer)
    }

    /// Whether it holds; keeps why there was no telling.
    fn take(&mut self, held: Result<bool, EvalError>) -> bool {
        held.unwrap_or_else(|error| {
            self.why = Some(error.to_string());
            false
        })
    }

    fn list(&self) -> Value {
        Value::list(self.objects.values().map(|one| one.value.clone()).collect())
    }

    fn results(&self, body: &Json) -> Results {
        Results {
            docs: Some(self.list()),
            ..answer(body.to_string())
        }
    }

    /// Keeps what a time-out would say.
    fn sees(&self, last: Option<&Key>) {
        let count = self.objects.len();
        let plural = &self.selected.resource.plural;
        let why = self.why.as_deref();
        let why = why.map_or_else(String::new, |why| format!("; until {why}"));
        let changes = self.changes;
        let text = format!("; there are {count} {plural}, after {changes} changes{why}");
        let last = last.and_then(|key| self.objects.get(key));
        let last = last.or_else(|| self.objects.values().next_back());
        let evidence = last.map(|object| state(&object.json).to_string());
        let evidence = evidence.unwrap_or_default();
        let end = evidence.floor_char_boundary(limits::EVIDENCE_BYTES);
        self.trial.sees(text, Bytes::from(evidence).slice(..end));
    }
}

/// What tells most of an object.
fn state(object: &Json) -> Json {
    serde_json::json!({
        "name": object["metadata"]["name"],
        "resourceVersion": object["metadata"]["resourceVersion"],
        "deletionTimestamp": object["metadata"]["deletionTimestamp"],
        "status": object["status"],
    })
}
