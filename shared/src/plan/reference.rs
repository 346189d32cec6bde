//! The table of keys written out: `docs/plan-reference.md` and the JSON Schema.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use super::form::{DriverForm, lacking};
use super::keys::{Form, Group, Key, Keys, Need, State};
use super::problem::ProblemCode;
use super::table::{PLAN, STAGE};
use crate::load::table::LOADS;

/// What expressions may read and call.
const EXPRESSIONS: &str = "
## Expressions

Expressions are [CEL](https://cel.dev). They stand bare where the tables above say *expression*, and inside of `${…}` in *text with `${…}`*. \
A text that is exactly one `${…}` keeps the value's type; elsewhere bytes become base64, and null, lists and maps are errors. `$${` is a literal `${`. \
Everything else takes only `${vars…}`, resolved when the plan is loaded.

| name | what it is | where |
| --- | --- | --- |
| `vars.NAME` | variables | everywhere |
| `secrets.NAME` | secrets | in text with `${…}` that goes out, never in `expect`, `save`, `until`, `when` |
| `run.id`, `run.seed`, `run.NAME` | the run, and what `setup` saved | stages |
| `feed.NAME.COLUMN` | the row that the session took of a feed | stages of scenarios |
| `session.id`, `.index`, `.virtual_user`, `.NAME` | the session, and what it saved; a parallel branch's saves are there after it ended, those of a stage of `during` also for the expressions of its stream | stages of scenarios |
| `agent.id`, `agent.site` | the agent | stages |
| the name in `as` | the number from 0, or the item | inside of `repeat` |
| `elapsed`, and what the driver gives: `status`, `headers`, `body`, `text`, `stream`, `page` | results of the stage | its own `expect`, `until` and `save` |
| `message`, and `stream` so far | a message that has come | `watch` and `stop: { when }` of its stream |

Beside CEL's own functions there are:

| function | value |
| --- | --- |
| `now()` | milliseconds since the Unix epoch |
| `uuid()` | a version 4 UUID, from the session's seed |
| `random()`, `random(N)`, `random(FROM, TO)` | a number from 0 below 1; a whole number from 0 below N; one from FROM below TO; from the session's seed |
| `range(N)`, `range(FROM, TO)` | the whole numbers from 0 below N; from FROM below TO |
| `b64(X)`, `hex(X)` | text or bytes X in base64, in hexadecimal |

An expression has at most 4096 bytes, and one evaluation takes at most 200000 steps of comprehensions and `range`.
";

/// Whole plans, each with what it shows; a test runs them all.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "Requests: a later stage uses what an earlier one saved, and a status that an expression reads fails nothing by itself.",
        include_str!("examples/http.yaml"),
    ),
    (
        "Load models side by side, and one after another.",
        include_str!("examples/loads.yaml"),
    ),
    (
        "Stages put together: a block, once for each item of a list; branches side by side; a stage that is skipped; cleanup.",
        include_str!("examples/groups.yaml"),
    ),
    (
        "A stream, each row of it put in sequence and compared with what other sessions saw.",
        include_str!("examples/stream.yaml"),
    ),
    (
        "Stages beside a stream, and how long it takes until something is true of its messages.",
        include_str!("examples/during.yaml"),
    ),
    (
        "Faults: sessions reach the server through a proxy that is cut for a while, and then slow for a while.",
        include_str!("examples/faults.yaml"),
    ),
    (
        "A feed: each session takes a row of `views.csv`, below, that no other session takes.",
        include_str!("examples/feed.yaml"),
    ),
    (
        "Messages: a queue of the session's own hears what is sent, a message that nobody hears fails its stage, and nothing is left behind.",
        include_str!("examples/amqp.yaml"),
    ),
    (
        "Objects of a cluster: waits that hear of changes, restarts, events, logs, and what must be gone.",
        include_str!("examples/kubernetes.yaml"),
    ),
    (
        "Documents: they are written, counted, changed and removed; dates are milliseconds since the Unix epoch, and object ids are text.",
        include_str!("examples/mongodb.yaml"),
    ),
    (
        "Thresholds: shares, rates, a phase against another, and one that ends the run.",
        include_str!("examples/thresholds.yaml"),
    ),
    (
        "A page of a real browser for each session: what a user does, and how long it takes until it shows.",
        include_str!("examples/browser.yaml"),
    ),
];

/// Files that the examples name, each with its path.
const EXAMPLE_FILES: &[(&str, &str)] = &[("views.csv", include_str!("examples/views.csv"))];

/// The reference of the plan format, in Markdown, with the drivers that `forms` knows.
#[must_use]
pub fn reference(forms: &[&'static DriverForm]) -> String {
    let mut out = String::from(
        "# Plan reference\n\nGenerated from the table of plan keys; do not edit.\n\
         Keys marked *not yet* are known by name only: `check` reports them.\n",
    );
    let mut order: Vec<&'static Keys> = Vec::new();
    objects(&PLAN, &mut order);
    objects(&STAGE, &mut order);
    for keys in order {
        section(&mut out, keys);
    }
    out.push_str("\n## Load models\n\nWhat stands behind `load` in a scenario.\n");
    for form in LOADS {
        let state = match form.state {
            State::NotYet => " (*not yet*)",
            State::Built => "",
        };
        line(
            &mut out,
            format_args!("\n### Load model `{}`{state}\n\n{}", form.name, form.doc),
        );
        if form.state == State::Built {
            let mut order = Vec::new();
            objects(form.keys, &mut order);
            order.into_iter().for_each(|keys| section(&mut out, keys));
        }
    }
    out.push_str("\n## Drivers\n");
    for form in forms.iter().copied().chain(lacking(forms)) {
        let state = if form.state == State::NotYet {
            " (*not yet*)"
        } else {
            ""
        };
        line(
            &mut out,
            format_args!("\n### Driver `{}`{state}\n\n{}", form.name, form.doc),
        );
        let mut order = Vec::new();
        form_objects(&form.stage, &mut order);
        if !matches!(form.stage, Form::Object(_) | Form::Value) {
            line(
                &mut out,
                format_args!("\n`{}:` takes {}.", form.name, words(&form.stage)),
            );
        }
        if let Some(keys) = form.target {
            objects(keys, &mut order);
        }
        for keys in order {
            section(&mut out, keys);
        }
    }
    out.push_str(EXPRESSIONS);
    examples(&mut out);
    out.push_str("\n## Problem codes\n\n| code | meaning |\n| --- | --- |\n");
    for (code, meaning) in ProblemCode::ALL {
        line(&mut out, format_args!("| `{code}` | {meaning} |"));
    }
    out
}

fn examples(out: &mut String) {
    out.push_str(
        "\n## Examples\n\nWhole plans. Each runs against the stand-in server: `testmesh run PLAN --testbed`. \
         Those with a stream find the proto in `plans/focus/protos/`.\n",
    );
    for (shows, plan) in EXAMPLES {
        line(out, format_args!("\n{shows}\n\n```yaml\n{plan}```"));
    }
    for (path, text) in EXAMPLE_FILES {
        line(out, format_args!("\n`{path}`:\n\n```csv\n{text}```"));
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("writing to a string cannot fail");
}

fn section(out: &mut String, keys: &Keys) {
    line(out, format_args!("\n### `{}`\n\n{}\n", keys.name, keys.doc));
    for group in keys.groups {
        match group {
            Group::ExactlyOne(names) => {
                line(out, format_args!("Exactly one of {}.\n", listed(names)))
            }
            Group::AtMostOne(names) => {
                line(out, format_args!("At most one of {}.\n", listed(names)))
            }
        }
    }
    out.push_str("| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
    for key in keys.keys {
        let default = match key.need {
            Need::Required => "*required*".to_owned(),
            Need::Optional => String::new(),
            Need::Default(value) => format!("`{value}`"),
        };
        let state = if key.state == State::NotYet {
            "*Not yet.* "
        } else {
            ""
        };
        let doc = key.doc.replace('|', "\\|");
        line(
            out,
            format_args!(
                "| `{}` | {} | {default} | {state}{doc} |",
                key.name,
                words(&key.form)
            ),
        );
    }
}

fn listed(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// A form in words, for the reference.
fn words(form: &Form) -> String {
    match form {
        Form::Name => "name".to_owned(),
        Form::Text => "text".to_owned(),
        Form::Template => "text with `${…}`".to_owned(),
        Form::Expr => "expression".to_owned(),
        Form::Bool => "`true` or `false`".to_owned(),
        Form::Int(least, i64::MAX) => format!("whole number from {least}"),
        Form::Int(least, most) => format!("whole number, {least} to {most}"),
        Form::Duration => "duration".to_owned(),
        Form::Size => "size".to_owned(),
        Form::Share => "share".to_owned(),
        Form::Rate => "rate".to_owned(),
        Form::Word(words) => listed(words),
        Form::File => "file".to_owned(),
        Form::FieldPath => "field".to_owned(),
        Form::Target(driver) => format!("target of `{driver}`"),
        Form::Json => "any JSON, with `${…}` in strings".to_owned(),
        Form::Value => "any value".to_owned(),
        Form::List(of) => format!("list of {}", words(of)),
        Form::Map(of) => format!("map of names to {}", words(of)),
        Form::Object(keys) => format!("[`{}`](#{})", keys.name, keys.name.replace(' ', "-")),
        Form::Either(forms) => forms.iter().map(words).collect::<Vec<_>>().join(", or "),
        Form::Stage => "[`stage`](#stage)".to_owned(),
        Form::TargetDefinition => "target, see the [drivers](#drivers)".to_owned(),
        Form::Load => "`once`, or a [load model](#load-models)".to_owned(),
    }
}

/// Every object that a form mentions, each once, in the order of the table.
fn form_objects(form: &Form, order: &mut Vec<&'static Keys>) {
    match form {
        Form::List(of) | Form::Map(of) => form_objects(of, order),
        Form::Object(keys) => objects(keys, order),
        Form::Either(forms) => forms.iter().for_each(|form| form_objects(form, order)),
        _ => {}
    }
}

fn objects(keys: &'static Keys, order: &mut Vec<&'static Keys>) {
    if order.iter().any(|known| std::ptr::eq(*known, keys)) {
        return;
    }
    order.push(keys);
    for key in keys.keys.iter().filter(|key| key.state == State::Built) {
        form_objects(&key.form, order);
    }
}

/// The JSON Schema of the plan format, with the drivers that `forms` knows; for editors.
///
/// It knows kinds, keys and words; what only reading can tell (names in scope, files, units) stays
/// with `check`.
#[must_use]
pub fn schema(forms: &[&'static DriverForm]) -> Json {
    let mut definitions = Map::new();
    definitions.insert("stage".to_owned(), stage_schema(forms));
    definitions.insert("target".to_owned(), target_schema(forms));
    let mut root = object_schema(&PLAN);
    root.insert(
        "$schema".to_owned(),
        "https://json-schema.org/draft/2020-12/schema".into(),
    );
    root.insert("title".to_owned(), "testmesh plan".into());
    root.insert("$defs".to_owned(), Json::Object(definitions));
    Json::Object(root)
}

fn stage_schema(forms: &[&'static DriverForm]) -> Json {
    let mut schema = object_schema(&STAGE);
    let mut one_of = vec![
        json!({"required": ["repeat"]}),
        json!({"required": ["parallel"]}),
        json!({"required": ["use"]}),
    ];
    if let Some(Json::Object(properties)) = schema.get_mut("properties") {
        for form in forms {
            let mut driver = form_schema(&form.stage);
            driver["description"] = form.doc.into();
            properties.insert(form.name.to_owned(), driver);
            one_of.push(json!({"required": [form.name]}));
        }
    }
    schema.insert("oneOf".to_owned(), one_of.into());
    Json::Object(schema)
}

fn load_schema() -> Json {
    let built = LOADS.into_iter().filter(|form| form.state == State::Built);
    let objects = built.map(|form| Json::Object(object_schema(form.keys)));
    let any: Vec<Json> = std::iter::once(json!({"const": "once"}))
        .chain(objects)
        .collect();
    json!({"anyOf": any})
}

fn target_schema(forms: &[&'static DriverForm]) -> Json {
    let targets = forms.iter().filter_map(|form| form.target);
    let any: Vec<Json> = targets
        .map(|keys| Json::Object(object_schema(keys)))
        .collect();
    if any.is_empty() {
        json!({"type": "object"})
    } else {
        json!({"anyOf": any})
    }
}

fn object_schema(keys: &Keys) -> Map<String, Json> {
    // What this build does not run is left out, so that editors mark it.
    let built = keys.keys.iter().filter(|key| key.state == State::Built);
    let properties: Map<String, Json> = built
        .map(|key| (key.name.to_owned(), key_schema(key)))
        .collect();
    let required: Vec<Json> = keys
        .keys
        .iter()
        .filter(|key| key.need == Need::Required)
        .map(|key| key.name.into())
        .collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "object".into());
    schema.insert("description".to_owned(), keys.doc.into());
    schema.insert("properties".to_owned(), Json::Object(properties));
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    schema.insert("additionalProperties".to_owned(), false.into());
    schema
}

fn key_schema(key: &Key) -> Json {
    let mut schema = form_schema(&key.form);
    schema["description"] = key.doc.into();
    if let Need::Default(value) = key.need {
        schema["default"] = value.into();
    }
    schema
}

/// What may be written `${vars…}` too.
fn or_variable(schema: Json) -> Json {
    json!({"anyOf": [schema, {"type": "string", "pattern": "\\$\\{"}]})
}

fn form_schema(form: &Form) -> Json {
    match form {
        Form::Name => or_variable(
            json!({"type": ["string", "integer"], "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]*$"}),
        ),
        Form::Text | Form::Template | Form::File | Form::FieldPath | Form::Target(_) => {
            json!({"type": ["string", "number", "boolean"]})
        }
        Form::Expr => json!({"type": ["string", "number", "boolean"]}),
        Form::Bool => or_variable(json!({"type": "boolean"})),
        Form::Int(least, i64::MAX) => or_variable(json!({"type": "integer", "minimum": least})),
        Form::Int(least, most) => {
            or_variable(json!({"type": "integer", "minimum": least, "maximum": most}))
        }
        Form::Duration => or_variable(
            json!({"type": "string", "pattern": "^([0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$"}),
        ),
        Form::Size => or_variable(json!({"type": ["integer", "string"], "pattern": "^[0-9]"})),
        Form::Share => or_variable(json!({"type": ["number", "string"], "pattern": "%$"})),
        Form::Rate => or_variable(json!({"type": "string", "pattern": "^[0-9].*/ *(s|m|h)$"})),
        Form::Word(words) => or_variable(json!({"enum": words})),
        Form::Json | Form::Value => json!({}),
        Form::List(of) => json!({"type": ["array", "null"], "items": form_schema(of)}),
        Form::Map(of) => {
            json!({"type": ["object", "null"], "additionalProperties": form_schema(of)})
        }
        Form::Object(keys) => Json::Object(object_schema(keys)),
        Form::Either(forms) => json!({"anyOf": forms.iter().map(form_schema).collect::<Vec<_>>()}),
        Form::Stage => json!({"$ref": "#/$defs/stage"}),
        Form::TargetDefinition => json!({"$ref": "#/$defs/target"}),
        Form::Load => load_schema(),
    }
}
