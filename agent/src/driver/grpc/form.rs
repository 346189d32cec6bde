//! The keys of `grpc` in a plan, and what is read from them.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use rustls::ClientConfig;
use testmesh_shared::plan::expr::{Expr, JsonTemplate, Scope, Template};
use testmesh_shared::plan::keys::{Form, Group, Key, Keys, State};
use testmesh_shared::plan::{
    DriverForm, DriverStage, ErrorKind, Item, Pool, ProblemCode, Target as Named, nearest,
};

use super::connection::Windows;
use super::message::{self, Message};
use super::schema::{self, SchemaError};
use super::stage::{Reflected, Schema};
use super::status;
use crate::driver::contract::{Drives, StageError};
use crate::driver::forms::{self, CLOCK, CONNECTIONS, TLS};
use crate::driver::limits;
use crate::integrity::ServerClock;

/// The driver `grpc`.
pub(crate) static FORM: DriverForm = DriverForm {
    name: "grpc",
    doc: "Calls a method of a gRPC service: unary, or a server stream.",
    state: State::Built,
    stage: Form::Object(&STAGE),
    target: Some(&TARGET),
    read,
    read_target,
};

static TARGET: Keys = Keys {
    name: "grpc target",
    doc: "A gRPC server, or many that serve the same services.",
    keys: &[
        Key::new(
            "grpc",
            Form::Object(&SOURCE),
            "Where the descriptions of services come from, and limits.",
        )
        .required(),
        Key::new(
            "address",
            Form::Template,
            "HOST:PORT, for stages without an `address`. `https://` means TLS.",
        ),
        Key::new("connections", CONNECTIONS, "Who shares connections.").default("session"),
        Key::new(
            "tls",
            Form::Object(&TLS),
            "How to trust the server, and who we are.",
        ),
        Key::new(
            "clock",
            Form::Object(&CLOCK),
            "How the servers' clock stands to the coordinator's, for `sent_at`.",
        ),
    ],
    groups: &[],
};

static SOURCE: Keys = Keys {
    name: "grpc",
    doc: "Where the descriptions of services come from, and limits.",
    keys: &[
        Key::new(
            "protos",
            Form::List(&Form::File),
            "`.proto` files. Imports are found beside them too.",
        ),
        Key::new(
            "descriptors",
            Form::File,
            "A binary descriptor set, with its imports.",
        ),
        Key::new(
            "reflection",
            Form::Bool,
            "Ask the server: v1, then v1alpha, at the first use of an address.",
        ),
        Key::new("address", Form::Template, "As the target's own `address`."),
        Key::new(
            "max_message",
            Form::Size,
            "Larger messages fail with `protocol`, code `too_large`.",
        )
        .default("4MiB"),
    ],
    groups: &[Group::ExactlyOne(&["protos", "descriptors", "reflection"])],
};

static STAGE: Keys = Keys {
    name: "grpc",
    doc: "One call: its message, and when a stream is enough.",
    keys: &[
        Key::new("target", Form::Target("grpc"), "Which server.").required(),
        Key::new(
            "address",
            Form::Template,
            "HOST:PORT, instead of the target's own. `https://` means TLS.",
        ),
        Key::new("call", Form::Text, "PACKAGE.SERVICE/METHOD.").required(),
        Key::new("message", Form::Json, "The message, by proto field names.").default("{}"),
        Key::new("messages", Form::Value, "The messages of a client stream.").not_yet(),
        Key::new(
            "metadata",
            Form::Map(&Form::Template),
            "Metadata that goes out with the call.",
        ),
        Key::new(
            "stop",
            Form::Either(&[Form::Word(&["end"]), Form::Object(&STOP)]),
            "When a stream is enough.",
        )
        .default("end"),
        Key::new(
            "end",
            Form::List(&Form::Either(&[Form::Text, Form::Object(&END)])),
            "Statuses with which the server may end a stream, met `stop` or not.",
        ),
        Key::new("windows", Form::Object(&WINDOWS), "HTTP/2 windows."),
        Key::new(
            "during",
            Form::Value,
            "Stages that run while the stream is open.",
        )
        .not_yet(),
        Key::new(
            "watch",
            Form::Value,
            "Times until expressions over messages are true.",
        )
        .not_yet(),
    ],
    groups: &[Group::AtMostOne(&["message", "messages"])],
};

/// A number of messages, or a template that gives one.
const COUNT: Form = Form::Either(&[Form::Template, Form::Int(1, i64::MAX)]);

static STOP: Keys = Keys {
    name: "stop",
    doc: "When a stream is enough. The call is cancelled then.",
    keys: &[
        Key::new("messages", COUNT, "After so many messages."),
        Key::new("for", Form::Duration, "So long after the first message."),
        Key::new("end", Form::Bool, "When the server ends it."),
        Key::new("idle", Form::Duration, "After so long without a message.").not_yet(),
        Key::new(
            "after",
            Form::Word(&["during"]),
            "When the stages of `during` have run.",
        )
        .not_yet(),
        Key::new("when", Form::Expr, "When this is true of a message.").not_yet(),
    ],
    groups: &[Group::ExactlyOne(&[
        "messages", "for", "end", "idle", "after", "when",
    ])],
};

static END: Keys = Keys {
    name: "end",
    doc: "A status with which the server may end a stream.",
    keys: &[
        Key::new("status", Form::Text, "Its name, such as `unavailable`.").required(),
        Key::new(
            "after_idle",
            Form::Duration,
            "Only after so long without a message.",
        ),
        Key::new(
            "when",
            Form::Expr,
            "Only when this is true of `stream`; otherwise the stream has ended early.",
        ),
    ],
    groups: &[],
};

static WINDOWS: Keys = Keys {
    name: "windows",
    doc: "HTTP/2 windows: a stream is never faster than window ÷ round trip.",
    keys: &[
        Key::new("stream", Form::Size, "Of each stream.").default("2MiB"),
        Key::new("connection", Form::Size, "Of a connection.").default("5MiB"),
    ],
    groups: &[],
};

/// HTTP/2's bounds for a window.
const LEAST_WINDOW: u64 = 65_535;
const MOST_WINDOW: u64 = (1 << 31) - 1;

/// A gRPC server, or many that serve the same.
#[derive(Debug)]
pub(crate) struct Target {
    pub(super) source: Source,
    pub(crate) address: Option<Arc<Template>>,
    pub(super) max_message: usize,
    pub(super) connections: Pool,
    pub(crate) tls: Arc<ClientConfig>,
    /// What is declared of its servers' clock.
    pub(super) clock: Option<ServerClock>,
}

/// Where the descriptions of services come from.
#[derive(Debug)]
pub(super) enum Source {
    Known(prost_reflect::DescriptorPool),
    Reflection,
}

/// A call, read from a stage.
#[derive(Debug)]
pub(super) struct GrpcStage {
    target: Arc<Named>,
    address: Arc<Template>,
    pub(super) call: Call,
    pub(super) message: Message,
    pub(super) metadata: Vec<(HeaderName, Template)>,
    /// Unless the plan writes one, a stream is to end by itself.
    pub(super) stop: Option<StopRule>,
    /// Statuses that end the stream well; `None`: OK, if `stop` waits for the end.
    pub(super) end: Option<Vec<EndRule>>,
    pub(super) windows: Windows,
    /// Stages with the same key share connections to one address.
    pub(super) pool_key: Box<str>,
}

/// What is called.
#[derive(Debug)]
pub(super) enum Call {
    Known(Arc<Schema>),
    /// By name, to be asked for at the first use of an address.
    Reflected(String, Reflected),
}

/// When a stream is enough, as the plan says it.
#[derive(Debug)]
pub(super) enum StopRule {
    Fixed(Stop),
    Messages(Count),
}

/// A number of messages.
#[derive(Debug)]
pub(super) enum Count {
    Fixed(u64),
    Of(Template),
}

impl Count {
    fn read(item: Item<'_>) -> Option<Self> {
        let template = item.template()?;
        if template.literal().is_none() {
            return Some(Self::Of(template));
        }
        let count = item.int(1..=i64::MAX)?;
        u64::try_from(count).ok().map(Self::Fixed)
    }

    fn resolve(&self, scope: &Scope<'_>) -> Result<u64, StageError> {
        let template = match self {
            Self::Fixed(count) => return Ok(*count),
            Self::Of(template) => template,
        };
        let value = template
            .value(scope)
            .map_err(|error| StageError::template("a number of messages", &error))?;
        value.as_u64().filter(|count| *count > 0).ok_or_else(|| {
            let message = format!(
                "`{}` gave {value}, not a number of messages",
                template.source()
            );
            StageError::new(ErrorKind::Expectation, message).with_code("template")
        })
    }
}

/// When a stream is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Messages(u64),
    For(Duration),
    End,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Messages(count) => write!(f, "`stop: {{ messages: {count} }}` was met"),
            Self::For(duration) => write!(f, "`stop: {{ for: {duration:?} }}` was met"),
            Self::End => f.write_str("it was to end so"),
        }
    }
}

/// A status with which the server may end a stream.
#[derive(Debug)]
pub(super) struct EndRule {
    status: i32,
    after_idle: Option<Duration>,
    pub(super) when: Option<Expr>,
}

/// Whether the plan accepts how the server ended a stream.
#[derive(Debug)]
pub(super) enum Accepted<'a> {
    Yes,
    /// If this is true of what the stream amounted to.
    When(&'a Expr),
    No,
}

impl GrpcStage {
    pub(super) fn target(&self) -> &Target {
        self.target
            .value()
            .expect("a target of `grpc` was read by `grpc`")
    }

    pub(super) fn address(&self) -> &Template {
        &self.address
    }

    /// When a stream of one try is enough.
    pub(super) fn stop(&self, scope: &Scope<'_>) -> Result<Stop, StageError> {
        Ok(match &self.stop {
            None => Stop::End,
            Some(StopRule::Fixed(stop)) => *stop,
            Some(StopRule::Messages(count)) => Stop::Messages(count.resolve(scope)?),
        })
    }

    /// Whether the plan accepts that the server ended the stream with this status, after so long without a message.
    pub(super) fn accepts(&self, stop: Stop, status: i32, idle: Duration) -> Accepted<'_> {
        let Some(rules) = &self.end else {
            return if stop == Stop::End && status == status::OK {
                Accepted::Yes
            } else {
                Accepted::No
            };
        };
        let mut fitting = rules.iter().filter(|rule| {
            rule.status == status && rule.after_idle.is_none_or(|least| idle >= least)
        });
        match fitting.next().map(|rule| &rule.when) {
            None => Accepted::No,
            Some(None) => Accepted::Yes,
            Some(Some(when)) => Accepted::When(when),
        }
    }

    /// Whether a rule for the end reads what the stream amounted to.
    pub(super) fn end_reads_stream(&self) -> bool {
        let mut rules = self.end.iter().flatten();
        rules.any(|rule| rule.when.is_some())
    }
}

fn read_target(item: Item<'_>) -> Option<Arc<dyn Any + Send + Sync>> {
    let grpc = item.key("grpc")?;
    let source = source(grpc);
    let address = forms::optional(
        if item.has("address") { item } else { grpc },
        "address",
        Item::template,
    );
    let max_message = forms::size(grpc, "max_message", limits::BODY_BYTES);
    let connections = forms::connections(item, Pool::Session);
    let tls = forms::tls(item, &[b"h2"]);
    let clock = forms::clock(item);
    Some(Arc::new(Target {
        source: source?,
        address: address?.map(Arc::new),
        max_message: max_message?,
        connections: connections?,
        tls: tls?,
        clock: clock?,
    }))
}

fn source(item: Item<'_>) -> Option<Source> {
    if let Some(protos) = item.key("protos") {
        let files: Vec<_> = protos.items().into_iter().map(Item::file).collect();
        let files: Option<Vec<_>> = files.into_iter().collect();
        let paths: Vec<String> = files?.into_iter().map(|file| file.path).collect();
        let open = |path: &str| protos.imported_file(path).map(|file| file.bytes);
        return known(protos, schema::compile(&paths, &open));
    }
    if let Some(descriptors) = item.key("descriptors") {
        return known(descriptors, schema::decode_set(&descriptors.file()?.bytes));
    }
    match item.key("reflection")?.bool()? {
        true => Some(Source::Reflection),
        false => {
            let hint = "give `protos` or `descriptors` instead";
            item.problem(
                ProblemCode::BadValue,
                "without reflection nothing says what the server serves",
                hint,
            );
            None
        }
    }
}

fn known(
    item: Item<'_>,
    pool: Result<prost_reflect::DescriptorPool, SchemaError>,
) -> Option<Source> {
    match pool {
        Ok(pool) => Some(Source::Known(pool)),
        Err(error) => {
            item.problem(ProblemCode::Proto, error.message, error.hint);
            None
        }
    }
}

fn read(item: Item<'_>) -> Option<Box<dyn DriverStage>> {
    let target = item.key("target").and_then(|target| target.target("grpc"));
    let metadata = forms::headers(item, "metadata");
    let own_address = forms::optional(item, "address", Item::template);
    let stop = forms::optional(item, "stop", stop);
    let end = forms::optional(item, "end", end);
    let windows = windows(item);
    let name = item.key("call").and_then(Item::text);
    let json = forms::optional(item, "message", Item::json);
    let (target, name) = (target?, name?);
    let shared: &Target = target.value()?;
    let call = match &shared.source {
        Source::Known(pool) => known_call(item, pool, &name),
        Source::Reflection => {
            let text = format!(
                "`{name}` could not be verified: the server is asked at the first use of an address"
            );
            item.key("call")?.note(
                text,
                "give the target `protos` or `descriptors` to check calls before a run",
            );
            Some(Call::Reflected(
                name.trim_start_matches('/').to_owned(),
                Reflected::default(),
            ))
        }
    };
    let address = own_address?
        .map(Arc::new)
        .or_else(|| shared.address.clone());
    if address.is_none() {
        item.problem(
            ProblemCode::MissingKey,
            "neither the stage nor its target has an `address`",
            "add `address: HOST:PORT`",
        );
    }
    let (call, json, windows) = (call?, json?, windows?);
    let message = match &call {
        Call::Known(schema) => message::read(item.key("message"), json, &schema.method.input)?,
        Call::Reflected(..) => Message::of(json.unwrap_or_else(empty)),
    };
    if let Call::Known(schema) = &call {
        check_kind(item, schema)?;
    }
    let pool_key = format!(
        "grpc {} {} {} ",
        target.name, windows.stream, windows.connection
    )
    .into_boxed_str();
    Some(Drives::stage(GrpcStage {
        target,
        address: address?,
        call,
        message,
        metadata: metadata?,
        stop: stop?,
        end: end?,
        windows,
        pool_key,
    }))
}

/// A message without fields.
fn empty() -> JsonTemplate {
    JsonTemplate::literal_value(serde_json::Value::Object(serde_json::Map::new()))
}

fn known_call(item: Item<'_>, pool: &prost_reflect::DescriptorPool, name: &str) -> Option<Call> {
    match schema::find(pool, name) {
        Ok(method) => Some(Call::Known(Arc::new(Schema::new(method)))),
        Err(unknown) => {
            item.key("call")?
                .problem(ProblemCode::Proto, unknown.to_string(), unknown.hint);
            None
        }
    }
}

/// Refuses kinds of calls that this build does not run, and keys that only streams have.
fn check_kind(item: Item<'_>, schema: &Schema) -> Option<()> {
    let method = &schema.method;
    if method.client_streaming {
        let hint = "unary calls and server streams are built";
        item.key("call")?.problem(
            ProblemCode::NotYet,
            format!("{} takes a stream of messages", method.path),
            hint,
        );
        return None;
    }
    if !method.server_streaming {
        for key in ["stop", "end"] {
            if let Some(value) = item.key(key) {
                let message = format!(
                    "{} answers with one message, so there is nothing to {key}",
                    method.path
                );
                value.problem(ProblemCode::Conflict, message, format!("remove `{key}`"));
                return None;
            }
        }
    }
    Some(())
}

fn stop(item: Item<'_>) -> Option<StopRule> {
    if !item.is_map() {
        return item.word(&["end"]).map(|_| StopRule::Fixed(Stop::End));
    }
    if let Some(messages) = item.key("messages") {
        return Count::read(messages).map(StopRule::Messages);
    }
    if let Some(duration) = item.key("for") {
        return Some(StopRule::Fixed(Stop::For(duration.duration()?)));
    }
    item.key("end")?.bool()?;
    Some(StopRule::Fixed(Stop::End))
}

fn end(item: Item<'_>) -> Option<Vec<EndRule>> {
    let rules: Vec<_> = item
        .items()
        .into_iter()
        .map(|rule| {
            let after_idle = forms::optional(rule, "after_idle", Item::duration);
            let when = forms::optional(rule, "when", |when| when.expr_over(&["stream"]));
            let status = status_code(rule.key("status").unwrap_or(rule));
            Some(EndRule {
                status: status?,
                after_idle: after_idle?,
                when: when?,
            })
        })
        .collect();
    rules.into_iter().collect()
}

fn status_code(item: Item<'_>) -> Option<i32> {
    let text = item.text()?;
    let code = status::code_of(&text);
    if code.is_none() {
        let known = status::names();
        let hint = nearest(&text, known.iter().copied()).map_or_else(
            || format!("write one of {}", known.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        item.problem(
            ProblemCode::BadValue,
            format!("`{text}` is not a gRPC status"),
            hint,
        );
    }
    code
}

fn windows(item: Item<'_>) -> Option<Windows> {
    let default = Windows::default();
    let Some(item) = item.key("windows") else {
        return Some(default);
    };
    let window = |key: &str, default: u32| {
        let Some(value) = item.key(key) else {
            return Some(default);
        };
        let size = value.size()?;
        if !(LEAST_WINDOW..=MOST_WINDOW).contains(&size) {
            let message = format!("a window of {size} bytes is not allowed by HTTP/2");
            value.problem(
                ProblemCode::BadValue,
                message,
                "write a size from 64KiB to 1GiB",
            );
            return None;
        }
        u32::try_from(size).ok()
    };
    let (stream, connection) = (
        window("stream", default.stream),
        window("connection", default.connection),
    );
    Some(Windows {
        stream: stream?,
        connection: connection?,
    })
}
