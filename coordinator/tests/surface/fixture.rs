//! Reports made by hand: one that passed, one that failed, one that is inconclusive, and extremes.
use std::collections::BTreeMap;
use testmesh_coordinator::report::model::{
    Agent, Disagreement, Distribution, EventKind, EventLine, Evidence, Extras, Finding, Integrity,
    Labels, MetricKind, MetricRow, Percentiles, Phase, Reason, Report, RunInfo, SCHEMA, Scenario,
    SeenDigest, Series, Sessions, Severity, Site, SiteConnect, SlowSession, SlowStage, Stage,
    StageDuration, StartSkew, Threshold, ThresholdOutcome, Tool, Unit, WindowCell, WindowSeries,
    Windows,
};
use testmesh_coordinator::verdict::{ReasonCode, VerdictKind};

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn of_stage(stage: &str) -> Labels {
    labels(&[("scenario", "live"), ("stage", stage)])
}

fn passed(stage: &str) -> Labels {
    labels(&[
        ("outcome", "passed"),
        ("scenario", "live"),
        ("stage", stage),
    ])
}

/// A wave that is the same on every machine.
fn wave(index: u32, size: f64) -> f64 {
    short(
        size * (1.0 + 0.25 * (f64::from(index) / 5.0).sin() + 0.1 * (f64::from(index) * 1.7).cos()),
    )
}

/// Few enough digits to be the same after a way through JSON.
fn short(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn over_time(metric: &str, labels: Labels, seconds: u32, columns: &[(&str, f64)]) -> Series {
    let at = (0..seconds).map(f64::from).collect();
    let column = |(name, size): &(&str, f64)| {
        let whole = matches!(*name, "count" | "value");
        let values = (0..seconds)
            .map(|index| Some(wave(index, *size)).map(|v| if whole { v.round() } else { v }));
        ((*name).to_owned(), values.collect())
    };
    Series {
        metric: metric.to_owned(),
        labels,
        at,
        values: columns.iter().map(column).collect(),
    }
}

fn series(seconds: u32) -> Vec<Series> {
    let scenario = || labels(&[("scenario", "live")]);
    let mut all = vec![
        over_time("sessions_active", scenario(), seconds, &[("value", 20.0)]),
        over_time("sessions_passed", scenario(), seconds, &[("count", 2.0)]),
        over_time(
            "streams_open",
            of_stage("stream"),
            seconds,
            &[("value", 60.0)],
        ),
        over_time(
            "stream_rows",
            of_stage("stream"),
            seconds,
            &[("count", 400.0)],
        ),
        over_time(
            "stream_bytes",
            of_stage("stream"),
            seconds,
            &[("count", 82_000.0)],
        ),
        over_time(
            "integrity_verified",
            of_stage("stream"),
            seconds,
            &[("count", 390.0)],
        ),
        over_time(
            "integrity_unwitnessed",
            of_stage("stream"),
            seconds,
            &[("count", 9.0)],
        ),
    ];
    for (stage, p50) in [("configure", 0.011), ("stream", 5.1), ("job-gone", 2.2)] {
        let columns = [
            ("p50", p50),
            ("p95", p50 * 2.2),
            ("p99", p50 * 3.4),
            ("max", p50 * 4.0),
            ("count", 2.0),
        ];
        all.push(over_time(
            "stage_duration",
            passed(stage),
            seconds,
            &columns,
        ));
    }
    all.push(over_time(
        "stream_first_message",
        of_stage("stream"),
        seconds,
        &[("p50", 0.09), ("p95", 0.31), ("p99", 0.42), ("count", 6.0)],
    ));
    all
}

fn trend(name: &str, labels: Labels, p50: f64) -> MetricRow {
    let percentiles = Percentiles {
        p50: Some(short(p50)),
        p90: Some(short(p50 * 1.8)),
        p95: Some(short(p50 * 2.2)),
        p99: Some(short(p50 * 3.4)),
        p999: Some(short(p50 * 3.9)),
    };
    MetricRow {
        name: name.to_owned(),
        kind: MetricKind::Trend,
        unit: "seconds".to_owned(),
        labels,
        count: 140,
        sum: Some(short(p50 * 170.0)),
        min: Some(short(p50 * 0.5)),
        max: Some(short(p50 * 4.0)),
        mean: Some(short(p50 * 1.2)),
        percentiles,
    }
}

fn counter(name: &str, labels: Labels, count: u64) -> MetricRow {
    MetricRow {
        name: name.to_owned(),
        kind: MetricKind::Counter,
        unit: "count".to_owned(),
        labels,
        count,
        sum: None,
        min: None,
        max: None,
        mean: None,
        percentiles: Percentiles::default(),
    }
}

fn stage(name: &str, site: Option<&str>, runs: u64, p50: f64) -> Stage {
    Stage {
        scenario: "live".to_owned(),
        stage: name.to_owned(),
        site: site.map(str::to_owned),
        runs,
        errors: BTreeMap::new(),
        status: BTreeMap::from([("200".to_owned(), runs)]),
        duration: StageDuration {
            p50: Some(short(p50)),
            p95: Some(short(p50 * 2.2)),
            p99: Some(short(p50 * 3.4)),
            max: Some(short(p50 * 4.0)),
        },
    }
}

fn stages() -> Vec<Stage> {
    [
        ("configure", 140, 0.011),
        ("stream", 420, 5.1),
        ("watch", 140, 5.2),
        ("job-gone", 140, 2.2),
    ]
    .into_iter()
    .flat_map(|(name, runs, p50)| {
        [
            stage(name, None, runs, p50),
            stage(name, Some("haifa"), runs / 2, p50 * 0.9),
            stage(name, Some("tokyo"), runs / 2, p50 * 1.3),
        ]
    })
    .collect()
}

fn threshold(expr: &str, observed: f64, limit: f64, unit: Unit) -> Threshold {
    let outcome = ThresholdOutcome::Passed;
    Threshold {
        expr: expr.to_owned(),
        observed: Some(observed),
        limit: Some(limit),
        unit,
        outcome,
        tainted_by: vec![],
    }
}

fn slow(index: u32) -> SlowSession {
    let configure = wave(index, 0.02);
    let watch = wave(index + 3, 5.2);
    let gone = wave(index + 7, 2.2);
    let stage = |name: &str, duration| SlowStage {
        stage: name.to_owned(),
        duration,
        outcome: "passed".to_owned(),
    };
    SlowSession {
        session: format!("live/{}", 10 + index),
        trace_id: format!("{:032x}", 0xabcd_0000_u64 + u64::from(index)),
        agent: format!("agent-{}", index % 2 + 1),
        site: if index.is_multiple_of(2) {
            "haifa"
        } else {
            "tokyo"
        }
        .to_owned(),
        duration: short(configure + watch + gone + 0.1),
        stages: vec![
            stage("configure", configure),
            stage("watch", watch),
            stage("job-gone", gone),
        ],
    }
}

fn agent(number: u32, site: &str) -> Agent {
    Agent {
        id: format!("agent-{number}"),
        site: site.to_owned(),
        status: "drained".to_owned(),
        sessions: 70,
        clock_offset: Some(0.000_12),
        clock_uncertainty: Some(0.000_34),
        cpu_max: 0.41,
        memory_max: 58_000_000,
    }
}

/// A run in which everything is as it should be.
#[expect(clippy::too_many_lines, reason = "one report, told whole")]
pub(crate) fn passing() -> Report {
    let sessions = Sessions {
        planned: 140,
        started: 140,
        passed: 140,
        ..Sessions::default()
    };
    Report {
        schema: SCHEMA.to_owned(),
        tool: Tool {
            version: "0.1.0".to_owned(),
            protocol: 1,
        },
        run: RunInfo {
            id: "20260512-101500-7f3a".to_owned(),
            plan: "live-view".to_owned(),
            part: None,
            plan_digest: "99aa06d3014798d86001c324468d497f".to_owned(),
            started_at: Some("2026-05-12T10:15:00.250Z".to_owned()),
            duration: 60.4,
            seed: 11_072_003_459_127_580,
            vars: BTreeMap::from([
                ("focus".to_owned(), "http://127.0.0.1:8080".into()),
                ("for".to_owned(), "60s".into()),
                ("users".to_owned(), 20.into()),
            ]),
        },
        verdict: VerdictKind::Passed,
        exit_code: 0,
        reasons: vec![],
        sessions,
        scenarios: vec![Scenario {
            name: "live".to_owned(),
            sessions,
            concurrency_max: 20,
        }],
        thresholds: vec![
            threshold(
                "p95(stage_duration{stage=\"configure\"}) < 500ms",
                0.0242,
                0.5,
                Unit::Seconds,
            ),
            threshold("p99(stream_first_message) < 2s", 0.306, 2.0, Unit::Seconds),
            threshold("rate(sessions_failed) < 1%", 0.0, 0.01, Unit::Ratio),
            threshold("count(integrity_mismatched) == 0", 0.0, 0.0, Unit::Count),
        ],
        integrity: Integrity {
            streams: 420,
            rows: 24_000,
            bytes: 4_920_000,
            verified: 23_520,
            unwitnessed: 480,
            ..Integrity::default()
        },
        metrics: vec![
            trend("stage_duration", passed("configure"), 0.011),
            trend("stage_duration", passed("stream"), 5.1),
            trend("schedule_lag", labels(&[("scenario", "live")]), 0.000_3),
            counter("integrity_verified", of_stage("stream"), 23_520),
            counter("integrity_unwitnessed", of_stage("stream"), 480),
        ],
        stages: stages(),
        phases: vec![Phase {
            name: "warm_up".to_owned(),
            from: 0.0,
            to: 5.0,
            scenario: Some("live".to_owned()),
        }],
        series: series(61),
        sites: ["haifa", "tokyo"]
            .into_iter()
            .map(|name| Site {
                name: name.to_owned(),
                agents: 1,
                connect: SiteConnect {
                    p50: Some(0.000_21),
                    p95: Some(0.000_6),
                },
            })
            .collect(),
        agents: vec![agent(1, "haifa"), agent(2, "tokyo")],
        start_skew: Some(StartSkew {
            value: 0.000_4,
            lo: 0.0,
            hi: 0.001_1,
        }),
        settings: BTreeMap::from([
            ("runtimes".to_owned(), 2.into()),
            ("http2_windows".to_owned(), "2 MiB / 5 MiB".into()),
        ]),
        faults: vec![],
        findings: vec![],
        slowest: (0..8).map(slow).collect(),
    }
}

fn evidence(index: u64, at: f64) -> Evidence {
    Evidence {
        session: Some(format!("live/{index}")),
        trace_id: Some(format!("{:032x}", 0x4bf9_2f35_77b3_4da6_u64 + index)),
        agent: Some("agent-1".to_owned()),
        site: Some("haifa".to_owned()),
        scenario: Some("live".to_owned()),
        stage: Some("stream".to_owned()),
        at: Some(at),
        detail: None,
        screenshot: None,
    }
}

/// `report` with only so many points in each series: enough for a snapshot.
pub(crate) fn brief(mut report: Report, points: usize) -> Report {
    for series in &mut report.series {
        series.at.truncate(points);
        series
            .values
            .values_mut()
            .for_each(|values| values.truncate(points));
    }
    report
}

/// A run whose data was wrong, whose server was slow, and which says so.
#[expect(clippy::too_many_lines, reason = "one report, told whole")]
pub(crate) fn failing() -> Report {
    let mut report = passing();
    let sessions = Sessions {
        planned: 140,
        started: 140,
        passed: 131,
        failed: 9,
        ..Sessions::default()
    };
    report.verdict = VerdictKind::Failed;
    report.exit_code = 100;
    report.reasons = vec![
        Reason {
            code: ReasonCode::RowsMismatched,
            message: "12 of 24,000 rows differ from their truth".to_owned(),
        },
        Reason {
            code: ReasonCode::ThresholdBroken,
            message: "p95(stage_duration{stage=\"configure\"}) < 500ms: observed 812 ms".to_owned(),
        },
    ];
    report.sessions = sessions;
    report.scenarios[0].sessions = sessions;
    report.thresholds[0].observed = Some(0.812);
    report.thresholds[0].outcome = ThresholdOutcome::Failed;
    report.thresholds[3].observed = Some(12.0);
    report.thresholds[3].outcome = ThresholdOutcome::Failed;
    report.integrity.mismatched = 12;
    report.integrity.verified -= 12;
    let seen = |digest: &str, sessions, minority, witness: &str| SeenDigest {
        digest: digest.to_owned(),
        sessions,
        agents: vec!["agent-1".to_owned(), "agent-2".to_owned()],
        sites: vec!["haifa".to_owned(), "tokyo".to_owned()],
        minority,
        witness: witness.to_owned(),
    };
    report.integrity.disagreements = vec![Disagreement {
        group: "live/1-50/0".to_owned(),
        key: "1778580912400".to_owned(),
        digests: vec![
            seen("8c1f2a9be0d34c71", 19, false, "live/4"),
            seen("03b7aa5c19fe6620", 1, true, "live/17"),
        ],
    }];
    report
        .metrics
        .push(counter("integrity_mismatched", of_stage("stream"), 12));
    report.series.push(over_time(
        "integrity_mismatched",
        of_stage("stream"),
        61,
        &[("count", 1.4)],
    ));
    report.series.push(over_time(
        "sessions_failed",
        labels(&[("scenario", "live")]),
        61,
        &[("count", 0.6)],
    ));
    report.stages[0].errors = BTreeMap::from([("status".to_owned(), 7), ("timeout".to_owned(), 2)]);
    report.stages[0].status = BTreeMap::from([("200".to_owned(), 131), ("503".to_owned(), 7)]);
    let mut refused = evidence(31, 12.25);
    refused.stage = Some("configure".to_owned());
    refused.detail = Some(
        "HTTP 503\ncontent-type: application/json\n\n{\"detail\":\"no free <slot>\"}".to_owned(),
    );
    report.findings = vec![
        Finding {
            severity: Severity::Error,
            code: "rows_mismatched".to_owned(),
            message: "a row differs from what the majority of its group saw".to_owned(),
            count: 12,
            evidence: evidence(17, 8.412),
            more_evidence: vec![evidence(19, 9.02)],
        },
        Finding {
            severity: Severity::Error,
            code: "status".to_owned(),
            message: "stage `configure` was answered with 503".to_owned(),
            count: 7,
            evidence: refused,
            more_evidence: vec![],
        },
        Finding {
            severity: Severity::Info,
            code: "spans".to_owned(),
            message: "the collector was slow: 40 spans were not exported".to_owned(),
            count: 40,
            evidence: Evidence::default(),
            more_evidence: vec![],
        },
    ];
    if let Some(stage) = report.slowest[0].stages.first_mut() {
        stage.duration = 2.5;
        stage.outcome = "timeout".to_owned();
    }
    report
}

/// A run that cannot be judged: one of its agents was lost.
pub(crate) fn inconclusive() -> Report {
    let mut report = passing();
    let sessions = Sessions {
        planned: 140,
        started: 120,
        passed: 110,
        unstarted: 20,
        lost: 10,
        ..Sessions::default()
    };
    report.verdict = VerdictKind::Inconclusive;
    report.exit_code = 10;
    report.reasons = vec![
        Reason {
            code: ReasonCode::AgentLost,
            message: "1 of 2 agents was lost; the plan tolerates 0".to_owned(),
        },
        Reason {
            code: ReasonCode::NoData,
            message: "p99(stream_first_message) < 2s: nothing was measured".to_owned(),
        },
    ];
    report.sessions = sessions;
    report.scenarios[0].sessions = sessions;
    report.agents[1].status = "lost".to_owned();
    report.start_skew = None;
    report.thresholds[1].observed = None;
    report.thresholds[1].outcome = ThresholdOutcome::NoData;
    report.thresholds[2].outcome = ThresholdOutcome::Failed;
    report.thresholds[2].observed = Some(0.083);
    report.thresholds[2].tainted_by = vec![ReasonCode::AgentLost];
    report
}

/// A run that ended before anything started.
pub(crate) fn empty() -> Report {
    let mut report = inconclusive();
    report.reasons = vec![Reason {
        code: ReasonCode::SetupFailed,
        message: "setup stage `server-up`: timeout".to_owned(),
    }];
    report.run.started_at = None;
    report.run.duration = 0.0;
    report.sessions = Sessions {
        planned: 20,
        unstarted: 20,
        ..Sessions::default()
    };
    report.scenarios[0].sessions = report.sessions;
    report.scenarios[0].concurrency_max = 0;
    report.integrity = Integrity::default();
    report.thresholds.clear();
    report.metrics.clear();
    report.stages.clear();
    report.phases.clear();
    report.series.clear();
    report.slowest.clear();
    report.findings.clear();
    report
}

/// Names as long as people make them, text that wants to be markup, many stages, and `seconds` points.
pub(crate) fn extreme(seconds: u32) -> Report {
    let mut report = failing();
    let long = "a-very-long-name-that-somebody-generated-from-a-matrix-of-parameters-0123456789"
        .to_owned();
    report.run.plan = format!("{long}-{long}");
    report.run.duration = f64::from(seconds);
    report.series = series(seconds);
    for index in 0..14 {
        let name = format!("{long}-{index}");
        let size = 0.001 * 10f64.powi(index % 5);
        report.stages.push(stage(&name, None, 1_234_567, size));
        let columns = [
            ("p50", size),
            ("p95", size * 3.0),
            ("p99", size * 20.0),
            ("count", 5_000.0),
        ];
        report.series.push(over_time(
            "stage_duration",
            passed(&name),
            seconds,
            &columns,
        ));
        report.series.push(over_time(
            "streams_open",
            of_stage(&name),
            seconds,
            &[("value", 100.0)],
        ));
    }
    report.findings[0].message =
        format!("<script>alert(1)</script> \u{1b}[31m{}", "long ".repeat(80));
    report.findings[0].evidence.detail = Some("</script><img src=x onerror=alert(1)>".repeat(20));
    report.reasons[0].message = format!("{}{}", report.reasons[0].message, "x".repeat(300));
    report.agents[0].id = long.clone();
    report.sites[0].name = long;
    report
}

/// What the renderers get besides the report.
pub(crate) fn extras() -> Extras {
    let shape = |metric: &str, labels: Labels, p50: f64| {
        let buckets = (0..60u32).map(|index| {
            let at = f64::from(index) / 12.0 - 1.5;
            let count = 900.0 * (-at * at).exp() + if index == 50 { 4.0 } else { 0.0 };
            (
                p50 * 10f64.powf(f64::from(index) / 40.0 - 0.4),
                format!("{count:.0}").parse().unwrap_or(0),
            )
        });
        Distribution {
            metric: metric.to_owned(),
            labels,
            buckets: buckets.collect(),
        }
    };
    let events = [
        EventKind::State {
            state: "preparing".to_owned(),
            reason: String::new(),
        },
        EventKind::Agent {
            agent: "agent-1".to_owned(),
            site: "haifa".to_owned(),
            status: "armed".to_owned(),
        },
        EventKind::Ended {
            verdict: VerdictKind::Passed,
            exit_code: 0,
            reasons: vec![],
        },
    ];
    let events = events
        .into_iter()
        .zip(1u32..)
        .map(|(kind, number)| EventLine {
            number: number.into(),
            at_ns: 1_778_580_900_000_000_000 + i64::from(number) * 1_000_000,
            kind,
        });
    Extras {
        distributions: vec![
            shape("stage_duration", passed("configure"), 0.011),
            shape("stage_duration", passed("stream"), 5.1),
            shape("stage_duration", passed("job-gone"), 2.2),
            shape("stream_first_message", of_stage("stream"), 0.09),
        ],
        events: events.collect(),
        windows: Windows {
            resolution_s: 10,
            series: vec![WindowSeries {
                metric: "stream_rows".to_owned(),
                labels: labels(&[("scenario", "live"), ("site", "haifa"), ("stage", "stream")]),
                kind: MetricKind::Counter,
                cells: vec![
                    (0, WindowCell::Counter(4_000)),
                    (10, WindowCell::Counter(4_100)),
                ],
            }],
        },
        plan_text: "testmesh: v1\nname: live-view\n".to_owned(),
        screenshots: Vec::new(),
    }
}
