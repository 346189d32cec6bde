//! Every capacity and time-out of an agent, with its reason.

/// Series per run and agent: ten times the 2,000 that a whole run may have, minus nothing; the coordinator enforces the
/// run's own bound, this one only keeps a broken plan from filling an agent's memory.
pub const SERIES: usize = 4_000;

/// Failures of one (stage, error) that keep status, headers and body. The sixth teaches nothing new.
pub const EVIDENCE_KEPT: u32 = 5;

/// Kinds of findings (severity, code, scenario, stage) on one worker. Each stage has at most eleven error kinds.
pub const FINDING_KINDS: usize = 1_000;

/// Slowest sessions that an agent reports in a run.
pub const SLOWEST: usize = 10;

/// Rows waiting on one worker to be compared, between two cuts: 64 bytes each, 32 MiB.
pub const WITNESS_ROWS: usize = 500_000;

/// Whole-stream digests waiting on one worker between two cuts.
pub const WITNESS_STREAMS: usize = 50_000;
