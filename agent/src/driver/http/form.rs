//! The keys of `http` in a plan, and what is read from them.

use std::any::Any;
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method};
use rustls::ClientConfig;
use testmesh_shared::plan::expr::{EvalError, JsonTemplate, Scope, Template};
use testmesh_shared::plan::keys::{Form, Group, Key, Keys, State};
use testmesh_shared::plan::{DriverForm, DriverStage, Item, Pool, ProblemCode, Target as Named};
use url::Url;

use crate::driver::contract::Drives;
use crate::driver::forms::{self, CONNECTIONS, TLS};
use crate::driver::limits;

/// The driver `http`.
pub(crate) static FORM: DriverForm = DriverForm {
    name: "http",
    doc: "Sends one HTTP request and reads its answer.",
    state: State::Built,
    stage: Form::Object(&STAGE),
    target: Some(&TARGET),
    read,
    read_target,
};

static TARGET: Keys = Keys {
    name: "http target",
    doc: "A server that speaks HTTP.",
    keys: &[
        Key::new(
            "http",
            Form::Template,
            "The base URL; its path is kept. `https` means TLS.",
        )
        .required(),
        Key::new(
            "timeout",
            Form::Duration,
            "Bounds each request, beside the stage's own time-outs.",
        ),
        Key::new(
            "max_body",
            Form::Size,
            "Larger bodies fail with `protocol`, code `too_large`.",
        )
        .default("4MiB"),
        Key::new("connections", CONNECTIONS, "Who shares connections.").default("virtual_user"),
        Key::new(
            "tls",
            Form::Object(&TLS),
            "How to trust the server, and who we are.",
        ),
    ],
    groups: &[],
};

const METHODS: &[&str] = &["get", "post", "put", "patch", "delete", "head"];
const BODIES: &[&str] = &["json", "form", "text", "body"];
const VERSIONS: &[&str] = &["1.1", "2"];

/// Redirects that `redirects: true` follows: more are a loop.
const REDIRECTS: usize = 10;

static STAGE: Keys = Keys {
    name: "http",
    doc: "One request and its answer.",
    keys: &[
        Key::new("target", Form::Target("http"), "Which server.").required(),
        Key::new(
            "get",
            Form::Template,
            "The path, behind that of the target.",
        ),
        Key::new(
            "post",
            Form::Template,
            "The path, behind that of the target.",
        ),
        Key::new(
            "put",
            Form::Template,
            "The path, behind that of the target.",
        ),
        Key::new(
            "patch",
            Form::Template,
            "The path, behind that of the target.",
        ),
        Key::new(
            "delete",
            Form::Template,
            "The path, behind that of the target.",
        ),
        Key::new(
            "head",
            Form::Template,
            "The path, behind that of the target.",
        ),
        Key::new(
            "query",
            Form::Map(&Form::Template),
            "Parameters behind the path, percent-encoded.",
        ),
        Key::new("headers", Form::Map(&Form::Template), "Request headers."),
        Key::new("json", Form::Json, "The body, as JSON."),
        Key::new(
            "form",
            Form::Map(&Form::Template),
            "The body, as a URL-encoded form.",
        ),
        Key::new("text", Form::Template, "The body, as text."),
        Key::new("body", Form::File, "The body, from a file."),
        Key::new(
            "redirects",
            Form::Bool,
            "Whether to follow redirects, at most ten of them.",
        )
        .default("false"),
        Key::new(
            "version",
            Form::Word(VERSIONS),
            "The only version of HTTP to speak; 2 needs no TLS then.",
        ),
    ],
    groups: &[Group::ExactlyOne(METHODS), Group::AtMostOne(BODIES)],
};

/// A server that speaks HTTP.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) url: Base,
    pub(super) timeout: Option<Duration>,
    pub(super) max_body: usize,
    pub(super) connections: Pool,
    pub(crate) tls: Arc<ClientConfig>,
}

/// A base URL: known when the plan is loaded, unless a secret is in it.
#[derive(Debug)]
pub(crate) enum Base {
    Known(String),
    Secret(Template),
}

impl Base {
    pub(crate) fn text(&self, scope: &Scope<'_>) -> Result<Cow<'_, str>, EvalError> {
        match self {
            Self::Known(url) => Ok(Cow::Borrowed(url)),
            Self::Secret(template) => template.text(scope),
        }
    }
}

/// Which versions of HTTP a stage speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Any,
    Http1,
    Http2,
}

impl Target {
    /// What connects in flight are counted by.
    pub(super) fn address(&self) -> Arc<str> {
        match &self.url {
            Base::Secret(template) => template.source().into(),
            Base::Known(text) => match Url::parse(text) {
                Ok(url) => {
                    let port = url.port_or_known_default().unwrap_or_default();
                    format!("{}:{port}", url.host_str().unwrap_or_default()).into()
                }
                Err(_) => text.as_str().into(),
            },
        }
    }

    pub(super) fn tls_config(&self, version: Version) -> ClientConfig {
        let mut config = ClientConfig::clone(&self.tls);
        let protocols: &[&[u8]] = match version {
            Version::Any => &[b"h2", b"http/1.1"],
            Version::Http1 => &[b"http/1.1"],
            Version::Http2 => &[b"h2"],
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config
    }
}

/// A request, read from a stage.
#[derive(Debug)]
pub(super) struct HttpStage {
    target: Arc<Named>,
    pub(super) method: Method,
    pub(super) path: Template,
    pub(super) query: Vec<(String, Template)>,
    pub(super) headers: Vec<(HeaderName, Template)>,
    pub(super) body: Option<Body>,
    pub(super) redirects: usize,
    pub(super) version: Version,
    /// Stages with the same key share connections.
    pub(super) pool_key: Box<str>,
    /// The URL of every request, once it was made, if no expression is in it.
    pub(super) fixed_url: OnceLock<Url>,
}

/// A request's body.
#[derive(Debug)]
pub(super) enum Body {
    Fixed {
        content_type: Option<&'static str>,
        bytes: Bytes,
    },
    Json(JsonTemplate),
    Text(Template),
    Form(Vec<(String, Template)>),
}

impl HttpStage {
    /// Whether all requests have the same URL.
    pub(super) fn is_url_fixed(&self) -> bool {
        let fixed = |template: &Template| template.literal().is_some();
        matches!(self.target().url, Base::Known(_))
            && fixed(&self.path)
            && self.query.iter().all(|(_, value)| fixed(value))
    }

    pub(super) fn target(&self) -> &Target {
        self.target
            .value()
            .expect("a target of `http` was read by `http`")
    }
}

fn read_target(item: Item<'_>) -> Option<Arc<dyn Any + Send + Sync>> {
    let url = item.key("http").and_then(base);
    let timeout = forms::optional(item, "timeout", Item::duration);
    let max_body = forms::size(item, "max_body", limits::BODY_BYTES);
    let connections = forms::connections(item, Pool::VirtualUser);
    let tls = forms::tls(item, &[]);
    Some(Arc::new(Target {
        url: url?,
        timeout: timeout?,
        max_body: max_body?,
        connections: connections?,
        tls: tls?,
    }))
}

fn base(item: Item<'_>) -> Option<Base> {
    let template = item.template()?;
    if template.is_secret() {
        return Some(Base::Secret(template));
    }
    let text = item.text()?;
    let reason = match Url::parse(&text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            format!("has the scheme `{}`", url.scheme())
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            "has a query or a fragment".to_owned()
        }
        Ok(_) => return Some(Base::Known(text.into_owned())),
        Err(error) => format!("is no URL: {error}"),
    };
    let hint = "write http://HOST[:PORT][/PATH] or https://…";
    item.problem(ProblemCode::BadValue, format!("`{text}` {reason}"), hint);
    None
}

fn read(item: Item<'_>) -> Option<Box<dyn DriverStage>> {
    let target = item.key("target").and_then(|target| target.target("http"));
    let method = METHODS
        .iter()
        .find_map(|method| Some((*method, item.key(method)?.template())));
    let query = forms::templates(item, "query");
    let headers = forms::headers(item, "headers");
    let body = body(item);
    let redirects = forms::optional(item, "redirects", Item::bool);
    let version = forms::optional(item, "version", |value| value.word(VERSIONS));
    let (method, path) = method?;
    let version = match version? {
        None => Version::Any,
        Some("2") => Version::Http2,
        Some(_) => Version::Http1,
    };
    let target = target?;
    let redirects = if redirects?.unwrap_or_default() {
        REDIRECTS
    } else {
        0
    };
    let pool_key = format!("http {} {version:?} {redirects}", target.name).into_boxed_str();
    let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes())
        .expect("the methods of the table are known");
    let stage = HttpStage {
        target,
        method,
        path: path?,
        query: query?,
        headers: headers?,
        body: body?,
        redirects,
        version,
        pool_key,
        fixed_url: OnceLock::new(),
    };
    Some(Drives::stage(stage))
}

/// `Some(None)` is a stage without a body.
fn body(item: Item<'_>) -> Option<Option<Body>> {
    let Some((key, value)) = BODIES.iter().find_map(|key| Some((*key, item.key(key)?))) else {
        return Some(None);
    };
    let body = match key {
        "json" => {
            let json = value.json()?;
            match json.literal() {
                Some(literal) => Body::Fixed {
                    content_type: Some("application/json"),
                    bytes: literal.to_string().into(),
                },
                None => Body::Json(json),
            }
        }
        "form" => Body::Form(forms::templates(item, "form")?),
        "text" => Body::Text(value.template()?),
        _ => Body::Fixed {
            content_type: None,
            bytes: Bytes::copy_from_slice(&value.file()?.bytes),
        },
    };
    Some(Some(body))
}
