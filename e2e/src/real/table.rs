//! Which plan on real parts catches which behavior of the testbed, and by what; and pairs that must pass all the same.

use crate::matrix::{Sign, name_of};

/// A behavior, a plan, and the sign that it must give; none: it must pass.
#[derive(Debug)]
pub struct Pair {
    /// As behind `--testbed=`.
    pub behavior: &'static str,
    /// The plan's name.
    pub plan: &'static str,
    /// By what the plan shows that it saw it.
    pub sign: Option<Sign>,
}

impl Pair {
    /// The behavior's name, without its strength.
    ///
    /// # Panics
    ///
    /// If the testbed does not know it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        name_of(self.behavior)
    }
}

const FAILED: Sign = Sign::Broken(&["count(sessions_failed)"]);
/// Found in the stream by its truth, and on the page by what it drew.
const STREAMED_AND_SHOWN: [Sign; 2] = [
    Sign::RowsAndBroken("mismatched", &["count(sessions_failed)"]),
    Sign::RowsAndBroken("missing", &["count(sessions_failed)"]),
];
/// A region that is never followed is never seen to be, either.
const NEVER_FOLLOWED: Sign = Sign::BrokenWithoutData(&["count(sessions_failed"]);
/// Of a plan in which somebody asks all the while, and is refused.
const FAILED_BUT_PROBES: Sign = Sign::Broken(&["count(sessions_failed{scenario!=\"probe\"})"]);
const NOT_GONE: Sign = Sign::Broken(&["count(cleanup_failed)"]);

const fn caught(behavior: &'static str, plan: &'static str, sign: Sign) -> Pair {
    Pair {
        behavior,
        plan,
        sign: Some(sign),
    }
}

const fn passed(behavior: &'static str, plan: &'static str) -> Pair {
    Pair {
        behavior,
        plan,
        sign: None,
    }
}

/// All pairs.
pub const PAIRS: &[Pair] = &[
    caught("not-persisted", "infrastructure", FAILED),
    caught("missing-index", "infrastructure", FAILED),
    caught("null-fields", "infrastructure", FAILED),
    caught("low-recognition", "infrastructure", FAILED),
    caught("stale-recording", "infrastructure", FAILED),
    caught("leak-queue", "infrastructure", NOT_GONE),
    passed("ignore-roi", "infrastructure"),
    caught("ignore-roi", "roi-adjustment", NEVER_FOLLOWED),
    caught("unsafe-roi", "roi-adjustment", FAILED),
    passed("leak-queue", "roi-adjustment"),
    caught("not-persisted", "lifecycle", FAILED),
    caught("leak-queue", "lifecycle", FAILED),
    passed("low-recognition", "lifecycle"),
    caught(
        "slow-refusal:6s",
        "mongo-outage",
        Sign::Broken(&["max(stage_duration{stage=\"refused\"})"]),
    ),
    caught("drop-row", "mongo-outage", Sign::Rows("missing")),
    caught("crash-without-mongodb", "mongo-outage", FAILED_BUT_PROBES),
    caught("flip-bit", "data-flow", STREAMED_AND_SHOWN[0]),
    caught("drop-row", "data-flow", STREAMED_AND_SHOWN[1]),
    caught(
        "slow-mongodb:1.5s",
        "infrastructure",
        Sign::Broken(&["max(stage_duration{stage=\"recent-lookup\"})"]),
    ),
    caught("historic-404", "ui-historic", FAILED),
    caught("drop-row", "ui-historic", FAILED),
    passed("slow-stage:0.0", "ui-historic"),
    caught("never-ready", "ui-live", FAILED),
    passed("historic-404", "ui-live"),
    caught("accept-all", "hostile-input", FAILED),
    caught("null-500", "hostile-input", FAILED),
    passed("historic-404", "hostile-input"),
    caught("drop-row", "server-restart", Sign::Rows("missing")),
    caught("ignore-roi", "rabbitmq-outage", NEVER_FOLLOWED),
];
