//! Every metric, in one table. Thresholds are checked against it, the wire carries its names, and `docs/metrics.md` is
//! generated from it. To add a metric, add a line.

use std::collections::HashMap;
use std::fmt;
use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::Duration;

/// How values of a metric combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A number that only grows; sums over seconds, agents and sites.
    Counter,
    /// The least value within each second on each agent; summed over agents.
    Gauge,
    /// A histogram of durations.
    Trend,
}

/// What a value of a metric measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Seconds (kept in nanoseconds inside).
    Seconds,
    /// A number of things.
    Count,
    /// Bytes.
    Bytes,
    /// A part of a whole, 0 to 1.
    Share,
}

/// What `rate(METRIC)` in a threshold divides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RateBase {
    /// Sessions planned.
    Planned,
    /// Sessions started.
    Started,
    /// Runs of the stage: the count of `stage_duration`.
    StageRuns,
    /// Rows received: `stream_rows`.
    Rows,
}

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its identity.
    pub id: MetricId,
    /// The name in plans, reports and on the wire.
    pub name: &'static str,
    /// How its values combine.
    pub kind: Kind,
    /// What its values measure.
    pub unit: Unit,
    /// Labels besides `scenario` and `site`.
    pub labels: &'static [&'static str],
    /// What `rate` divides by, if it may be asked for.
    pub rate_base: Option<RateBase>,
    /// What it tells, in a sentence.
    pub doc: &'static str,
}

/// The labels that every metric of a scenario carries; see [`Metric::allows`].
pub const COMMON_LABELS: [&str; 2] = ["scenario", "site"];

/// From one sample of [`MetricId::AgentLoopLag`] to the next, besides the lag itself.
pub const LOOP_LAG_EVERY: Duration = Duration::from_millis(10);

impl Metric {
    /// Whether its series may carry this label.
    #[must_use]
    pub fn allows(&self, label: &str) -> bool {
        match label {
            "site" => true,
            // What an agent is like does not depend on a scenario.
            "scenario" => !self.is_of_agent(),
            other => self.labels.contains(&other),
        }
    }

    /// Whether its series are one per agent. Those do not count towards the limit of series.
    #[must_use]
    pub fn is_of_agent(&self) -> bool {
        self.labels.contains(&"agent")
    }
}

/// The metric with this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Metric> {
    static INDEX: LazyLock<HashMap<&'static str, &'static Metric>> =
        LazyLock::new(|| METRICS.iter().map(|metric| (metric.name, metric)).collect());
    INDEX.get(name).copied()
}

impl MetricId {
    /// Its line of the table.
    #[must_use]
    pub fn metric(self) -> &'static Metric {
        &METRICS[self as usize]
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.metric().name
    }
}

impl fmt::Display for MetricId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Trend => "trend",
        })
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Seconds => "seconds",
            Self::Count => "count",
            Self::Bytes => "bytes",
            Self::Share => "share",
        })
    }
}

impl fmt::Display for RateBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Planned => "sessions planned",
            Self::Started => "sessions started",
            Self::StageRuns => "runs of the stage",
            Self::Rows => "rows received",
        })
    }
}

/// One line per metric: identity, name, kind, unit, extra labels, rate base, meaning.
macro_rules! metrics {
    ($($id:ident $name:literal $kind:ident $unit:ident [$($label:literal)*] $rate:tt $doc:literal;)*) => {
        /// Identity of a metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum MetricId {
            $(#[doc = $doc] $id,)*
        }

        /// Every metric, in the order of the documentation.
        pub static METRICS: &[Metric] = &[$(Metric {
            id: MetricId::$id,
            name: $name,
            kind: Kind::$kind,
            unit: Unit::$unit,
            labels: &[$($label),*],
            rate_base: rate_base!($rate),
            doc: $doc,
        },)*];
    };
}

macro_rules! rate_base {
    (-) => {
        None
    };
    ($base:ident) => {
        Some(RateBase::$base)
    };
}

#[rustfmt::skip]
metrics! {
    SessionsPlanned "sessions_planned" Counter Count [] Started "Sessions that the load model asks for.";
    SessionsStarted "sessions_started" Counter Count [] Started "Sessions that began.";
    SessionsPassed "sessions_passed" Counter Count [] Started "Sessions whose stages all passed.";
    SessionsFailed "sessions_failed" Counter Count [] Started "Sessions that a failed stage ended.";
    SessionsDropped "sessions_dropped" Counter Count [] Planned "Arrivals that found no free slot.";
    SessionsUnstarted "sessions_unstarted" Counter Count [] Started "Planned sessions that never began, because the run was stopped or their agent was lost.";
    SessionsInterrupted "sessions_interrupted" Counter Count [] Started "Sessions that a stop cut after `graceful_stop`.";
    SessionsLost "sessions_lost" Counter Count [] Started "Sessions that were in flight on an agent that was lost.";
    CleanupFailed "cleanup_failed" Counter Count [] - "Sessions whose cleanup failed.";
    SessionsActive "sessions_active" Gauge Count [] - "Sessions in flight: the minimum within each second on each agent, summed over agents.";
    StreamsOpen "streams_open" Gauge Count [] - "Streams between their first message and their end: the minimum within each second on each agent, summed over agents.";
    SessionDuration "session_duration" Trend Seconds [] - "From a session's actual start to its end.";
    SessionResponse "session_response" Trend Seconds [] - "From a session's planned start to its end.";
    ScheduleLag "schedule_lag" Trend Seconds [] - "A session's actual start minus its planned start.";
    StageDuration "stage_duration" Trend Seconds ["stage" "outcome"] - "A stage with its retries and polls.";
    StageAttempt "stage_attempt" Trend Seconds ["stage" "outcome"] - "One try of a stage.";
    StageConnect "stage_connect" Trend Seconds ["stage" "outcome"] - "Opening a connection, TLS and HTTP/2 handshakes included.";
    StageFirstByte "stage_first_byte" Trend Seconds ["stage" "outcome"] - "From sending a request to the first byte of its answer.";
    StageErrors "stage_errors" Counter Count ["stage" "error"] StageRuns "Stages that failed, by kind of error.";
    StageStatus "stage_status" Counter Count ["stage" "status"] - "Answers by status.";
    StageRetries "stage_retries" Counter Count ["stage"] - "Tries after the first.";
    StagePolls "stage_polls" Counter Count ["stage"] - "Polls of stages with `until`.";
    PageDisplay "page_display" Trend Seconds ["stage"] - "From the last click, key or navigation on a page to the moment after the frame that shows what the `wait` behind it waits for, by the page's own clock.";
    StreamFirstMessage "stream_first_message" Trend Seconds ["stage"] - "From opening a stream to its first message.";
    StreamGap "stream_gap" Trend Seconds ["stage"] - "Between two messages of a stream.";
    StreamStall "stream_stall" Trend Seconds ["stage"] - "Gaps longer than the stage's `stall`, one that is open at the end included.";
    StreamLatency "stream_latency" Trend Seconds ["stage"] - "From `sent_at` to arrival: the excess over the stream's minimum, or absolute where the target declares its clock.";
    StreamDuration "stream_duration" Trend Seconds ["stage"] - "From a stream's first message to its end.";
    StreamWatch "stream_watch" Trend Seconds ["stage" "watch"] - "From the start of a call, or from that of the stage in `since`, to the first message for which an expression of `watch` is true; once for each name and stream, at the message's arrival.";
    StreamMessages "stream_messages" Counter Count ["stage"] - "Messages received.";
    StreamRows "stream_rows" Counter Count ["stage"] - "Rows received.";
    StreamBytes "stream_bytes" Counter Bytes ["stage"] - "Bytes of messages received, before decoding.";
    IntegrityVerified "integrity_verified" Counter Count ["stage"] Rows "Rows that equal their truth, or are in sequence where no truth is named.";
    IntegrityMissing "integrity_missing" Counter Count ["stage"] Rows "Rows that never came.";
    IntegrityRepeated "integrity_repeated" Counter Count ["stage"] Rows "Rows that came again.";
    IntegrityReordered "integrity_reordered" Counter Count ["stage"] Rows "Rows that came late.";
    IntegrityMismatched "integrity_mismatched" Counter Count ["stage"] Rows "Rows that differ from their truth.";
    IntegrityUnwitnessed "integrity_unwitnessed" Counter Count ["stage"] Rows "Rows that one session alone saw.";
    IntegrityUnverified "integrity_unverified" Counter Count ["stage"] Rows "Rows whose truth could not be read.";
    FaultRecovery "fault_recovery" Trend Seconds ["fault"] - "From a fault's end to the first passing session.";
    AgentCpu "agent_cpu" Gauge Share ["agent"] - "Share of its CPU quota that an agent uses.";
    AgentMemory "agent_memory" Gauge Bytes ["agent"] - "Resident memory of an agent.";
    AgentLoopLag "agent_loop_lag" Trend Seconds ["agent"] - "How late an agent's event loop runs, sampled every 10 ms. A stream that the agent holds up, because it brings rows faster than they can be compared, counts as if the loop had stood still for it.";
    ClockOffset "clock_offset" Gauge Seconds ["agent"] - "Coordinator time minus agent time, as estimated.";
    ClockUncertainty "clock_uncertainty" Gauge Seconds ["agent"] - "Half the width of the interval that the clock offset lies in.";
}

/// The page `docs/metrics.md`: every metric with its kind, unit, labels and meaning.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         Generated from `shared/src/metric/table.rs` by `cargo xtask gen`.\n\n\
         Every metric carries the label `site`, and `scenario` unless it has the label `agent`.\n\
         A *counter* only grows and sums over agents.\n\
         A *gauge* is the least value within each second on each agent, summed over agents: concurrency that is proven.\n\
         A *trend* is a histogram of durations with three significant digits, from 1 µs to 1 h; histograms merge exactly.\n\
         `rate(METRIC)` in a threshold divides by the base in the table; a metric without one has no rate.\n\n\
         | metric | kind | unit | extra labels | rate base | meaning |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for metric in METRICS {
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let base = metric
            .rate_base
            .map(|base| base.to_string())
            .unwrap_or_default();
        writeln!(
            page,
            "| `{}` | {} | {} | {} | {base} | {} |",
            metric.name,
            metric.kind,
            metric.unit,
            labels.join(", "),
            metric.doc
        )
        .expect("writing to a String cannot fail");
    }
    page.push_str("\n## Thresholds over metrics\n");
    for (says, thresholds) in EXAMPLES {
        write!(page, "\n{says}\n\n```yaml\nthresholds:\n{thresholds}```\n")
            .expect("writing to a String cannot fail");
    }
    page
}

/// Thresholds to copy, each with what it says; a test checks that they can be judged.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "Latency of a stage that passed, of sessions from when they should have started, and of streams:",
        "  - p95(stage_duration{stage=\"login\", outcome=\"passed\"}) < 500ms
  - p99(session_response) < 2s
  - p99(stream_first_message) < 1s
  - max(stream_gap) < 3s
",
    ),
    (
        "Shares and rates: of sessions, of runs of a stage, of rows, and per second of the run:",
        "  - rate(sessions_failed) < 1%
  - rate(stage_errors{stage=\"login\", error=\"timeout\"}) < 0.1%
  - rate(integrity_unwitnessed) < 5%
  - per_second(sessions_started) >= 20
",
    ),
    (
        "Proven concurrency, and counts that must be something or nothing:",
        "  - max(sessions_active) >= 5
  - count(integrity_verified) > 0
  - count(cleanup_failed) == 0
",
    ),
    (
        "One phase against another, and one site against another:",
        "  - p95(stage_duration{phase=\"late\"}) < 1.5 * p95(stage_duration{phase=\"early\"})
  - p95(stage_connect{site=\"tokyo\"}) < 3 * p95(stage_connect{site=\"haifa\"})
",
    ),
    (
        "What ends the run as soon as it is broken, from the tenth second on, in any ten seconds:",
        "  - { expr: \"rate(stage_errors{stage=\\\"login\\\"}) < 20%\", abort: true, after: 10s, over: 10s }
",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_found_by_its_name() {
        for (place, metric) in METRICS.iter().enumerate() {
            assert_eq!(metric.id as usize, place);
            assert_eq!(
                by_name(metric.name),
                Some(metric),
                "{} is there twice",
                metric.name
            );
            assert_eq!(metric.id.metric(), metric);
        }
        assert_eq!(by_name("no_such_metric"), None);
    }

    #[test]
    fn rates_have_the_bases_that_thresholds_promise() {
        for metric in METRICS {
            let expect = match metric.name {
                "sessions_dropped" => Some(RateBase::Planned),
                "stage_errors" => Some(RateBase::StageRuns),
                name if name.starts_with("sessions_") && metric.kind == Kind::Counter => {
                    Some(RateBase::Started)
                }
                name if name.starts_with("integrity_") => Some(RateBase::Rows),
                _ => None,
            };
            assert_eq!(metric.rate_base, expect, "{}", metric.name);
        }
    }

    #[test]
    fn labels_are_those_of_the_metric_and_the_common_ones() {
        let stage = MetricId::StageErrors.metric();
        assert!(COMMON_LABELS.iter().all(|label| stage.allows(label)));
        assert!(stage.allows("stage") && stage.allows("error") && !stage.allows("status"));
        let agent = MetricId::AgentLoopLag.metric();
        assert!(agent.allows("agent") && agent.allows("site") && !agent.allows("scenario"));
    }

    #[test]
    fn the_reference_has_a_line_for_each() {
        let page = reference();
        for metric in METRICS {
            assert!(
                page.contains(&format!("\n| `{}` | {} |", metric.name, metric.kind)),
                "{}",
                metric.name
            );
        }
    }
}
