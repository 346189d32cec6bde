//! Expressions: CEL, compiled while a plan is read and evaluated by agents.

/// A compiled expression.
#[derive(Debug)]
pub struct Expr {}

/// A string with `${…}` in it.
#[derive(Debug)]
pub struct Template {}
