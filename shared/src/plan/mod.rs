//! The plan: what a user writes, and what coordinator and agents run.
//!
//! A plan is read in three steps, each in files of its own: text to a tree with positions
//! (`yaml`), the tree checked against one table of keys ([`keys`], `table`), and the tree read
//! into a [`Plan`] or into every [`Problem`] it has (`read`). The same table drives the JSON
//! Schema and the reference. Expressions are compiled while reading ([`expr`]). Nothing here does
//! I/O: files come through [`Files`].

pub mod error_kind;
pub mod expr;
pub mod form;
pub mod keys;
pub mod model;
pub mod narrow;
pub mod problem;
pub mod quantity;

mod blocks;
mod context;
mod fault_model;
mod faults;
mod feeds;
mod integrity;
mod item;
mod nearest;
mod operand;
mod phases;
mod proxies;
mod read;
mod reference;
mod retry;
mod scenario;
mod stage;
mod table;
mod target;
mod threshold;
mod traps;
mod vars;
mod walk;
mod yaml;

pub use context::{Files, MAX_FILES, NoFiles};
pub use error_kind::ErrorKind;
pub use fault_model::{
    Cut, Fault, FaultAction, FaultBegin, MAX_FAULTS, MAX_PROXIES, Proxy, ProxyEffect,
};
pub use faults::recovery_phase;
pub use form::{DriverForm, DriverStage};
pub use item::{EntryItem, Item};
pub use model::{
    Action, Agg, Begin, Documents, FieldPath, Integrity, Matcher, OnAgentLoss, OnFailure, Op,
    Operand, Phase, Plan, PlanFile, Pool, Proof, Reading, Repeat, Retry, RetryOn, Scenario, SentAt,
    Stage, Target, Threshold, TimeUnit, Times, TraceRules, Truth, TruthOf, Until, Validity,
};
pub use narrow::{Narrowing, NoScenario};
pub use nearest::nearest;
pub use problem::{Colour, Position, Problem, ProblemCode, Span, render};
pub use read::{Source, load, refuse_size};
pub use reference::{reference, schema};
pub use table::PLAN;
pub use vars::{NotAnOverride, VarOverrides, declared_vars};
pub use yaml::{MAX_DEPTH, MAX_NODES, MAX_PLAN};

#[cfg(test)]
pub(crate) mod tests;
