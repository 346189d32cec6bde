//! What is read from the keys of `grpc` in a plan.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use rustls::ClientConfig;
use testmesh_shared::plan::expr::{Scope, Template};
use testmesh_shared::plan::keys::{Form, State};
use testmesh_shared::plan::{
    DriverForm, DriverStage, ErrorKind, Item, Pool, ProblemCode, Target as Named,
};

use super::connection::Windows;
use super::keys::{STAGE, TARGET};
use super::schema::{self, Method, SchemaError};
use super::send::Outgoing;
use super::stage::{Reflected, Schema};
use super::status;
use super::stop::{self, Accepted, EndRule, Stop, StopRule};
use super::watching::WatchRule;
use crate::driver::contract::{Drives, StageError};
use crate::driver::forms;
use crate::driver::limits;
use crate::integrity::ServerClock;

/// The driver `grpc`.
pub(crate) static FORM: DriverForm = DriverForm {
    name: "grpc",
    doc: "Calls a method of a gRPC service: unary, or with a stream from the client, from the server, or both.",
    state: State::Built,
    stage: Form::Object(&STAGE),
    target: Some(&TARGET),
    read,
    read_target,
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
    pub(super) outgoing: Outgoing,
    pub(super) metadata: Vec<(HeaderName, Template)>,
    /// Unless the plan writes one, a stream is to end by itself.
    pub(super) stop: Option<StopRule>,
    /// It goes on at least until the stages of `during` have run.
    pub(super) after_during: bool,
    /// Statuses that end the stream well; `None`: OK, if `stop` waits for the end.
    pub(super) end: Option<Vec<EndRule>>,
    pub(super) watch: Vec<WatchRule>,
    /// Stages run while the stream is open.
    pub(super) has_during: bool,
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
    pub(super) fn stop(&self, scope: &Scope<'_>) -> Result<Stop<'_>, StageError> {
        match &self.stop {
            None => Ok(Stop::End),
            Some(rule) => rule.resolve(scope),
        }
    }

    /// Whether the plan accepts that the server ended the stream with this status, after so long without a message.
    pub(super) fn accepts(&self, stop: Stop<'_>, status: i32, idle: Duration) -> Accepted<'_> {
        let Some(rules) = &self.end else {
            return if matches!(stop, Stop::End) && status == status::OK {
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

    /// Whether something in the stage is for a stream that the server sends, whatever the method is.
    pub(super) fn says_that_it_streams(&self) -> bool {
        self.stop.is_some() || self.end.is_some() || self.needs_stream().is_some()
    }

    /// The key, if there is one, that makes no sense without a stream that the server sends.
    fn needs_stream(&self) -> Option<&'static str> {
        match self {
            _ if self.has_during => Some("during"),
            _ if !self.watch.is_empty() => Some("watch"),
            _ => None,
        }
    }

    /// Refuses a method that only reflection has told to be of another kind than the plan takes it for.
    pub(super) fn check_method(&self, method: &Method) -> Result<(), StageError> {
        let path = &method.path;
        let message = match (&self.outgoing, self.needs_stream()) {
            (Outgoing::Stream(_), _) if !method.client_streaming => {
                format!("{path} takes one message, not the stream of `messages`")
            }
            (_, Some(key)) if !method.server_streaming => {
                format!("{path} answers with one message, not with the stream that `{key}` needs")
            }
            _ => return Ok(()),
        };
        Err(StageError::new(ErrorKind::Protocol, message).with_code("wrong_kind"))
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
    let stop = forms::optional(item, "stop", StopRule::read);
    let after_during = stop::read_after(item);
    let end = forms::optional(item, "end", stop::read_end);
    let watch = forms::optional(item, "watch", WatchRule::read_all);
    let windows = windows(item);
    let name = item.key("call").and_then(Item::text);
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
    let (call, windows) = (call?, windows?);
    let outgoing = match &call {
        Call::Known(schema) => {
            check_kind(item, &schema.method)?;
            Outgoing::read(item, Some(&schema.method.input))?
        }
        Call::Reflected(..) => Outgoing::read(item, None)?,
    };
    let pool_key = format!(
        "grpc {} {} {} ",
        target.name, windows.stream, windows.connection
    )
    .into_boxed_str();
    Some(Drives::stage(GrpcStage {
        target,
        address: address?,
        call,
        outgoing,
        metadata: metadata?,
        stop: stop?,
        after_during: after_during?,
        end: end?,
        watch: watch?.unwrap_or_default(),
        has_during: item.has("during"),
        windows,
        pool_key,
    }))
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

/// Refuses keys that other kinds of methods have.
fn check_kind(item: Item<'_>, method: &Method) -> Option<()> {
    if let Some(messages) = item.key("messages").filter(|_| !method.client_streaming) {
        let message = format!("{} takes one message, not a stream of them", method.path);
        let hint = "write `message`, and `repeat` the stage to send more";
        messages.problem(ProblemCode::Conflict, message, hint);
        return None;
    }
    if method.server_streaming {
        return Some(());
    }
    let without = [
        ("stop", "there is nothing to stop"),
        ("end", "there is nothing to end"),
        ("during", "nothing can run while it streams"),
        ("watch", "there are no messages to watch"),
    ];
    let mut fits = Some(());
    for (key, nothing) in without {
        if let Some(value) = item.key(key) {
            let message = format!("{} answers with one message, so {nothing}", method.path);
            value.problem(ProblemCode::Conflict, message, format!("remove `{key}`"));
            fits = None;
        }
    }
    fits
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
