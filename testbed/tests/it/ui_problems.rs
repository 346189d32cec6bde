//! The page in a real browser: what goes wrong is said in plain words, and tried again.

use serde_json::json;
use testmesh_testbed::{Behavior, Config};

use crate::chromium::Chromium;
use crate::kit::Bed;
use crate::ui_kit::{click, manifest, playback, see, set, text, until_error, until_state};

/// Queries, the field that is wrong, and what is said beside it.
const INVALID: &[(&str, &str, &str)] = &[
    (
        "frequency_to=1500",
        "frequency-to",
        "Frequency must be at most 1000 Hz.",
    ),
    (
        "frequency_to=2000",
        "frequency-to",
        "Frequency must be at most 1000 Hz.",
    ),
    (
        "nfft=1000",
        "nfft",
        "NFFT must be a power of two: 256, 512, 1024, 2048.",
    ),
    (
        "nfft=128",
        "nfft",
        "NFFT must be a power of two: 256, 512, 1024, 2048.",
    ),
    (
        "view=single&nfft=500",
        "nfft",
        "NFFT must be a power of two: 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536.",
    ),
    (
        "channels_from=100&channels_to=50",
        "channels-to",
        "Channels are reversed: the last (50) must not be below the first (100).",
    ),
    (
        "channels_from=-1&channels_to=10",
        "channels-from",
        "Channels from must be at least 1.",
    ),
    (
        "channels_from=2338&channels_to=2339",
        "channels-from",
        "Channels from must be at most 2337, the last channel of this fibre.",
    ),
    (
        "channels_from=1&channels_to=2300",
        "channels-to",
        "At most 2222 channels can be shown, not 2300.",
    ),
    (
        "channels_from=ten",
        "channels-from",
        "Channels from must be a whole number.",
    ),
    ("lines=0", "lines", "Lines must be from 1 to 20000."),
    (
        "duration=",
        "duration",
        "Time axis is missing: enter a whole number.",
    ),
    (
        "view=historic",
        "start-time",
        "Start is missing: a recorded range needs both times.",
    ),
    (
        "view=historic&start=yesterday&end=1700000100",
        "start-time",
        "Start must be like 2023-11-14T22:15:00Z, or seconds since 1970.",
    ),
    (
        "view=historic&start=1700000200&end=1700000100",
        "end-time",
        "End must be after start.",
    ),
    (
        "view=historic&start=1700000000&end=1700001000",
        "end-time",
        "The range may be at most 30 time axes, 900 s; it is 1000 s.",
    ),
];

#[tokio::test]
async fn what_cannot_be_shown_is_said_in_plain_words() {
    let Some(mut browser) = Chromium::start().await else {
        return;
    };
    let bed = Bed::quick().await;
    for (query, field, said) in INVALID {
        see(&bed, &mut browser, &format!("run=1&{query}")).await;
        until_error(&mut browser, "invalid_input").await;
        let note = text(&mut browser, &format!("{field}-problem")).await;
        assert_eq!(note, *said, "{query}");
        assert!(
            text(&mut browser, "error-detail").await.contains(said),
            "{query}"
        );
        assert_eq!(
            browser.eval("document.activeElement.id").await,
            *field,
            "{query}"
        );
    }
    assert_eq!(
        bed.get("/_testbed").await.1["jobs"],
        json!([]),
        "nothing was sent"
    );
    browser.close().await;
}

#[tokio::test]
async fn what_the_server_does_not_have_is_said_and_asked_for_again() {
    let Some(mut browser) = Chromium::start().await else {
        return;
    };
    let bed = Bed::quick().await;

    see(
        &bed,
        &mut browser,
        "run=1&view=historic&start=1000000000&end=1000000060",
    )
    .await;
    until_error(&mut browser, "no_recordings").await;
    let said = text(&mut browser, "error-title").await;
    assert_eq!(
        said,
        "There are no recordings between 2001-09-09 01:46:40 UTC and 2001-09-09 01:47:40 UTC."
    );
    assert_eq!(
        browser
            .eval("document.getElementById('retry').hidden")
            .await,
        true
    );

    set(&bed, &["waiting-for-fiber"]).await;
    see(&bed, &mut browser, "run=1").await;
    until_error(&mut browser, "waiting_for_fiber").await;
    set(&bed, &[]).await;
    click(&mut browser, "retry").await;
    until_state(&mut browser, "streaming").await;
    assert_eq!(
        browser
            .eval("document.getElementById('error').hidden")
            .await,
        true
    );
    browser.close().await;
}

#[tokio::test]
async fn refusals_of_every_kind_have_their_code_and_show_no_trace() {
    let Some(mut browser) = Chromium::start().await else {
        return;
    };
    let bed = Bed::quick().await;
    see(&bed, &mut browser, "").await;
    let cases = [
        (
            503,
            json!({ "error": "MongoDB is not reachable: connection refused" }),
            "mongodb_unavailable",
        ),
        (
            503,
            json!({ "error": "RabbitMQ is not reachable" }),
            "broker_unavailable",
        ),
        (
            503,
            json!({ "error": "no free slot: 30 jobs are running, which is the limit" }),
            "no_slot",
        ),
        (
            503,
            json!({ "error": "Waiting for fiber: missing required fiber metadata fields: prr" }),
            "waiting_for_fiber",
        ),
        (503, json!("Service Unavailable"), "server_unavailable"),
        (
            500,
            json!({ "error": "Service creation failed: NodePort 12300 already allocated" }),
            "server_error",
        ),
        (
            500,
            json!({ "error": "Traceback (most recent call last):\n  File \"/app/x.py\"" }),
            "server_error",
        ),
        (502, json!("502 Bad Gateway"), "server_error"),
        (504, json!("504 Gateway Timeout"), "server_error"),
        (
            400,
            json!({ "error": "displayInfo.height must be positive, not 0" }),
            "invalid_input",
        ),
        (
            422,
            json!({ "detail": [{ "loc": ["body", "displayInfo", "height"], "msg": "Input should be greater than 0", "type": "greater_than" }] }),
            "invalid_input",
        ),
    ];
    for (status, body, code) in cases {
        let answer = json!(body.to_string());
        let problem = browser
            .eval(&format!("import('/panda/problem.js').then((it) => it.refused({status}, {answer}, {{ start_time: null }}))"))
            .await;
        assert_eq!(problem["code"], code, "{status} {body}: {problem}");
        let said = problem.to_string();
        for inside in [
            "Traceback",
            "/app",
            "displayInfo",
            "greater_than",
            "NodePort",
        ] {
            assert!(!said.contains(inside), "{said}");
        }
        assert_eq!(problem["retry"], code != "invalid_input", "{problem}");
    }
    browser.close().await;
}

#[tokio::test]
async fn streams_that_fail_are_said_and_shown_again() {
    let Some(mut browser) = Chromium::start().await else {
        return;
    };
    let bed = Bed::quick().await;
    let (query, body) = playback();
    for (behavior, code) in [
        ("early-end", "stream_ended_early"),
        ("disconnect", "stream_failed"),
    ] {
        set(&bed, &[behavior]).await;
        see(&bed, &mut browser, &query).await;
        until_error(&mut browser, code).await;
        until_state(&mut browser, "failed").await;
    }
    set(&bed, &[]).await;
    click(&mut browser, "retry").await;
    until_state(&mut browser, "ended").await;
    assert_eq!(
        text(&mut browser, "rows-digest").await,
        manifest(&bed, &body).await.1
    );

    // Never ready: the job is gone before the bridge gives up.
    set(&bed, &["never-ready"]).await;
    see(&bed, &mut browser, "run=1").await;
    until_error(&mut browser, "stream_failed").await;

    // Silent for longer than 3 lines and 2 s, and then not.
    set(&bed, &["stall:4s"]).await;
    see(&bed, &mut browser, "run=1&duration=10").await;
    until_error(&mut browser, "stream_silent").await;
    assert!(
        text(&mut browser, "error-title")
            .await
            .starts_with("No data for ")
    );
    browser
        .until("document.getElementById('error').hidden && panda.state === 'streaming'")
        .await;
    browser.close().await;
}

#[tokio::test]
async fn a_server_that_goes_and_comes_back_is_found_again() {
    let Some(mut browser) = Chromium::start().await else {
        return;
    };
    let bed = Bed::quick().await;
    let listen = bed.testbed.address();
    see(&bed, &mut browser, "run=1&duration=10").await;
    until_state(&mut browser, "streaming").await;
    let Bed { testbed, .. } = bed;
    testbed.shutdown().await.unwrap();
    until_state(&mut browser, "failed").await;
    click(&mut browser, "retry").await;
    until_error(&mut browser, "server_unavailable").await;
    let bed = Bed::start(Config {
        listen,
        ..Config::quick().behaviors(Behavior::parse_list("slow-ready:500ms").unwrap())
    })
    .await;
    click(&mut browser, "retry").await;
    until_state(&mut browser, "streaming").await;
    assert_eq!(bed.get("/_testbed").await.1["streams_open"], 3);
    browser.close().await;
}
