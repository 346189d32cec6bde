//! What is read from the keys of `kubernetes` in a plan.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use kube::config::Kubeconfig;
use rustls::ClientConfig;
use testmesh_shared::plan::expr::{Expr, Template};
use testmesh_shared::plan::keys::{Form, State};
use testmesh_shared::plan::{DriverForm, DriverStage, Item, Pool, ProblemCode, Target as Named};

use super::keys::{STAGE, TARGET};
use super::kinds::{self, Kind};
use crate::driver::contract::Drives;
use crate::driver::{forms, limits};

/// The driver `kubernetes`.
pub(crate) static FORM: DriverForm = DriverForm {
    name: "kubernetes",
    doc: "Reads objects of a Kubernetes cluster, their logs and events, and waits until they are as they should be.",
    state: State::Built,
    stage: Form::Object(&STAGE),
    target: Some(&TARGET),
    read,
    read_target,
};

/// The API server of a cluster.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) cluster: Cluster,
    pub(super) namespace: Option<Template>,
    pub(super) timeout: Option<Duration>,
    pub(super) max_body: usize,
    pub(super) connections: Pool,
}

/// Where it is, and as whom to talk to it.
#[derive(Debug)]
pub(super) enum Cluster {
    /// As on the agent's machine.
    Default { context: Option<String> },
    /// As a kubeconfig of the plan says. Boxed: it is large, and rare.
    File {
        config: Box<Kubeconfig>,
        context: Option<String>,
    },
    Url {
        url: Template,
        token: Option<Template>,
        tls: Arc<ClientConfig>,
    },
}

/// A stage of this driver.
#[derive(Debug)]
pub(super) struct KubernetesStage {
    target: Arc<Named>,
    pub(super) namespace: Option<Template>,
    pub(super) work: Work,
    /// Stages with the same key share connections.
    pub(super) pool_key: Box<str>,
}

impl KubernetesStage {
    pub(super) fn target(&self) -> &Target {
        self.target
            .value()
            .expect("a target of `kubernetes` was read by `kubernetes`")
    }
}

/// What a stage does.
#[derive(Debug)]
pub(super) enum Work {
    Get(Kind, Template),
    List(Kind, Selection),
    Wait(Wait),
    Logs(Logs),
    Events(Kind, Option<Template>),
}

/// Which objects of a kind.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pub(super) name: Option<Template>,
    pub(super) labels: Option<Template>,
    pub(super) fields: Option<Template>,
}

/// What to wait for.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) kind: Kind,
    pub(super) selection: Selection,
    pub(super) goal: Goal,
}

/// When waiting is over.
#[derive(Debug)]
pub(super) enum Goal {
    /// One object is so.
    Object(Expr),
    /// All of them together are so.
    Objects(Expr),
    Gone,
}

/// Whose logs, and how much of them.
#[derive(Debug)]
pub(super) struct Logs {
    pub(super) pods: Pods,
    pub(super) container: Option<Template>,
    pub(super) tail: i64,
    pub(super) previous: bool,
    pub(super) matches: Option<Expr>,
}

/// Whose logs.
#[derive(Debug)]
pub(super) enum Pods {
    Name(Template),
    Labels(Template),
}

fn read_target(item: Item<'_>) -> Option<Arc<dyn Any + Send + Sync>> {
    let cluster = cluster(item);
    let namespace = forms::optional(item, "namespace", Item::template);
    let timeout = forms::optional(item, "timeout", Item::duration);
    let max_body = forms::size(item, "max_body", limits::KUBERNETES_BODY);
    let connections = forms::connections(item, Pool::Shared(1));
    Some(Arc::new(Target {
        cluster: cluster?,
        namespace: namespace?,
        timeout: timeout?,
        max_body: max_body?,
        connections: connections?,
    }))
}

fn cluster(item: Item<'_>) -> Option<Cluster> {
    let context = forms::optional(item, "context", Item::text);
    let token = forms::optional(item, "token", Item::template);
    let tls = forms::tls(item, &[b"http/1.1"]);
    let place = item.key("kubernetes")?;
    let written = place.template()?;
    let context = context?.map(std::borrow::Cow::into_owned);
    let is_url = written.is_secret() || place.text()?.contains("://");
    if is_url {
        if !written.is_secret() {
            check_url(place, &place.text()?)?;
        }
        conflicts(
            item,
            &["context"],
            "a kubeconfig, and this cluster is a URL",
        )?;
        return Some(Cluster::Url {
            url: written,
            token: token?,
            tls: tls?,
        });
    }
    conflicts(
        item,
        &["token", "tls"],
        "a URL, and this cluster is known otherwise",
    )?;
    if *place.text()? == *"default" {
        return Some(Cluster::Default { context });
    }
    let config = Box::new(kubeconfig(place)?);
    Some(Cluster::File { config, context })
}

/// Keys that go with another way to know a cluster.
fn conflicts(item: Item<'_>, keys: &[&str], with: &str) -> Option<()> {
    let mut fine = Some(());
    for key in keys {
        if let Some(place) = item.key(key) {
            let message = format!("`{key}` goes with {with}");
            let hint = "a kubeconfig says itself whom to trust and who we are";
            place.problem(ProblemCode::Conflict, message, hint);
            fine = None;
        }
    }
    fine
}

fn check_url(item: Item<'_>, text: &str) -> Option<()> {
    let reason = match text.parse::<Uri>() {
        Ok(uri) if !matches!(uri.scheme_str(), Some("http" | "https")) => {
            "has another scheme than http and https".to_owned()
        }
        Ok(uri) if uri.host().is_none_or(str::is_empty) => "has no host".to_owned(),
        Ok(uri)
            if uri
                .authority()
                .is_some_and(|name| name.as_str().contains('@')) =>
        {
            "has a user: write a `token`".to_owned()
        }
        Ok(_) => return Some(()),
        Err(error) => format!("is no URL: {error}"),
    };
    let hint = "write https://HOST[:PORT], `default`, or the file of a kubeconfig";
    item.problem(ProblemCode::BadValue, format!("this {reason}"), hint);
    None
}

/// A kubeconfig that is whole: it neither names files of the agent's machine, nor runs commands there.
fn kubeconfig(item: Item<'_>) -> Option<Kubeconfig> {
    let file = item.file()?;
    let text = String::from_utf8_lossy(&file.bytes);
    let config = match Kubeconfig::from_yaml(&text) {
        Ok(config) => config,
        Err(error) => {
            // The rest of it quotes the file, in which there may be a token.
            let error = error.to_string();
            let reason = error.lines().next().unwrap_or_default();
            let message = format!("`{}` is no kubeconfig: {reason}", file.path);
            let hint = "write it with `kubectl config view --flatten --raw`";
            item.problem(ProblemCode::File, message, hint);
            return None;
        }
    };
    match outside(&config) {
        None => Some(config),
        Some(what) => {
            let message = format!("`{}` has {what}, which agents do not follow", file.path);
            let hint = "write it with `kubectl config view --flatten --raw`, for a user with a token or a certificate; or write `default`, for what is on the agent's machine";
            item.problem(ProblemCode::File, message, hint);
            None
        }
    }
}

/// What of a kubeconfig is outside of it.
fn outside(config: &Kubeconfig) -> Option<&'static str> {
    let clusters = config
        .clusters
        .iter()
        .filter_map(|one| one.cluster.as_ref());
    for cluster in clusters {
        if cluster.certificate_authority.is_some() {
            return Some("`certificate-authority`, a file");
        }
        if cluster.proxy_url.is_some() {
            return Some("`proxy-url`");
        }
        if cluster.tls_server_name.is_some() {
            return Some("`tls-server-name`");
        }
    }
    let users = config
        .auth_infos
        .iter()
        .filter_map(|one| one.auth_info.as_ref());
    for user in users {
        let named = [
            (user.exec.is_some(), "`exec`, a command"),
            (user.auth_provider.is_some(), "`auth-provider`"),
            (user.token_file.is_some(), "`tokenFile`, a file"),
            (
                user.client_certificate.is_some(),
                "`client-certificate`, a file",
            ),
            (user.client_key.is_some(), "`client-key`, a file"),
        ];
        if let Some((_, what)) = named.into_iter().find(|(there, _)| *there) {
            return Some(what);
        }
    }
    None
}

fn read(item: Item<'_>) -> Option<Box<dyn DriverStage>> {
    let target = item
        .key("target")
        .and_then(|target| target.target("kubernetes"));
    let namespace = forms::optional(item, "namespace", Item::template);
    let work = if let Some(item) = item.key("get") {
        let kind = kinds::read(item);
        let name = item.key("name").and_then(Item::template);
        kind.and_then(|kind| Some(Work::Get(kind, name?)))
    } else if let Some(item) = item.key("list") {
        let kind = kinds::read(item);
        let selection = selection(item);
        kind.and_then(|kind| Some(Work::List(kind, selection?)))
    } else if let Some(item) = item.key("wait") {
        wait(item).map(Work::Wait)
    } else if let Some(item) = item.key("logs") {
        logs(item).map(Work::Logs)
    } else {
        let item = item.key("events")?;
        let kind = kinds::read(item);
        let name = forms::optional(item, "name", Item::template);
        kind.and_then(|kind| Some(Work::Events(kind, name?)))
    };
    let target = target?;
    let pool_key = format!("kubernetes {}", target.name).into_boxed_str();
    Some(Drives::stage(KubernetesStage {
        target,
        namespace: namespace?,
        work: work?,
        pool_key,
    }))
}

fn selection(item: Item<'_>) -> Option<Selection> {
    let name = forms::optional(item, "name", Item::template);
    let labels = forms::optional(item, "labels", Item::template);
    let fields = forms::optional(item, "fields", Item::template);
    Some(Selection {
        name: name?,
        labels: labels?,
        fields: fields?,
    })
}

fn wait(item: Item<'_>) -> Option<Wait> {
    let kind = kinds::read(item);
    let selection = selection(item);
    let goal = match item.key("until") {
        Some(until) => {
            let expr = until.expr_over(&["object", "objects"]);
            expr.map(|expr| {
                if expr.reads("object") {
                    Goal::Object(expr)
                } else {
                    Goal::Objects(expr)
                }
            })
        }
        None => item.key("gone").and_then(|gone| {
            if gone.bool()? {
                return Some(Goal::Gone);
            }
            let hint = "write `gone: true`, or an `until`";
            gone.problem(ProblemCode::BadValue, "this waits for nothing", hint);
            None
        }),
    };
    Some(Wait {
        kind: kind?,
        selection: selection?,
        goal: goal?,
    })
}

fn logs(item: Item<'_>) -> Option<Logs> {
    let pods = match item.key("pod") {
        Some(pod) => pod.template().map(Pods::Name),
        None => item
            .key("labels")
            .and_then(Item::template)
            .map(Pods::Labels),
    };
    let container = forms::optional(item, "container", Item::template);
    let tail = forms::optional(item, "tail", |tail| tail.int(1..=1_000_000));
    let previous = forms::optional(item, "previous", Item::bool);
    let matches = forms::optional(item, "match", |item| item.expr_over(&["line"]));
    Some(Logs {
        pods: pods?,
        container: container?,
        tail: tail?.unwrap_or(limits::KUBERNETES_LINES),
        previous: previous?.unwrap_or_default(),
        matches: matches?,
    })
}
