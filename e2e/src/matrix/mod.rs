//! The matrix *behavior × plan*: which plan must catch which misbehavior of the testbed, and by what it must show.
//!
//! [`ROWS`] is the one table: a behavior has a row, a plan that a row does not name must pass. [`FORMS`] has each shipped
//! plan in the short form that a test can afford. Plans that need more than a testbed are in [`crate::real`].

mod form;
mod pair;
mod row;
mod table;

pub use form::{FORMS, Form};
pub(crate) use form::{GONE, READY};
pub(crate) use pair::{RUNS, is_saturated};
pub use pair::{check_healthy, check_pair, check_sign};
pub(crate) use row::name_of;
pub use row::{Row, Sign};
pub use table::ROWS;
