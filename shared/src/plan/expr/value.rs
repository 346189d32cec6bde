//! Values of expressions.
//!
//! [`Value`] is what a scope holds, what an expression gives back, and at the same time a CEL value
//! the interpreter reads in place: scalars are CEL's own types inside, lists and maps lend their
//! elements out. So nothing is converted between a parsed JSON body and the expression that reads
//! one field of it, and a clone of a list or map is one reference count.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
    Kind,
};
use cel::common::value::Val;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Maps of at most this many entries are searched, larger ones are indexed.
const SEARCHED_ENTRIES: usize = 12;

/// A value of an expression: JSON, and integers, bytes and keys as protobuf has them.
#[derive(Clone)]
pub struct Value(pub(super) Repr);

/// What a value is made of: CEL's own scalars, and containers that lend their elements.
#[derive(Clone)]
pub(super) enum Repr {
    Null(CelNull),
    Bool(CelBool),
    Int(CelInt),
    Uint(CelUInt),
    Double(CelDouble),
    String(CelString<'static>),
    Bytes(CelBytes<'static>),
    List(Arc<[Value]>),
    Map(Arc<Entries>),
}

/// The entries of a map, in the order of insertion; later entries of a key win.
pub(super) struct Entries {
    pub(super) pairs: Vec<(Value, Value)>,
    index: Option<HashMap<String, usize>>,
}

impl Entries {
    fn new(pairs: Vec<(Value, Value)>) -> Self {
        let index = (pairs.len() > SEARCHED_ENTRIES).then(|| {
            let keys = pairs.iter().enumerate();
            keys.filter_map(|(at, (key, _))| Some((key.as_str()?.to_owned(), at)))
                .collect()
        });
        Self { pairs, index }
    }

    /// The value at a string key.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        match &self.index {
            Some(index) => index.get(key).and_then(|at| self.pairs.get(*at)),
            None => self
                .pairs
                .iter()
                .rev()
                .find(|(k, _)| k.as_str() == Some(key)),
        }
        .map(|(_, value)| value)
    }

    /// The value at a key of any type.
    pub(super) fn get_key(&self, key: &dyn Val) -> Option<&Value> {
        match key.downcast_ref::<CelString<'_>>() {
            Some(key) => self.get(key.inner()),
            None => {
                let pairs = self.pairs.iter().rev();
                pairs
                    .into_iter()
                    .find(|(k, _)| Val::equals(k, key))
                    .map(|(_, value)| value)
            }
        }
    }
}

impl Value {
    /// `null`.
    pub const NULL: Self = Self(Repr::Null(CelNull));

    /// A list.
    #[must_use]
    pub fn list(items: Vec<Self>) -> Self {
        Self(Repr::List(items.into()))
    }

    /// A map; of entries with the same key the last one counts.
    #[must_use]
    pub fn map<K: Into<Self>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        let pairs = entries
            .into_iter()
            .map(|(key, value)| (key.into(), value))
            .collect();
        Self(Repr::Map(Arc::new(Entries::new(pairs))))
    }

    /// Parses JSON; integers are `int`, or `uint` above 2^63−1.
    ///
    /// # Errors
    ///
    /// What is not JSON, or nested deeper than 128 levels.
    pub fn from_json_slice(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// Converts JSON.
    #[must_use]
    pub fn from_json(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::NULL,
            serde_json::Value::Bool(value) => Self::from(*value),
            serde_json::Value::Number(number) => number.as_i64().map_or_else(
                || {
                    let double = || Self::from(number.as_f64().unwrap_or(f64::NAN));
                    number.as_u64().map_or_else(double, Self::from)
                },
                Self::from,
            ),
            serde_json::Value::String(value) => Self::from(value.as_str()),
            serde_json::Value::Array(items) => {
                Self::list(items.iter().map(Self::from_json).collect())
            }
            serde_json::Value::Object(entries) => Self::map(
                entries
                    .iter()
                    .map(|(key, value)| (key.as_str(), Self::from_json(value))),
            ),
        }
    }

    /// Converts to JSON: bytes become base64, keys that are no strings their text, numbers that
    /// JSON does not know (NaN, infinities) null.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match &self.0 {
            Repr::Null(_) => serde_json::Value::Null,
            Repr::Bool(value) => (*value.inner()).into(),
            Repr::Int(value) => (*value.inner()).into(),
            Repr::Uint(value) => (*value.inner()).into(),
            Repr::Double(value) => (*value.inner()).into(),
            Repr::String(value) => value.inner().into(),
            Repr::Bytes(value) => base64::engine::general_purpose::STANDARD
                .encode(value.inner())
                .into(),
            Repr::List(items) => items.iter().map(Self::to_json).collect(),
            Repr::Map(entries) => {
                let pairs = entries.pairs.iter();
                let json = pairs.map(|(key, value)| (key.to_string(), value.to_json()));
                serde_json::Value::Object(json.collect())
            }
        }
    }

    /// Whether it is `null`.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self.0, Repr::Null(_))
    }

    /// The `bool`.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match &self.0 {
            Repr::Bool(value) => Some(*value.inner()),
            _ => None,
        }
    }

    /// The `int`, or a `uint` that fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match &self.0 {
            Repr::Int(value) => Some(*value.inner()),
            Repr::Uint(value) => i64::try_from(*value.inner()).ok(),
            _ => None,
        }
    }

    /// The `uint`, or an `int` that fits.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match &self.0 {
            Repr::Int(value) => u64::try_from(*value.inner()).ok(),
            Repr::Uint(value) => Some(*value.inner()),
            _ => None,
        }
    }

    /// The `double`, or the nearest to an `int` or `uint`.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "the nearest double is what is asked for"
    )]
    pub fn as_f64(&self) -> Option<f64> {
        match &self.0 {
            Repr::Int(value) => Some(*value.inner() as f64),
            Repr::Uint(value) => Some(*value.inner() as f64),
            Repr::Double(value) => Some(*value.inner()),
            _ => None,
        }
    }

    /// The string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Repr::String(value) => Some(value.inner()),
            _ => None,
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Repr::Bytes(value) => Some(value.inner()),
            _ => None,
        }
    }

    /// The items of a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        match &self.0 {
            Repr::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a map.
    #[must_use]
    pub fn as_map(&self) -> Option<&[(Self, Self)]> {
        match &self.0 {
            Repr::Map(entries) => Some(&entries.pairs),
            _ => None,
        }
    }

    /// The value at a string key of a map.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.0 {
            Repr::Map(entries) => entries.get(key),
            _ => None,
        }
    }

    /// The name of its type, for messages.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self.0 {
            Repr::Null(_) => "null",
            Repr::Bool(_) => "bool",
            Repr::Int(_) => "int",
            Repr::Uint(_) => "uint",
            Repr::Double(_) => "double",
            Repr::String(_) => "string",
            Repr::Bytes(_) => "bytes",
            Repr::List(_) => "list",
            Repr::Map(_) => "map",
        }
    }

    /// Copies what the interpreter made; `None` for what no plan can hold (types, optionals).
    pub(super) fn from_val(val: &dyn Val) -> Option<Self> {
        if let Some(value) = val.downcast_ref::<Self>() {
            return Some(value.clone());
        }
        Some(Self(match val.get_type().kind() {
            Kind::NullType => Repr::Null(CelNull),
            Kind::Boolean => Repr::Bool(*val.downcast_ref::<CelBool>()?),
            Kind::Int => Repr::Int(*val.downcast_ref::<CelInt>()?),
            Kind::UInt => Repr::Uint(*val.downcast_ref::<CelUInt>()?),
            Kind::Double => Repr::Double(*val.downcast_ref::<CelDouble>()?),
            Kind::String => Repr::String(CelString::from(
                val.downcast_ref::<CelString<'_>>()?.inner().to_owned(),
            )),
            Kind::Bytes => Repr::Bytes(CelBytes::from(
                val.downcast_ref::<CelBytes<'_>>()?.inner().to_vec(),
            )),
            Kind::List => {
                let items = val.downcast_ref::<CelList<'_>>()?.inner().iter();
                return items
                    .map(|item| Self::from_val(&**item))
                    .collect::<Option<_>>()
                    .map(Self::list);
            }
            Kind::Map => {
                let entries = val.downcast_ref::<CelMap<'_>>()?.inner().iter();
                let pairs = entries
                    .map(|(key, value)| Some((Self::from_key(key), Self::from_val(&**value)?)));
                return pairs.collect::<Option<Vec<_>>>().map(Self::map);
            }
            _ => return None,
        }))
    }

    fn from_key(key: &CelMapKey<'_>) -> Self {
        match key {
            CelMapKey::Bool(key) => Self::from(*key.inner()),
            CelMapKey::Int(key) => Self::from(*key.inner()),
            CelMapKey::UInt(key) => Self::from(*key.inner()),
            CelMapKey::String(key) => Self::from(key.inner()),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self(Repr::Bool(value.into()))
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self(Repr::Int(value.into()))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::from(i64::from(value))
    }
}

/// An `int` if it fits, as all integers are in plans.
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or_else(|_| Self(Repr::Uint(value.into())), Self::from)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self(Repr::Double(value.into()))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::from(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self(Repr::String(value.into()))
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self(Repr::Bytes(value.into()))
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::from(value.to_vec())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Null(_) => f.write_str("null"),
            Repr::Bool(value) => write!(f, "{}", value.inner()),
            Repr::Int(value) => write!(f, "{}", value.inner()),
            Repr::Uint(value) => write!(f, "{}u", value.inner()),
            Repr::Double(value) => write!(f, "{:?}", value.inner()),
            Repr::String(value) => write!(f, "{:?}", value.inner()),
            Repr::Bytes(value) => write!(f, "b\"{}\"", value.inner().escape_ascii()),
            Repr::List(items) => f.debug_list().entries(items.iter()).finish(),
            Repr::Map(entries) => f
                .debug_map()
                .entries(entries.pairs.iter().map(|(key, value)| (key, value)))
                .finish(),
        }
    }
}

/// Scalars as text, strings without quotes; lists and maps as JSON.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::String(value) => f.write_str(value.inner()),
            Repr::Uint(value) => write!(f, "{}", value.inner()),
            Repr::Double(value) => write!(f, "{}", value.inner()),
            Repr::Bytes(value) => {
                f.write_str(&base64::engine::general_purpose::STANDARD.encode(value.inner()))
            }
            Repr::List(_) | Repr::Map(_) => write!(f, "{}", self.to_json()),
            Repr::Null(_) | Repr::Bool(_) | Repr::Int(_) => write!(f, "{self:?}"),
        }
    }
}

/// Equality as expressions have it: `1 == 1u` and `1 == 1.0`.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        Val::equals(self, other)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::NULL)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::with_capacity(access.size_hint().unwrap_or(0).min(1024));
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::list(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut pairs: Vec<(String, Value)> = Vec::new();
        while let Some(pair) = access.next_entry()? {
            pairs.push(pair);
        }
        Ok(Value::map(pairs))
    }
}
