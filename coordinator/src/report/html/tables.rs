//! Everything of the report that is said in words and numbers: integrity, thresholds, findings, agents, sites, settings.
use crate::report::format::{self, NOTHING};
use crate::report::model::{
    Agent, Disagreement, Evidence, Finding, Integrity, Report, Sessions, Severity, Threshold,
    ThresholdOutcome,
};
use maud::{Markup, html};

/// Findings that are listed; `report.json` has all.
const FINDINGS: usize = 200;
/// Characters of a name in a table; its middle gives way, and the whole is shown under the pointer.
const NAME: usize = 40;
/// Agents that are listed.
const AGENTS: usize = 1_000;

/// The stacked bar of rows, the counters beside it, per stage, and who disagreed.
pub(super) fn integrity(report: &Report) -> Markup {
    let i = &report.integrity;
    if i.streams == 0 && i.rows == 0 {
        return html! { p.empty { "No stream was read in this run." } };
    }
    let parts = [
        ("verified", i.verified, "good", "equal to their truth"),
        (
            "unwitnessed",
            i.unwitnessed,
            "c3",
            "seen by one session only",
        ),
        (
            "unverified",
            i.unverified,
            "doubtful",
            "the truth could not be read",
        ),
        ("mismatched", i.mismatched, "bad", "differ from their truth"),
    ];
    let beside = [
        ("missing", i.missing),
        ("repeated", i.repeated),
        ("reordered", i.reordered),
        ("mismatched", i.mismatched),
    ];
    html! {
        div.split {
            div {
                div.stack role="img" aria-label="what became of the rows" {
                    @for (name, value, colour, _) in parts { @if value > 0 {
                        span.(colour) style=(format!("flex-grow:{}", value)) title=(format!("{name}: {}", format::count(value))) {}
                    } }
                    @if i.rows == 0 { span.none style="flex-grow:1" {} }
                }
                ul.parts { @for (name, value, colour, meaning) in parts {
                    li.(colour) { b { (format::count(value)) } " " (name) span.dim { " " (format::share(value, i.rows)) " · " (meaning) } }
                } }
                p.dim {
                    (format::count(i.rows)) " rows in " (format::plural(i.streams, "stream", "streams")) ", "
                    (format::bytes(format::as_f64(i.bytes))) "."
                }
            }
            div.tiles { @for (name, value) in beside {
                div.tile.bad[value > 0] { b { (format::count(value)) } span { (name) } }
            } }
        }
        (per_stage(report))
        (disagreements(i))
    }
}

/// The integrity counters of each stage that has some.
fn per_stage(report: &Report) -> Markup {
    let columns = [
        "verified",
        "unwitnessed",
        "unverified",
        "mismatched",
        "missing",
        "repeated",
        "reordered",
    ];
    let value = |column: &str, scenario: &str, stage: &str| {
        let name = format!("integrity_{column}");
        report.metrics.iter().find(|row| {
            let label = |key: &str| row.labels.get(key).map(String::as_str);
            row.name == name
                && !row.labels.contains_key("site")
                && label("scenario") == Some(scenario)
                && label("stage") == Some(stage)
        })
    };
    let stages: Vec<_> = report
        .stages
        .iter()
        .filter(|stage| stage.site.is_none())
        .filter(|stage| {
            columns
                .iter()
                .any(|column| value(column, &stage.scenario, &stage.stage).is_some())
        })
        .collect();
    html! {
        @if !stages.is_empty() {
            div.wide { table {
                thead { tr { th { "stage" } @for column in columns { th.number { (column) } } } }
                tbody { @for stage in stages { tr {
                    td.name title=(format!("{}/{}", stage.scenario, stage.stage)) { (stage_name(&stage.scenario, &stage.stage)) }
                    @for (index, column) in columns.iter().enumerate() {
                        @let count = value(column, &stage.scenario, &stage.stage).map(|row| row.count);
                        td.number.bad-text[index > 2 && count.unwrap_or(0) > 0] {
                            (count.map_or_else(|| NOTHING.to_owned(), format::count))
                        }
                    }
                } } }
            } }
        }
    }
}

/// A stage with its scenario, short enough for a column.
pub(super) fn stage_name(scenario: &str, stage: &str) -> Markup {
    html! { span.dim { (format::shorten(scenario, NAME / 2)) " / " } (format::shorten(stage, NAME)) }
}

/// Rows seen with different bytes that are shown before one asks for more.
const DISAGREEMENTS: usize = 8;

fn disagreements(i: &Integrity) -> Markup {
    html! {
        @if !i.disagreements.is_empty() {
            h3 { "Who saw what" }
            p.dim { "One block per row that sessions saw with different bytes. The majority's digest stands first." }
            @let (first, more) = i.disagreements.split_at(i.disagreements.len().min(DISAGREEMENTS));
            (disagreement_table(first))
            @if !more.is_empty() {
                details {
                    summary { (format::count(more.len() as u64)) " more" }
                    (disagreement_table(more))
                }
            }
        }
    }
}

fn disagreement_table(disagreements: &[Disagreement]) -> Markup {
    html! {
        div.wide { table {
            thead { tr { th { "group, key" } th { "digest" } th.number { "sessions" } th { "such as" } th { "agents" } th { "sites" } } }
            @for one in disagreements { (disagreement(one)) }
        } }
    }
}

fn disagreement(one: &Disagreement) -> Markup {
    html! {
        tbody { @for (index, seen) in one.digests.iter().enumerate() { tr {
            td.name { @if index == 0 { span.dim { (one.group) } " " b { (one.key) } } }
            td { @if seen.minority { span.bad-text { "✗ " } } @else { span.good-text { "✓ " } } code { (seen.digest) } }
            td.number { (format::count(seen.sessions)) }
            td.name { (seen.witness) }
            td.name { (format::shorten(&seen.agents.join(", "), 60)) }
            td.name { (format::shorten(&seen.sites.join(", "), 60)) }
        } } }
    }
}

/// Every threshold with what was observed.
pub(super) fn thresholds(report: &Report) -> Markup {
    html! {
        @if report.thresholds.is_empty() { p.empty { "The plan has no thresholds." } } @else {
            div.wide { table {
                thead { tr { th { "" } th { "threshold" } th.number { "observed" } th.number { "limit" } th { "" } } }
                tbody { @for threshold in &report.thresholds { (threshold_row(threshold)) } }
            } }
        }
    }
}

fn threshold_row(threshold: &Threshold) -> Markup {
    let (class, mark, word) = match threshold.outcome {
        ThresholdOutcome::Passed => ("good", "✓", "passed"),
        ThresholdOutcome::Failed => ("bad", "✗", "failed"),
        ThresholdOutcome::NoData => ("doubtful", "?", "no data"),
        ThresholdOutcome::NotReached => ("plain", "–", "not reached"),
    };
    let show = |value: Option<f64>| {
        value.map_or_else(
            || NOTHING.to_owned(),
            |value| format::value(value, threshold.unit),
        )
    };
    html! {
        tr {
            td { span class=(format!("chip {class}")) { (mark) " " (word) } }
            td.expression { code { (threshold.expr) } }
            td.number { b { (show(threshold.observed)) } }
            td.number { (show(threshold.limit)) }
            td { @for code in &threshold.tainted_by { span.chip.doubtful { "doubtful: " (code.as_str()) } " " } }
        }
    }
}

/// The ledger of sessions, per scenario and in total.
pub(super) fn ledger(report: &Report) -> Markup {
    let columns = [
        "planned",
        "started",
        "passed",
        "failed",
        "dropped",
        "unstarted",
        "interrupted",
        "lost",
        "at once",
    ];
    html! {
        div.wide { table {
            thead { tr { th { "scenario" } @for column in columns { th.number { (column) } } } }
            tbody { @for scenario in &report.scenarios {
                (ledger_row(&scenario.name, &scenario.sessions, Some(scenario.concurrency_max)))
            } }
            @if report.scenarios.len() > 1 { tfoot { (ledger_row("all", &report.sessions, None)) } }
        } }
        p.dim { "planned = started + dropped + unstarted; started = passed + failed + interrupted + lost. “At once” is proven concurrency." }
    }
}

fn ledger_row(name: &str, s: &Sessions, concurrency: Option<u64>) -> Markup {
    let cells = [
        s.planned,
        s.started,
        s.passed,
        s.failed,
        s.dropped,
        s.unstarted,
        s.interrupted,
        s.lost,
    ];
    html! {
        tr {
            td.name title=(name) { (format::shorten(name, NAME)) }
            @for (index, value) in cells.into_iter().enumerate() { td.number.bad-text[index > 2 && value > 0] { (format::count(value)) } }
            td.number { (concurrency.map_or_else(|| NOTHING.to_owned(), format::count)) }
        }
    }
}

/// Findings, the worst first, each with its evidence.
pub(super) fn findings(report: &Report) -> Markup {
    html! {
        @if report.findings.is_empty() { p.empty { "Nothing was found." } }
        @for (index, finding) in report.findings.iter().take(FINDINGS).enumerate() { (finding_block(finding, index < 2)) }
        @if report.findings.len() > FINDINGS { p.empty { (report.findings.len() - FINDINGS) " more are in report.json." } }
    }
}

fn finding_block(finding: &Finding, open: bool) -> Markup {
    let class = match finding.severity {
        Severity::Error => "bad",
        Severity::Warning => "doubtful",
        Severity::Info => "plain",
    };
    html! {
        details.finding.(class) open[open] {
            summary {
                span class=(format!("chip {class}")) { (finding.code) }
                span.times { "×" (format::count(finding.count)) }
                span.message { (finding.message) }
            }
            (evidence(&finding.evidence))
            @for more in &finding.more_evidence { (evidence(more)) }
        }
    }
}

fn evidence(evidence: &Evidence) -> Markup {
    let facts = [
        ("session", &evidence.session),
        ("scenario", &evidence.scenario),
        ("stage", &evidence.stage),
        ("agent", &evidence.agent),
        ("site", &evidence.site),
    ];
    html! {
        div.evidence {
            dl {
                @if let Some(at) = evidence.at { div { dt { "at" } dd { (format::seconds(at)) } } }
                @for (name, value) in facts { @if let Some(value) = value { div { dt { (name) } dd { (value) } } } }
                @if let Some(id) = &evidence.trace_id { div { dt { "trace" } dd { (trace(id)) } } }
            }
            @if let Some(file) = &evidence.screenshot { p { a href=(file) { "what the page showed" } } }
            @if let Some(detail) = &evidence.detail { pre { (detail) } }
        }
    }
}

/// A trace id that a click copies.
pub(super) fn trace(id: &str) -> Markup {
    html! { @if id.is_empty() { span.dim { "not traced" } } @else { code data-copy=(id) title="copy" { (id) } } }
}

/// Who measured, and where.
pub(super) fn agents(report: &Report) -> Markup {
    html! {
        @if let Some(skew) = report.start_skew {
            p { "The agents started within " b { (format::seconds(skew.value)) } " of each other (between "
                (format::seconds(skew.lo)) " and " (format::seconds(skew.hi)) ")." }
        }
        @if !report.sites.is_empty() {
            div.wide { table {
                thead { tr { th { "site" } th.number { "agents" } th.number { "connect p50" } th.number { "connect p95" } } }
                tbody { @for site in &report.sites { tr {
                    td.name title=(site.name) { (format::shorten(&site.name, NAME)) }
                    td.number { (format::count(site.agents)) }
                    td.number { (format::optional(site.connect.p50, format::seconds)) }
                    td.number { (format::optional(site.connect.p95, format::seconds)) }
                } } }
            } }
        }
        @if report.agents.is_empty() { p.empty { "No agent took part." } } @else {
            div.wide { table {
                thead { tr {
                    th { "agent" } th { "site" } th { "status" } th.number { "sessions" } th.number { "CPU, most" }
                    th.number { "memory, most" } th.number { "clock offset" }
                } }
                tbody { @for agent in report.agents.iter().take(AGENTS) { (agent_row(agent)) } }
            } }
            @if report.agents.len() > AGENTS { p.empty { (report.agents.len() - AGENTS) " more are in report.json." } }
        }
    }
}

fn agent_row(agent: &Agent) -> Markup {
    let class = match agent.status.as_str() {
        "drained" => "good",
        "lost" => "bad",
        _ => "doubtful",
    };
    html! {
        tr {
            td.name title=(agent.id) { (format::shorten(&agent.id, NAME)) }
            td.name title=(agent.site) { (format::shorten(&agent.site, NAME)) }
            td { span class=(format!("chip {class}")) { (agent.status) } }
            td.number { (format::count(agent.sessions)) }
            td.number { (format::percent(agent.cpu_max)) }
            td.number { (format::bytes(format::as_f64(agent.memory_max))) }
            td.number { (format::clock(agent.clock_offset, agent.clock_uncertainty)) }
        }
    }
}

/// What the run was given: vars, settings, phases, faults and the plan's text.
pub(super) fn given(report: &Report, plan_text: &str) -> Markup {
    let values = |map: &std::collections::BTreeMap<String, serde_json::Value>| -> Markup {
        html! { dl.settings { @for (key, value) in map { div { dt { (key) } dd { code { (value.to_string()) } } } } } }
    };
    html! {
        div.split.even {
            div { h3 { "Vars" } @if report.run.vars.is_empty() { p.empty { "none" } } (values(&report.run.vars)) }
            div { h3 { "Settings" } @if report.settings.is_empty() { p.empty { "none" } } (values(&report.settings)) }
        }
        @if !report.faults.is_empty() {
            h3 { "Faults" }
            div.wide { table {
                thead { tr { th { "fault" } th.number { "from" } th.number { "to" } th { "reverted by" } th.number { "recovery" } th { "outcome" } } }
                tbody { @for fault in &report.faults { tr {
                    td.name { (fault.name) }
                    td.number { (format::optional(fault.started_at, format::seconds)) }
                    td.number { (format::optional(fault.ended_at, format::seconds)) }
                    td.name { (fault.reverted_by.as_deref().unwrap_or(NOTHING)) }
                    td.number { (format::optional(fault.recovery, format::seconds)) }
                    td { (fault.outcome.replace('_', " ")) @for more in fault.problem.iter().chain(&fault.detail) { ": " (more) } }
                } } }
            } }
        }
        @if !plan_text.is_empty() { details.plan { summary { "The plan" } pre { (plan_text) } } }
    }
}
