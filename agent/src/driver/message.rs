//! Protobuf messages without generated code: kept as the bytes that came, converted only when an expression reads them,
//! and made from the values of a plan.

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _,
    Value as Field,
};
use testmesh_shared::plan::expr::Value;

/// A message as it came, and what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    descriptor: MessageDescriptor,
    bytes: Bytes,
}

impl Encoded {
    /// Bytes that are said to be such a message; nothing is checked yet.
    pub fn new(descriptor: MessageDescriptor, bytes: Bytes) -> Self {
        Self { descriptor, bytes }
    }

    /// The encoded message.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The message as expressions see it: a map by proto field names.
    ///
    /// # Errors
    ///
    /// If the bytes are no such message.
    pub fn to_value(&self) -> Result<Value, prost::DecodeError> {
        decode(&self.descriptor, &self.bytes)
    }

    /// The message as text for a finding: JSON if it decodes, else its bytes, escaped.
    pub fn evidence(&self, limit: usize) -> Bytes {
        let text = self.to_value().map_or_else(
            |_| {
                self.bytes
                    .slice(..self.bytes.len().min(limit))
                    .escape_ascii()
                    .to_string()
            },
            |value| value.to_string(),
        );
        let end = text.floor_char_boundary(limit);
        Bytes::from(text).slice(..end)
    }
}

/// A message as expressions see it: a map by proto field names.
///
/// # Errors
///
/// If the bytes are no such message.
pub fn decode(descriptor: &MessageDescriptor, bytes: &[u8]) -> Result<Value, prost::DecodeError> {
    let message = DynamicMessage::decode(descriptor.clone(), bytes)?;
    Ok(to_value(&message))
}

/// Encodes a plan's value as this message, by protobuf's JSON rules with proto field names: enums by name or number, bytes
/// as bytes or base64, 64-bit integers as numbers or strings.
///
/// # Errors
///
/// An unknown field, or a value of the wrong type or range, in words.
pub fn encode(descriptor: &MessageDescriptor, value: &Value) -> Result<Vec<u8>, String> {
    from_json(descriptor, value.to_json()).map(|message| message.encode_to_vec())
}

/// Reads a message from JSON, by the rules of [`encode`].
///
/// # Errors
///
/// An unknown field, or a value of the wrong type or range, in words.
pub fn from_json(
    descriptor: &MessageDescriptor,
    json: serde_json::Value,
) -> Result<DynamicMessage, String> {
    DynamicMessage::deserialize(descriptor.clone(), json).map_err(|error| error.to_string())
}

fn to_value(message: &DynamicMessage) -> Value {
    let descriptor = message.descriptor();
    let fields = descriptor
        .fields()
        .filter(|field| message.has_field(field) || has_default(field));
    Value::map(fields.map(|field| {
        let value = field_value(&message.get_field(&field));
        (field.name().to_owned(), value)
    }))
}

/// Whether an absent field shows its default: scalars and lists do, messages and members of a oneof are absent, so that
/// `has` can tell.
fn has_default(field: &FieldDescriptor) -> bool {
    let in_choice = field
        .containing_oneof()
        .is_some_and(|oneof| !oneof.is_synthetic());
    let single_message =
        matches!(field.kind(), Kind::Message(_)) && !field.is_list() && !field.is_map();
    !in_choice && !single_message
}

fn field_value(field: &Field) -> Value {
    match field {
        Field::Bool(value) => (*value).into(),
        Field::I32(value) | Field::EnumNumber(value) => i64::from(*value).into(),
        Field::I64(value) => (*value).into(),
        Field::U32(value) => (*value).into(),
        Field::U64(value) => (*value).into(),
        Field::F32(value) => f64::from(*value).into(),
        Field::F64(value) => (*value).into(),
        Field::String(value) => value.as_str().into(),
        Field::Bytes(value) => value.to_vec().into(),
        Field::Message(value) => to_value(value),
        Field::List(items) => Value::list(items.iter().map(field_value).collect()),
        Field::Map(entries) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            // A map has no order of its own: give it one, so that findings and digests of text do not vary.
            sorted.sort_by(|a, b| a.0.cmp(b.0));
            Value::map(
                sorted
                    .into_iter()
                    .map(|(key, value)| (map_key(key), field_value(value))),
            )
        }
    }
}

fn map_key(key: &MapKey) -> Value {
    match key {
        MapKey::Bool(key) => (*key).into(),
        MapKey::I32(key) => i64::from(*key).into(),
        MapKey::I64(key) => (*key).into(),
        MapKey::U32(key) => (*key).into(),
        MapKey::U64(key) => (*key).into(),
        MapKey::String(key) => key.as_str().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor() -> MessageDescriptor {
        let source = r#"
            syntax = "proto3";
            enum Colour { NONE = 0; RED = 1; }
            message Part { string name = 1; }
            message Whole {
                uint64 big = 1; sint32 small = 2; bytes raw = 3; Colour colour = 4; Part part = 5;
                repeated double list = 6; map<string, int64> map = 7; oneof choice { string a = 8; int32 b = 9; }
                float half = 10; Part other = 11; bool yes = 12;
            }"#;
        let file = protox::file::File::from_source("whole.proto", source).expect("parses");
        let mut pool = prost_reflect::DescriptorPool::new();
        pool.add_file_descriptor_proto(file.file_descriptor_proto().clone())
            .expect("links");
        pool.get_message_by_name("Whole").expect("declared")
    }

    #[test]
    fn a_message_survives_the_way_through_values() {
        let json = serde_json::json!({
            "big": u64::MAX, "small": -3, "raw": "AQI=", "colour": "RED", "part": { "name": "x" },
            "list": [0.5, 2], "map": { "k": 7 }, "b": 1, "half": 0.25,
        });
        let bytes = encode(&descriptor(), &Value::from_json(&json)).expect("encodes");
        let value = Encoded::new(descriptor(), bytes.into())
            .to_value()
            .expect("decodes");
        assert_eq!(value.get("big").and_then(Value::as_u64), Some(u64::MAX));
        assert_eq!(value.get("small").and_then(Value::as_i64), Some(-3));
        assert_eq!(
            value.get("raw").and_then(Value::as_bytes),
            Some(&[1, 2][..])
        );
        assert_eq!(value.get("colour").and_then(Value::as_i64), Some(1));
        assert_eq!(
            value
                .get("part")
                .and_then(|part| part.get("name"))
                .and_then(Value::as_str),
            Some("x")
        );
        assert_eq!(
            value.get("list").and_then(Value::as_list).map(<[_]>::len),
            Some(2)
        );
        assert_eq!(
            value
                .get("map")
                .and_then(|map| map.get("k"))
                .and_then(Value::as_i64),
            Some(7)
        );
        assert_eq!(
            value.get("yes").and_then(Value::as_bool),
            Some(false),
            "absent scalars show their default"
        );
        assert!(
            value.get("other").is_none() && value.get("a").is_none(),
            "absent messages and choices do not"
        );
    }

    #[test]
    fn what_does_not_fit_says_so() {
        let fails = |json: serde_json::Value| {
            encode(&descriptor(), &Value::from_json(&json)).expect_err("refused")
        };
        assert!(fails(serde_json::json!({ "bigg": 1 })).contains("bigg"));
        fails(serde_json::json!({ "small": "many" }));
        fails(serde_json::json!({ "small": 1_i64 << 40 }));
        assert!(
            Encoded::new(descriptor(), Bytes::from_static(b"\xff\xff"))
                .to_value()
                .is_err()
        );
    }
}
