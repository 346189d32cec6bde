//! The end of a run: settle, judge, tell it as a report, render, store, and only then say that it is over.
use super::driver::Driver;
use super::event::{Ending, Lifecycle};
use super::fit::fit;
use super::result::{self, Facts};
use crate::aggregate::Aggregator;
use crate::limits;
use crate::report::model::{EventKind, EventLine, Extras, Report};
use crate::run::RunOverview;
use crate::store::{RunStore, StoredRun};
use crate::telemetry;
use crate::verdict::{Process, VerdictKind};
use std::fmt;
use std::sync::Arc;
use testmesh_shared::error::Chain;
use testmesh_shared::exit_code::ExitCode;
use tokio::time::Instant;

/// Renders a report's files: name and content of each.
pub type Renderer = fn(&Report, &Extras) -> Vec<(String, Vec<u8>)>;

/// What sealing needs.
#[derive(Clone)]
pub struct Sealing {
    /// Where sealed runs go.
    pub store: Arc<dyn RunStore>,
    /// How they are rendered.
    pub render: Renderer,
    /// Whether agents and coordinator share one process.
    pub process: Process,
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealing")
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

impl Driver {
    /// Judges, renders and stores the run, and tells its watchers.
    pub(super) async fn seal(mut self, ending: Ending) {
        let now = Instant::now();
        let duration = match (self.started, self.ended) {
            (Some(started), Some(ended)) => ended.saturating_duration_since(started),
            _ => std::time::Duration::ZERO,
        };
        if self.roster.is_none() {
            // The ledger has the plan's scenarios even if nobody ran them.
            self.aggregator.begin(&[], &self.submission.planned(0));
        }
        let (faults, faults_failed) = self.finish_faults(&ending);
        let sessions = self.aggregator.started_by_agent();
        let facts = Facts {
            submission: self.submission.clone(),
            started_ns: self
                .started
                .map(|started| self.surroundings.anchor.unix_ns(started)),
            duration,
            ending,
            agents: self
                .roster
                .as_ref()
                .map(|roster| roster.report(&sessions))
                .unwrap_or_default(),
            runtimes: self
                .roster
                .iter()
                .flat_map(|roster| &roster.entries)
                .map(|entry| entry.runtimes)
                .collect(),
            start_skew: self
                .roster
                .as_ref()
                .and_then(super::roster::Roster::start_skew),
            process: self.surroundings.sealing.process,
            aborted: self.aborted.take(),
            faults,
            faults_failed,
        };
        let (lines, at_ns) = (self.log.lines(), self.now_ns());
        let render = self.surroundings.sealing.render;
        let aggregator = std::mem::replace(
            &mut self.aggregator,
            Aggregator::new(crate::phase::Phases::default()),
        );
        // Seconds of work for a large run, so not on a thread that others need.
        let work = move || complete(aggregator, facts, lines, at_ns, render);
        match self.surroundings.tasks.spawn_blocking("seal", work).await {
            Ok((report, files)) => self.store_and_tell(now, report, files).await,
            // Whoever watches must not wait for ever.
            Err(_) => {
                let why = "the report could not be made, which is a defect of testmesh".to_owned();
                let code = i32::from(ExitCode::Unexpected.code());
                self.tell_end(VerdictKind::Inconclusive, code, vec![why]);
            }
        }
    }

    async fn store_and_tell(self, now: Instant, report: Report, files: Vec<(String, Vec<u8>)>) {
        let (verdict, exit_code) = (report.verdict, report.exit_code);
        let reasons: Vec<_> = report
            .reasons
            .iter()
            .map(|reason| format!("{}: {}", reason.code, reason.message))
            .collect();
        let overview = RunOverview {
            state: Lifecycle::Sealed,
            ended_ns: self.surroundings.anchor.unix_ns(now),
            verdict: Some(verdict),
            exit_code,
            reasons: reasons.clone(),
            progress: self.log.latest_progress(),
            ..self.overview.borrow().clone()
        };
        let stored = StoredRun {
            overview: overview.clone(),
            report: Arc::new(report),
            files: Arc::new(files),
        };
        if let Err(error) = self.surroundings.sealing.store.put(stored).await {
            tracing::error!(run = %self.submission.id, error = %Chain(&error), "a sealed run is not stored");
        }
        telemetry::sealed(&self.span, self.submission.id.as_str(), verdict, exit_code);
        self.overview.send_replace(overview);
        self.tell_end(verdict, exit_code, reasons);
    }

    /// Whoever hears of the end may ask for the report at once, so this comes last.
    fn tell_end(&self, verdict: VerdictKind, exit_code: i32, reasons: Vec<String>) {
        self.announce(Lifecycle::Sealed, "");
        self.log.push(
            self.now_ns(),
            EventKind::Ended {
                verdict,
                exit_code,
                reasons,
            },
        );
    }
}

fn complete(
    mut aggregator: Aggregator,
    facts: Facts,
    mut lines: Vec<EventLine>,
    at_ns: i64,
    render: Renderer,
) -> (Report, Vec<(String, Vec<u8>)>) {
    aggregator.finish();
    let screenshots = aggregator.take_screenshots();
    let plan_text = facts.submission.plan.source.to_string();
    let (mut report, rollup) = result::report(&aggregator, facts);
    // What will be told once the report is stored.
    let next = lines.last().map_or(1, |line| line.number + 1);
    lines.push(EventLine {
        number: next,
        at_ns,
        kind: EventKind::State {
            state: Lifecycle::Sealed.as_str().to_owned(),
            reason: String::new(),
        },
    });
    lines.push(ended_line(&report, next + 1, at_ns));
    let extras = Extras {
        distributions: rollup.distributions,
        events: lines,
        windows: rollup.windows,
        plan_text,
        screenshots,
    };
    let files = fit(&mut report, &extras, render, limits::MAX_REPORT_BYTES);
    (report, files)
}

fn ended_line(report: &Report, number: u64, at_ns: i64) -> EventLine {
    let verdict: VerdictKind = report.verdict;
    let reasons = report
        .reasons
        .iter()
        .map(|reason| format!("{}: {}", reason.code, reason.message))
        .collect();
    EventLine {
        number,
        at_ns,
        kind: EventKind::Ended {
            verdict,
            exit_code: report.exit_code,
            reasons,
        },
    }
}
