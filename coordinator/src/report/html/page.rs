//! The page: head, verdict, and the order of its sections.
use super::{over_time, slowest, stages, tables};
use crate::report::format;
use crate::report::model::{Extras, Report};
use crate::verdict::VerdictKind;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// The page may run what is in it and load nothing: reports are opened on machines that hold secrets.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";
/// Reasons that are shown without a click.
const REASONS: usize = 6;

/// Renders the page.
pub fn render(report: &Report, extras: &Extras) -> String {
    let (class, mark) = match report.verdict {
        VerdictKind::Passed => ("good", "✓"),
        VerdictKind::Failed => ("bad", "✗"),
        VerdictKind::Inconclusive => ("doubtful", "?"),
    };
    let sections: [(&str, &str, Markup); 9] = [
        ("integrity", "Integrity", tables::integrity(report)),
        ("thresholds", "Thresholds", tables::thresholds(report)),
        ("load", "Load over time", over_time::load(report)),
        ("sessions", "Sessions", tables::ledger(report)),
        (
            "latency",
            "Latency",
            html! { (stages::table(report)) h3 { "Over time" } (over_time::latency(report)) h3 { "Distribution" } (stages::shapes(report, extras)) },
        ),
        ("findings", "Findings", tables::findings(report)),
        ("slowest", "Slowest sessions", slowest::render(report)),
        ("agents", "Agents and sites", tables::agents(report)),
        ("given", "Given", tables::given(report, &extras.plan_text)),
    ];
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="generator" content=(format!("testmesh {}", report.tool.version));
                title { (report.verdict.as_str()) ": " (report.run.plan) }
                style { (PreEscaped(STYLE)) }
            }
            body class=(class) {
                nav {
                    a.brand href="#top" { span.mark { (mark) } " " (report.run.plan) }
                    div.links { @for (id, title, _) in &sections {
                        a href=(format!("#{id}")) {
                            (title)
                            @if *id == "findings" && !report.findings.is_empty() { span.badge { (report.findings.len()) } }
                        }
                    } }
                    button #theme type="button" title="light or dark" aria-label="light or dark" { "◐" }
                }
                main #top {
                    (verdict(report, mark))
                    (tiles(report))
                    @for (id, title, content) in &sections { section #(id) { h2 { (title) } (content) } }
                }
                footer {
                    "testmesh " (report.tool.version) " · protocol " (report.tool.protocol) " · plan digest " code { (report.run.plan_digest) }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn verdict(report: &Report, mark: &str) -> Markup {
    html! {
        header.verdict {
            div.answer { span.mark { (mark) } h1 { (report.verdict.as_str()) } span.code { "exit code " (report.exit_code) } }
            p.facts {
                b { (report.run.plan) }
                @if let Some(part) = &report.run.part { b.part { (part) } }
                span { "run " code { (report.run.id) } }
                @if let Some(at) = &report.run.started_at { span { "started " time datetime=(at) { (at) } } }
                span { "took " (format::seconds(report.run.duration)) }
                span { "seed " code { (report.run.seed) } }
            }
            @if report.reasons.is_empty() {
                p.why { "Every row was accounted for, every threshold holds, and the measurement can be trusted." }
            } @else {
                ul.reasons { @for reason in report.reasons.iter().take(REASONS) {
                    li { code { (reason.code.as_str()) } " " (reason.message) }
                } }
                @if report.reasons.len() > REASONS {
                    details {
                        summary { (report.reasons.len() - REASONS) " more reasons" }
                        ul.reasons { @for reason in report.reasons.iter().skip(REASONS) {
                            li { code { (reason.code.as_str()) } " " (reason.message) }
                        } }
                    }
                }
            }
        }
    }
}

/// The few numbers that a reader wants first.
fn tiles(report: &Report) -> Markup {
    let (s, i) = (&report.sessions, &report.integrity);
    let bad = i.missing + i.repeated + i.reordered + i.mismatched;
    let concurrency = report
        .scenarios
        .iter()
        .map(|scenario| scenario.concurrency_max)
        .max()
        .unwrap_or(0);
    let lost = report
        .agents
        .iter()
        .filter(|agent| agent.status == "lost")
        .count();
    let tile = |class: &str, number: String, what: &str, note: String| {
        html! { div class=(format!("tile {class}")) { b { (number) } span { (what) } small { (note) } } }
    };
    let agents = u64::try_from(report.agents.len()).unwrap_or(u64::MAX);
    html! {
        div.tiles.first {
            (tile(if s.failed > 0 { "bad" } else { "" }, format::count(s.passed), "sessions passed",
                format!("{} failed of {} started", format::count(s.failed), format::count(s.started))))
            (tile("", format::count(concurrency), "at once", "proven concurrency".to_owned()))
            (tile("", format::share(i.verified, i.rows), "of rows verified", format!("{} rows", format::count(i.rows))))
            (tile(if bad > 0 { "bad" } else { "" }, format::count(bad), "bad rows",
                "missing, repeated, reordered, mismatched".to_owned()))
            (tile("", format::count(i.streams), "streams", format::bytes(format::as_f64(i.bytes))))
            (tile(if lost > 0 { "doubtful" } else { "" }, format::count(agents), if agents == 1 { "agent" } else { "agents" },
                if lost > 0 { format!("{lost} lost") } else { format::plural(u64::try_from(report.sites.len()).unwrap_or(0), "site", "sites") }))
        }
    }
}
