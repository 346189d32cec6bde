//! Extended JSON as plans write it, as BSON: relaxed or canonical, and with integers where canonical wants their text, since
//! `${…}` gives integers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{
    Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, Regex, Timestamp, Uuid,
};
use serde_json::{Map, Value as Json};

/// Why JSON is no BSON: where in it, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", place(.path))]
pub(super) struct NotBson {
    /// From the outermost key inwards.
    path: Vec<String>,
    reason: String,
}

fn place(path: &[String]) -> String {
    match path {
        [] => String::new(),
        path => format!("`{}`: ", path.join(".")),
    }
}

impl NotBson {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self {
            path: Vec::new(),
            reason: reason.into(),
        }
    }

    fn within(mut self, key: &str) -> Self {
        self.path.insert(0, key.to_owned());
        self
    }
}

/// A document.
pub(super) fn document(json: &Json) -> Result<Document, NotBson> {
    match bson(json)? {
        Bson::Document(document) => Ok(document),
        _ if json.is_object() => Err(NotBson::new(
            "a document is expected, not a value of another type",
        )),
        _ => Err(NotBson::new(format!(
            "a document is expected, not {}",
            kind(json)
        ))),
    }
}

/// A list of documents.
pub(super) fn documents(json: &Json) -> Result<Vec<Document>, NotBson> {
    let Json::Array(items) = json else {
        let message = format!("a list of documents is expected, not {}", kind(json));
        return Err(NotBson::new(message));
    };
    let items = items.iter().enumerate();
    items
        .map(|(at, item)| document(item).map_err(|error| error.within(&at.to_string())))
        .collect()
}

/// Any value. Plans and what sessions saved are bounded in depth, and so is this.
fn bson(json: &Json) -> Result<Bson, NotBson> {
    Ok(match json {
        Json::Null => Bson::Null,
        Json::Bool(value) => Bson::Boolean(*value),
        Json::String(text) => Bson::String(text.clone()),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => integer(number),
            (None, Some(_)) if number.is_u64() => {
                let message = format!("{number} has no place in a 64-bit integer");
                return Err(NotBson::new(message));
            }
            (None, Some(number)) => Bson::Double(number),
            (None, None) => return Err(NotBson::new(format!("{number} is no number of BSON"))),
        },
        Json::Array(items) => {
            let items = items.iter().enumerate();
            let items =
                items.map(|(at, item)| bson(item).map_err(|error| error.within(&at.to_string())));
            Bson::Array(items.collect::<Result<_, _>>()?)
        }
        Json::Object(entries) => match wrapped(entries)? {
            Some(value) => value,
            None => {
                let entries = entries.iter().map(|(key, value)| {
                    let value = bson(value).map_err(|error| error.within(key))?;
                    Ok((key.clone(), value))
                });
                Bson::Document(entries.collect::<Result<_, NotBson>>()?)
            }
        },
    })
}

/// The smaller of the two integer types, as servers and shells choose it.
fn integer(number: i64) -> Bson {
    i32::try_from(number).map_or(Bson::Int64(number), Bson::Int32)
}

/// The value of an object that names its type; none: it is a document.
fn wrapped(entries: &Map<String, Json>) -> Result<Option<Bson>, NotBson> {
    let mut all = entries.iter();
    let (first, second, third) = (all.next(), all.next(), all.next());
    let Some((key, value)) = first else {
        return Ok(None);
    };
    if let (Some((other, scope)), None) = (second, third) {
        return match (key.as_str(), other.as_str()) {
            ("$code", "$scope") => Ok(Some(code_with_scope(value, scope)?)),
            _ => Ok(None),
        };
    }
    if second.is_some() {
        return Ok(None);
    }
    let read = match key.as_str() {
        "$oid" => text(value).and_then(|text| {
            let id = ObjectId::parse_str(text).map(Bson::ObjectId);
            id.map_err(|_| NotBson::new("24 hex digits are expected"))
        }),
        "$date" => date(value).map(Bson::DateTime),
        "$numberLong" => whole(value).map(Bson::Int64),
        "$numberInt" => whole(value).and_then(|number| {
            let small = i32::try_from(number).map(Bson::Int32);
            small.map_err(|_| NotBson::new(format!("{number} is no 32-bit integer")))
        }),
        "$numberDouble" => double(value).map(Bson::Double),
        "$numberDecimal" => text(value).and_then(|text| {
            let decimal = text.parse::<Decimal128>().map(Bson::Decimal128);
            decimal.map_err(|_| NotBson::new(format!("`{text}` is no decimal number")))
        }),
        "$binary" => binary(value).map(Bson::Binary),
        "$uuid" => text(value).and_then(|text| {
            let uuid = Uuid::parse_str(text).map(|uuid| Bson::Binary(uuid.into()));
            uuid.map_err(|_| NotBson::new("a UUID is expected"))
        }),
        "$regularExpression" => regular_expression(value),
        "$timestamp" => timestamp(value),
        "$symbol" => text(value).map(|text| Bson::Symbol(text.to_owned())),
        "$code" => text(value).map(|text| Bson::JavaScriptCode(text.to_owned())),
        "$minKey" => Ok(Bson::MinKey),
        "$maxKey" => Ok(Bson::MaxKey),
        "$undefined" => Ok(Bson::Undefined),
        _ => return Ok(None),
    };
    read.map(Some).map_err(|error| error.within(key))
}

fn text(json: &Json) -> Result<&str, NotBson> {
    json.as_str()
        .ok_or_else(|| NotBson::new(format!("text is expected, not {}", kind(json))))
}

/// An integer, or its text.
fn whole(json: &Json) -> Result<i64, NotBson> {
    let read = match json {
        Json::String(text) => text.parse().ok(),
        other => other.as_i64(),
    };
    read.ok_or_else(|| NotBson::new(format!("{json} is no 64-bit integer")))
}

fn double(json: &Json) -> Result<f64, NotBson> {
    let read = match json {
        Json::String(text) => match text.as_str() {
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            "NaN" => Some(f64::NAN),
            text => text.parse().ok(),
        },
        other => other.as_f64(),
    };
    read.ok_or_else(|| NotBson::new(format!("{json} is no number")))
}

/// A text as in RFC 3339, or milliseconds since the Unix epoch: an integer, or `{ $numberLong: … }`.
fn date(json: &Json) -> Result<DateTime, NotBson> {
    match json {
        Json::String(text) => DateTime::parse_rfc3339_str(text).map_err(|_| {
            NotBson::new(format!(
                "`{text}` is no time like 2026-01-31T12:00:00.000Z, nor milliseconds since the Unix epoch"
            ))
        }),
        Json::Object(entries) if entries.len() == 1 && entries.contains_key("$numberLong") => {
            whole(&entries["$numberLong"]).map(DateTime::from_millis)
        }
        other => whole(other).map(DateTime::from_millis),
    }
}

fn binary(json: &Json) -> Result<Binary, NotBson> {
    let base64 = text(member(json, "base64")?).map_err(|error| error.within("base64"))?;
    let bytes = STANDARD
        .decode(base64)
        .map_err(|error| NotBson::new(format!("this is no base64: {error}")).within("base64"))?;
    let subtype = match json.get("subType") {
        None => 0,
        Some(subtype) => {
            let text = text(subtype).map_err(|error| error.within("subType"))?;
            u8::from_str_radix(text, 16).map_err(|_| {
                let message = format!("`{text}` is not one byte in hex");
                NotBson::new(message).within("subType")
            })?
        }
    };
    Ok(Binary {
        subtype: BinarySubtype::from(subtype),
        bytes,
    })
}

fn regular_expression(json: &Json) -> Result<Bson, NotBson> {
    let pattern = text(member(json, "pattern")?).map_err(|error| error.within("pattern"))?;
    let options = match json.get("options") {
        None => "",
        Some(options) => text(options).map_err(|error| error.within("options"))?,
    };
    regex(pattern, options).map(Bson::RegularExpression)
}

/// Servers want the options in alphabetical order.
fn regex(pattern: &str, options: &str) -> Result<Regex, NotBson> {
    let mut sorted: Vec<char> = options.chars().collect();
    sorted.sort_unstable();
    let nul = |_| NotBson::new("a NUL character has no place in a regular expression");
    Ok(Regex {
        pattern: pattern.try_into().map_err(nul)?,
        options: String::from_iter(sorted).try_into().map_err(nul)?,
    })
}

fn timestamp(json: &Json) -> Result<Bson, NotBson> {
    let part = |name: &str| {
        let number = whole(member(json, name)?).map_err(|error| error.within(name))?;
        u32::try_from(number).map_err(|_| {
            NotBson::new(format!("{number} is no unsigned 32-bit integer")).within(name)
        })
    };
    Ok(Bson::Timestamp(Timestamp {
        time: part("t")?,
        increment: part("i")?,
    }))
}

fn code_with_scope(code: &Json, scope: &Json) -> Result<Bson, NotBson> {
    let code = text(code).map_err(|error| error.within("$code"))?;
    let scope = document(scope).map_err(|error| error.within("$scope"))?;
    Ok(Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope {
        code: code.to_owned(),
        scope,
    }))
}

fn member<'j>(json: &'j Json, name: &str) -> Result<&'j Json, NotBson> {
    json.get(name)
        .ok_or_else(|| NotBson::new(format!("`{name}` is missing")))
}

fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a bool",
        Json::Number(_) => "a number",
        Json::String(_) => "text",
        Json::Array(_) => "a list",
        Json::Object(_) => "a map",
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_of_extended_json_are_read() {
        let oid = ObjectId::parse_str("0123456789abcdef01234567").expect("an id");
        for (json, expect) in [
            (
                json!({"a": 1, "b": -3_000_000_000_i64, "c": 1.5, "d": null, "e": [true, "x"]}),
                doc! {"a": 1, "b": -3_000_000_000_i64, "c": 1.5, "d": null, "e": [true, "x"]},
            ),
            (json!({"$oid": "x", "two": 1}), doc! {"$oid": "x", "two": 1}),
            (
                json!({"_id": {"$oid": "0123456789abcdef01234567"}}),
                doc! {"_id": oid},
            ),
            (
                json!({"t": {"$gte": {"$date": "1970-01-01T00:00:01.5Z"}, "$lt": {"$date": 2_000}}}),
                doc! {"t": {"$gte": DateTime::from_millis(1_500), "$lt": DateTime::from_millis(2_000)}},
            ),
            (
                json!({"t": {"$date": {"$numberLong": "-5"}}, "n": {"$numberLong": "5"}, "m": {"$numberLong": 6}}),
                doc! {"t": DateTime::from_millis(-5), "n": 5_i64, "m": 6_i64},
            ),
            (
                json!({"i": {"$numberInt": "7"}, "d": {"$numberDouble": "-Infinity"}}),
                doc! {"i": 7, "d": f64::NEG_INFINITY},
            ),
            (
                json!({"b": {"$binary": {"base64": "AAEC", "subType": "00"}}}),
                doc! {"b": Binary { subtype: BinarySubtype::Generic, bytes: vec![0, 1, 2] }},
            ),
            (
                json!({"r": {"$regularExpression": {"pattern": "^a", "options": "i"}}, "s": {"$regex": "^b"}}),
                doc! {"r": regex("^a", "i").expect("one"), "s": {"$regex": "^b"}},
            ),
            (
                json!({"t": {"$timestamp": {"t": 1, "i": 2}}, "k": {"$minKey": 1}}),
                doc! {"t": Timestamp { time: 1, increment: 2 }, "k": Bson::MinKey},
            ),
        ] {
            assert_eq!(document(&json), Ok(expect), "{json}");
        }
    }

    #[test]
    fn what_is_no_bson_says_where() {
        for (json, expect) in [
            (
                json!({"a": {"$in": [{"$oid": "12"}]}}),
                "`a.$in.0.$oid`: 24 hex digits are expected",
            ),
            (
                json!({"t": {"$date": "yesterday"}}),
                "`t.$date`: `yesterday` is no time like 2026-01-31T12:00:00.000Z, nor milliseconds since the Unix epoch",
            ),
            (
                json!({"n": {"$numberLong": "many"}}),
                "`n.$numberLong`: \"many\" is no 64-bit integer",
            ),
            (
                json!({"n": {"$numberInt": "3000000000"}}),
                "`n.$numberInt`: 3000000000 is no 32-bit integer",
            ),
            (
                json!({"n": 10_000_000_000_000_000_000_u64}),
                "`n`: 10000000000000000000 has no place in a 64-bit integer",
            ),
            (
                json!({"b": {"$binary": {"base64": "?"}}}),
                "`b.$binary.base64`: this is no base64: Invalid symbol 63, offset 0.",
            ),
            (
                json!({"b": {"$timestamp": {"t": 1}}}),
                "`b.$timestamp`: `i` is missing",
            ),
            (json!([]), "a document is expected, not a list"),
            (
                json!({"$oid": "0123456789abcdef01234567"}),
                "a document is expected, not a value of another type",
            ),
        ] {
            let error = document(&json).expect_err("no document");
            assert_eq!(error.to_string(), expect);
        }
    }
}
