//! What a try gave, as the names that a stage's expressions read.
//!
//! Only names that the stage reads are bound, and bodies are converted when an expression first reads them.

use std::time::Duration;

use bytes::Bytes;
use testmesh_shared::plan::Stage;
use testmesh_shared::plan::expr::{Scope, Value};

use crate::driver::{Body, Results};

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
        layer.set_lazy("body", move || body.value());
    }
    if stage.reads("text") {
        let body = results.body.clone();
        layer.set_lazy("text", move || Ok(text(&body)));
    }
    if let Some(docs) = results.docs.as_ref().filter(|_| stage.reads("docs")) {
        layer.set("docs", docs.clone());
    }
    if let Some(page) = results.page.as_ref().filter(|_| stage.reads("page")) {
        layer.set("page", page.clone());
    }
    if let Some(stream) = results.stream.as_ref().filter(|_| stage.reads("stream")) {
        let stream = stream.clone();
        layer.set_lazy("stream", move || stream.value());
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

fn text(body: &Body) -> Value {
    let bytes = match body {
        Body::None => Bytes::new(),
        Body::Bytes(bytes) => bytes.clone(),
        Body::Message(message) => message.bytes().clone(),
        Body::Value(value) => value.to_json().to_string().into(),
    };
    Value::from(String::from_utf8_lossy(&bytes).into_owned())
}
