//! The interpreter's view of a [`Value`]: CEL's traits, answered in place.
//!
//! Scalars answer through the CEL types they hold; lists and maps implement what CEL asks of
//! containers by lending out their elements. They do not pretend to be CEL's built-in containers,
//! which would mean copying them: equality, the one operation that needs both sides to be of one
//! type, is [`equal`], to which compiled expressions are rewritten. This file and `env.rs` use
//! parts of the `cel` crate that its documentation hides, which is why its version is pinned.

use std::any::Any;

use cel::ExecutionError;
use cel::common::traits::{
    Adder, Comparer, Container, Divider, Indexer, Iterable, Iterator as ValIterator, Modder,
    Multiplier, Negator, Sizer, Subtractor, Zeroer,
};
use cel::common::types;
use cel::common::types::{CelInt, CelList, CelUInt, Kind, Type};
use cel::common::value::{Builtin, BuiltinRef, CowVal, StaticVal, Val};

use super::value::{Repr, Value};

impl Value {
    /// The CEL type inside, for scalars.
    fn scalar(&self) -> Option<&dyn Val> {
        match &self.0 {
            Repr::Null(value) => Some(value),
            Repr::Bool(value) => Some(value),
            Repr::Int(value) => Some(value),
            Repr::Uint(value) => Some(value),
            Repr::Double(value) => Some(value),
            Repr::String(value) => Some(value),
            Repr::Bytes(value) => Some(value),
            Repr::List(_) | Repr::Map(_) => None,
        }
    }
}

/// Calls an accessor of the scalar inside, for accessors with CEL's two lifetimes.
macro_rules! of_scalar {
    ($name:ident, $trait:ident) => {
        fn $name<'b, 'v>(&'b self) -> Option<&'b (dyn $trait + 'v)>
        where
            Self: 'v,
        {
            match &self.0 {
                Repr::Null(value) => value.$name(),
                Repr::Bool(value) => value.$name(),
                Repr::Int(value) => value.$name(),
                Repr::Uint(value) => value.$name(),
                Repr::Double(value) => value.$name(),
                Repr::String(value) => value.$name(),
                Repr::Bytes(value) => value.$name(),
                Repr::List(_) | Repr::Map(_) => None,
            }
        }
    };
}

impl Val for Value {
    fn get_type(&self) -> &Type {
        match &self.0 {
            Repr::List(_) => &types::LIST_TYPE,
            Repr::Map(_) => &types::MAP_TYPE,
            _ => self.scalar().map_or(&types::DYN_TYPE, Val::get_type),
        }
    }

    fn cel_type() -> &'static Type {
        &types::DYN_TYPE
    }

    of_scalar!(as_divider, Divider);
    of_scalar!(as_modder, Modder);
    of_scalar!(as_multiplier, Multiplier);
    of_scalar!(as_negator, Negator);
    of_scalar!(as_subtractor, Subtractor);

    fn as_adder<'b, 'v>(&'b self) -> Option<&'b (dyn Adder + 'v)>
    where
        Self: 'v,
    {
        match &self.0 {
            Repr::List(_) => Some(self),
            Repr::Int(value) => value.as_adder(),
            Repr::Uint(value) => value.as_adder(),
            Repr::Double(value) => value.as_adder(),
            Repr::String(value) => value.as_adder(),
            Repr::Bytes(value) => value.as_adder(),
            Repr::Null(_) | Repr::Bool(_) | Repr::Map(_) => None,
        }
    }

    fn as_comparer(&self) -> Option<&dyn Comparer> {
        self.scalar().and_then(Val::as_comparer)
    }

    fn as_container(&self) -> Option<&dyn Container> {
        matches!(self.0, Repr::List(_) | Repr::Map(_)).then_some(self as &dyn Container)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        matches!(self.0, Repr::List(_) | Repr::Map(_)).then_some(self as &(dyn Indexer + 'v))
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        matches!(self.0, Repr::List(_) | Repr::Map(_)).then_some(self as &(dyn Iterable + 'v))
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        matches!(self.0, Repr::List(_) | Repr::Map(_)).then_some(self as &dyn Sizer)
    }

    fn as_zeroer(&self) -> Option<&dyn Zeroer> {
        self.scalar().and_then(Val::as_zeroer)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        self.scalar()
            .map_or_else(|| equal(self, other), |scalar| scalar.equals(other))
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        match &self.0 {
            Repr::List(_) | Repr::Map(_) => Some(self),
            _ => self.scalar().and_then(Val::as_any),
        }
    }

    fn as_builtin<'b, 'v>(&'b self) -> BuiltinRef<'b, 'v>
    where
        Self: 'v,
    {
        match &self.0 {
            Repr::String(value) => BuiltinRef::String(value),
            Repr::Bytes(value) => BuiltinRef::Bytes(value),
            _ => BuiltinRef::Other,
        }
    }

    fn into_builtin<'v>(self: Box<Self>) -> Option<Builtin<'v>>
    where
        Self: 'v,
    {
        match self.0 {
            Repr::String(value) => Some(Builtin::String(value)),
            Repr::Bytes(value) => Some(Builtin::Bytes(value)),
            _ => None,
        }
    }
}

impl StaticVal for Value {}

/// Whether two values are equal, whichever of them are the interpreter's own containers.
pub(super) fn equal(left: &dyn Val, right: &dyn Val) -> bool {
    let kind = left.get_type().kind();
    match kind {
        Kind::List if right.get_type().kind() == kind => lists_equal(left, right),
        Kind::Map if right.get_type().kind() == kind => maps_equal(left, right),
        Kind::List | Kind::Map => false,
        _ => left.equals(right),
    }
}

fn lists_equal(left: &dyn Val, right: &dyn Val) -> bool {
    let (Some(left), Some(right)) = (left.as_iterable(), right.as_iterable()) else {
        return false;
    };
    let (mut left, mut right) = (left.iter(), right.iter());
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if equal(a, b) => {}
            _ => return false,
        }
    }
}

fn maps_equal(left: &dyn Val, right: &dyn Val) -> bool {
    let sizes = (
        left.as_sizer().map(Sizer::size),
        right.as_sizer().map(Sizer::size),
    );
    let (Some(keys), Some(left), Some(right)) =
        (left.as_iterable(), left.as_indexer(), right.as_indexer())
    else {
        return false;
    };
    if sizes.0 != sizes.1 {
        return false;
    }
    let mut keys = keys.iter();
    while let Some(key) = keys.next() {
        match (left.get(key), right.get(key)) {
            (Ok(a), Ok(b)) if equal(&*a, &*b) => {}
            _ => return false,
        }
    }
    true
}

impl Adder for Value {
    fn add<'b, 'v>(&'b self, rhs: &(dyn Val + 'v)) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let no_overload = || {
            let kinds = vec![
                self.get_type().name().to_owned(),
                rhs.get_type().name().to_owned(),
            ];
            ExecutionError::no_such_overload("_+_", kinds)
        };
        let (Repr::List(items), Kind::List) = (&self.0, rhs.get_type().kind()) else {
            return Err(no_overload());
        };
        let mut sum: Vec<Box<dyn Val + 'v>> = items.iter().map(Val::clone_as_boxed).collect();
        let mut others = rhs.as_iterable().ok_or_else(no_overload)?.iter();
        while let Some(other) = others.next() {
            sum.push(other.clone_as_boxed());
        }
        Ok(CowVal::owned(CelList::from(sum)))
    }
}

impl Container for Value {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(match &self.0 {
            Repr::List(items) => items.iter().any(|item| equal(item, value)),
            Repr::Map(entries) => entries.get_key(value).is_some(),
            _ => false,
        })
    }
}

impl Indexer for Value {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let found = match &self.0 {
            Repr::List(items) => {
                let at = list_index(index)?;
                usize::try_from(at)
                    .ok()
                    .and_then(|at| items.get(at))
                    .ok_or_else(|| ExecutionError::IndexOutOfBounds(cel::Value::Int(at)))
            }
            Repr::Map(entries) => entries.get_key(index).ok_or_else(|| {
                let key = Self::from_val(index).map_or_else(String::new, |key| key.to_string());
                ExecutionError::no_such_key(&key)
            }),
            _ => Err(ExecutionError::no_such_key("field")),
        };
        found.map(|value| CowVal::Borrowed(value as &(dyn Val + 'v)))
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Indexer::get(&*self, index).map(CowVal::into_owned)
    }
}

/// An index into a list, as CEL takes them: integers, and doubles without a fraction.
fn list_index(index: &dyn Val) -> Result<i64, ExecutionError> {
    if let Some(at) = index.downcast_ref::<CelInt>() {
        return Ok(*at.inner());
    }
    if let Some(at) = index.downcast_ref::<CelUInt>() {
        return Ok(i64::try_from(*at.inner()).unwrap_or(i64::MAX));
    }
    Err(ExecutionError::UnexpectedType {
        got: index.get_type().name().to_owned(),
        want: "int".to_owned(),
    })
}

impl Iterable for Value {
    fn iter<'b, 'v>(&'b self) -> Box<dyn ValIterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        match &self.0 {
            Repr::List(items) => Box::new(Lend(items.iter())),
            Repr::Map(entries) => Box::new(Lend(entries.pairs.iter().map(|(key, _)| key))),
            _ => Box::new(Lend(std::iter::empty())),
        }
    }
}

/// Lends the values of an iterator to the interpreter.
struct Lend<I>(I);

impl<'b, 'v, I: Iterator<Item = &'b Value>> ValIterator<'b, 'v> for Lend<I> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|value| value as &(dyn Val + 'v))
    }
}

impl Sizer for Value {
    fn size(&self) -> CelInt {
        let len = match &self.0 {
            Repr::List(items) => items.len(),
            Repr::Map(entries) => entries.pairs.len(),
            _ => 0,
        };
        CelInt::from(i64::try_from(len).unwrap_or(i64::MAX))
    }
}
