//! Two drivers for tests, `http` without a stream and `grpc` with one, and files in memory.

use std::any::Any;
use std::sync::Arc;

use super::super::expr::{JsonTemplate, Template};
use super::super::form::{DriverForm, DriverStage};
use super::super::keys::{Form, Group, Key, Keys, State};
use super::super::model::{Integrity, Plan, Stage, Target};
use super::super::problem::{Problem, ProblemCode};
use super::super::{Files, Item, Source, VarOverrides, load};

static HTTP: Keys = Keys {
    name: "http",
    doc: "One request.",
    groups: &[Group::ExactlyOne(&["get", "post"])],
    keys: &[
        Key::new("target", Form::Target("http"), "Where.").required(),
        Key::new("get", Form::Template, "The path."),
        Key::new("post", Form::Template, "The path."),
        Key::new("json", Form::Json, "The body."),
        Key::new("body", Form::File, "The body."),
        Key::new("version", Form::Word(&["1", "2"]), "The version.").not_yet(),
    ],
};

static HTTP_TARGET: Keys = Keys {
    name: "http target",
    doc: "A server.",
    groups: &[],
    keys: &[
        Key::new("http", Form::Template, "Its address.").required(),
        Key::new("timeout", Form::Duration, "Bounds one request.").default("30s"),
        Key::new("tls", Form::Value, "How."),
        Key::new("max_body", Form::Size, "The largest body.").default("4MiB"),
    ],
};

static GRPC: Keys = Keys {
    name: "grpc",
    doc: "One call.",
    groups: &[],
    keys: &[
        Key::new("target", Form::Target("grpc"), "Where.").required(),
        Key::new("address", Form::Template, "The address."),
        Key::new("call", Form::Text, "The method.").required(),
        Key::new("message", Form::Json, "The request."),
        Key::new("stop", Form::Value, "When to stop."),
        Key::new("during", Form::List(&Form::Stage), "Meanwhile."),
        Key::new("when", Form::Expr, "When a message is enough."),
    ],
};

static GRPC_TARGET: Keys = Keys {
    name: "grpc target",
    doc: "A server.",
    groups: &[],
    keys: &[Key::new("grpc", Form::Value, "How.").required()],
};

#[derive(Debug)]
pub(super) struct Http {
    pub(super) target: Arc<Target>,
    pub(super) path: Template,
    pub(super) json: Option<JsonTemplate>,
}

impl DriverStage for Http {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn results(&self) -> &'static [&'static str] {
        &["status", "headers", "body", "text"]
    }
}

#[derive(Debug)]
struct Grpc;

impl DriverStage for Grpc {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn streams(&self) -> bool {
        true
    }

    fn results(&self) -> &'static [&'static str] {
        &["status", "stream"]
    }

    fn check_during(&self, during: &[Stage], item: Item<'_>) {
        let named = |stage: &Stage| stage.is_named("forbidden");
        if during.iter().any(named) {
            item.problem(ProblemCode::Conflict, "the driver forbids it", "rename it");
        }
    }

    fn check_integrity(&self, integrity: &Integrity, item: Item<'_>) {
        if let Some(field) = integrity
            .payload
            .as_ref()
            .filter(|field| field.names[0] == "nothing")
        {
            let span = item.key("payload").map_or_else(|| item.span(), Item::span);
            item.problem_at(
                span,
                ProblemCode::Proto,
                format!("there is no field `{field}`"),
                "see the proto",
            );
        }
    }
}

fn read_http(item: Item<'_>) -> Option<Box<dyn DriverStage>> {
    let target = item.key("target").and_then(|key| key.target("http"));
    let path = item
        .key("get")
        .or_else(|| item.key("post"))
        .and_then(Item::template);
    let json = item.key("json").map(Item::json);
    if let Some(file) = item.key("body") {
        file.file()?;
    }
    let json = match json {
        Some(json) => Some(json?),
        None => None,
    };
    Some(Box::new(Http {
        target: target?,
        path: path?,
        json,
    }))
}

fn read_http_target(item: Item<'_>) -> Option<Arc<dyn Any + Send + Sync>> {
    let address = item.key("http")?.template()?;
    Some(Arc::new(address.source().to_owned()))
}

fn read_grpc(item: Item<'_>) -> Option<Box<dyn DriverStage>> {
    let target = item.key("target").and_then(|key| key.target("grpc"));
    let address = item.key("address").map(Item::template);
    let message = item.key("message").map(Item::json);
    let when = item.key("when").map(|when| when.expr_over(&["message"]));
    target?;
    when.is_none_or(|read| read.is_some()).then_some(())?;
    (address.is_none_or(|read| read.is_some()) && message.is_none_or(|read| read.is_some()))
        .then(|| Box::new(Grpc) as _)
}

fn read_grpc_target(item: Item<'_>) -> Option<Arc<dyn Any + Send + Sync>> {
    for proto in item
        .key("grpc")?
        .key("protos")
        .map(Item::items)
        .unwrap_or_default()
    {
        proto.file()?;
    }
    if item.key("grpc")?.has("reflection") {
        item.note(
            "the call is known only when the server is asked",
            "name `protos` to check it now",
        );
    }
    Some(Arc::new(()))
}

static HTTP_FORM: DriverForm = DriverForm {
    name: "http",
    doc: "One request.",
    state: State::Built,
    stage: Form::Object(&HTTP),
    target: Some(&HTTP_TARGET),
    read: read_http,
    read_target: read_http_target,
};

static GRPC_FORM: DriverForm = DriverForm {
    name: "grpc",
    doc: "One call.",
    state: State::Built,
    stage: Form::Object(&GRPC),
    target: Some(&GRPC_TARGET),
    read: read_grpc,
    read_target: read_grpc_target,
};

pub(super) static FORMS: [&DriverForm; 2] = [&HTTP_FORM, &GRPC_FORM];

/// Files by path.
pub(super) struct Memory(pub(super) &'static [(&'static str, &'static str)]);

impl Files for Memory {
    fn read(&self, path: &str) -> Result<Arc<[u8]>, String> {
        let found = self.0.iter().find(|(known, _)| *known == path);
        found
            .map(|(_, text)| Arc::from(text.as_bytes()))
            .ok_or_else(|| "no such file".to_owned())
    }
}

pub(super) static FILES: Memory = Memory(&[
    ("protos/pandadatastream.proto", "syntax = \"proto3\";"),
    ("a.bin", "x"),
    ("views.csv", "height,label\n200,wide\n400,tall\n"),
    ("none.csv", "height\n"),
    ("torn.csv", "height,label\n200\n"),
    (
        "users.jsonl",
        "{\"name\": \"ann\"}\n{\"name\": \"bob\", \"admin\": true}\n",
    ),
]);

pub(super) fn read(text: &str, sets: &[&str]) -> Result<(Plan, Vec<Problem>), Vec<Problem>> {
    let mut overrides = VarOverrides::default();
    for set in sets {
        overrides.set_pair(set).unwrap();
    }
    load(
        Source {
            name: "plan.yaml",
            text,
            files: &FILES,
        },
        &overrides,
        &FORMS,
    )
}

/// The plan of a text that must be right.
pub(crate) fn plan(text: &str) -> Plan {
    read(text, &[])
        .unwrap_or_else(|problems| {
            let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
            panic!("{}", shown.join("\n"))
        })
        .0
}

/// The problems of a plan that has some, as code and message.
pub(crate) fn problems(text: &str) -> Vec<(String, String)> {
    let problems = read(text, &[])
        .map(|(_, notes)| notes)
        .unwrap_or_else(|problems| problems);
    problems
        .into_iter()
        .map(|problem| (problem.code.to_string(), problem.message))
        .collect()
}
