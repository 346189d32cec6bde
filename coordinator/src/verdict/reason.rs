//! The closed list of reason codes: everything that can keep a run from `passed`.
//!
//! `docs/verdicts.md` explains each code; a test here keeps the two lists equal.
use serde::{Deserialize, Serialize};
use std::fmt;

/// The one answer of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// The data was right, every threshold holds, and the measurement can be trusted.
    Passed,
    /// The data was wrong, or a threshold is broken.
    Failed,
    /// The run cannot be judged.
    Inconclusive,
}

impl VerdictKind {
    /// As reports and the last line of a run print it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
        }
    }
}

impl fmt::Display for VerdictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a reason is evidence of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasonClass {
    /// Data proven corrupt: the run failed.
    Integrity,
    /// A threshold is broken: the run failed, unless the threshold is tainted.
    Threshold,
    /// The measurement cannot be trusted: the run is inconclusive.
    Validity,
}

macro_rules! reason_codes {
    ($($variant:ident $name:literal $class:ident $doc:literal,)*) => {
        /// Why a run is not `passed`. The list is closed: scripts may match on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum ReasonCode {
            $(#[doc = $doc] $variant,)*
        }

        impl ReasonCode {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As reports print it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What this reason is evidence of.
            pub fn class(self) -> ReasonClass {
                match self { $(Self::$variant => ReasonClass::$class,)* }
            }
        }
    };
}

reason_codes! {
    RowsMissing "rows_missing" Integrity "Rows are missing within streams, beyond what the plan allows.",
    RowsRepeated "rows_repeated" Integrity "Rows came twice within one stream, beyond what the plan allows.",
    RowsReordered "rows_reordered" Integrity "Rows came out of order, beyond what the plan allows.",
    RowsMismatched "rows_mismatched" Integrity "Rows differ from their truth, beyond what the plan allows.",
    ThresholdBroken "threshold_broken" Threshold "A threshold is broken, and nothing makes its value doubtful.",
    EndedEarly "ended_early" Threshold "Streams ended by themselves before their `stop`, and that alone broke a threshold on failed sessions.",
    NoData "no_data" Validity "A threshold found nothing to judge, though its stage could have been reached.",
    RowsUnverified "rows_unverified" Validity "Rows could not be compared because their truth could not be read.",
    NothingVerified "nothing_verified" Validity "A stage with a truth received rows, and not one was verified.",
    AgentLost "agent_lost" Validity "More agents were lost than the plan tolerates.",
    GeneratorSaturated "generator_saturated" Validity "The agents were too slow or too busy for what a threshold judges.",
    SessionsDropped "sessions_dropped" Validity "More sessions were dropped than the plan tolerates.",
    LedgerUnbalanced "ledger_unbalanced" Validity "The ledger of sessions does not add up.",
    MeasurementsMissing "measurements_missing" Validity "Batches of an agent never arrived, so the totals are too low.",
    ClockUncertain "clock_uncertain" Validity "The clocks of the agents are too uncertain for what a threshold judges.",
    SetupFailed "setup_failed" Validity "The plan's setup failed, so no session was started.",
    NotEnoughAgents "not_enough_agents" Validity "There are fewer agents than the plan or its sites need.",
    PlanRefused "plan_refused" Validity "An agent refused the plan, so nothing was started.",
    StartFailed "start_failed" Validity "Agents were not ready in time, so no session was started.",
    NothingStarted "nothing_started" Validity "Not one session was started.",
    NothingEnded "nothing_ended" Validity "Sessions were started, and not one of them passed or failed.",
    FaultFailed "fault_failed" Validity "A fault of the plan was not injected, or not for as long as it should have been.",
    RunOverran "run_overran" Validity "Agents had not drained when the run had to end.",
    Stopped "stopped" Validity "A user stopped the run.",
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_documented_and_every_documented_code_exists() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verdicts.md");
        let page = std::fs::read_to_string(path).unwrap();
        let documented: Vec<_> = page
            .lines()
            .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'))
            .collect();
        let known: Vec<_> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(documented, known);
    }

    #[test]
    fn codes_are_serialised_as_they_are_printed() {
        for code in ReasonCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
