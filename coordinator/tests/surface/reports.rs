//! Renderers against reports made by hand.
use super::fixture;
use std::path::Path;
use testmesh_coordinator::report::model::{Extras, Report};
use testmesh_coordinator::report::terminal::{self, Style};
use testmesh_coordinator::report::{html, json, junit, render};

fn summary(report: &Report) -> String {
    terminal::render(report, Some(Path::new("testmesh-out/7f3a")), Style::Plain)
}

#[test]
fn the_summary_of_a_passing_run() {
    insta::assert_snapshot!(summary(&fixture::passing()));
}

#[test]
fn the_summary_of_a_failing_run() {
    insta::assert_snapshot!(summary(&fixture::failing()));
}

#[test]
fn the_summary_of_an_inconclusive_run() {
    insta::assert_snapshot!(summary(&fixture::inconclusive()));
}

#[test]
fn the_summary_of_a_run_that_never_started() {
    insta::assert_snapshot!(summary(&fixture::empty()));
}

#[test]
fn the_verdict_is_the_last_line_and_control_characters_never_reach_a_terminal() {
    for report in [
        fixture::passing(),
        fixture::failing(),
        fixture::inconclusive(),
        fixture::empty(),
        fixture::extreme(3),
    ] {
        let text = summary(&report);
        let last = text.lines().last().unwrap();
        assert!(last.starts_with(report.verdict.as_str()), "{last}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}

#[test]
fn colour_changes_nothing_but_colour() {
    let report = fixture::failing();
    let coloured = terminal::render(&report, None, Style::Colour);
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some(start) = rest.find("\u{1b}[") {
        plain.push_str(&rest[..start]);
        rest = &rest[start..][rest[start..].find('m').unwrap() + 1..];
    }
    plain.push_str(rest);
    assert_eq!(plain, terminal::render(&report, None, Style::Plain));
}

#[test]
fn report_json_is_the_contract() {
    let report = fixture::brief(fixture::failing(), 2);
    let text = json::render(&report).unwrap();
    insta::assert_snapshot!(text);
    assert!(
        json::parse(text.as_bytes()).unwrap() == report,
        "a report does not survive its JSON"
    );
}

#[test]
fn each_series_is_one_line_of_report_json() {
    let report = fixture::failing();
    let text = json::render(&report).unwrap();
    let from = text.find("\n  \"series\": [\n").unwrap();
    let lines = text[from..].lines().skip(2);
    let series: Vec<_> = lines.take_while(|line| line.starts_with("    {")).collect();
    assert_eq!(series.len(), report.series.len());
    assert!(!report.series.is_empty() && text.ends_with("\n}\n"));
    assert!(text.contains("\n  ],\n  \"sites\": [\n    {\n"));
    assert!(json::parse(text.as_bytes()).unwrap() == report);
}

#[test]
fn events_are_one_line_each() {
    insta::assert_snapshot!(json::events(&fixture::extras().events).unwrap());
}

#[test]
fn junit_tells_failures_from_errors() {
    insta::assert_snapshot!("junit_failing", junit::render(&fixture::failing()).unwrap());
    insta::assert_snapshot!(
        "junit_inconclusive",
        junit::render(&fixture::inconclusive()).unwrap()
    );
}

#[test]
fn junit_shows_no_problem_exactly_if_the_run_passed() {
    for (report, expect) in [
        (fixture::passing(), true),
        (fixture::failing(), false),
        (fixture::inconclusive(), false),
        (fixture::empty(), false),
    ] {
        let xml = junit::render(&report).unwrap();
        assert_eq!(
            !xml.contains("<failure") && !xml.contains("<error"),
            expect,
            "{xml}"
        );
    }
}

#[test]
fn every_file_is_rendered() {
    let files = render::files(&fixture::failing(), &fixture::extras()).unwrap();
    assert_eq!(
        files.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        render::FILES
    );
    assert!(files.iter().all(|(_, content)| !content.is_empty()));
}

/// The page without drawings, style and script: what a snapshot can say about it.
fn structure(page: &str) -> String {
    let mut out = String::new();
    for (tag, end) in [
        ("<style>", "</style>"),
        ("<script", "</script>"),
        ("<svg", "</svg>"),
    ] {
        let source = if out.is_empty() {
            page.to_owned()
        } else {
            std::mem::take(&mut out)
        };
        let mut rest = source.as_str();
        while let Some(start) = rest.find(tag) {
            out.push_str(&rest[..start]);
            out.push_str(tag.trim_end_matches('>'));
            out.push_str("…>");
            rest = &rest[start..];
            rest = &rest[rest.find(end).unwrap() + end.len()..];
        }
        out.push_str(rest);
    }
    out.replace("><", ">\n<")
}

#[test]
fn the_page_of_a_failing_run() {
    insta::assert_snapshot!(structure(&html::render(
        &fixture::failing(),
        &fixture::extras()
    )));
}

#[test]
fn the_page_loads_nothing_and_runs_nothing_of_others() {
    let page = html::render(&fixture::extreme(40), &fixture::extras());
    for outside in [
        "http-equiv=\"refresh\"",
        "<link",
        "src=\"",
        "url(",
        "@import",
        "<script>alert",
        "<img src=x",
    ] {
        assert!(!page.contains(outside), "the page contains {outside}");
    }
    assert_eq!(
        page.matches("<script").count(),
        page.matches("</script>").count(),
        "a label ended a script"
    );
}

#[test]
fn no_number_of_a_drawing_is_nonsense() {
    for report in [
        fixture::empty(),
        fixture::extreme(1),
        fixture::extreme(2),
        fixture::extreme(600),
        fixture::extreme(4_000),
    ] {
        let page = html::render(&report, &Extras::default());
        for nonsense in ["NaN", "inf,", ":inf", "-0.0 "] {
            assert!(
                !page.contains(nonsense),
                "{nonsense} in the page of {} seconds",
                report.run.duration
            );
        }
        assert!(page.len() < 6_000_000, "{} bytes", page.len());
    }
}

/// Writes the pages to a folder, to look at them: `TESTMESH_PAGES=DIR`.
#[test]
fn pages_can_be_looked_at() {
    let Some(folder) = std::env::var_os("TESTMESH_PAGES") else {
        return;
    };
    let folder = Path::new(&folder);
    let pages = [
        ("passing", fixture::passing()),
        ("failing", fixture::failing()),
        ("inconclusive", fixture::inconclusive()),
        ("empty", fixture::empty()),
        ("one-point", fixture::extreme(1)),
        ("extreme", fixture::extreme(600)),
    ];
    for (name, report) in pages {
        let extras = if name == "empty" {
            Extras::default()
        } else {
            fixture::extras()
        };
        std::fs::write(
            folder.join(format!("{name}.html")),
            html::render(&report, &extras),
        )
        .unwrap();
    }
}
