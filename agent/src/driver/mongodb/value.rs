//! Documents as expressions see them. One way only: what is written goes through extended JSON.

use mongodb::bson::raw::{RawBsonRef, RawDocument};
use testmesh_shared::plan::expr::Value;

/// A document as a map, its fields in their order.
///
/// # Errors
///
/// Why it is no document, as the rest of a sentence about it.
pub(super) fn document(raw: &RawDocument) -> Result<Value, String> {
    let fields = raw.iter().map(|field| {
        let (key, value) = field.map_err(|error| format!("is no BSON: {error}"))?;
        Ok((key.as_str().to_owned(), element(value)?))
    });
    Ok(Value::map(fields.collect::<Result<Vec<_>, String>>()?))
}

/// One value; servers bound how deep documents are (100 levels).
pub(super) fn element(raw: RawBsonRef<'_>) -> Result<Value, String> {
    Ok(match raw {
        RawBsonRef::Double(value) => Value::from(value),
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) | RawBsonRef::JavaScriptCode(text) => {
            Value::from(text)
        }
        RawBsonRef::Array(items) => {
            let items = items
                .into_iter()
                .map(|item| element(item.map_err(|error| format!("is no BSON: {error}"))?));
            Value::list(items.collect::<Result<_, _>>()?)
        }
        RawBsonRef::Document(inner) => document(inner)?,
        RawBsonRef::Boolean(value) => Value::from(value),
        RawBsonRef::Null | RawBsonRef::Undefined => Value::NULL,
        RawBsonRef::RegularExpression(regex) => Value::map([
            ("pattern", Value::from(regex.pattern.as_str())),
            ("options", Value::from(regex.options.as_str())),
        ]),
        RawBsonRef::JavaScriptCodeWithScope(code) => Value::from(code.code),
        RawBsonRef::Int32(number) => Value::from(i64::from(number)),
        RawBsonRef::Int64(number) => Value::from(number),
        RawBsonRef::Timestamp(timestamp) => Value::map([
            ("t", Value::from(i64::from(timestamp.time))),
            ("i", Value::from(i64::from(timestamp.increment))),
        ]),
        RawBsonRef::Binary(binary) => Value::from(binary.bytes.to_vec()),
        RawBsonRef::ObjectId(id) => Value::from(id.to_hex()),
        RawBsonRef::DateTime(date) => Value::from(date.timestamp_millis()),
        RawBsonRef::Decimal128(decimal) => Value::from(decimal.to_string()),
        RawBsonRef::MinKey => Value::from("MinKey"),
        RawBsonRef::MaxKey => Value::from("MaxKey"),
        RawBsonRef::DbPointer(_) => return Err("has a deprecated pointer (DBPointer)".to_owned()),
    })
}
