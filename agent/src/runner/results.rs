//! What a try gave, as the names that a stage's expressions read.
//!
//! Only names that the stage reads are bound, and bodies are converted when an expression first reads them.

use std::time::Duration;

use bytes::Bytes;
use testmesh_shared::plan::Stage;
use testmesh_shared::plan::expr::{Scope, Value};

use crate::driver::{Body, Results, StreamResults};

/// Binds results in a layer of their own.
pub(super) fn bind(layer: &mut Scope<'_>, stage: &Stage, results: &Results, elapsed: Duration) {
    layer.set("elapsed", elapsed.as_secs_f64());
    if let Some(status) = results.status {
        layer.set("status", status);
    }
    if stage.reads("headers") {
        layer.set("headers", headers(&results.headers));
    }
    if stage.reads("body") {
        let body = results.body.clone();
        layer.set_lazy("body", move || structured(&body));
    }
    if stage.reads("text") {
        let body = results.body.clone();
        layer.set_lazy("text", move || Ok(text(&body)));
    }
    if let Some(stream) = results.stream.as_ref().filter(|_| stage.reads("stream")) {
        let stream = stream.clone();
        layer.set_lazy("stream", move || summary(&stream));
    }
}

/// A name that came several times has its values joined, as HTTP allows.
fn headers(headers: &[(Box<str>, Box<str>)]) -> Value {
    let mut joined: Vec<(String, String)> = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        match joined.iter_mut().find(|(known, _)| **known == **name) {
            Some((_, before)) => {
                before.push_str(", ");
                before.push_str(value);
            }
            None => joined.push((name.to_string(), value.to_string())),
        }
    }
    Value::map(
        joined
            .into_iter()
            .map(|(name, value)| (name, Value::from(value))),
    )
}

fn structured(body: &Body) -> Result<Value, String> {
    match body {
        Body::None => Err("is empty".into()),
        Body::Bytes(bytes) if bytes.is_empty() => Err("is empty".into()),
        Body::Bytes(bytes) => {
            Value::from_json_slice(bytes).map_err(|error| format!("is not JSON: {error}"))
        }
        Body::Message(message) => message
            .to_value()
            .map_err(|error| format!("cannot be decoded: {error}")),
    }
}

fn text(body: &Body) -> Value {
    let bytes = match body {
        Body::None => Bytes::new(),
        Body::Bytes(bytes) => bytes.clone(),
        Body::Message(message) => message.bytes().clone(),
    };
    Value::from(String::from_utf8_lossy(&bytes).into_owned())
}

fn summary(stream: &StreamResults) -> Result<Value, String> {
    let count = |number: u64| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
    let mut entries = vec![
        ("messages", count(stream.messages)),
        ("rows", count(stream.rows)),
        ("bytes", count(stream.bytes)),
        ("duration", Value::from(stream.duration.as_secs_f64())),
    ];
    if stream.messages > 0 {
        entries.push((
            "first",
            structured(&stream.first)
                .map_err(|reason| format!("has a first message that {reason}"))?,
        ));
        entries.push((
            "last",
            structured(&stream.last)
                .map_err(|reason| format!("has a last message that {reason}"))?,
        ));
    }
    if let Some(status) = stream.status {
        entries.push(("status", Value::from(status)));
    }
    if let Some(digest) = stream.digest {
        entries.push(("digest", Value::from(format!("{digest:032x}"))));
    }
    Ok(Value::map(entries))
}
