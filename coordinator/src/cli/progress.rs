//! How a run is shown while it goes on: redrawn lines on a terminal, plain lines elsewhere.
//!
//! The coordinator tells its progress once a second, which is how often lines are redrawn; plain lines come less often, so
//! that a log of an hour stays readable.
use super::output::Output;
use crate::report::format;
use crate::report::terminal::clean;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;
use testmesh_proto::v1::{Progress, ScenarioProgress};

/// Between two plain lines of one run in its first minute.
const PLAIN_EVERY_S: f64 = 5.0;
/// Between two plain lines later.
const PLAIN_LATER_S: f64 = 30.0;
/// Cells of the bar.
const BAR: usize = 24;
/// Scenarios with a line of their own; the others are summed up in one.
const SCENARIOS: usize = 8;

/// Shows one run.
pub(super) struct View<'a> {
    output: &'a Output,
    plan: String,
    state: String,
    /// Lines at the end of a terminal, redrawn in one go.
    live: Option<ProgressBar>,
    next_plain: f64,
}

impl<'a> View<'a> {
    /// A view of a run that has not told anything yet; live: with lines that are redrawn.
    pub(super) fn new(output: &'a Output, plan: &str, live: bool) -> Self {
        let live = live.then(|| {
            let style = ProgressStyle::with_template("{msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
        });
        Self {
            output,
            plan: clean(plan),
            state: "submitted".to_owned(),
            live,
            next_plain: 0.0,
        }
    }

    /// The run went on to another state.
    pub(super) fn state(&mut self, state: &str, reason: &str) {
        self.state = clean(state).replace('_', " ");
        let reason = clean(reason);
        if !reason.is_empty() {
            self.say(&format!("{}: {reason}", self.state));
        } else if self.live.is_none() {
            self.say(&self.state.clone());
        }
    }

    /// Something worth a line of its own.
    pub(super) fn say(&self, text: &str) {
        let text = format!("{}  {text}", self.plan);
        match &self.live {
            Some(live) => live.suspend(|| self.output.talk(&text)),
            None => self.output.talk(&text),
        }
    }

    /// The run as merged so far.
    pub(super) fn progress(&mut self, progress: &Progress) {
        if let Some(live) = &self.live {
            live.set_message(live_lines(&self.plan, &self.state, progress).join("\n"));
        } else if progress.elapsed_s >= self.next_plain {
            let step = if progress.elapsed_s < 60.0 {
                PLAIN_EVERY_S
            } else {
                PLAIN_LATER_S
            };
            self.next_plain = progress.elapsed_s + step - 0.5;
            self.output
                .talk(&plain_line(&self.plan, &self.state, progress));
        }
    }

    /// Takes the redrawn lines away: the summary says it better.
    pub(super) fn clear(&mut self) {
        if let Some(live) = self.live.take() {
            live.finish_and_clear();
        }
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The lines of a terminal: the run, its scenarios, its data.
fn live_lines(plan: &str, state: &str, progress: &Progress) -> Vec<String> {
    let mut head = format!(
        "{}  {state}  {}",
        format::shorten(plan, 32),
        clock(progress)
    );
    if progress.planned_s > 0.0 {
        head = format!("{head}  {}", bar(progress.elapsed_s / progress.planned_s));
    }
    let agents = if progress.agents_alive == progress.agents {
        format::plural(progress.agents.into(), "agent", "agents")
    } else {
        format!(
            "{} of {} agents alive",
            progress.agents_alive, progress.agents
        )
    };
    let mut lines = vec![format!("{head}  {agents}")];
    let width = progress
        .scenarios
        .iter()
        .take(SCENARIOS)
        .map(|one| one.scenario.chars().count().min(24))
        .max()
        .unwrap_or(4)
        .max(4);
    for one in progress.scenarios.iter().take(SCENARIOS) {
        lines.push(format!(
            "  {:width$}  {}",
            format::shorten(&clean(&one.scenario), 24),
            sessions(one)
        ));
    }
    if progress.scenarios.len() > SCENARIOS {
        lines.push(format!(
            "  and {} more scenarios",
            progress.scenarios.len() - SCENARIOS
        ));
    }
    if progress.rows > 0 || progress.streams_open > 0 {
        lines.push(format!("  {:width$}  {}", "data", data(progress)));
    }
    lines
}

/// One line for a log.
fn plain_line(plan: &str, state: &str, progress: &Progress) -> String {
    let mut parts: Vec<String> = progress
        .scenarios
        .iter()
        .take(SCENARIOS)
        .map(|one| {
            if progress.scenarios.len() == 1 {
                sessions(one)
            } else {
                format!("{}: {}", clean(&one.scenario), sessions(one))
            }
        })
        .collect();
    if progress.rows > 0 || progress.streams_open > 0 {
        parts.push(data(progress));
    }
    if progress.agents_alive != progress.agents {
        parts.push(format!(
            "{} of {} agents alive",
            progress.agents_alive, progress.agents
        ));
    }
    format!(
        "{plan}  {state}  {}  {}",
        clock(progress),
        parts.join(" | ")
    )
}

fn sessions(one: &ScenarioProgress) -> String {
    let planned = if one.planned > one.started {
        format!(" of {}", format::count(one.planned))
    } else {
        String::new()
    };
    format!(
        "{} active, {}{planned} started, {} passed, {} failed",
        format::count(one.active),
        format::count(one.started),
        format::count(one.passed),
        format::count(one.failed)
    )
}

fn data(progress: &Progress) -> String {
    format!(
        "{} open, {} rows checked, {} bad",
        format::plural(progress.streams_open, "stream", "streams"),
        format::count(progress.rows),
        format::count(progress.rows_bad)
    )
}

fn clock(progress: &Progress) -> String {
    let show = |seconds: f64| {
        let whole = Duration::try_from_secs_f64(seconds.max(0.0))
            .unwrap_or_default()
            .as_secs();
        format!("{}:{:02}", whole / 60, whole % 60)
    };
    if progress.planned_s > 0.0 {
        format!(
            "{} / {}",
            show(progress.elapsed_s),
            show(progress.planned_s)
        )
    } else {
        show(progress.elapsed_s)
    }
}

fn bar(share: f64) -> String {
    let share = if share.is_finite() {
        share.clamp(0.0, 1.0)
    } else {
        0.0
    };
    let mut text = String::new();
    for cell in 0..BAR {
        let reached = format::as_f64(cell as u64) < share * format::as_f64(BAR as u64);
        text.push(if reached { '━' } else { '─' });
    }
    format!("{text} {:>3.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::{live_lines, plain_line};
    use testmesh_proto::v1::{Progress, ScenarioProgress};

    fn progress() -> Progress {
        let scenario = |name: &str| ScenarioProgress {
            scenario: name.to_owned(),
            planned: 0,
            started: 1_234,
            active: 20,
            passed: 1_210,
            failed: 4,
        };
        Progress {
            elapsed_s: 42.4,
            planned_s: 60.0,
            scenarios: vec![scenario("live"), scenario("historic-playback")],
            streams_open: 60,
            rows: 123_456,
            rows_bad: 2,
            agents_alive: 2,
            agents: 3,
        }
    }

    #[test]
    fn a_terminal_shows_a_line_per_scenario() {
        let expect = [
            "live-view  running  0:42 / 1:00  ━━━━━━━━━━━━━━━━━───────  71 %  2 of 3 agents alive",
            "  live               20 active, 1,234 started, 1,210 passed, 4 failed",
            "  historic-playback  20 active, 1,234 started, 1,210 passed, 4 failed",
            "  data               60 streams open, 123,456 rows checked, 2 bad",
        ];
        assert_eq!(live_lines("live-view", "running", &progress()), expect);
    }

    #[test]
    fn a_log_shows_one_line() {
        let mut progress = progress();
        progress.scenarios.truncate(1);
        assert_eq!(
            plain_line("live-view", "running", &progress),
            "live-view  running  0:42 / 1:00  20 active, 1,234 started, 1,210 passed, 4 failed | \
             60 streams open, 123,456 rows checked, 2 bad | 2 of 3 agents alive"
        );
    }

    #[test]
    fn nonsense_from_the_wire_is_shown_and_harms_nobody() {
        let odd = Progress {
            elapsed_s: f64::NAN,
            planned_s: f64::INFINITY,
            ..Progress::default()
        };
        assert!(!live_lines("p", "running", &odd).is_empty());
        let odd = Progress {
            elapsed_s: -5.0,
            planned_s: 1e300,
            ..Progress::default()
        };
        assert!(plain_line("p", "running", &odd).contains("0:00"));
    }
}
