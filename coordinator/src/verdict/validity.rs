//! Reasons that come from the measurement itself: whether it may be judged at all.
use super::input::{Input, Process};
use super::ledger;
use super::reason::ReasonCode;
use super::stall;
use crate::aggregate::{Selector, Span, to_f64};
use crate::limits;
use crate::report::model::Reason;
use crate::run::{Failure, StopMode};
use std::time::Duration;
use testmesh_shared::metric::{Histogram, MetricId};

fn reason(code: ReasonCode, message: String) -> Reason {
    Reason { code, message }
}

/// Why no session was started, if none was for a known reason.
pub fn failure(input: &Input<'_>) -> Option<Reason> {
    Some(match input.ending.failure.as_ref()? {
        Failure::NotEnoughAgents(why) => reason(ReasonCode::NotEnoughAgents, why.clone()),
        Failure::PlanRefused(why, _) => reason(ReasonCode::PlanRefused, why.clone()),
        Failure::StartFailed(why) => reason(ReasonCode::StartFailed, why.clone()),
        Failure::SetupFailed(why) => {
            reason(ReasonCode::SetupFailed, format!("setup failed: {why}"))
        }
    })
}

/// Reasons that hold whatever the thresholds say.
pub fn reasons(input: &Input<'_>) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = failure(input).into_iter().collect();
    reasons.extend(lost_agents(input));
    reasons.extend(faults_failed(input));
    reasons.extend(overran(input));
    reasons.extend(missing_measurements(input));
    reasons.extend(dropped(input));
    let imbalances = input
        .ledger
        .iter()
        .filter_map(|entry| entry.imbalance.clone());
    reasons.extend(imbalances.map(|message| reason(ReasonCode::LedgerUnbalanced, message)));
    reasons.extend(super::integrity::unproven(input));
    reasons.extend(input.ending.stopped.map(stopped));
    let total = ledger::sum(input.ledger);
    if reasons.is_empty() && total.started == 0 {
        reasons.push(reason(
            ReasonCode::NothingStarted,
            "not one session was started".into(),
        ));
    }
    // A run that saw no session's end has proven nothing, not even that sessions end; but one that a threshold ended has.
    if reasons.is_empty()
        && input.aborted.is_none()
        && total.started > 0
        && total.passed == 0
        && total.failed == 0
    {
        let message = format!(
            "{} sessions were started, and not one of them passed or failed",
            total.started
        );
        reasons.push(reason(ReasonCode::NothingEnded, message));
    }
    reasons
}

fn stopped(mode: StopMode) -> Reason {
    let how = match mode {
        StopMode::Drain => "sessions in flight were let finish",
        StopMode::Abort => "sessions in flight were cut",
    };
    reason(
        ReasonCode::Stopped,
        format!("a user stopped the run; {how}"),
    )
}

fn name(input: &Input<'_>, agent: usize) -> String {
    input
        .agents
        .get(agent)
        .cloned()
        .unwrap_or_else(|| format!("#{agent}"))
}

fn lost_agents(input: &Input<'_>) -> Option<Reason> {
    let lost = &input.ending.lost;
    let tolerated = usize::try_from(input.rules.agents_lost).unwrap_or(usize::MAX);
    // An agent lost before the start has its own reason already: the run could not start.
    let started = !matches!(input.ending.failure, Some(Failure::StartFailed(_)));
    (started && lost.len() > tolerated).then(|| {
        let named: Vec<_> = lost.iter().map(|(agent, why)| format!("{} ({why})", name(input, *agent))).collect();
        let sessions = ledger::sum(input.ledger).lost;
        let message = format!(
            "{} of {} agents were lost, with {sessions} sessions in flight; at most {tolerated} may be: {}",
            lost.len(),
            input.agents.len(),
            named.join(", ")
        );
        reason(ReasonCode::AgentLost, message)
    })
}

fn overran(input: &Input<'_>) -> Option<Reason> {
    let overran = &input.ending.overran;
    (!overran.is_empty()).then(|| {
        let named: Vec<_> = overran.iter().map(|agent| name(input, *agent)).collect();
        reason(
            ReasonCode::RunOverran,
            format!(
                "still at work when the run had to end: {}",
                named.join(", ")
            ),
        )
    })
}

fn faults_failed(input: &Input<'_>) -> Option<Reason> {
    let failed = input.faults_failed;
    let told = failed
        .iter()
        .map(|fault| format!("fault `{}`: {}", fault.name, fault.why));
    let told: Vec<_> = told.collect();
    (!failed.is_empty()).then(|| reason(ReasonCode::FaultFailed, told.join("; ")))
}

fn missing_measurements(input: &Input<'_>) -> Option<Reason> {
    let missing: Vec<_> = input
        .missing_batches
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(agent, count)| format!("{count} of {agent}"))
        .collect();
    (!missing.is_empty()).then(|| {
        reason(
            ReasonCode::MeasurementsMissing,
            format!("batches never arrived: {}", missing.join(", ")),
        )
    })
}

fn dropped(input: &Input<'_>) -> Option<Reason> {
    let total = ledger::sum(input.ledger);
    let share = to_f64(total.dropped) / to_f64(total.planned.max(1));
    (share > input.rules.dropped_sessions).then(|| {
        let message = format!(
            "{} of {} planned sessions were dropped ({:.1} %), and at most {:.1} % may be",
            total.dropped,
            total.planned,
            share * 100.0,
            input.rules.dropped_sessions * 100.0
        );
        reason(ReasonCode::SessionsDropped, message)
    })
}

/// Whether the agents were too slow or too busy, and how. It matters only if a threshold depends on pace.
pub fn saturated(input: &Input<'_>) -> Option<Reason> {
    let mut signs = Vec::new();
    for scenario in &input.rules.open_scenarios {
        let lag = input.totals.trend(
            MetricId::ScheduleLag,
            &Selector::all().with("scenario", scenario),
            Span::JUDGED,
        );
        let limit = input.rules.schedule_lag_p99;
        if let Some(p99) = p99(&lag).filter(|p99| *p99 > limit) {
            signs.push(format!(
                "sessions of {scenario} started {p99:.1?} late (p99, limit {limit:?})"
            ));
        }
    }
    let limit = stall::lag_limit(input);
    for agent in input.agents {
        let selector = Selector::all().with("agent", agent);
        let lag = input
            .totals
            .trend(MetricId::AgentLoopLag, &selector, Span::JUDGED);
        if let Some(p99) = p99(&lag).filter(|p99| *p99 > limit) {
            signs.push(format!(
                "the loop of agent {agent} ran {p99:.1?} late (p99, limit {limit:?})"
            ));
        }
        let cpu = input
            .totals
            .extremes(MetricId::AgentCpu, &selector, Span::JUDGED);
        let busy =
            cpu.filter(|cpu| input.process == Process::Apart && cpu.mean() > input.rules.agent_cpu);
        if let Some(cpu) = busy {
            let (mean, limit) = (cpu.mean() * 100.0, input.rules.agent_cpu * 100.0);
            signs.push(format!(
                "agent {agent} used {mean:.0} % of its CPU (limit {limit:.0} %)"
            ));
        }
    }
    (!signs.is_empty()).then(|| reason(ReasonCode::GeneratorSaturated, signs.join("; ")))
}

/// Whether the clocks of the agents are too uncertain for their seconds to be laid on each other. It matters only if a
/// threshold depends on which second something belongs to, and with one agent there is nothing to lay on it.
pub fn clocks(input: &Input<'_>) -> Option<Reason> {
    if input.process == Process::Shared || input.clocks.len() < 2 {
        return None;
    }
    let clocks = input.clocks.iter().enumerate();
    let known = clocks.filter_map(|(agent, uncertainty)| Some((agent, (*uncertainty)?)));
    let (agent, worst) = known.max_by_key(|(_, uncertainty)| *uncertainty)?;
    let limit = limits::CLOCK_UNCERTAINTY_MAX;
    (worst > limit).then(|| {
        let message = format!(
            "the clock of agent {} is uncertain by {worst:.1?} (limit {limit:?}), so the seconds of agents cannot be compared",
            name(input, agent)
        );
        reason(ReasonCode::ClockUncertain, message)
    })
}

fn p99(trend: &Histogram) -> Option<Duration> {
    trend.percentile(99.0).map(Duration::from_nanos)
}
