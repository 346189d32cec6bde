//! The behaviors that need MongoDB or RabbitMQ, and the plan that catches them.
//!
//! They are no part of `ROWS`: a testbed without those servers refuses them, so no other plan is run with them.

use super::row::{Row, Sign};

const FAILED: Sign = Sign::Broken(&["count(sessions_failed)"]);
/// The plan that looks into both servers.
const PLAN: &[&str] = &["infrastructure"];

/// Every behavior that needs another server, with what the plan must show. None is in CI until the plan is there.
pub const INFRASTRUCTURE: &[Row] = &[
    row("not-persisted"),
    row("missing-index"),
    row("slow-mongodb"),
    row("null-fields"),
    row("low-recognition"),
    row("crash-without-mongodb"),
    row("leak-queue"),
    row("ignore-roi"),
    row("unsafe-roi"),
];

const fn row(behavior: &'static str) -> Row {
    Row {
        behavior,
        in_ci: &[],
        caught: &[(PLAN, FAILED)],
    }
}
