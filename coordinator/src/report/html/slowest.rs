//! The slowest sessions: one bar each, divided into stages, all on one scale.
use super::over_time::PALETTE;
use super::tables::trace;
use crate::report::format;
use crate::report::model::{Report, SlowSession};
use maud::{Markup, html};

/// Sessions that are drawn.
const SESSIONS: usize = 20;
/// Stages of one session that are drawn; the others share one grey piece.
const STAGES: usize = 60;

/// The bars with their legend.
pub(super) fn render(report: &Report) -> Markup {
    let sessions: Vec<_> = report.slowest.iter().take(SESSIONS).collect();
    let longest = sessions
        .iter()
        .map(|session| session.duration)
        .fold(0.0, f64::max);
    let mut stages: Vec<&str> = Vec::new();
    for stage in sessions.iter().flat_map(|session| &session.stages) {
        if !stages.contains(&stage.stage.as_str()) {
            stages.push(&stage.stage);
        }
    }
    html! {
        @if sessions.is_empty() { p.empty { "No session ended." } } @else {
            ul.legend.free {
                @for (stage, colour) in stages.iter().zip(PALETTE) { li class=(colour) { (stage) } }
                @if stages.len() > PALETTE.len() { li.other { "other stages" } }
            }
            div.wide { table.slowest {
                thead { tr { th { "session" } th { "where" } th.number { "took" } th.stretch { "stages, in the order they ended" } th { "trace" } } }
                tbody { @for session in sessions {
                    tr {
                        td.name { (session.session) }
                        td.name title=(format!("{} at {}", session.agent, session.site)) { (format::shorten(&session.agent, 24)) span.dim { " at " (format::shorten(&session.site, 16)) } }
                        td.number { (format::seconds(session.duration)) }
                        td.stretch { (bar(session, longest, &stages)) }
                        td { (trace(&session.trace_id)) }
                    }
                } }
            } }
        }
    }
}

/// Pieces grow with the time of their stage. Stages of parallel branches overlap in time, so pieces are shares of their
/// sum where that is longer than the session.
fn bar(session: &SlowSession, longest: f64, stages: &[&str]) -> Markup {
    let width = if longest > 0.0 {
        session.duration / longest * 100.0
    } else {
        0.0
    };
    let named: f64 = session
        .stages
        .iter()
        .take(STAGES)
        .map(|stage| stage.duration.max(0.0))
        .sum();
    let beyond: f64 = session
        .stages
        .iter()
        .skip(STAGES)
        .map(|stage| stage.duration.max(0.0))
        .sum();
    let rest = (session.duration - named - beyond).max(0.0);
    html! {
        div.pieces style=(format!("width:{width:.2}%")) {
            @for stage in session.stages.iter().take(STAGES) {
                @let colour = stages.iter().position(|name| *name == stage.stage).and_then(|at| PALETTE.get(at)).copied().unwrap_or("other");
                @let failed = stage.outcome != "passed";
                span.piece.(colour).failed[failed] style=(format!("flex-grow:{:.6}", stage.duration.max(0.0)))
                    title=(format!("{}: {} ({})", stage.stage, format::seconds(stage.duration), stage.outcome)) {}
            }
            @if beyond > 0.0 { span.piece.other style=(format!("flex-grow:{beyond:.6}")) title="further stages" {} }
            @if rest > 0.0 { span.piece.none style=(format!("flex-grow:{rest:.6}")) title=(format!("between stages: {}", format::seconds(rest))) {} }
        }
    }
}
