//! The older task flow: a client configures a task under a name of its own, and polls its rows.
//!
//! No tested deployment serves it any more; the profile `as-observed` does not either.

mod consumers;
mod request;
mod stamp;

pub(crate) use consumers::{Consumers, Habits, Polled, TaskRow};
pub(crate) use request::{ROWS_PER_POLL, Unfit, is_task_id, read};
