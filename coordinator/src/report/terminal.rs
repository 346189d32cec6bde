//! The summary that a run prints: integrity first, then thresholds, latency and findings, then the verdict as the one
//! last line.
//!
//! Text that came from outside (names, bodies, messages) is cleaned of control characters before it reaches a terminal.
use super::format::{self, NOTHING};
use super::model::{
    Fault, Finding, Integrity, Report, Sessions, Severity, Stage, Threshold, ThresholdOutcome,
};
use super::table::{Align, Table};
use crate::verdict::VerdictKind;
use std::fmt::Write as _;
use std::path::Path;

/// Findings that the summary shows; the files have all.
const FINDINGS: usize = 6;
/// Disagreements that the summary shows.
const DISAGREEMENTS: usize = 3;
/// Reasons that fit the verdict line.
const REASONS: usize = 3;

/// How the summary may look. Colour is never the only signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Text alone.
    Plain,
    /// With ANSI colours.
    Colour,
}

/// The few meanings that have a colour.
#[derive(Clone, Copy)]
enum Tone {
    Good,
    Bad,
    Doubtful,
    Dim,
    Bold,
}

impl Style {
    fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Doubtful => "33",
            Tone::Dim => "2",
            Tone::Bold => "1",
        };
        match self {
            Self::Plain => text.to_owned(),
            Self::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

/// Renders the summary. `directory` is where the files of the report are, if they were written. The last line is the
/// verdict.
pub fn render(report: &Report, directory: Option<&Path>, style: Style) -> String {
    let mut out = String::new();
    for section in [
        head(report, style),
        integrity(report, style),
        thresholds(&report.thresholds, style),
        latency(&report.stages, style),
        faults(&report.faults, style),
        findings(&report.findings, style),
    ] {
        if !section.is_empty() {
            out.push_str(&section);
            out.push('\n');
        }
    }
    if let Some(directory) = directory {
        line(
            &mut out,
            &format!("report: {}", directory.join("report.html").display()),
        );
        let others = "        report.json, junit.xml, events.jsonl and windows.bin lie beside it";
        line(&mut out, &style.paint(Tone::Dim, others));
        out.push('\n');
    }
    line(&mut out, &verdict_line(report, style));
    out
}

/// The verdict with its exit code and its reasons, on one line: what a run prints last.
pub fn verdict_line(report: &Report, style: Style) -> String {
    let tone = match report.verdict {
        VerdictKind::Passed => Tone::Good,
        VerdictKind::Failed => Tone::Bad,
        VerdictKind::Inconclusive => Tone::Doubtful,
    };
    let mut text = style.paint(tone, report.verdict.as_str());
    let _ = write!(text, " (exit code {})", report.exit_code);
    for (index, reason) in report.reasons.iter().take(REASONS).enumerate() {
        let separator = if index == 0 { ": " } else { "; " };
        let _ = write!(
            text,
            "{separator}{}: {}",
            reason.code,
            clean(&reason.message)
        );
    }
    if report.reasons.len() > REASONS {
        let _ = write!(text, "; and {} more", report.reasons.len() - REASONS);
    }
    text
}

/// `text` on one line, without control characters.
pub fn clean(text: &str) -> String {
    text.split_whitespace()
        .map(|word| word.chars().filter(|c| !c.is_control()).collect::<String>())
        .collect::<Vec<_>>()
        .join(" ")
}

fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}

fn heading(out: &mut String, text: &str, style: Style) {
    line(out, &style.paint(Tone::Bold, text));
}

fn head(report: &Report, style: Style) -> String {
    let agents = format::plural(as_count(report.agents.len()), "agent", "agents");
    let sites: Vec<_> = report.sites.iter().map(|site| clean(&site.name)).collect();
    let at = if sites.is_empty() {
        String::new()
    } else {
        format!(" at {}", format::shorten(&sites.join(", "), 60))
    };
    let mut out = String::new();
    line(
        &mut out,
        &format!(
            "{}  {}",
            style.paint(Tone::Bold, &named(report)),
            style.paint(
                Tone::Dim,
                &format!(
                    "run {} · {} · {agents}{at} · seed {}",
                    report.run.id,
                    format::seconds(report.run.duration),
                    report.run.seed
                )
            )
        ),
    );
    out
}

/// The plan, and which part of it.
fn named(report: &Report) -> String {
    let plan = clean(&report.run.plan);
    match &report.run.part {
        None => plan,
        Some(part) => format!("{plan} ({})", clean(&part.to_string())),
    }
}

/// A counter that should be zero: what is not stands out, by a mark as well as by its colour.
fn wrong(label: &str, value: u64, tone: Tone, style: Style) -> String {
    let text = format!("{label} {}", format::count(value));
    if value == 0 {
        text
    } else {
        style.paint(tone, &format!("✗ {text}"))
    }
}

fn integrity(report: &Report, style: Style) -> String {
    let mut out = String::new();
    heading(&mut out, "integrity", style);
    let i = &report.integrity;
    rows(&mut out, i, style);
    ledger(&mut out, &report.sessions, style);
    let lost = report
        .agents
        .iter()
        .filter(|agent| agent.status == "lost")
        .count();
    let mut agents = vec![format::plural(
        as_count(report.agents.len()),
        "agent",
        "agents",
    )];
    agents.push(wrong("lost", as_count(lost), Tone::Doubtful, style));
    if let Some(skew) = report.start_skew {
        agents.push(format!(
            "started within {} ({} to {})",
            format::seconds(skew.value),
            format::seconds(skew.lo),
            format::seconds(skew.hi)
        ));
    }
    let lag = report
        .metrics
        .iter()
        .filter(|row| row.name == "schedule_lag" && !row.labels.contains_key("site"));
    let lag = lag
        .filter_map(|row| row.percentiles.p99)
        .fold(None, |most: Option<f64>, p99| {
            Some(most.map_or(p99, |most| most.max(p99)))
        });
    if let Some(lag) = lag {
        agents.push(format!("schedule lag p99 {}", format::seconds(lag)));
    }
    line(&mut out, &format!("  mesh      {}", agents.join(" · ")));
    for disagreement in i.disagreements.iter().take(DISAGREEMENTS) {
        line(
            &mut out,
            &format!(
                "  key {} of group {}:",
                clean(&disagreement.key),
                clean(&disagreement.group)
            ),
        );
        for seen in &disagreement.digests {
            let mark = if seen.minority { "✗" } else { " " };
            line(
                &mut out,
                &format!(
                    "    {mark} {} seen by {} (such as {}) at {}",
                    seen.digest,
                    format::plural(seen.sessions, "session", "sessions"),
                    clean(&seen.witness),
                    clean(&seen.sites.join(", "))
                ),
            );
        }
    }
    out
}

fn rows(out: &mut String, i: &Integrity, style: Style) {
    if i.streams == 0 && i.rows == 0 {
        line(out, "  rows      no stream was read");
        return;
    }
    line(
        out,
        &format!(
            "  rows      {} in {} ({}): verified {} ({}) · unwitnessed {} ({}) · {}",
            format::count(i.rows),
            format::plural(i.streams, "stream", "streams"),
            format::bytes(format::as_f64(i.bytes)),
            format::count(i.verified),
            format::share(i.verified, i.rows),
            format::count(i.unwitnessed),
            format::share(i.unwitnessed, i.rows),
            wrong("unverified", i.unverified, Tone::Doubtful, style),
        ),
    );
    let bad = [
        ("missing", i.missing),
        ("repeated", i.repeated),
        ("reordered", i.reordered),
        ("mismatched", i.mismatched),
    ];
    let bad: Vec<_> = bad
        .iter()
        .map(|(label, value)| wrong(label, *value, Tone::Bad, style))
        .collect();
    line(out, &format!("            {}", bad.join(" · ")));
}

fn ledger(out: &mut String, s: &Sessions, style: Style) {
    line(
        out,
        &format!(
            "  sessions  planned {} = started {} + {} + {}",
            format::count(s.planned),
            format::count(s.started),
            wrong("dropped", s.dropped, Tone::Doubtful, style),
            wrong("unstarted", s.unstarted, Tone::Doubtful, style),
        ),
    );
    line(
        out,
        &format!(
            "            started {} = passed {} + {} + {} + {}",
            format::count(s.started),
            format::count(s.passed),
            wrong("failed", s.failed, Tone::Bad, style),
            wrong("interrupted", s.interrupted, Tone::Doubtful, style),
            wrong("lost", s.lost, Tone::Doubtful, style),
        ),
    );
}

fn thresholds(thresholds: &[Threshold], style: Style) -> String {
    let mut out = String::new();
    if thresholds.is_empty() {
        return out;
    }
    heading(&mut out, "thresholds", style);
    let mut table = Table::new(&[
        ("", Align::Left),
        ("", Align::Left),
        ("observed", Align::Right),
        ("limit", Align::Right),
    ]);
    for threshold in thresholds {
        let (tone, mark, word) = match threshold.outcome {
            ThresholdOutcome::Passed => (Tone::Good, "✓", ""),
            ThresholdOutcome::Failed => (Tone::Bad, "✗", ""),
            ThresholdOutcome::NoData => (Tone::Doubtful, "?", "  no data"),
            ThresholdOutcome::NotReached => (Tone::Dim, "-", "  not reached"),
        };
        let show = |value: Option<f64>| {
            value.map_or_else(
                || NOTHING.to_owned(),
                |value| format::value(value, threshold.unit),
            )
        };
        let taint: Vec<_> = threshold
            .tainted_by
            .iter()
            .map(|code| code.as_str())
            .collect();
        let taint = if taint.is_empty() {
            String::new()
        } else {
            format!("  doubtful: {}", taint.join(", "))
        };
        table.row(vec![
            mark.to_owned(),
            format::shorten(&clean(&threshold.expr), 72),
            show(threshold.observed),
            show(threshold.limit),
        ]);
        table.paint_last(move |text| format!("{}{word}{taint}", style.paint(tone, text)));
    }
    out.push_str(&table.render(2));
    out
}

fn latency(stages: &[Stage], style: Style) -> String {
    let mut out = String::new();
    let merged: Vec<_> = stages.iter().filter(|stage| stage.site.is_none()).collect();
    if merged.is_empty() {
        return out;
    }
    heading(&mut out, "latency", style);
    let columns = ["runs", "failed", "p50", "p95", "p99", "max"];
    let mut table = Table::new(&[("stage", Align::Left)]);
    for column in columns {
        table.column(column, Align::Right);
    }
    for stage in merged {
        let failed: u64 = stage.errors.values().sum();
        let name = format!("{}/{}", clean(&stage.scenario), clean(&stage.stage));
        let duration = stage.duration;
        let times = [duration.p50, duration.p95, duration.p99, duration.max];
        let mut row = vec![
            format::shorten(&name, 44),
            format::count(stage.runs),
            format::count(failed),
        ];
        row.extend(
            times
                .iter()
                .map(|time| format::optional(*time, format::seconds)),
        );
        table.row(row);
        if failed > 0 {
            let kinds: Vec<_> = stage
                .errors
                .iter()
                .map(|(kind, count)| format!("{kind} {}", format::count(*count)))
                .collect();
            table.paint_last(move |text| {
                format!(
                    "{text}  {}",
                    style.paint(Tone::Bad, &format!("✗ {}", kinds.join(", ")))
                )
            });
        }
    }
    out.push_str(&table.render(2));
    out
}

fn faults(faults: &[Fault], style: Style) -> String {
    let mut out = String::new();
    if faults.is_empty() {
        return out;
    }
    heading(&mut out, "faults", style);
    for fault in faults {
        let (tone, mark) = match fault.outcome.as_str() {
            "reverted" => (Tone::Good, "✓"),
            "not_reverted" => (Tone::Bad, "✗"),
            _ => (Tone::Doubtful, "!"),
        };
        let mut facts = Vec::new();
        if let Some(from) = fault.started_at {
            let to = format::optional(fault.ended_at, format::seconds);
            facts.push(format!("{} to {to}", format::seconds(from)));
        }
        if let Some(recovery) = fault.recovery {
            facts.push(format!("recovered after {}", format::seconds(recovery)));
        }
        let more = fault.problem.iter().chain(&fault.detail);
        facts.extend(more.map(|text| format::shorten(&clean(text), 120)));
        line(
            &mut out,
            &format!(
                "  {} {}: {}",
                style.paint(tone, mark),
                clean(&fault.name),
                facts.join(" · ")
            ),
        );
    }
    out
}

fn findings(findings: &[Finding], style: Style) -> String {
    let mut out = String::new();
    if findings.is_empty() {
        return out;
    }
    heading(&mut out, "findings", style);
    for finding in findings.iter().take(FINDINGS) {
        let (tone, mark) = match finding.severity {
            Severity::Error => (Tone::Bad, "✗"),
            Severity::Warning => (Tone::Doubtful, "!"),
            Severity::Info => (Tone::Dim, "·"),
        };
        line(
            &mut out,
            &format!(
                "  {} {} ×{}: {}",
                style.paint(tone, mark),
                style.paint(tone, &finding.code),
                format::count(finding.count),
                format::shorten(&clean(&finding.message), 160)
            ),
        );
        let evidence = &finding.evidence;
        let mut facts = Vec::new();
        let named = [
            ("session", &evidence.session),
            ("stage", &evidence.stage),
            ("agent", &evidence.agent),
            ("site", &evidence.site),
            ("trace", &evidence.trace_id),
        ];
        facts.extend(named.iter().filter_map(|(name, value)| {
            value
                .as_ref()
                .map(|value| format!("{name} {}", format::shorten(&clean(value), 48)))
        }));
        if let Some(at) = evidence.at {
            facts.push(format!("at {}", format::seconds(at)));
        }
        if !facts.is_empty() {
            line(
                &mut out,
                &style.paint(Tone::Dim, &format!("      {}", facts.join(" · "))),
            );
        }
    }
    if findings.len() > FINDINGS {
        line(
            &mut out,
            &format!("  and {} more in the report", findings.len() - FINDINGS),
        );
    }
    out
}

fn as_count(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
