//! One compiled expression.

use std::fmt;
use std::sync::{Arc, OnceLock};

use cel::common::ast::IdedExpr;
use cel::common::types::CelBool;
use cel::common::value::CowVal;
use cel::{Context, ExecutionError};

use super::check::{Names, check};
use super::compile::{ExprProblem, Reference, compile};
use super::env::{ENV, Meter};
use super::scope::{Resolver, Scope};
use super::value::Value;
use crate::plan::problem::Position;

/// The longest message of an [`EvalError`], in bytes.
const MAX_MESSAGE: usize = 300;

/// A compiled expression: `status == 200`.
pub struct Expr {
    source: Box<str>,
    position: Position,
    ast: IdedExpr,
    references: Vec<Reference>,
    metered: bool,
}

impl Expr {
    /// Compiles an expression that stands at `position`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it whatever the names in scope.
    pub fn compile(source: &str, position: Position) -> Result<Self, Vec<ExprProblem>> {
        let compiled = compile(source)?;
        Ok(Self {
            source: source.into(),
            position,
            ast: compiled.ast,
            references: compiled.references,
            metered: compiled.metered,
        })
    }

    /// As the plan wrote it.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Where it stands in the plan.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Whether it reads that name (the part before the first dot).
    #[must_use]
    pub fn reads(&self, name: &str) -> bool {
        self.references
            .iter()
            .any(|reference| reference.root == name)
    }

    /// Whether it reads that field of that name, or the name as a whole.
    #[must_use]
    pub fn reads_field(&self, name: &str, field: &str) -> bool {
        self.fields(name)
            .any(|read| read.is_none_or(|read| read == field))
    }

    /// Whether it reads a field that no stage has saved: in `when`, `save` and the like a mistake, while the stage that
    /// saves it still runs a matter of time.
    #[must_use]
    pub fn lacks_saves(&self, scope: &Scope<'_>) -> bool {
        self.references.iter().any(|reference| {
            let field = reference.field.as_deref();
            field.is_some_and(|field| scope.lacks(&reference.root, field))
        })
    }

    /// The fields of that name that it reads; `None` where it reads the name as a whole.
    pub(in crate::plan) fn fields(&self, name: &str) -> impl Iterator<Item = Option<&str>> {
        let of_name = self
            .references
            .iter()
            .filter(move |reference| reference.root == name);
        of_name.map(|reference| reference.field.as_deref())
    }

    /// Every name it reads that will not be there.
    #[must_use]
    pub fn check(&self, names: &Names) -> Vec<ExprProblem> {
        check(&self.references, names)
    }

    /// Its value.
    ///
    /// # Errors
    ///
    /// A name that is not set, types that do not fit, too many steps.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, EvalError> {
        self.run(scope, |val| {
            Value::from_val(&**val).ok_or_else(|| {
                format!(
                    "its value is a {}, which no plan can hold",
                    val.get_type().name()
                )
            })
        })
    }

    /// Whether it is true.
    ///
    /// # Errors
    ///
    /// As [`Expr::evaluate`], and a value that is neither true nor false.
    pub fn holds(&self, scope: &Scope<'_>) -> Result<bool, EvalError> {
        self.run(scope, |val| {
            val.downcast_ref::<CelBool>()
                .map(|val| *val.inner())
                .ok_or_else(|| {
                    format!(
                        "its value is of type {}, not true or false",
                        val.get_type().name()
                    )
                })
        })
    }

    fn run<T>(
        &self,
        scope: &Scope<'_>,
        convert: impl FnOnce(&CowVal<'_, '_>) -> Result<T, String>,
    ) -> Result<T, EvalError> {
        let random = if self.metered { scope.random() } else { None };
        let resolver = Resolver {
            scope,
            meter: Meter::new(random),
            failure: OnceLock::new(),
        };
        let mut context = Context::with_env(Arc::clone(&ENV));
        context.set_variable_resolver(&resolver);
        let result = match cel::Value::resolve_val(&self.ast, &context) {
            Ok(val) => convert(&val),
            Err(error) => Err(resolver
                .failure
                .get()
                .cloned()
                .unwrap_or_else(|| plain(&error))),
        };
        result.map_err(|message| EvalError {
            expression: self.source.clone(),
            message: bounded(message),
        })
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expr").field(&self.source).finish()
    }
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{expression}`: {message}")]
pub struct EvalError {
    expression: Box<str>,
    message: String,
}

impl EvalError {
    pub(super) fn new(source: &str, message: impl Into<String>) -> Self {
        Self {
            expression: source.into(),
            message: bounded(message.into()),
        }
    }

    /// The expression.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// What went wrong.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Messages may quote values of any size.
fn bounded(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        message.push('…');
    }
    message
}

/// The interpreter's error in a plan's words.
fn plain(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("there is no `{key}`"),
        ExecutionError::UndeclaredReference(name) => format!("`{name}` is not set"),
        ExecutionError::NoSuchOverload(overload) => {
            let function = overload.function().replace(['@', '_'], "");
            let kinds = overload.argument_types();
            match kinds {
                [left, right] if !function.starts_with(char::is_alphabetic) => {
                    format!("`{left} {function} {right}` is not possible")
                }
                _ => format!("`{function}` does not take ({})", kinds.join(", ")),
            }
        }
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
            let sign = match *operator {
                "add" => "+",
                "sub" => "-",
                "mul" => "*",
                "div" => "/",
                "rem" => "%",
                other => other,
            };
            format!(
                "`{} {sign} {}` is not possible",
                left.type_of(),
                right.type_of()
            )
        }
        ExecutionError::UnexpectedType { got, want } => format!("{want} is expected, not {got}"),
        ExecutionError::IndexOutOfBounds(index) => match index {
            cel::Value::Int(index) => format!("there is no item {index}"),
            _ => "there is no such item".to_owned(),
        },
        ExecutionError::FunctionError { function, message } if function.is_empty() => {
            message.clone()
        }
        ExecutionError::FunctionError { function, message } => format!("{function}: {message}"),
        other => other.to_string(),
    }
}
