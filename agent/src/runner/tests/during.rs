//! Stages beside a stream: their order, what their failures do, and what becomes of them when the stream is over.

use tokio_util::sync::CancellationToken;

use super::fake::{Kit, plan_of};
use super::sessions::{Expect, FAILED, PASSED, check};
use crate::runner::session::Ending;

/// A stage `s` with a stream of this length and these stages beside it, and stages after it.
fn stream(keys: &str, during: &str, more: &str, after: &str) -> String {
    format!(
        "    stages:\n      - name: s\n        flow:\n          {keys}\n          during:\n{during}{more}{after}"
    )
}

fn stages(lines: &[&str]) -> String {
    lines
        .iter()
        .map(|line| format!("            - {line}\n"))
        .collect()
}

#[test]
fn they_run_one_after_another_and_what_they_save_stays() {
    let during = stages(&[
        "{ name: a, fake: 'sleep 100 ok {\"n\": 1}', save: { n: body.n } }",
        "{ name: b, fake: 'sleep 100 ok {\"n\": ${session.n + 1}}', save: { n: body.n } }",
        "{ name: c, when: session.n == 9, fake: refused }",
    ]);
    let own = "        expect: [session.n == 2]\n        save: { m: session.n + 1 }\n";
    let after = "      - { name: z, fake: ok, expect: [session.n == 2, session.m == 3] }\n";
    let in_order = Expect {
        millis: 200,
        ..PASSED
    };
    check("in order", &stream("", &during, own, after), &in_order);
    let longer = Expect {
        millis: 500,
        ..PASSED
    };
    check(
        "beside",
        &stream("for: 500ms", &during, own, after),
        &longer,
    );
}

#[test]
fn groups_run_beside_a_stream() {
    let during = stages(&[
        "{ name: r, repeat: { times: '3', as: i }, stages: [ { name: a, fake: 'sleep 10 ok ${i}', save: { n: body } } ] }",
        "{ name: p, parallel: [ { name: b, fake: sleep 100 }, { name: c, fake: 'sleep 100 ok 7', save: { m: body } } ] }",
    ]);
    let own = "        expect: [session.n == 2, session.m == 7]\n";
    let expect = Expect {
        millis: 130,
        ..PASSED
    };
    check("groups", &stream("", &during, own, ""), &expect);
}

#[test]
fn a_failure_cuts_the_stream_and_is_the_only_cause() {
    let during = stages(&[
        "{ name: a, fake: sleep 100 refused }",
        "{ name: b, fake: ok }",
    ]);
    let failed = Expect {
        errors: &["a refused", "s cancelled"],
        findings: &["refused"],
        millis: 100,
        ..FAILED
    };
    let text = stream("for: 9s", &during, "", "");
    check("cut", &text, &failed);
    let again = "        retry: { attempts: 3, on: [refused, cancelled] }\n";
    check(
        "never again",
        &stream("for: 9s", &during, again, ""),
        &failed,
    );
    let polled = "        until: 'true'\n";
    check("no poll", &stream("for: 9s", &during, polled, ""), &failed);
    let within = format!(
        "    stages:\n      - name: g\n        repeat: {{ times: '1' }}\n        stages:\n{}",
        text.replace("    stages:\n", "")
            .replace("\n  ", "\n      ")
            .replacen("      - name", "          - name", 1)
    );
    check("in a group", &within, &failed);
}

#[tokio::test(start_paused = true)]
async fn the_session_fails_with_what_the_stage_beside_it_failed_with() {
    let during = stages(&["{ name: a, fake: refused }"]);
    let kit = Kit::new(&plan_of("once", &stream("for: 9s", &during, "", "")));
    let end = kit.session(CancellationToken::new()).await;
    let error = end.error.expect("a failure");
    assert!(error.starts_with("refused: "), "{error}");
}

#[test]
fn failures_that_the_plan_goes_on_after() {
    let inner = stages(&[
        "{ name: a, fake: refused, on_failure: continue }",
        "{ name: b, fake: sleep 50 }",
    ]);
    let expect = Expect {
        errors: &["a refused"],
        findings: &["refused"],
        millis: 50,
        ..FAILED
    };
    check("of a stage beside", &stream("", &inner, "", ""), &expect);
    let fails = stages(&["{ name: a, fake: refused }"]);
    let own = "        on_failure: continue\n";
    let after = "      - { name: z, fake: sleep 70 }\n";
    let expect = Expect {
        errors: &["a refused", "s cancelled"],
        findings: &["refused"],
        millis: 70,
        ..FAILED
    };
    check(
        "of the stream",
        &stream("for: 9s", &fails, own, after),
        &expect,
    );
}

#[test]
fn what_has_not_run_when_the_stream_is_over_is_cut_and_told() {
    let during = stages(&[
        "{ name: a, fake: 'ok 5', save: { n: body } }",
        "{ name: b, fake: hang }",
        "{ name: c, fake: ok }",
    ]);
    let own = "        expect: [session.n == 5]\n";
    let expect = Expect {
        errors: &["b cancelled"],
        findings: &["during_cut"],
        millis: 100,
        ..PASSED
    };
    check("cut", &stream("for: 100ms", &during, own, ""), &expect);
    let broken = Expect {
        errors: &["b cancelled", "s reset"],
        findings: &["reset"],
        millis: 100,
        ..FAILED
    };
    check(
        "broken",
        &stream("for: 100ms\n          fails: reset", &during, "", ""),
        &broken,
    );
    let slow = Expect {
        errors: &["b cancelled", "s timeout"],
        findings: &["timeout"],
        millis: 80,
        ..FAILED
    };
    check(
        "late",
        &stream("for: 9s", &during, "        timeout: 80ms\n", ""),
        &slow,
    );
}

#[tokio::test(start_paused = true)]
async fn the_finding_says_what_was_cut() {
    let of = async |during: &[&str]| {
        let text = stream("for: 100ms", &stages(during), "", "");
        let kit = Kit::new(&plan_of("once", &text));
        kit.session(CancellationToken::new()).await;
        kit.cut().delta.findings[0].message.clone()
    };
    let (hang, ok) = ("{ name: a, fake: hang }", "{ name: b, fake: ok }");
    assert!(of(&[hang]).await.contains("had run: `a` was cut ("));
    assert!(
        of(&[hang, ok])
            .await
            .contains("`a` was cut, and 1 more never began")
    );
}

#[test]
fn a_stream_that_is_tried_again_begins_them_again() {
    let during = stages(&["{ name: a, fake: 'refused; ok', on_failure: continue }"]);
    let text = stream(
        "for: 50ms\n          fails: reset",
        &during,
        "        retry: { attempts: 2, backoff: 1ms }\n",
        "",
    );
    let expect = Expect {
        errors: &["a refused", "s reset"],
        findings: &["refused", "reset"],
        retries: 1,
        millis: 101,
        ..FAILED
    };
    check("again", &text, &expect);
}

#[tokio::test(start_paused = true)]
async fn a_stop_cuts_both() {
    let during = stages(&["{ name: a, fake: hang }"]);
    let kit = Kit::new(&plan_of("once", &stream("for: 9s", &during, "", "")));
    let stop = CancellationToken::new();
    let stopping = async {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        stop.cancel();
    };
    let (end, ()) = tokio::join!(kit.session(stop.clone()), stopping);
    assert_eq!(end.ending, Ending::Interrupted);
    let measured = kit.cut();
    assert_eq!(measured.errors(), ["a cancelled", "s cancelled"]);
    assert!(measured.findings().is_empty());
}
