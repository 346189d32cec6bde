//! The message of a call: checked against its descriptor while the plan is read, encoded once if nothing in it varies.

use bytes::Bytes;
use prost_reflect::{Kind, MessageDescriptor};
use testmesh_shared::plan::expr::{JsonTemplate, Scope};
use testmesh_shared::plan::{ErrorKind, Item, ProblemCode, nearest};

use super::schema::Method;
use crate::driver::contract::StageError;
use crate::driver::message::from_json;

/// The message of a call.
#[derive(Debug)]
pub(super) enum Message {
    Encoded(Bytes),
    Template(JsonTemplate),
}

impl Message {
    /// A message that is encoded when the method is known.
    pub(super) fn of(json: JsonTemplate) -> Self {
        Self::Template(json)
    }

    /// The encoded message.
    pub(super) fn render(&self, scope: &Scope<'_>, method: &Method) -> Result<Bytes, StageError> {
        let json = match self {
            Self::Encoded(bytes) => return Ok(bytes.clone()),
            Self::Template(json) => json
                .json(scope)
                .map_err(|error| StageError::template("the message", &error))?,
        };
        encode(&method.input, json).map_err(|reason| {
            let text = format!("the message is no {}: {reason}", method.input.full_name());
            StageError::new(ErrorKind::Expectation, text).with_code("template")
        })
    }
}

fn encode(descriptor: &MessageDescriptor, json: serde_json::Value) -> Result<Bytes, String> {
    from_json(descriptor, json).map(|message| prost::Message::encode_to_vec(&message).into())
}

/// Reads a message that is to be of this type; `None` if that gave problems.
pub(super) fn read(
    item: Option<Item<'_>>,
    json: Option<JsonTemplate>,
    descriptor: &MessageDescriptor,
) -> Option<Message> {
    let (Some(item), Some(json)) = (item, json) else {
        return Some(Message::Encoded(Bytes::new()));
    };
    if !check(item, descriptor) {
        return None;
    }
    let Some(literal) = json.literal() else {
        return Some(Message::Template(json));
    };
    match encode(descriptor, literal.clone()) {
        Ok(bytes) => Some(Message::Encoded(bytes)),
        Err(reason) => {
            unfit(
                item,
                format!("this is no {}: {reason}", descriptor.full_name()),
            );
            None
        }
    }
}

fn unfit(item: Item<'_>, message: String) {
    let hint = "values follow protobuf's JSON rules: enums by name or number, bytes in base64";
    item.problem(ProblemCode::Proto, message, hint);
}

/// Whether every key is a field, and every value without an expression fits its field.
fn check(item: Item<'_>, descriptor: &MessageDescriptor) -> bool {
    if !item.is_map() {
        let hint = format!("write a map of the fields of {}", descriptor.full_name());
        item.problem(ProblemCode::WrongType, "a message is expected", hint);
        return false;
    }
    let mut fine = true;
    for entry in item.entries() {
        let field = descriptor
            .get_field_by_name(entry.key)
            .or_else(|| descriptor.get_field_by_json_name(entry.key));
        let Some(field) = field else {
            let names: Vec<String> = descriptor
                .fields()
                .map(|field| field.name().to_owned())
                .collect();
            let hint = nearest(entry.key, names.iter().map(String::as_str)).map_or_else(
                || format!("it has {}", names.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            let message = format!("{} has no field `{}`", descriptor.full_name(), entry.key);
            item.problem_at(entry.key_span, ProblemCode::Proto, message, hint);
            fine = false;
            continue;
        };
        let single = !field.is_list() && !field.is_map();
        match field.kind() {
            Kind::Message(inner)
                if single
                    && entry.value.is_map()
                    && !inner.full_name().starts_with("google.protobuf.") =>
            {
                fine &= check(entry.value, &inner);
            }
            _ => fine &= check_literal(entry.value, entry.key, descriptor),
        }
    }
    fine
}

/// Whether a value without an expression fits its field.
fn check_literal(value: Item<'_>, name: &str, descriptor: &MessageDescriptor) -> bool {
    let Some(json) = value.json() else {
        return false;
    };
    let Some(literal) = json.literal() else {
        return true;
    };
    let alone = serde_json::Map::from_iter([(name.to_owned(), literal.clone())]);
    match from_json(descriptor, serde_json::Value::Object(alone)) {
        Ok(_) => true,
        Err(reason) => {
            unfit(
                value,
                format!("`{name}` of {}: {reason}", descriptor.full_name()),
            );
            false
        }
    }
}
