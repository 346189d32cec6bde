//! What a session does with its stages: one table, and what does not fit into one.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fake::{Kit, Measured, plan_of};
use crate::runner::session::Ending;

/// What a session is expected to do.
pub(super) struct Expect {
    pub(super) ending: Ending,
    pub(super) errors: &'static [&'static str],
    pub(super) findings: &'static [&'static str],
    pub(super) retries: u64,
    pub(super) polls: u64,
    pub(super) millis: u64,
}

pub(super) const PASSED: Expect = Expect {
    ending: Ending::Passed,
    errors: &[],
    findings: &[],
    retries: 0,
    polls: 0,
    millis: 0,
};
pub(super) const FAILED: Expect = Expect {
    ending: Ending::Failed,
    ..PASSED
};

/// Runs one session of a scenario with these stages.
async fn run(rest: &str) -> (Ending, Measured, Duration) {
    let kit = Kit::new(&plan_of("once", rest));
    let start = Instant::now();
    let end = kit.session(CancellationToken::new()).await;
    (end.ending, kit.cut(), start.elapsed())
}

#[track_caller]
pub(super) fn check(name: &str, rest: &str, expect: &Expect) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let (ending, measured, took) = runtime.block_on(run(rest));
    assert_eq!(ending, expect.ending, "{name}");
    assert_eq!(measured.errors(), expect.errors, "{name}");
    assert_eq!(measured.findings(), expect.findings, "{name}");
    assert_eq!(measured.count("stage_retries"), expect.retries, "{name}");
    assert_eq!(measured.count("stage_polls"), expect.polls, "{name}");
    let millis = Duration::from_millis(expect.millis);
    assert!(
        took >= millis && took <= millis + Duration::from_millis(20),
        "{name} took {took:?}"
    );
}

#[test]
fn one_stage() {
    check(
        "passes",
        "    stages:\n      - { name: a, fake: ok }\n",
        &PASSED,
    );
    let refused = Expect {
        errors: &["a refused"],
        findings: &["refused"],
        ..FAILED
    };
    check(
        "fails",
        "    stages:\n      - { name: a, fake: refused }\n      - { name: b, fake: ok }\n",
        &refused,
    );
    let status = Expect {
        errors: &["a status"],
        findings: &["status"],
        ..FAILED
    };
    check(
        "a bad status fails",
        "    stages:\n      - { name: a, fake: status 404 }\n",
        &status,
    );
    let read = "    stages:\n      - { name: a, fake: status 404, expect: [status == 404] }\n";
    check("unless an expression reads it", read, &PASSED);
    let expectation = Expect {
        errors: &["a expectation"],
        findings: &["expectation"],
        ..FAILED
    };
    check(
        "an expectation fails",
        "    stages:\n      - { name: a, fake: ok, expect: [status == 201] }\n",
        &expectation,
    );
    let goes_on = Expect {
        errors: &["a reset"],
        findings: &["reset"],
        millis: 100,
        ..FAILED
    };
    let text = "    stages:\n      - { name: a, fake: reset, on_failure: continue }\n      - { name: b, fake: sleep 100 }\n";
    check(
        "goes on where the plan says so, failed all the same",
        text,
        &goes_on,
    );
    check(
        "is skipped",
        "    stages:\n      - { name: a, fake: refused, when: 1 == 2 }\n",
        &PASSED,
    );
}

#[test]
fn time_outs_cancel() {
    let timeout = Expect {
        errors: &["a timeout"],
        findings: &["timeout"],
        millis: 200,
        ..FAILED
    };
    check(
        "the stage's",
        "    stages:\n      - { name: a, fake: hang, timeout: 200ms }\n",
        &timeout,
    );
    check(
        "the try's",
        "    stages:\n      - { name: a, fake: hang, attempt_timeout: 200ms }\n",
        &timeout,
    );
    let again = "    stages:\n      - { name: a, fake: hang; ok, attempt_timeout: 200ms, retry: { attempts: 2, on: [timeout], backoff: 50ms } }\n";
    check(
        "a try that timed out is tried again",
        again,
        &Expect {
            retries: 1,
            millis: 250,
            ..PASSED
        },
    );
    let group = "    stages:\n      - name: g\n        timeout: 300ms\n        repeat: { times: \"3\", as: i }\n        stages:\n          - { name: a, fake: sleep 200 }\n";
    let inner = Expect {
        errors: &["a cancelled", "g timeout"],
        findings: &["timeout"],
        millis: 300,
        ..FAILED
    };
    check("a group's time-out cancels what is in it", group, &inner);
}

#[test]
fn retries() {
    let with = |script: &str, retry: &str| {
        format!("    stages:\n      - {{ name: a, fake: {script}, retry: {retry} }}\n")
    };
    let twice = Expect {
        retries: 2,
        millis: 200,
        ..PASSED
    };
    check(
        "until it passes",
        &with(
            "refused; refused; ok",
            "{ attempts: 5, on: [refused], backoff: 100ms }",
        ),
        &twice,
    );
    let out = Expect {
        errors: &["a refused"],
        findings: &["refused"],
        retries: 2,
        millis: 200,
        ..FAILED
    };
    check(
        "attempts count all tries",
        &with("refused", "{ attempts: 3, on: [refused], backoff: 100ms }"),
        &out,
    );
    let other = Expect {
        errors: &["a reset"],
        findings: &["reset"],
        ..FAILED
    };
    check(
        "other errors are not retried",
        &with("reset", "{ attempts: 3, on: [refused], backoff: 100ms }"),
        &other,
    );
    let status = Expect {
        retries: 1,
        millis: 100,
        ..PASSED
    };
    check(
        "by status",
        &with(
            "status 503; ok",
            "{ attempts: 3, on: [503], backoff: 100ms }",
        ),
        &status,
    );
}

#[test]
fn polling() {
    let with = |script: &str, rest: &str| {
        format!("    stages:\n      - {{ name: a, fake: {script}, {rest} }}\n")
    };
    let third = Expect {
        polls: 2,
        millis: 200,
        ..PASSED
    };
    check(
        "until it holds",
        &with(
            "status 404; status 404; ok",
            "until: status == 200, every: 100ms",
        ),
        &third,
    );
    check(
        "transport errors mean not yet",
        &with("refused; reset; ok", "until: status == 200, every: 100ms"),
        &third,
    );
    let never = Expect {
        errors: &["a timeout"],
        findings: &["timeout"],
        polls: 3,
        millis: 250,
        ..FAILED
    };
    check(
        "until the time-out",
        &with(
            "status 404",
            "until: status == 200, every: 100ms, timeout: 250ms",
        ),
        &never,
    );
    let broken = Expect {
        errors: &["a protocol"],
        findings: &["protocol"],
        ..FAILED
    };
    check(
        "other errors fail",
        &with("protocol; ok", "until: status == 200, every: 100ms"),
        &broken,
    );
}

#[test]
fn groups() {
    let saves = r#"    stages:
      - name: each
        repeat: { times: "3", as: i, parallel: true }
        stages:
          - { name: a, fake: 'ok {"n": ${i}}', save: { n: body.n } }
      - { name: b, fake: ok, expect: [session.n == 2] }
"#;
    check(
        "what branches save is visible after they end",
        saves,
        &PASSED,
    );
    let rounds = r#"    stages:
      - { name: first, fake: 'ok [3, 4]', save: { list: body } }
      - name: each
        repeat: { each: session.list, as: i }
        stages:
          - { name: a, fake: 'sleep 100 ok {"n": ${i}}', save: { n: body.n } }
      - { name: b, fake: ok, expect: [session.n == 4] }
"#;
    check(
        "rounds follow each other",
        rounds,
        &Expect {
            millis: 200,
            ..PASSED
        },
    );
    let cancelled = r#"    stages:
      - name: g
        parallel:
          - { name: slow, fake: hang }
          - { name: bad, fake: sleep 100 refused }
"#;
    let expect = Expect {
        errors: &["bad refused", "slow cancelled"],
        findings: &["refused"],
        millis: 100,
        ..FAILED
    };
    check(
        "a failed branch cancels the others, which are no causes",
        cancelled,
        &expect,
    );
    let many = "    stages:\n      - name: g\n        repeat: { times: \"1000000\", parallel: true }\n        stages:\n          - { name: a, fake: ok }\n";
    let bounded = Expect {
        errors: &["g expectation"],
        findings: &["expectation"],
        ..FAILED
    };
    check("branches are bounded", many, &bounded);
}

#[test]
fn a_block_in_parallel_runs_its_stages_in_order() {
    let blocks = r#"    stages:
      - name: g
        parallel:
          - { use: pair }
          - { name: alone, fake: sleep 100 }
      - { name: last, fake: ok, expect: [session.n == 4] }
blocks:
  pair:
    - { name: one, fake: 'sleep 100 ok {"n": 4}', save: { n: body.n } }
    - { name: two, fake: 'sleep 100 ok {"n": 4}', expect: [session.n == body.n] }
"#;
    check(
        "one after another, beside the rest",
        blocks,
        &Expect {
            millis: 200,
            ..PASSED
        },
    );
}

#[test]
fn cleanup_always_runs() {
    let cleanup = "    cleanup:\n      - { name: clean, fake: sleep 50 }\n";
    let failed = format!("    stages:\n      - {{ name: a, fake: refused }}\n{cleanup}");
    check(
        "after a failure",
        &failed,
        &Expect {
            errors: &["a refused"],
            findings: &["refused"],
            millis: 50,
            ..FAILED
        },
    );
    let text = "    stages:\n      - { name: a, fake: ok }\n    cleanup:\n      - { name: clean, fake: refused }\n";
    let finding = Expect {
        errors: &["clean refused"],
        findings: &["cleanup_failed", "refused"],
        ..PASSED
    };
    check(
        "and its own failure is a finding, not the session's",
        text,
        &finding,
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let (_, measured, _) = runtime.block_on(run(text));
    assert_eq!(measured.count("cleanup_failed"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_session_keeps_what_it_saved_for_its_cleanup() {
    let text = r#"    stages:
      - { name: open, fake: 'ok {"job": 7}', save: { job: body.job } }
      - { name: watch, fake: hang }
    cleanup:
      - { name: close, fake: 'ok {"closed": ${session.job}}', expect: [body.closed == 7] }
"#;
    let kit = Kit::new(&plan_of("once", text));
    let interrupt = CancellationToken::new();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        interrupt.cancel();
    };
    let (end, ()) = tokio::join!(kit.session(interrupt.clone()), stop);
    assert_eq!(end.ending, Ending::Interrupted);
    let measured = kit.cut();
    assert_eq!(measured.errors(), ["watch cancelled"]);
    assert_eq!(measured.findings(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_cleanup_that_hangs_ends_within_its_bound() {
    let text = "    stages:\n      - { name: a, fake: ok }\n    cleanup:\n      - { name: clean, fake: hang, timeout: 5s }\n";
    let kit = Kit::new(&plan_of("once", text));
    let start = Instant::now();
    assert_eq!(
        kit.session(CancellationToken::new()).await.ending,
        Ending::Passed
    );
    assert!(start.elapsed() < Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn findings_carry_masked_evidence() {
    let text = "    stages:\n      - { name: a, fake: 'status 500 secret hunter2' }\n";
    let kit = Kit::new(&plan_of("once", text));
    kit.session(CancellationToken::new()).await;
    let measured = kit.cut();
    let finding = &measured.delta.findings[0];
    assert_eq!(
        (finding.session.as_str(), finding.key.stage.as_str()),
        ("s/0", "a")
    );
    assert!(
        !finding.detail.contains("hunter2") && !finding.message.contains("hunter2"),
        "{finding:?}"
    );
    assert!(
        finding.detail.starts_with("status 500\n") && finding.detail.contains("secret •••"),
        "{finding:?}"
    );
    assert_eq!(finding.trace_id.len(), 32);
}

#[test]
fn a_failure_within_a_group_is_counted_and_told_once() {
    let within = Expect {
        errors: &["a expectation"],
        findings: &["expectation"],
        ..FAILED
    };
    check(
        "a false expectation of a stage within",
        "    stages:\n      - name: group\n        repeat: { times: 2 }\n        stages:\n          - { name: a, fake: ok, expect: [status == 201] }\n",
        &within,
    );
    let slow = Expect {
        errors: &["a timeout"],
        findings: &["timeout"],
        millis: 1_000,
        ..FAILED
    };
    check(
        "a time-out of a stage within",
        "    stages:\n      - name: group\n        repeat: { times: 2 }\n        stages:\n          - { name: a, fake: hang, timeout: 1s }\n",
        &slow,
    );
}

#[test]
fn a_server_that_says_it_is_not_there_is_not_there_yet() {
    let polls = Expect {
        polls: 2,
        millis: 1_000,
        ..PASSED
    };
    check(
        "unavailable by status",
        "    stages:\n      - { name: a, fake: 'answers unavailable; answers timeout; ok {\"up\": true}', until: body.up }\n",
        &polls,
    );
    check(
        "refused",
        "    stages:\n      - { name: a, fake: 'refused; refused; ok {\"up\": true}', until: body.up }\n",
        &polls,
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_cleanup_is_told_after_a_stage_that_failed_too() {
    let text = "    stages:\n      - { name: a, fake: reset, on_failure: continue }\n    cleanup:\n      - { name: clean, fake: refused, on_failure: continue }\n";
    let kit = Kit::new(&plan_of("once", text));
    kit.session(CancellationToken::new()).await;
    let measured = kit.cut();
    assert_eq!(measured.count("cleanup_failed"), 1);
    assert!(measured.findings().contains(&"cleanup_failed"));
}
