//! Expressions: CEL, compiled while a plan is read and evaluated by agents.
//!
//! [`Expr`] stands bare in a plan, [`Template`] is a string with `${…}` in it, [`JsonTemplate`] a
//! tree of them. All are compiled once, shared by every session, and read their names from a
//! [`Scope`]. [`Names`] is the same thing while a plan is checked: which names will be there.

mod check;
mod compile;
mod env;
mod expression;
mod scope;
mod secret;
mod template;
mod val;
mod value;

#[cfg(test)]
mod tests;

pub use check::Names;
pub(super) use check::listed;
pub use compile::{ExprProblem, MAX_DEPTH, MAX_NODES, MAX_SOURCE};
pub use env::{MAX_STEPS, Random};
pub use expression::{EvalError, Expr};
pub use scope::{Field, LazyValue, Scope};
pub use secret::Secrets;
pub use template::{JsonTemplate, Template};
pub use value::Value;
