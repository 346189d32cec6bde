//! Cuts a report to the size that is kept, and says so in it. `report.json` always stays: it has the verdict.
use super::seal::Renderer;
use crate::report::model::{Evidence, Extras, Finding, Report, Severity};
use std::collections::BTreeSet;

/// The file that always stays.
const MODEL: &str = "report.json";

/// Renders a report to at most this many bytes. Its `series` go first, because `windows.bin` has them too; then other files,
/// the largest first. What goes is a finding of the report, which is changed for that.
pub(super) fn fit(
    report: &mut Report,
    extras: &Extras,
    render: Renderer,
    most: usize,
) -> Vec<(String, Vec<u8>)> {
    let mut files = render(report, extras);
    if size(&files) <= most {
        return files;
    }
    if !report.series.is_empty() {
        report.series.clear();
        note(
            report,
            "values over time are left out of it; `windows.bin` has them".to_owned(),
        );
        files = render(report, extras);
    }
    let left_out = too_many(&files, most);
    if !left_out.is_empty() {
        let names: Vec<_> = left_out.iter().map(String::as_str).collect();
        note(report, format!("{} is left out", names.join(", ")));
        files = render(report, extras);
        files.retain(|(name, _)| !left_out.contains(name));
    }
    files
}

fn size(files: &[(String, Vec<u8>)]) -> usize {
    files.iter().map(|(_, content)| content.len()).sum()
}

/// The files that have to go, the largest first, until the rest fits.
fn too_many(files: &[(String, Vec<u8>)], most: usize) -> BTreeSet<String> {
    let mut others: Vec<_> = files.iter().filter(|(name, _)| name != MODEL).collect();
    others.sort_by_key(|(_, content)| std::cmp::Reverse(content.len()));
    let mut left_out = BTreeSet::new();
    let mut bytes = size(files);
    for (name, content) in others {
        if bytes <= most {
            break;
        }
        bytes -= content.len();
        left_out.insert(name.clone());
    }
    left_out
}

fn note(report: &mut Report, what: String) {
    tracing::warn!(run = report.run.id, what, "the report is too large");
    report.findings.push(Finding {
        severity: Severity::Warning,
        code: "report_too_large".into(),
        message: format!("the report is larger than what is kept of it: {what}"),
        count: 1,
        evidence: Evidence::default(),
        more_evidence: Vec::new(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::json;
    use crate::report::model::Series;
    use crate::store::laws::report;

    fn render(report: &Report, extras: &Extras) -> Vec<(String, Vec<u8>)> {
        let model = json::render(report).unwrap().into_bytes();
        let events = extras.plan_text.clone().into_bytes();
        vec![
            (MODEL.to_owned(), model),
            ("events.jsonl".to_owned(), events),
        ]
    }

    fn names(files: &[(String, Vec<u8>)]) -> Vec<&str> {
        files.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn a_large_report_keeps_its_model_and_says_what_is_missing() {
        let series = Series {
            metric: "m".into(),
            labels: std::collections::BTreeMap::new(),
            at: vec![0.0; 10_000],
            values: std::collections::BTreeMap::new(),
        };
        let mut large = report("plan");
        large.series = vec![series];
        let extras = Extras {
            plan_text: "x".repeat(5_000),
            ..Extras::default()
        };
        // Room for all of it.
        let whole = fit(&mut large, &extras, render, 1 << 20);
        assert_eq!(
            (names(&whole), large.findings.len()),
            (vec![MODEL, "events.jsonl"], 0)
        );
        // Room for all but values over time.
        let mut cut = large.clone();
        let files = fit(&mut cut, &extras, render, 20_000);
        assert_eq!(
            (names(&files), cut.findings.len()),
            (vec![MODEL, "events.jsonl"], 1)
        );
        let read = json::parse(&files[0].1).unwrap();
        assert_eq!(
            (read.series.len(), &read.findings[0].code[..]),
            (0, "report_too_large")
        );
        // Room for nothing.
        let files = fit(&mut large, &extras, render, 10);
        assert_eq!((names(&files), large.findings.len()), (vec![MODEL], 2));
        assert!(
            large.findings[1]
                .message
                .ends_with("events.jsonl is left out")
        );
    }
}
