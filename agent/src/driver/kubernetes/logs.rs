//! Reads logs of pods.

use serde_json::Value as Json;
use testmesh_shared::plan::ErrorKind;
use testmesh_shared::plan::expr::{Expr, Scope, Value};

use super::client::Cluster;
use super::form::{Logs, Pods, Selection};
use super::kinds::known;
use super::objects::Selected;
use super::request::{Question, answer, read_all, too_large};
use super::run::Trial;
use crate::driver::contract::{Results, StageError};
use crate::driver::limits;
use crate::driver::tries::Failure;

/// Reads the logs of one pod, or of all that labels select, one after another.
pub(super) async fn logs(trial: &Trial<'_>, logs: &Logs) -> Result<Results, Failure> {
    let cluster = trial.cluster().await?;
    let namespace = trial.one_namespace(&cluster)?;
    let container = match &logs.container {
        Some(container) => Some(trial.name("container", container)?),
        None => None,
    };
    let mut text = String::new();
    let mut docs = Vec::new();
    for pod in pods(trial, &cluster, &logs.pods).await? {
        let pods = known("Pod").expect("every cluster has pods");
        let path = format!("{}/{pod}/log", pods.path(Some(&namespace)));
        let doing = format!("reading the log of pod `{pod}`");
        let limit = trial.target().max_body.to_string();
        let mut question = Question::new(&doing, path)
            .with("tailLines", &logs.tail.to_string())
            .with("limitBytes", &limit)
            .with_some("container", container.as_deref());
        if logs.previous {
            question = question.with("previous", "true");
        }
        let bytes = read_all(trial, &cluster, question).await?;
        let read = String::from_utf8_lossy(&bytes);
        let kept = match &logs.matches {
            None => read.into_owned(),
            Some(expr) => matching(&read, expr, trial.scope())?,
        };
        if text.len() + kept.len() > trial.target().max_body {
            return Err(too_large(trial, &doing).into());
        }
        text.push_str(&kept);
        docs.push(Value::map([
            ("pod", Value::from(pod)),
            ("text", Value::from(kept)),
        ]));
    }
    Ok(Results {
        docs: Some(Value::list(docs)),
        ..answer(text)
    })
}

/// The names of the pods.
async fn pods(trial: &Trial<'_>, cluster: &Cluster, pods: &Pods) -> Result<Vec<String>, Failure> {
    let labels = match pods {
        Pods::Name(name) => return Ok(vec![trial.name("pod", name)?]),
        Pods::Labels(labels) => labels,
    };
    let labels = labels
        .text(trial.scope())
        .map_err(|error| StageError::template("labels", &error))?;
    let resource = known("Pod").expect("every cluster has pods");
    let selected = Selected::new(trial, cluster, resource, &Selection::default())?;
    let (objects, _) = selected.labelled(&labels).read(trial, cluster).await?;
    let most = limits::KUBERNETES_LOGS;
    if objects.len() > most {
        let message = format!(
            "`{labels}` selects {} pods: at most {most} are read",
            objects.len()
        );
        return Err(StageError::new(ErrorKind::Protocol, message)
            .with_code("too_many")
            .into());
    }
    let name = |object: &Json| object["metadata"]["name"].as_str().map(str::to_owned);
    let mut names: Vec<String> = objects.iter().filter_map(name).collect();
    names.sort();
    Ok(names)
}

/// The lines for which an expression is true, each with its end.
fn matching(text: &str, expr: &Expr, scope: &Scope<'_>) -> Result<String, StageError> {
    let mut kept = String::new();
    for line in text.lines() {
        let mut layer = Scope::over(scope);
        layer.set("line", line);
        let holds = expr.holds(&layer);
        let holds = holds
            .map_err(|error| StageError::new(ErrorKind::Expectation, format!("match {error}")))?;
        if holds {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    Ok(kept)
}
