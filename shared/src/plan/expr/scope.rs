//! What expressions can read while they run: layers of names.
//!
//! A layer borrows the one below it, so a session, a branch, a round of a loop and a stage's
//! results each cost one small list, and leaving one is dropping it. Values that are costly to make
//! (a parsed body, a decoded message) are made when an expression first reads them.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use cel::common::value::CowVal;
use cel::context::VariableResolver;

use super::env::{METER, Meter, Random};
use super::value::Value;

/// A value that is made when an expression first reads it.
pub trait LazyValue: Send + Sync {
    /// Makes the value.
    ///
    /// # Errors
    ///
    /// Why there is none, as the rest of a sentence about the name: "is not JSON: …".
    fn value(&self) -> Result<Value, String>;
}

impl<F: Fn() -> Result<Value, String> + Send + Sync> LazyValue for F {
    fn value(&self) -> Result<Value, String> {
        self()
    }
}

enum Slot<'p> {
    Ready(Value),
    Lazy(Box<dyn LazyValue + 'p>, OnceLock<Result<Value, String>>),
}

/// One layer of names over another.
#[derive(Default)]
pub struct Scope<'p> {
    parent: Option<&'p Scope<'p>>,
    names: Vec<(Cow<'static, str>, Slot<'p>)>,
    fields: Vec<Field>,
    random: Option<Arc<Random>>,
}

/// A value below a name: `session.job`.
#[derive(Debug, Clone)]
pub struct Field {
    /// `session`, `run`, `agent`.
    pub of: &'static str,
    /// `job`.
    pub name: Cow<'static, str>,
    /// Its value.
    pub value: Value,
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.names.iter().map(|(name, _)| name).collect();
        f.debug_struct("Scope")
            .field("names", &names)
            .field("fields", &self.fields)
            .finish()
    }
}

impl<'p> Scope<'p> {
    /// An empty layer at the bottom.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// An empty layer over `parent`.
    #[must_use]
    pub fn over(parent: &'p Scope<'p>) -> Self {
        Self {
            parent: Some(parent),
            ..Self::default()
        }
    }

    /// Sets a name in this layer.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        self.put(name.into(), Slot::Ready(value.into()));
    }

    /// Sets a name in this layer to a value that is made when it is first read.
    pub fn set_lazy(&mut self, name: impl Into<Cow<'static, str>>, value: impl LazyValue + 'p) {
        self.put(name.into(), Slot::Lazy(Box::new(value), OnceLock::new()));
    }

    /// Sets a field of a name in this layer, as `save` does: `session.job`. Fields of lower layers
    /// stay visible.
    pub fn set_field(
        &mut self,
        of: &'static str,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Value>,
    ) {
        let (name, value) = (name.into(), value.into());
        match self
            .fields
            .iter_mut()
            .find(|field| field.of == of && field.name == name)
        {
            Some(field) => field.value = value,
            None => self.fields.push(Field { of, name, value }),
        }
    }

    /// The fields set in this layer.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Ends this layer and keeps its fields, for [`Scope::absorb`].
    #[must_use]
    pub fn into_fields(self) -> Vec<Field> {
        self.fields
    }

    /// Takes over the fields of a layer that ended: what a parallel branch saved.
    pub fn absorb(&mut self, fields: impl IntoIterator<Item = Field>) {
        for field in fields {
            self.set_field(field.of, field.name, field.value);
        }
    }

    /// Sets where `random` and `uuid` draw from, for this layer and those above.
    pub fn set_random(&mut self, random: Arc<Random>) {
        self.random = Some(random);
    }

    fn put(&mut self, name: Cow<'static, str>, slot: Slot<'p>) {
        match self.names.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = slot,
            None => self.names.push((name, slot)),
        }
    }

    fn layers(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |layer| layer.parent)
    }

    pub(super) fn random(&self) -> Option<Arc<Random>> {
        self.layers().find_map(|layer| layer.random.clone())
    }

    fn slot(&self, name: &str) -> Option<&Slot<'p>> {
        self.layers()
            .find_map(|layer| layer.names.iter().find(|(known, _)| known == name))
            .map(|(_, slot)| slot)
    }

    fn field(&self, of: &str, name: &str) -> Option<&Value> {
        let mut fields = self.layers().flat_map(|layer| &layer.fields);
        fields
            .find(|field| field.name == name && field.of == of)
            .map(|field| &field.value)
    }

    /// Whether that is a field that nothing has set, of a name that has nothing but fields.
    pub(super) fn lacks(&self, of: &str, name: &str) -> bool {
        self.slot(of).is_none() && self.field(of, name).is_none()
    }

    /// All fields below a name, the upper layers' first; `None` if there is none.
    fn all_fields(&self, of: &str) -> Option<Value> {
        let mut pairs: Vec<(&str, Value)> = Vec::new();
        for field in self
            .layers()
            .flat_map(|layer| &layer.fields)
            .filter(|field| field.of == of)
        {
            if !pairs.iter().any(|(known, _)| *known == field.name) {
                pairs.push((&field.name, field.value.clone()));
            }
        }
        (!pairs.is_empty()).then(|| Value::map(pairs))
    }
}

/// A scope for the time of one evaluation.
pub(super) struct Resolver<'s> {
    pub(super) scope: &'s Scope<'s>,
    pub(super) meter: Meter,
    /// Why a lazy value could not be made; the interpreter only knows that it is not there.
    pub(super) failure: OnceLock<String>,
}

impl VariableResolver for Resolver<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        // The interpreter asks for `session.job` before it asks for `session`.
        if let Some((of, name)) = variable.split_once('.') {
            return self
                .scope
                .field(of, name)
                .map(|value| CowVal::Borrowed(value));
        }
        if let Some(slot) = self.scope.slot(variable) {
            return match slot {
                Slot::Ready(value) => Some(CowVal::Borrowed(value)),
                Slot::Lazy(lazy, cell) => match cell.get_or_init(|| lazy.value()) {
                    Ok(value) => Some(CowVal::Borrowed(value)),
                    Err(reason) => {
                        let _ = self.failure.set(format!("`{variable}` {reason}"));
                        None
                    }
                },
            };
        }
        if variable == METER {
            return Some(CowVal::Borrowed(&self.meter));
        }
        self.scope.all_fields(variable).map(CowVal::owned)
    }
}
