//! What the services say, in protobuf.
use crate::registry::AgentReport;
use crate::report::model::{EventKind, EventLine, Finding, Severity};
use crate::run::{Progress, RunOverview, Told};
use testmesh_proto::v1;
use testmesh_shared::clock::TimeAnchor;
use testmesh_shared::plan::Problem;
use testmesh_shared::wire::to_proto;

pub(super) fn overview(overview: RunOverview) -> v1::RunSummary {
    v1::RunSummary {
        run: overview.id.to_string(),
        plan: overview.plan,
        part: overview.part.as_ref().and_then(to_proto::narrowing),
        state: overview.state.as_str().to_owned(),
        submitted_ns: overview.submitted_ns,
        started_ns: overview.started_ns,
        ended_ns: overview.ended_ns,
        agents: overview.agents,
        verdict: overview
            .verdict
            .map(|verdict| verdict.as_str().to_owned())
            .unwrap_or_default(),
        exit_code: overview.exit_code,
        reasons: overview.reasons,
        progress: overview.progress.as_deref().map(progress),
    }
}

pub(super) fn told(told: &Told) -> v1::RunEvent {
    match told {
        Told::Event(line) => event(line),
        Told::Progress(number, at_ns, now) => v1::RunEvent {
            number: *number,
            at_ns: *at_ns,
            kind: Some(v1::run_event::Kind::Progress(progress(now))),
        },
    }
}

fn event(line: &EventLine) -> v1::RunEvent {
    use v1::run_event::Kind;
    let kind = match &line.kind {
        EventKind::State { state, reason } => Kind::State(v1::StateChanged {
            state: state.clone(),
            reason: reason.clone(),
        }),
        EventKind::Finding { finding: found } => Kind::Finding(finding(found)),
        EventKind::Agent {
            agent,
            site,
            status,
        } => Kind::Agent(v1::AgentChanged {
            agent: agent.clone(),
            site: site.clone(),
            status: status.clone(),
        }),
        EventKind::Ended {
            verdict,
            exit_code,
            reasons,
        } => Kind::Ended(v1::RunEnded {
            verdict: verdict.as_str().to_owned(),
            exit_code: *exit_code,
            reasons: reasons.clone(),
        }),
    };
    v1::RunEvent {
        number: line.number,
        at_ns: line.at_ns,
        kind: Some(kind),
    }
}

/// The last event of a run whose other events are only in its report.
pub(super) fn ended(overview: &RunOverview, number: u64) -> v1::RunEvent {
    let ended = v1::RunEnded {
        verdict: overview
            .verdict
            .map(|verdict| verdict.as_str().to_owned())
            .unwrap_or_default(),
        exit_code: overview.exit_code,
        reasons: overview.reasons.clone(),
    };
    v1::RunEvent {
        number,
        at_ns: overview.ended_ns,
        kind: Some(v1::run_event::Kind::Ended(ended)),
    }
}

fn progress(progress: &Progress) -> v1::Progress {
    let scenarios = progress.scenarios.iter().map(|one| v1::ScenarioProgress {
        scenario: one.scenario.clone(),
        planned: one.planned,
        started: one.started,
        active: one.active,
        passed: one.passed,
        failed: one.failed,
    });
    v1::Progress {
        elapsed_s: progress.elapsed,
        planned_s: progress.planned,
        scenarios: scenarios.collect(),
        streams_open: progress.streams_open,
        rows: progress.rows,
        rows_bad: progress.rows_bad,
        agents_alive: progress.agents_alive,
        agents: progress.agents,
    }
}

fn finding(finding: &Finding) -> v1::Finding {
    let severity = match finding.severity {
        Severity::Info => v1::Severity::Info,
        Severity::Warning => v1::Severity::Warning,
        Severity::Error => v1::Severity::Error,
    };
    let evidence = &finding.evidence;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a time of a run in nanoseconds"
    )]
    let at_ns = (evidence.at.unwrap_or_default() * 1e9) as i64;
    v1::Finding {
        severity: severity.into(),
        code: finding.code.clone(),
        message: finding.message.clone(),
        count: finding.count,
        evidence: Some(v1::Evidence {
            session: text(&evidence.session),
            trace_id: text(&evidence.trace_id),
            scenario: text(&evidence.scenario),
            stage: text(&evidence.stage),
            at_ns,
            detail: text(&evidence.detail),
            screenshot: Vec::new(),
        }),
    }
}

pub(super) fn agent(report: AgentReport, anchor: &TimeAnchor) -> v1::AgentSummary {
    v1::AgentSummary {
        agent: report.id.to_string(),
        site: report.site.to_string(),
        labels: report.labels.into_iter().collect(),
        version: report.version,
        status: report.liveness.as_str().to_owned(),
        runs: report.run.iter().map(ToString::to_string).collect(),
        cpu: report.vitals.cpu,
        memory: report.vitals.memory,
        clock_offset_ns: report.vitals.clock_offset_ns,
        clock_uncertainty_ns: report.vitals.clock_uncertainty_ns,
        connected_ns: anchor.unix_ns(report.joined),
    }
}

pub(super) fn problem(problem: &Problem) -> v1::Problem {
    v1::Problem {
        file: problem.file.clone(),
        line: problem.span.start.line,
        column: problem.span.start.column,
        code: problem.code.as_str().to_owned(),
        message: problem.message.clone(),
        hint: problem.hint.clone().unwrap_or_default(),
    }
}
