//! The plan: what a user writes, and what coordinator and agents run.
//!
//! A plan is read in three steps, each in files of its own: text to a tree with positions
//! (`yaml`), the tree checked against one table of keys (`keys`, `table`), and the tree read
//! into a [`Plan`] or into every [`Problem`] it has. The same table drives the JSON
//! Schema and the reference. Expressions are compiled while reading
//! ([`expr`]). Nothing here does I/O.

pub mod error_kind;
pub mod expr;
pub mod form;
pub mod model;
pub mod nearest;
pub mod problem;

pub use error_kind::ErrorKind;
pub use form::{DriverForm, DriverStage};
pub use model::{
    Action, Agg, FieldPath, Integrity, Load, OnAgentLoss, OnFailure, Op, Plan, PlanFile, Pool,
    Repeat, Retry, RetryOn, Scenario, SentAt, Stage, Target, Threshold, TimeUnit, Times,
    TraceRules, Truth, TruthOf, Until, UsersUntil, Validity,
};
pub use problem::{Position, Problem, ProblemCode};
