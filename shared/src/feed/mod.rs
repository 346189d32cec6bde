//! Feeds: files whose rows sessions take, to differ from each other.
//!
//! Which row a session takes follows from its number in the scenario alone, as everything does that the agents of a run share:
//! nobody asks anyone, and the rows that all agents take together are those that one agent would take.

mod order;
mod rows;
mod table;

pub use order::{AtEnd, Order, Turns};
pub use rows::{Feed, RunFeed};
pub use table::{Format, Kind, Table, TableProblem};
