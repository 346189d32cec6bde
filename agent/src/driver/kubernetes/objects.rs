//! Reads one object, many of them, and what the cluster told about them.

use serde_json::Value as Json;
use testmesh_shared::plan::ErrorKind;
use testmesh_shared::plan::expr::{Template, Value};

use super::client::Cluster;
use super::form::Selection;
use super::kinds::{Kind, Resource, known};
use super::request::{Question, answer, garbage, read_json};
use super::run::Trial;
use crate::driver::contract::{Results, StageError};
use crate::driver::limits;
use crate::driver::tries::Failure;

/// Reads one object.
pub(super) async fn get(
    trial: &Trial<'_>,
    kind: &Kind,
    name: &Template,
) -> Result<Results, Failure> {
    let name = trial.name("name", name)?;
    let cluster = trial.cluster().await?;
    let resource = trial.resource(&cluster, kind).await?;
    let namespace = match resource.is_namespaced {
        true => Some(trial.one_namespace(&cluster)?),
        false => None,
    };
    let path = format!("{}/{name}", resource.path(namespace.as_deref()));
    let doing = format!("reading {} `{name}`", resource.kind);
    let mut object = read_json(trial, &cluster, Question::new(doing, path)).await?;
    tidy(&mut object);
    Ok(answer(object.to_string()))
}

/// Leaves out who wrote which field: it is most of many objects, and nobody asks for it.
pub(super) fn tidy(object: &mut Json) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Json::as_object_mut) {
        metadata.remove("managedFields");
    }
}

/// Reads all objects that are selected.
pub(super) async fn list(
    trial: &Trial<'_>,
    kind: &Kind,
    selection: &Selection,
) -> Result<Results, Failure> {
    let cluster = trial.cluster().await?;
    let resource = trial.resource(&cluster, kind).await?;
    let selected = Selected::new(trial, &cluster, resource, selection)?;
    let (objects, _) = selected.read(trial, &cluster).await?;
    Ok(listed(&objects))
}

/// Objects as a list.
fn listed(objects: &[Json]) -> Results {
    let docs = Value::list(objects.iter().map(Value::from_json).collect());
    Results {
        docs: Some(docs),
        ..answer(serde_json::json!(objects).to_string())
    }
}

/// Objects of a kind, and which of them.
pub(super) struct Selected {
    pub(super) resource: Resource,
    path: String,
    labels: Option<String>,
    fields: Option<String>,
    pub(super) doing: String,
}

impl Selected {
    pub(super) fn new(
        trial: &Trial<'_>,
        cluster: &Cluster,
        resource: Resource,
        selection: &Selection,
    ) -> Result<Self, StageError> {
        let text = |what, template: &Option<Template>| {
            let template = template.as_ref();
            let text = template
                .map(|template| template.text(trial.scope()))
                .transpose();
            text.map(|text| text.map(std::borrow::Cow::into_owned))
                .map_err(|error| StageError::template(what, &error))
        };
        let labels = text("labels", &selection.labels)?;
        let (fields, doing) = match &selection.name {
            Some(name) => {
                let name = trial.name("name", name)?;
                let doing = format!("reading {} `{name}`", resource.kind);
                (Some(format!("metadata.name={name}")), doing)
            }
            None => {
                let fields = text("fields", &selection.fields)?;
                (fields, format!("listing {}", resource.plural))
            }
        };
        let path = resource.path(trial.namespace(cluster)?.as_deref());
        Ok(Self {
            resource,
            path,
            labels,
            fields,
            doing,
        })
    }

    /// The same objects, if they have these labels.
    pub(super) fn labelled(self, labels: &str) -> Self {
        Self {
            labels: Some(labels.to_owned()),
            ..self
        }
    }

    /// What is asked for, without what is asked about it.
    pub(super) fn question(&self) -> Question {
        Question::new(&self.doing, &self.path)
            .with_some("labelSelector", self.labels.as_deref())
            .with_some("fieldSelector", self.fields.as_deref())
    }

    /// Reads them page after page, and the version of the cluster's state that they are of.
    pub(super) async fn read(
        &self,
        trial: &Trial<'_>,
        cluster: &Cluster,
    ) -> Result<(Vec<Json>, String), Failure> {
        let mut objects = Vec::new();
        let mut next: Option<String> = None;
        let page = limits::KUBERNETES_PAGE.to_string();
        loop {
            let question = self
                .question()
                .with("limit", &page)
                .with_some("continue", next.as_deref());
            let mut list = read_json(trial, cluster, question).await?;
            let items = list.get_mut("items").map(Json::take);
            let Some(Json::Array(items)) = items else {
                return Err(garbage(&self.doing, "the answer has no `items`").into());
            };
            for mut object in items {
                tidy(&mut object);
                self.type_it(&mut object);
                objects.push(object);
            }
            self.check(objects.len())?;
            let metadata = &list["metadata"];
            match metadata["continue"]
                .as_str()
                .filter(|next| !next.is_empty())
            {
                Some(more) => next = Some(more.to_owned()),
                None => {
                    let version = metadata["resourceVersion"].as_str().unwrap_or_default();
                    return Ok((objects, version.to_owned()));
                }
            }
        }
    }

    /// Items of a list do not say what they are.
    fn type_it(&self, object: &mut Json) {
        if let Some(object) = object.as_object_mut() {
            let Resource {
                kind, api_version, ..
            } = &self.resource;
            object.entry("kind").or_insert_with(|| kind.as_str().into());
            object
                .entry("apiVersion")
                .or_insert_with(|| api_version.as_str().into());
        }
    }

    /// A stage keeps so many objects at most.
    pub(super) fn check(&self, objects: usize) -> Result<(), StageError> {
        let most = limits::KUBERNETES_OBJECTS;
        if objects <= most {
            return Ok(());
        }
        let message = format!("{}: there are more than {most}: select fewer", self.doing);
        Err(StageError::new(ErrorKind::Protocol, message).with_code("too_many"))
    }
}

/// Reads what the cluster told about an object, or about all of its kind.
pub(super) async fn events(
    trial: &Trial<'_>,
    kind: &Kind,
    name: Option<&Template>,
) -> Result<Results, Failure> {
    let cluster = trial.cluster().await?;
    let about = trial.resource(&cluster, kind).await?;
    let mut fields = format!("involvedObject.kind={}", about.kind);
    let mut doing = format!("reading events of {}", about.plural);
    if let Some(name) = name {
        let name = trial.name("name", name)?;
        fields = format!("{fields},involvedObject.name={name}");
        doing = format!("reading events of {} `{name}`", about.kind);
    }
    let resource = known("Event").expect("every cluster has events");
    let selected = Selected {
        path: resource.path(trial.namespace(&cluster)?.as_deref()),
        resource,
        labels: None,
        fields: Some(fields),
        doing,
    };
    let (mut events, _) = selected.read(trial, &cluster).await?;
    events.sort_by_cached_key(when);
    Ok(listed(&events))
}

/// When an event was last told: times of Kubernetes sort as text.
fn when(event: &Json) -> String {
    let times = [
        &event["lastTimestamp"],
        &event["series"]["lastObservedTime"],
        &event["eventTime"],
        &event["metadata"]["creationTimestamp"],
    ];
    let mut times = times.into_iter().filter_map(Json::as_str);
    times.next().unwrap_or_default().to_owned()
}
