//! Plans that are right, and what becomes of them.

use std::time::Duration;

use super::fake::{Http, plan, read};
use crate::load::{Model, Part};
use crate::plan::expr::Scope;
use crate::plan::{
    Action, Agg, Begin, ErrorKind, OnFailure, Op, Operand, RetryOn, Times, Truth, TruthOf,
};

/// The example of the design, without the parts that this build does not run yet.
pub(super) const LIVE_VIEW: &str = r#"testmesh: v1
name: live-view
description: Twenty users watch the same live view; all must see the same rows.

vars:
  focus: http://127.0.0.1:8080
  users: 20
  for: 60s
secrets: [mongo_uri]

targets:
  focus:  { http: "${vars.focus}", timeout: 10s, tls: { insecure: true } }     # base path is kept when joining
  frames: { grpc: { protos: [protos/pandadatastream.proto], max_message: 50MiB } }

blocks:
  open_job:
    - name: open
      http: { target: focus, get: /open }

setup:
  - name: server-up
    http: { target: focus, get: /ack }
    until: status == 200
    every: 500ms
    timeout: 30s

scenarios:
  live:
    load: { virtual_users: "${vars.users}", for: "${vars.for}", ramp_up: 5s }
    warm_up: 5s
    graceful_stop: 30s
    stages:
      - name: configure
        http:
          target: focus
          post: /configure
          json: { view_type: 0, displayTimeAxisDuration: 10, nfftSelection: 1024, displayInfo: { height: 200 },
                  channels: { min: 1, max: 50 }, frequencyRange: { min: 0, max: 500 }, start_time: null, end_time: null }
        expect:
          - status == 200
          - size(body.frequencies_list) == body.frequencies_amount
        save: { job: body.job_id, streams: body.stream_amount, address: "body.stream_url + ':' + string(body.stream_port)" }
        timeout: 5s
      - name: watch
        repeat: { times: session.streams, as: i, parallel: true }
        stages:
          - name: stream
            grpc:
              target: frames
              address: "${session.address}"
              call: pandadatastream.DataStreamService/StreamData
              message: { stream_id: "${i}" }
              stop: { messages: 100 }
            retry: { attempts: 40, on: [refused, unavailable], backoff: 250ms }     # the job's pod is coming up
            integrity:
              sequence: row_index
              key: timestamp_in_milis
              payload: main_data
              sent_at: { field: timestamp_in_milis, unit: ms }
              truth: { agree: { group: "live/1-50/${i}" } }
    cleanup:
      - name: job-gone
        when: has(session.job)
        http: { target: focus, get: "/metadata/${session.job}" }
        until: status == 404
        every: 500ms
        timeout: 90s

thresholds:
  - p95(stage_duration{stage="configure"}) < 500ms
  - p99(stream_first_message) < 2s
  - rate(sessions_failed) < 1%
  - count(integrity_mismatched) == 0

validity: { agents_lost: 0, dropped_sessions: 1%, schedule_lag_p99: 100ms }
trace: { sample: 1%, keep: [failed, slowest] }
"#;

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "it reads one plan from top to bottom"
)]
fn the_example_of_the_design_is_read_to_the_letter() {
    let plan = plan(LIVE_VIEW);
    assert_eq!(
        (plan.name.as_str(), plan.secrets.as_slice()),
        ("live-view", &["mongo_uri".to_owned()][..])
    );
    assert_eq!(
        plan.target("focus").unwrap().value::<String>().unwrap(),
        "${vars.focus}"
    );
    assert_eq!(plan.files.len(), 1);
    let live = plan.scenario("live").unwrap();
    assert_eq!(live.load.model(), Model::Closed);
    assert_eq!(live.load.end(), Some(Duration::from_secs(60)));
    let whole = Part::whole(1, 0, "live");
    let starts: Vec<Duration> = live.load.starts(&whole).map(|start| start.at).collect();
    assert_eq!(
        (starts.len(), starts[19]),
        (20, Duration::from_millis(4_750))
    );
    assert_eq!(
        (live.warm_up, live.graceful_stop),
        (Duration::from_secs(5), Duration::from_secs(30))
    );

    let configure = &live.stages[0];
    assert_eq!(configure.reads, ["status", "body"]);
    assert!(configure.reads_status);
    let Action::Drive {
        form: "http",
        stage,
        ..
    } = &configure.action
    else {
        panic!()
    };
    let http: &Http = stage.as_any().downcast_ref().unwrap();
    assert_eq!(
        (http.target.name.as_str(), http.path.literal()),
        ("focus", Some("/configure"))
    );
    let json = http.json.as_ref().and_then(|json| json.literal()).unwrap();
    assert_eq!(json["start_time"], serde_json::Value::Null);
    assert_eq!(json["channels"]["max"], 50);

    let Action::Repeat(watch) = &live.stages[1].action else {
        panic!()
    };
    assert!(
        watch.parallel
            && matches!(watch.times, Times::Count(_))
            && watch.variable.as_deref() == Some("i")
    );
    assert_eq!(live.stages[1].timeout, None);
    let stream = &watch.stages[0];
    assert_eq!(
        (stream.timeout, stream.stall),
        (None, Duration::from_secs(1))
    );
    let retry = stream.retry.as_ref().unwrap();
    assert_eq!(
        retry.on,
        [
            RetryOn::Error(ErrorKind::Refused),
            RetryOn::Error(ErrorKind::Unavailable)
        ]
    );
    let integrity = stream.integrity.as_ref().unwrap();
    let Some(Truth::Agree {
        group,
        of: TruthOf::Rows,
    }) = &integrity.truth
    else {
        panic!()
    };
    let mut scope = Scope::root();
    scope.set("i", 3_i64);
    assert_eq!(group.text(&scope).unwrap(), "live/1-50/3");

    assert_eq!(
        live.cleanup[0].until.as_ref().unwrap().every,
        Duration::from_millis(500)
    );
    let limits: Vec<(Agg, Op, f64)> = plan
        .thresholds
        .iter()
        .map(|t| match &t.right {
            Operand::Value { value, .. } => (t.left.agg, t.op, *value),
            Operand::Reading(_) => panic!("{t:?}"),
        })
        .collect();
    assert_eq!(
        limits,
        [
            (Agg::Percentile(95.0), Op::Less, 0.5),
            (Agg::Percentile(99.0), Op::Less, 2.0),
            (Agg::Rate, Op::Less, 0.01),
            (Agg::Count, Op::Equal, 0.0),
        ]
    );
}

#[test]
fn thresholds_have_operands_on_both_sides_and_a_long_form() {
    let text = with_stages("      - { name: login, http: { target: web, get: / } }\n")
        + "phases: { early: { from: 0s, to: 60s }, late: { from: 30s, to: 1m30s } }\n"
        + "thresholds:\n"
        + "  - 500ms > p95(stage_duration{stage=\"login\",phase!=\"early\"})\n"
        + "  - p99.9(stage_duration{phase=\"late\"}) < 1.5 * p99.9(stage_duration{phase=\"early\"})\n"
        + "  - { expr: sum(stream_gap) < 10s, abort: true, after: 5s, over: 10s }\n";
    let (plan, _) = read(&text, &[]).unwrap();
    let phases = plan.phases.iter();
    let phases: Vec<_> = phases
        .map(|phase| {
            (
                phase.name.as_str(),
                phase.from.as_secs(),
                phase.to.as_secs(),
            )
        })
        .collect();
    assert_eq!(phases, [("early", 0, 60), ("late", 30, 90)]);
    let [value, two, long, failed] = plan.thresholds.as_slice() else {
        panic!("{:?}", plan.thresholds)
    };
    // A value on the left is turned round.
    assert_eq!(
        (value.op, value.left.metric.as_str()),
        (Op::Less, "stage_duration")
    );
    assert!(matches!(value.right, Operand::Value { value, .. } if value == 0.5));
    let labels = value.left.matchers.iter();
    let labels: Vec<_> = labels
        .map(|matcher| {
            (
                matcher.label.as_str(),
                matcher.equal,
                matcher.value.as_str(),
            )
        })
        .collect();
    assert_eq!(
        labels,
        [("stage", true, "login"), ("phase", false, "early")]
    );
    let Operand::Reading(right) = &two.right else {
        panic!("{two:?}")
    };
    assert_eq!((right.factor, right.agg), (1.5, Agg::Percentile(99.9)));
    assert_eq!(
        (two.aborts, two.after, two.over),
        (false, Duration::ZERO, None)
    );
    let seconds = Duration::from_secs;
    assert_eq!(
        (long.aborts, long.after, long.over),
        (true, seconds(5), Some(seconds(10)))
    );
    assert_eq!(long.left.agg, Agg::Sum);
    assert_eq!(failed.text, "count(sessions_failed) == 0");
}

/// A plan with that scenario body, and the rest as small as it can be.
pub(super) fn with_stages(stages: &str) -> String {
    format!(
        "testmesh: v1\nname: t\nvars: {{ n: 3, host: 'http://x', other: '${{vars.host}}/y' }}\nsecrets: [token]\ntargets:\n  web: {{ http: '${{vars.host}}' }}\n  rpc: {{ grpc: {{}} }}\nscenarios:\n  s:\n    load: once\n    stages:\n{stages}"
    )
}

#[test]
fn defaults_are_those_of_the_design() {
    let plan = plan(&with_stages(
        "      - { name: a, http: { target: web, get: / } }\n",
    ));
    let scenario = &plan.scenarios[0];
    assert_eq!(scenario.load.model(), Model::Once);
    assert_eq!(scenario.load.planned(&Part::whole(5, 0, "s")), Some(1));
    assert_eq!(scenario.begin, Begin::At(Duration::ZERO));
    assert_eq!(
        (scenario.warm_up, scenario.graceful_stop),
        (Duration::ZERO, Duration::from_secs(30))
    );
    let stage = &scenario.stages[0];
    assert_eq!(
        (stage.timeout, stage.on_failure),
        (Some(Duration::from_secs(30)), OnFailure::End)
    );
    assert!(!stage.reads_status && stage.retry.is_none());
    let threshold = &plan.thresholds[0];
    assert_eq!(
        (threshold.text.as_str(), threshold.position),
        ("count(sessions_failed) == 0", None)
    );
    let validity = &plan.validity;
    assert_eq!(
        (
            validity.agents_lost,
            validity.dropped_sessions,
            validity.agent_cpu
        ),
        (0, 0.01, 0.9)
    );
    assert_eq!(
        (validity.schedule_lag_p99, validity.agent_loop_lag_p99),
        (Duration::from_millis(100), None)
    );
    assert!(plan.trace.keep_failed && plan.trace.keep_slowest && plan.min_agents == 1);
}

#[test]
fn blocks_are_put_in_place_with_their_prefix() {
    let text = with_stages(
        "      - use: pair\n        as: x\n      - use: pair\n        as: y\n      - { name: last, when: session.a == 1, http: { target: web, get: '/${session.a}' } }\n",
    ) + "blocks:\n  one:\n    - { name: one, http: { target: web, get: / }, save: { a: status } }\n  pair:\n    - use: one\n    - { name: two, http: { target: web, get: '/${session.a}' } }\n";
    let plan = plan(&text);
    let names: Vec<&str> = plan.scenarios[0]
        .stages
        .iter()
        .map(|stage| stage.name.as_str())
        .collect();
    assert_eq!(names, ["x.one", "x.two", "y.one", "y.two", "last"]);
}

#[test]
fn setup_saves_into_the_run_and_branches_into_the_session() {
    let stages = "      - name: both
        parallel:
          - { name: a, http: { target: web, get: '/${run.token}' }, save: { a: body } }
          - { name: b, http: { target: web, get: / }, save: { b: body } }
      - { name: c, http: { target: web, get: '/${session.a}/${session.b}' } }
";
    let text = with_stages(stages)
        + "setup:\n  - { name: login, http: { target: web, get: / }, save: { token: body.t } }\nteardown:\n  - { name: out, http: { target: web, get: '/${run.token}' } }\n";
    assert_eq!(plan(&text).teardown.len(), 1);
}

#[test]
fn variables_are_overridden_and_resolved() {
    let text = with_stages("      - { name: a, http: { target: web, get: / } }\n");
    let (plain, _) = read(&text, &[]).unwrap();
    assert_eq!(plain.vars["other"], "http://x/y");
    let (set, _) = read(&text, &["n=7", "host=http://z"]).unwrap();
    assert_eq!(
        (&set.vars["n"], &set.vars["other"]),
        (&7.into(), &"http://z/y".into())
    );
    assert_eq!(set.vars.keys().collect::<Vec<_>>(), ["n", "host", "other"]);
}

#[test]
fn what_could_not_be_checked_is_a_note() {
    let text = with_stages("      - { name: a, http: { target: web, get: / } }\n")
        .replace("grpc: {}", "grpc: { reflection: true }");
    let (_, notes) = read(&text, &[]).unwrap();
    assert_eq!(notes.len(), 1);
    assert!(
        notes[0]
            .to_string()
            .starts_with("plan.yaml:7:8: unverified: the call is known only")
    );
}
