//! Names, headers and properties of AMQP, from the values of a plan and back.

use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldArray, FieldTable, ShortString};
use serde_json::Value as Json;
use testmesh_shared::plan::ErrorKind;
use testmesh_shared::plan::expr::{Scope, Template, Value};

use crate::driver::contract::StageError;

/// A name, key or short property, rendered.
pub(super) fn short(
    what: &str,
    template: &Template,
    scope: &Scope<'_>,
) -> Result<ShortString, StageError> {
    let text = template
        .text(scope)
        .map_err(|error| StageError::template(what, &error))?;
    ShortString::try_new(text).map_err(|_| {
        let message = format!("{what} is longer than the 255 bytes that AMQP allows");
        StageError::new(ErrorKind::Expectation, message).with_code("bad_request")
    })
}

/// The same of one that need not be there.
pub(super) fn short_or_empty(
    what: &str,
    template: Option<&Template>,
    scope: &Scope<'_>,
) -> Result<ShortString, StageError> {
    template.map_or_else(
        || Ok(ShortString::default()),
        |template| short(what, template, scope),
    )
}

/// A header's value, which keeps its type.
pub(super) fn header(value: Json) -> AMQPValue {
    match value {
        Json::Null => AMQPValue::Void,
        Json::Bool(value) => AMQPValue::Boolean(value),
        Json::Number(number) => number.as_i64().map_or_else(
            || AMQPValue::Double(number.as_f64().unwrap_or(f64::NAN)),
            AMQPValue::LongLongInt,
        ),
        Json::String(text) => AMQPValue::LongString(text.into()),
        Json::Array(items) => {
            let items: Vec<_> = items.into_iter().map(header).collect();
            AMQPValue::FieldArray(FieldArray::from(items))
        }
        Json::Object(entries) => {
            let mut table = FieldTable::default();
            for (key, value) in entries {
                // What is too long for a name within a header keeps its start.
                let end = key.floor_char_boundary(255);
                table.insert(key[..end].into(), header(value));
            }
            AMQPValue::FieldTable(table)
        }
    }
}

/// A header's value as JSON; bytes that are no text are shown escaped.
fn json(value: &AMQPValue) -> Json {
    match value {
        AMQPValue::Boolean(value) => (*value).into(),
        AMQPValue::ShortShortInt(value) => (*value).into(),
        AMQPValue::ShortShortUInt(value) => (*value).into(),
        AMQPValue::ShortInt(value) => (*value).into(),
        AMQPValue::ShortUInt(value) => (*value).into(),
        AMQPValue::LongInt(value) => (*value).into(),
        AMQPValue::LongUInt(value) => (*value).into(),
        AMQPValue::LongLongInt(value) => (*value).into(),
        AMQPValue::Timestamp(value) => (*value).into(),
        AMQPValue::Float(value) => (*value).into(),
        AMQPValue::Double(value) => (*value).into(),
        AMQPValue::DecimalValue(value) => {
            (f64::from(value.value) / 10_f64.powi(i32::from(value.scale))).into()
        }
        AMQPValue::ShortString(text) => text.as_str().into(),
        AMQPValue::LongString(text) => text_of(text.as_bytes()).into(),
        AMQPValue::ByteArray(bytes) => text_of(bytes.as_slice()).into(),
        AMQPValue::FieldArray(items) => items.as_slice().iter().map(json).collect(),
        AMQPValue::FieldTable(table) => Json::Object(
            table
                .into_iter()
                .map(|(key, value)| (key.to_string(), json(value)))
                .collect(),
        ),
        AMQPValue::Void => Json::Null,
    }
}

fn text_of(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

/// Headers of a message as text, as every driver's results have them; what is no text is its JSON.
pub(super) fn headers(properties: &BasicProperties) -> Vec<(Box<str>, Box<str>)> {
    let Some(table) = properties.headers() else {
        return Vec::new();
    };
    let text = |value: &AMQPValue| match json(value) {
        Json::String(text) => text.into_boxed_str(),
        other => other.to_string().into_boxed_str(),
    };
    table
        .into_iter()
        .map(|(name, value)| (Box::from(name.as_str()), text(value)))
        .collect()
}

/// Headers as expressions see them.
pub(super) fn headers_value(properties: &BasicProperties) -> Value {
    Value::map(
        headers(properties)
            .into_iter()
            .map(|(name, value)| (name.into_string(), Value::from(&*value)))
            .collect::<Vec<_>>(),
    )
}

/// A message as an item of `docs`.
pub(super) fn doc(delivery: &Delivery) -> Value {
    let text = |text: &ShortString| Value::from(text.as_str());
    let mut entries = vec![
        (
            "text",
            Value::from(String::from_utf8_lossy(&delivery.data).into_owned()),
        ),
        ("headers", headers_value(&delivery.properties)),
        ("exchange", text(&delivery.exchange)),
        ("key", text(&delivery.routing_key)),
        ("redelivered", Value::from(delivery.redelivered)),
    ];
    if let Ok(body) = Value::from_json_slice(&delivery.data) {
        entries.push(("body", body));
    }
    let properties = &delivery.properties;
    let named = [
        ("content_type", properties.content_type()),
        ("correlation_id", properties.correlation_id()),
        ("reply_to", properties.reply_to()),
        ("message_id", properties.message_id()),
        ("type", properties.kind()),
        ("expiration", properties.expiration()),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            entries.push((name, text(value)));
        }
    }
    if let Some(timestamp) = properties.timestamp() {
        entries.push(("timestamp", Value::from(*timestamp)));
    }
    if let Some(mode) = properties.delivery_mode() {
        entries.push(("persistent", Value::from(*mode == 2)));
    }
    Value::map(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_keep_their_types_on_the_way_out_and_are_told_as_they_came() {
        let sent = serde_json::json!({
            "n": 7, "d": 0.5, "b": true, "s": "x", "list": [1, "a"], "map": { "k": null },
        });
        assert_eq!(json(&header(sent.clone())), sent);
        assert_eq!(header(serde_json::json!(7)), AMQPValue::LongLongInt(7));
        let bytes = AMQPValue::LongString(vec![0xff, b'a'].into());
        assert_eq!(json(&bytes), "\\xffa");
    }
}
