//! Behaviors: named misbehaviors of the testbed, each with the finding it imitates.
//!
//! [`TABLE`] is the one list: a new behavior is one entry there and its effect where it acts.

mod draw;
mod parse;
mod table;

pub(crate) use draw::{CallFaults, Hits, strikes_request};
pub(crate) use parse::parse_duration;
pub use parse::{Behavior, BehaviorError, Strength};
pub use table::{Entry, Kind, Needs, TABLE, Takes};
