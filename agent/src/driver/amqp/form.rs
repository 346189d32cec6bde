//! What is read from the keys of `amqp` in a plan.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lapin::uri::AMQPUri;
use rustls::ClientConfig;
use testmesh_shared::plan::expr::{EvalError, Expr, JsonTemplate, Scope, Template};
use testmesh_shared::plan::keys::{Form, State};
use testmesh_shared::plan::{
    DriverForm, DriverStage, ErrorKind, Item, Pool, ProblemCode, Target as Named,
};
use url::Url;

use super::keys::{ACKS, BODIES, STAGE, TARGET};
use crate::driver::contract::{Drives, StageError};
use crate::driver::{forms, limits};

/// The driver `amqp`.
pub(crate) static FORM: DriverForm = DriverForm {
    name: "amqp",
    doc: "Publishes messages to an AMQP 0-9-1 broker, consumes them, and looks at queues and exchanges.",
    state: State::Built,
    stage: Form::Object(&STAGE),
    target: Some(&TARGET),
    read,
    read_target,
};

/// A broker.
#[derive(Debug)]
pub(super) struct Target {
    uri: Place,
    management: Option<Place>,
    pub(super) timeout: Option<Duration>,
    pub(super) max_message: usize,
    pub(super) connections: Pool,
    pub(super) tls: Arc<ClientConfig>,
}

/// A URI: known when the plan is loaded, unless a secret is in it.
#[derive(Debug)]
enum Place {
    Known(String),
    Secret(Template),
}

impl Place {
    fn text(&self, scope: &Scope<'_>) -> Result<Cow<'_, str>, EvalError> {
        match self {
            Self::Known(text) => Ok(Cow::Borrowed(text)),
            Self::Secret(template) => template.text(scope),
        }
    }
}

/// What a broker's URI looks like, as a hint.
const URI: &str = "write amqp://[USER:PASSWORD@]HOST[:PORT][/VHOST] or amqps://…";

impl Target {
    /// Where the broker is, and as whom to talk to it.
    pub(super) fn uri(&self, scope: &Scope<'_>) -> Result<AMQPUri, StageError> {
        let text = self.uri.text(scope);
        let text = text.map_err(|error| StageError::template("the broker's URI", &error))?;
        // What is wrong with it may quote a secret.
        broker(&text).map_err(|_| {
            let message = format!("the broker's URI is none: {URI}");
            StageError::new(ErrorKind::Expectation, message).with_code("bad_address")
        })
    }

    /// The base of the management API, if there is one.
    pub(super) fn management(&self, scope: &Scope<'_>) -> Result<Option<Url>, StageError> {
        let Some(place) = &self.management else {
            return Ok(None);
        };
        let text = place.text(scope);
        let text = text.map_err(|error| StageError::template("the management URL", &error))?;
        let url = api(&text).map_err(|_| {
            let message = "the management URL is none: write http://HOST:PORT or https://…";
            StageError::new(ErrorKind::Expectation, message).with_code("bad_address")
        })?;
        Ok(Some(url))
    }
}

/// Reads a broker's URI; what RabbitMQ calls `/` is the virtual host where none is written.
fn broker(text: &str) -> Result<AMQPUri, String> {
    let mut uri: AMQPUri = text.parse()?;
    let after_host = text.split_once("://").map_or("", |(_, rest)| rest);
    let path = after_host.split(['?', '#']).next().unwrap_or_default();
    if path
        .split_once('/')
        .is_none_or(|(_, vhost)| vhost.is_empty())
    {
        uri.vhost = "/".to_owned();
    }
    uri.query.heartbeat.get_or_insert(limits::AMQP_HEARTBEAT);
    Ok(uri)
}

fn api(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        other => Err(format!("has the scheme `{other}`")),
    }
}

/// A stage of this driver.
#[derive(Debug)]
pub(super) struct AmqpStage {
    target: Arc<Named>,
    pub(super) work: Work,
    /// Stages with the same key share connections.
    pub(super) pool_key: Box<str>,
}

impl AmqpStage {
    pub(super) fn target(&self) -> &Target {
        self.target
            .value()
            .expect("a target of `amqp` was read by `amqp`")
    }
}

/// What a stage does.
#[derive(Debug)]
pub(super) enum Work {
    /// Boxed: it is larger than the others.
    Publish(Box<Publish>),
    Consume(Consume),
    Bind(Bind),
    Queue(Template),
    Exchange(Template),
    Delete(Template),
    Queues(Template),
}

/// A message and where it goes.
#[derive(Debug)]
pub(super) struct Publish {
    pub(super) exchange: Option<Template>,
    pub(super) key: Option<Template>,
    pub(super) content: Content,
    pub(super) headers: Vec<(String, JsonTemplate)>,
    pub(super) properties: Properties,
    pub(super) confirm: bool,
    pub(super) persistent: bool,
    pub(super) mandatory: bool,
}

/// What a message is made of.
#[derive(Debug)]
pub(super) enum Content {
    Nothing,
    Json(JsonTemplate),
    Text(Template),
    File(Bytes),
}

/// Properties of a message.
#[derive(Debug, Default)]
pub(super) struct Properties {
    pub(super) content_type: Option<Template>,
    pub(super) correlation_id: Option<Template>,
    pub(super) reply_to: Option<Template>,
    pub(super) message_id: Option<Template>,
    pub(super) kind: Option<Template>,
    pub(super) expiration: Option<Duration>,
}

/// Which messages to wait for.
#[derive(Debug)]
pub(super) struct Consume {
    pub(super) from: Source,
    pub(super) matches: Option<Expr>,
    pub(super) count: Count,
    pub(super) ack: Ack,
}

/// Where messages come from.
#[derive(Debug)]
pub(super) enum Source {
    Queue(Template),
    /// A queue of the stage's own, bound to it.
    Exchange(Template, Vec<Template>),
}

/// What is taken from a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ack {
    None,
    Matched,
    All,
}

/// A number of messages.
#[derive(Debug)]
pub(super) enum Count {
    Fixed(usize),
    Of(Template),
}

impl Count {
    fn read(item: Item<'_>) -> Option<Self> {
        let template = item.template()?;
        if template.literal().is_none() {
            return Some(Self::Of(template));
        }
        let count = item.int(1..=limits::AMQP_HELD)?;
        usize::try_from(count).ok().map(Self::Fixed)
    }

    pub(super) fn resolve(&self, scope: &Scope<'_>) -> Result<usize, StageError> {
        let template = match self {
            Self::Fixed(count) => return Ok(*count),
            Self::Of(template) => template,
        };
        let value = template
            .value(scope)
            .map_err(|error| StageError::template("count", &error))?;
        let count = value
            .as_i64()
            .filter(|count| (1..=limits::AMQP_HELD).contains(count));
        count
            .and_then(|count| usize::try_from(count).ok())
            .ok_or_else(|| {
                let (source, most) = (template.source(), limits::AMQP_HELD);
                let message = format!("`{source}` gave {value}, not a number from 1 to {most}");
                StageError::new(ErrorKind::Expectation, message).with_code("template")
            })
    }
}

/// A queue and what it is bound to.
#[derive(Debug)]
pub(super) struct Bind {
    pub(super) exchange: Template,
    pub(super) keys: Vec<Template>,
    pub(super) expires: Duration,
}

fn read_target(item: Item<'_>) -> Option<Arc<dyn Any + Send + Sync>> {
    let uri = item
        .key("amqp")
        .and_then(|item| place(item, &|text| broker(text).map(drop), URI));
    let management = forms::optional(item, "management", |item| {
        let hint = "write http://HOST:PORT or https://…";
        place(item, &|text| api(text).map(drop), hint)
    });
    let timeout = forms::optional(item, "timeout", Item::duration);
    let max_message = forms::size(item, "max_message", limits::BODY_BYTES);
    let connections = forms::connections(item, Pool::Shared(1));
    let tls = forms::tls(item, &[]);
    Some(Arc::new(Target {
        uri: uri?,
        management: management?,
        timeout: timeout?,
        max_message: max_message?,
        connections: connections?,
        tls: tls?,
    }))
}

fn place(
    item: Item<'_>,
    check: &dyn Fn(&str) -> Result<(), String>,
    hint: &'static str,
) -> Option<Place> {
    let template = item.template()?;
    if template.is_secret() {
        return Some(Place::Secret(template));
    }
    let text = item.text()?;
    match check(&text) {
        Ok(()) => Some(Place::Known(text.into_owned())),
        Err(reason) => {
            let message = format!("this is no address of a broker: {reason}");
            item.problem(ProblemCode::BadValue, message, hint);
            None
        }
    }
}

fn read(item: Item<'_>) -> Option<Box<dyn DriverStage>> {
    let target = item.key("target").and_then(|target| target.target("amqp"));
    let template = |key: &str| item.key(key).map(Item::template);
    let work = if let Some(item) = item.key("publish") {
        publish(item).map(Box::new).map(Work::Publish)
    } else if let Some(item) = item.key("consume") {
        consume(item).map(Work::Consume)
    } else if let Some(item) = item.key("bind") {
        bind(item).map(Work::Bind)
    } else if let Some(queue) = template("queue") {
        queue.map(Work::Queue)
    } else if let Some(exchange) = template("exchange") {
        exchange.map(Work::Exchange)
    } else if let Some(queue) = template("delete") {
        queue.map(Work::Delete)
    } else {
        let pattern = item.key("queues")?;
        let pattern = pattern.template().map(Work::Queues);
        lists(item, target.as_deref()).and(pattern)
    };
    let target = target?;
    let pool_key = format!("amqp {}", target.name).into_boxed_str();
    Some(Drives::stage(AmqpStage {
        target,
        work: work?,
        pool_key,
    }))
}

/// Whether the target can list queues; one that could not be read is a problem of its own.
fn lists(item: Item<'_>, named: Option<&Named>) -> Option<()> {
    let named = named?;
    let target: Option<&Target> = named.value();
    if target.is_some_and(|target| target.management.is_none()) {
        let message = format!("the target `{}` has no `management`", named.name);
        let hint = "AMQP cannot list queues: give the target the URL of the management API";
        let place = item.key("queues").unwrap_or(item);
        place.problem(ProblemCode::MissingKey, message, hint);
        return None;
    }
    Some(())
}

fn publish(item: Item<'_>) -> Option<Publish> {
    let exchange = forms::optional(item, "exchange", Item::template);
    let key = forms::optional(item, "key", Item::template);
    let content = content(item);
    let headers = headers(item);
    let properties = item
        .key("properties")
        .map_or_else(|| Some(Properties::default()), properties);
    let confirm = forms::optional(item, "confirm", Item::bool);
    let persistent = forms::optional(item, "persistent", Item::bool);
    let mandatory = forms::optional(item, "mandatory", Item::bool);
    if confirm == Some(Some(false)) && mandatory == Some(Some(true)) {
        let hint = "remove `confirm: false`";
        let message = "whether a message reached a queue is known with its confirmation only";
        item.key("mandatory")
            .unwrap_or(item)
            .problem(ProblemCode::Conflict, message, hint);
        return None;
    }
    Some(Publish {
        exchange: exchange?,
        key: key?,
        content: content?,
        headers: headers?,
        properties: properties?,
        confirm: confirm?.unwrap_or(true),
        persistent: persistent?.unwrap_or(true),
        mandatory: mandatory?.unwrap_or_default(),
    })
}

fn content(item: Item<'_>) -> Option<Content> {
    let Some((key, value)) = BODIES.iter().find_map(|key| Some((*key, item.key(key)?))) else {
        return Some(Content::Nothing);
    };
    Some(match key {
        "json" => Content::Json(value.json()?),
        "text" => Content::Text(value.template()?),
        _ => Content::File(Bytes::copy_from_slice(&value.file()?.bytes)),
    })
}

fn headers(item: Item<'_>) -> Option<Vec<(String, JsonTemplate)>> {
    let entries = item.key("headers").map(Item::entries).unwrap_or_default();
    // All are read before any is missed, so that all problems are found.
    let read: Vec<_> = entries
        .into_iter()
        .map(|entry| {
            let value = entry.value.json();
            if entry.key.len() > limits::AMQP_NAME_BYTES {
                let message = "a header's name is too long";
                let hint = "names have at most 255 bytes";
                entry
                    .value
                    .problem_at(entry.key_span, ProblemCode::BadValue, message, hint);
                return None;
            }
            Some((entry.key.to_owned(), value?))
        })
        .collect();
    read.into_iter().collect()
}

fn properties(item: Item<'_>) -> Option<Properties> {
    let template = |key| forms::optional(item, key, Item::template);
    let content_type = template("content_type");
    let correlation_id = template("correlation_id");
    let reply_to = template("reply_to");
    let message_id = template("message_id");
    let kind = template("type");
    let expiration = forms::optional(item, "expiration", Item::duration);
    Some(Properties {
        content_type: content_type?,
        correlation_id: correlation_id?,
        reply_to: reply_to?,
        message_id: message_id?,
        kind: kind?,
        expiration: expiration?,
    })
}

fn consume(item: Item<'_>) -> Option<Consume> {
    let from = match item.key("queue") {
        Some(queue) => queue.template().map(Source::Queue),
        None => {
            let exchange = item.key("exchange").and_then(Item::template);
            let keys = keys(item);
            exchange.and_then(|exchange| Some(Source::Exchange(exchange, keys?)))
        }
    };
    let matches = forms::optional(item, "match", |item| {
        item.expr_over(&["body", "text", "headers", "key", "exchange"])
    });
    let count = item.key("count").map_or(Some(Count::Fixed(1)), Count::read);
    let ack = forms::optional(item, "ack", |item| item.word(ACKS));
    let from = from?;
    let ack = match (ack?, &from) {
        // Nobody else can want what is in a queue of the stage's own.
        (Some("all"), _) | (_, Source::Exchange(..)) => Ack::All,
        (Some("matched"), Source::Queue(_)) => Ack::Matched,
        (_, Source::Queue(_)) => Ack::None,
    };
    Some(Consume {
        from,
        matches: matches?,
        count: count?,
        ack,
    })
}

/// Binding keys; all messages of a topic exchange where none are written.
fn keys(item: Item<'_>) -> Option<Vec<Template>> {
    let Some(keys) = item.key("keys") else {
        let all = Template::compile("#", item.position());
        return Some(vec![all.expect("a literal compiles")]);
    };
    let read: Vec<_> = keys.items().into_iter().map(Item::template).collect();
    if read.is_empty() {
        let hint = "write at least one key, or remove `keys`";
        keys.problem(ProblemCode::BadValue, "no key binds nothing", hint);
        return None;
    }
    read.into_iter().collect()
}

fn bind(item: Item<'_>) -> Option<Bind> {
    let exchange = item.key("exchange").and_then(Item::template);
    let keys = keys(item);
    let expires = forms::optional(item, "expires", |item| {
        let expires = item.duration()?;
        if expires < Duration::from_secs(1) || expires > limits::AMQP_EXPIRES_MOST {
            let hint = "write a time from 1s to 24h";
            item.problem(ProblemCode::BadValue, "no queue expires so", hint);
            return None;
        }
        Some(expires)
    });
    Some(Bind {
        exchange: exchange?,
        keys: keys?,
        expires: expires?.unwrap_or(limits::AMQP_EXPIRES),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_virtual_host_without_a_path_is_the_default_one() {
        let vhost = |text: &str| broker(text).expect("a URI").vhost;
        assert_eq!(vhost("amqp://h"), "/");
        assert_eq!(vhost("amqp://u:p@h:1/"), "/");
        assert_eq!(vhost("amqp://u:p@h:1/?heartbeat=3"), "/");
        assert_eq!(vhost("amqp://h/%2f"), "/");
        assert_eq!(vhost("amqps://h/a?heartbeat=3"), "a");
        assert_eq!(broker("amqp://h").expect("a URI").query.heartbeat, Some(10));
        assert!(broker("http://h").is_err());
    }
}
