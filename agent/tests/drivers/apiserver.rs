//! A Kubernetes API server in memory: lists with versions and pages, watches that hear of each change and end as real ones
//! do, selectors, logs, discovery, and the `Status` objects of refusals.
//!
//! It needs nothing of the tests around it, so that those of other crates can take it in by its path. It holds any kind: an object lies where its path says. Tests write objects from outside, as controllers do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use url::form_urlencoded;

/// Runs a part of the server beside the test; it ends with the test's runtime.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's servers end with its runtime"
)]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

/// A change of an object: its version, what happened, its collection, and the object.
type Change = (u64, &'static str, String, Value);

#[derive(Default)]
struct Store {
    /// By collection (`v1/pods`, `apps/v1/deployments`), namespace and name.
    objects: BTreeMap<(String, String, String), Value>,
    version: u64,
    history: Vec<Change>,
    /// Versions before this one are forgotten.
    oldest: u64,
    logs: BTreeMap<(String, String), String>,
    /// Kinds that discovery tells of: group and version, kind, plural.
    kinds: Vec<(String, String, String)>,
    forbidden: Vec<String>,
    token: Option<String>,
    broken: Option<StatusCode>,
    asked: Vec<String>,
    says_gone_in_watches: bool,
}

/// How watches that are open go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    No,
    /// As after `timeoutSeconds`.
    Well,
    /// As when the connection breaks.
    Badly,
}

/// The server, and the hand that changes what it holds.
#[derive(Clone)]
pub(crate) struct ApiServer {
    pub(crate) address: SocketAddr,
    store: Arc<Mutex<Store>>,
    /// Counts changes, and ends of watches.
    changed: watch::Sender<(u64, Ends)>,
}

impl ApiServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let server = Self {
            address,
            store: Arc::default(),
            changed: watch::Sender::new((0, Ends::No)),
        };
        let router = Router::new().fallback(answer).with_state(server.clone());
        spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        server
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store
            .lock()
            .expect("no test panicked while it held the store")
    }

    fn tell(&self, ends: Ends) {
        self.changed.send_modify(|(count, how)| {
            *count += 1;
            *how = ends;
        });
    }

    /// Creates an object, or changes it.
    pub(crate) fn put(&self, collection: &str, namespace: &str, name: &str, mut object: Value) {
        let mut store = self.store();
        store.version += 1;
        let version = store.version;
        let metadata = &mut object["metadata"];
        metadata["name"] = name.into();
        if !namespace.is_empty() {
            metadata["namespace"] = namespace.into();
        }
        metadata["resourceVersion"] = version.to_string().into();
        metadata["managedFields"] = json!([{ "manager": "somebody" }]);
        let key = (collection.to_owned(), namespace.to_owned(), name.to_owned());
        let before = store.objects.insert(key, object.clone());
        let what = if before.is_some() {
            "MODIFIED"
        } else {
            "ADDED"
        };
        let change = (version, what, collection.to_owned(), object);
        store.history.push(change);
        drop(store);
        self.tell(Ends::No);
    }

    pub(crate) fn delete(&self, collection: &str, namespace: &str, name: &str) {
        let mut store = self.store();
        let key = (collection.to_owned(), namespace.to_owned(), name.to_owned());
        let mut object = store.objects.remove(&key).expect("an object");
        store.version += 1;
        let version = store.version;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        let change = (version, "DELETED", collection.to_owned(), object);
        store.history.push(change);
        drop(store);
        self.tell(Ends::No);
    }

    /// A pod in a phase, with an app.
    pub(crate) fn pod(&self, name: &str, app: &str, phase: &str) {
        let pod = json!({
            "metadata": { "labels": { "app": app } },
            "spec": { "containers": [{ "name": "main" }] },
            "status": { "phase": phase, "containerStatuses": [{ "name": "main", "restartCount": 0 }] },
        });
        self.put("v1/pods", "panda", name, pod);
    }

    /// Forgets all versions up to now, as etcd's compaction does: whoever watched from one of them must read again.
    pub(crate) fn compact(&self) {
        let mut store = self.store();
        store.version += 1;
        store.oldest = store.version;
        store.history.clear();
    }

    /// From now on a version that is too old is told within the watch, as some servers do.
    pub(crate) fn say_gone_in_watches(&self) {
        self.store().says_gone_in_watches = true;
    }

    /// Ends all open watches.
    pub(crate) fn end_watches(&self) {
        self.tell(Ends::Well);
    }

    /// Breaks all connections with an open watch.
    pub(crate) fn break_watches(&self) {
        self.tell(Ends::Badly);
    }

    pub(crate) fn log(&self, pod: &str, container: &str, text: &str) {
        let key = (pod.to_owned(), container.to_owned());
        self.store().logs.insert(key, text.to_owned());
    }

    pub(crate) fn forbid(&self, part_of_path: &str) {
        self.store().forbidden.push(part_of_path.to_owned());
    }

    pub(crate) fn demand(&self, token: &str) {
        self.store().token = Some(token.to_owned());
    }

    /// Answers everything with this status, or nothing any more.
    pub(crate) fn fail(&self, status: Option<StatusCode>) {
        self.store().broken = status;
    }

    pub(crate) fn kind(&self, api_version: &str, kind: &str, plural: &str) {
        let kind = (api_version.to_owned(), kind.to_owned(), plural.to_owned());
        self.store().kinds.push(kind);
    }

    /// What was asked so far: paths and queries.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.store().asked.clone()
    }

    /// How many watches were asked for.
    pub(crate) fn watches(&self) -> usize {
        let asked = self.asked();
        asked
            .iter()
            .filter(|asked| asked.contains("watch=true"))
            .count()
    }

    /// Waits until so many watches were asked for.
    pub(crate) async fn until_watches(&self, count: usize) {
        while self.watches() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The watch is open before it is counted; what it sends is in order anyway.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn status(code: StatusCode, reason: &str, message: &str) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16(),
    });
    (code, axum::Json(body)).into_response()
}

/// What is asked for, from a path.
struct Asked {
    collection: String,
    namespace: Option<String>,
    name: Option<String>,
    part: Option<String>,
}

fn parse(path: &str) -> Option<Asked> {
    let mut parts = path.trim_matches('/').split('/').map(str::to_owned);
    let version = match parts.next()?.as_str() {
        "api" => parts.next()?,
        "apis" => format!("{}/{}", parts.next()?, parts.next()?),
        _ => return None,
    };
    let mut next = parts.next()?;
    let mut namespace = None;
    let rest: Vec<String> = parts.collect();
    let mut rest = rest.into_iter();
    if next == "namespaces" && rest.len() >= 2 {
        namespace = rest.next();
        next = rest.next()?;
    }
    Some(Asked {
        collection: format!("{version}/{next}"),
        namespace,
        name: rest.next(),
        part: rest.next(),
    })
}

async fn answer(
    State(server): State<ApiServer>,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query: BTreeMap<String, String> =
        form_urlencoded::parse(query.unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    if let Some(refusal) = server.refuses(&uri, &headers) {
        return refusal;
    }
    let path = uri.path();
    if let Some(told) = server.kinds(path) {
        return told;
    }
    let Some(asked) = parse(path) else {
        return status(
            StatusCode::NOT_FOUND,
            "NotFound",
            "the server could not find the requested resource",
        );
    };
    match (&asked.name, asked.part.as_deref()) {
        (None, _) if query.contains_key("watch") => server.watch(asked, query),
        (None, _) => server.list(&asked, &query),
        (Some(name), None) => server.get(&asked, name),
        (Some(name), Some("log")) => server.read_log(&asked, name, &query),
        _ => status(StatusCode::NOT_FOUND, "NotFound", "no such part"),
    }
}

impl ApiServer {
    fn refuses(&self, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
        let mut store = self.store();
        store.asked.push(uri.to_string());
        assert!(
            headers.contains_key("traceparent"),
            "the trace goes with every request"
        );
        if let Some(code) = store.broken {
            return Some(status(code, "InternalError", "it is broken"));
        }
        let given = headers
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        let wanted = store.token.as_ref().map(|token| format!("Bearer {token}"));
        if wanted.is_some() && wanted.as_deref() != given {
            return Some(status(
                StatusCode::UNAUTHORIZED,
                "Unauthorized",
                "Unauthorized",
            ));
        }
        let path = uri.path();
        let forbidden = store
            .forbidden
            .iter()
            .any(|part| path.contains(part.as_str()));
        forbidden.then(|| {
            let message = format!("User \"u\" cannot read {path}");
            status(StatusCode::FORBIDDEN, "Forbidden", &message)
        })
    }

    fn kinds(&self, path: &str) -> Option<Response> {
        let store = self.store();
        let version = path.strip_prefix("/apis/")?;
        let kinds: Vec<Value> = store
            .kinds
            .iter()
            .filter(|(known, _, _)| known == version)
            .flat_map(|(_, kind, plural)| {
                [
                    json!({ "name": format!("{plural}/status"), "kind": kind, "namespaced": true }),
                    json!({ "name": plural, "kind": kind, "namespaced": true }),
                ]
            })
            .collect();
        if kinds.is_empty() {
            return None;
        }
        let list =
            json!({ "kind": "APIResourceList", "groupVersion": version, "resources": kinds });
        Some(axum::Json(list).into_response())
    }

    fn get(&self, asked: &Asked, name: &str) -> Response {
        let store = self.store();
        let namespace = asked.namespace.clone().unwrap_or_default();
        let key = (asked.collection.clone(), namespace, name.to_owned());
        match store.objects.get(&key) {
            Some(object) => axum::Json(object.clone()).into_response(),
            None => {
                let (_, plural) = asked.collection.rsplit_once('/').expect("a collection");
                let message = format!("{plural} \"{name}\" not found");
                status(StatusCode::NOT_FOUND, "NotFound", &message)
            }
        }
    }

    fn list(&self, asked: &Asked, query: &BTreeMap<String, String>) -> Response {
        let store = self.store();
        let after: usize = query
            .get("continue")
            .map_or(0, |text| text.parse().expect("ours"));
        let limit: usize = query
            .get("limit")
            .map_or(usize::MAX, |text| text.parse().expect("a number"));
        let all: Vec<&Value> = store
            .objects
            .iter()
            .filter(|((collection, _, _), _)| *collection == asked.collection)
            .map(|(_, object)| object)
            .filter(|object| selects(asked, query, object))
            .collect();
        let items: Vec<&Value> = all.iter().copied().skip(after).take(limit).collect();
        let seen = after + items.len();
        let more = if seen < all.len() {
            seen.to_string()
        } else {
            String::new()
        };
        let list = json!({
            "kind": "List", "apiVersion": "v1", "items": items,
            "metadata": { "resourceVersion": store.version.to_string(), "continue": more },
        });
        axum::Json(list).into_response()
    }

    fn read_log(&self, asked: &Asked, pod: &str, query: &BTreeMap<String, String>) -> Response {
        if asked.collection != "v1/pods" {
            return status(StatusCode::NOT_FOUND, "NotFound", "only pods have logs");
        }
        let container = query.get("container").map_or("main", String::as_str);
        let store = self.store();
        let Some(text) = store.logs.get(&(pod.to_owned(), container.to_owned())) else {
            let message = format!(
                "container \"{container}\" in pod \"{pod}\" is waiting to start: ContainerCreating"
            );
            return status(StatusCode::BAD_REQUEST, "BadRequest", &message);
        };
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let tail = query
            .get("tailLines")
            .map_or(usize::MAX, |text| text.parse().expect("a number"));
        lines[lines.len().saturating_sub(tail)..]
            .concat()
            .into_response()
    }

    fn watch(&self, asked: Asked, query: BTreeMap<String, String>) -> Response {
        let from: u64 = query.get("resourceVersion").map_or(0, |text| {
            text.parse().expect("a version that the server gave")
        });
        assert_eq!(
            query.get("allowWatchBookmarks").map(String::as_str),
            Some("true")
        );
        let store = self.store();
        let gone = json!({
            "kind": "Status", "status": "Failure", "reason": "Expired", "code": 410,
            "message": format!("too old resource version: {from} ({})", store.oldest),
        });
        if from < store.oldest && store.says_gone_in_watches {
            let line = json!({ "type": "ERROR", "object": gone }).to_string() + "\n";
            return line.into_response();
        }
        if from < store.oldest {
            return (StatusCode::GONE, axum::Json(gone)).into_response();
        }
        let (send, lines) = mpsc::channel::<Result<String, std::io::Error>>(100);
        let (server, changed) = (self.clone(), self.changed.subscribe());
        spawn(async move { server.stream(asked, query, from, changed, send).await });
        Body::from_stream(ReceiverStream::new(lines)).into_response()
    }

    async fn stream(
        self,
        asked: Asked,
        query: BTreeMap<String, String>,
        mut from: u64,
        mut changed: watch::Receiver<(u64, Ends)>,
        send: mpsc::Sender<Result<String, std::io::Error>>,
    ) {
        loop {
            let (changes, version) = {
                let store = self.store();
                let new = store
                    .history
                    .iter()
                    .filter(|(version, _, _, _)| *version > from);
                let mine = new.filter(|(_, _, collection, _)| *collection == asked.collection);
                (mine.cloned().collect::<Vec<_>>(), store.version)
            };
            let lines = changes
                .into_iter()
                .filter(|(_, _, _, object)| selects(&asked, &query, object))
                .map(|(_, what, _, object)| json!({ "type": what, "object": object }));
            let bookmark = json!({ "type": "BOOKMARK", "object": { "metadata": { "resourceVersion": version.to_string() } } });
            for line in lines.chain([bookmark]) {
                if send.send(Ok(line.to_string() + "\n")).await.is_err() {
                    return;
                }
            }
            from = version;
            if changed.changed().await.is_err() {
                return;
            }
            let (_, ends) = *changed.borrow_and_update();
            match ends {
                Ends::No => {}
                Ends::Well => return,
                Ends::Badly => {
                    let _ = send
                        .send(Err(std::io::ErrorKind::ConnectionReset.into()))
                        .await;
                    return;
                }
            }
        }
    }
}

fn selects(asked: &Asked, query: &BTreeMap<String, String>, object: &Value) -> bool {
    let namespace = object["metadata"]["namespace"].as_str();
    let here = asked.namespace.is_none() || asked.namespace.as_deref() == namespace;
    let labels = |key: &str| object["metadata"]["labels"][key].as_str();
    let fields = |path: &str| {
        let found = path.split('.').fold(object, |value, name| &value[name]);
        found.as_str()
    };
    here && fits(query.get("labelSelector"), labels) && fits(query.get("fieldSelector"), fields)
}

/// Whether all parts of a selector are true: `a=b`, `a==b`, `a!=b` and `a`.
fn fits<'o>(selector: Option<&String>, value: impl Fn(&str) -> Option<&'o str>) -> bool {
    let selector = selector.map_or("", String::as_str);
    let mut parts = selector.split(',').filter(|part| !part.is_empty());
    parts.all(|part| match part.split_once("!=") {
        Some((key, unwanted)) => value(key) != Some(unwanted),
        None => match part.split_once('=') {
            Some((key, wanted)) => value(key) == Some(wanted.trim_start_matches('=')),
            None => value(part).is_some(),
        },
    })
}
