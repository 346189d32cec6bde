//! The page in a real browser: what it draws is what was sent, and what goes wrong is said.

use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use serde_json::{Value, json};
use testmesh_shared::shutdown::{Shutdown, Tasks};
use testmesh_testbed::{Behavior, Config, FIXED_START};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use xxhash_rust::xxh3::xxh3_64;

use crate::chromium::Chromium;
use crate::kit::{Bed, PATIENCE};

/// Twelve seconds of recordings at ten lines a second, and the body that the page sends for them.
fn playback() -> (String, Value) {
    let (start, end) = (FIXED_START + 100, FIXED_START + 112);
    let query = format!(
        "run=1&view=historic&start={start}&end={end}&duration=20&channels_from=1&channels_to=50&frequency_to=500"
    );
    let body = json!({
        "view_type": 0, "displayTimeAxisDuration": 20, "nfftSelection": 1024, "displayInfo": { "height": 200 },
        "channels": { "min": 1, "max": 50 }, "frequencyRange": { "min": 0, "max": 500 },
        "start_time": start, "end_time": end,
    });
    (query, body)
}

async fn see(bed: &Bed, browser: &mut Chromium, query: &str) {
    browser
        .open(&format!("{}/panda?{query}", bed.testbed.url()))
        .await;
}

async fn until_state(browser: &mut Chromium, state: &str) {
    browser
        .until(&format!(
            "document.getElementById('state').dataset.state === '{state}'"
        ))
        .await;
}

async fn until_error(browser: &mut Chromium, code: &str) {
    let shown = format!(
        "document.getElementById('error').dataset.code === '{code}' && !document.getElementById('error').hidden"
    );
    browser.until(&shown).await;
}

async fn text(browser: &mut Chromium, id: &str) -> String {
    let text = browser
        .eval(&format!("document.getElementById('{id}').textContent"))
        .await;
    text.as_str().unwrap().to_owned()
}

async fn click(browser: &mut Chromium, id: &str) {
    browser
        .eval(&format!("document.getElementById('{id}').click()"))
        .await;
}

async fn fill(browser: &mut Chromium, id: &str, value: &str) {
    browser
        .eval(&format!(
            "document.getElementById('{id}').value = '{value}'"
        ))
        .await;
}

async fn set(bed: &Bed, behaviors: &[&str]) {
    let (status, answer) = bed
        .send(
            "PUT",
            "/_testbed/behaviors",
            Some(json!({ "behaviors": behaviors }).to_string()),
        )
        .await;
    assert_eq!(status, 200, "{answer}");
}

/// The job's manifest as the page lists its rows, and the digest over it.
async fn manifest(bed: &Bed, body: &Value) -> (Vec<Value>, String) {
    let (mut rows, mut lines) = (Vec::new(), String::new());
    for stream in 0..3 {
        let (status, list) = bed
            .post(&format!("/_testbed/rows?stream={stream}"), body)
            .await;
        assert_eq!(status, 200, "{list}");
        for (row, entry) in list.as_array().unwrap().iter().enumerate() {
            let (key, digest) = (&entry["key"], entry["digest"].as_str().unwrap());
            rows.push(json!({ "stream": stream, "key": key, "row": row, "digest": digest }));
            lines += &format!("{key} {digest}\n");
        }
    }
    (rows, format!("{:016x}", xxh3_64(lines.as_bytes())))
}

async fn drawn(browser: &mut Chromium) -> Vec<Value> {
    let sorted = "panda.rows.slice().sort((a, b) => a.stream - b.stream || a.key - b.key)";
    browser.eval(sorted).await.as_array().unwrap().clone()
}

#[tokio::test]
async fn digests_in_the_browser_are_those_of_the_crate() {
    const SCRIPT: &str = "import { digest } from './xxh3.js'; window.digest = digest;";
    let Some(mut browser) = Chromium::start().await else {
        return;
    };
    let script = |text: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, "text/javascript")], text) })
    };
    let page = get(|| async {
        (
            [(header::CONTENT_TYPE, "text/html")],
            "<script type=module src=test.js></script>",
        )
    });
    let router = Router::new()
        .route("/", page)
        .route("/test.js", script(SCRIPT))
        .route("/xxh3.js", script(include_str!("../../src/ui/xxh3.js")));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let tasks = Tasks::new(Shutdown::new());
    tasks.spawn("page", async move { axum::serve(listener, router).await });
    browser.open(&url).await;
    browser.until("typeof digest === 'function'").await;

    // Every length of every branch, block borders, rows as they are sent, and bytes of all values.
    let lengths: Vec<usize> = (0..=1_100)
        .chain([2_047, 2_048, 2_049, 4_224, 8_448, 16_896, 65_537])
        .collect();
    let byte = |index: usize| u8::try_from((index * 167 + (index >> 8) * 59 + 0xA5) % 256).unwrap();
    let bytes: Vec<u8> = (0..70_000).map(byte).collect();
    for (offset, fill) in [(0, None), (3, None), (1, Some(0xFF)), (0, Some(0))] {
        let of = |length: usize| match fill {
            None => xxh3_64(&bytes[offset..offset + length]),
            Some(fill) => xxh3_64(&vec![fill; length]),
        };
        let wanted: Vec<String> = lengths
            .iter()
            .map(|length| format!("{:016x}", of(*length)))
            .collect();
        let expression = format!(
            "(() => {{ const bytes = Uint8Array.from({{ length: 70000 }}, (_, index) => {});
              return {lengths:?}.map((length) => digest(bytes.subarray({offset}, {offset} + length))); }})()",
            fill.map_or("(index * 167 + (index >> 8) * 59 + 0xA5) % 256".to_owned(), |fill: u8| fill.to_string()),
        );
        let got = browser.eval(&expression).await;
        for (place, length) in lengths.iter().enumerate() {
            assert_eq!(
                got[place], wanted[place],
                "length {length} at offset {offset}, {fill:?}"
            );
        }
    }
    tasks.shutdown().abort();
    browser.close().await;
}

#[tokio::test]
async fn a_playback_is_drawn_as_its_manifest_says_and_a_flipped_bit_is_not() {
    let Some(mut browser) = Chromium::start().await else {
        return;
    };
    let bed = Bed::quick().await;
    let (query, body) = playback();
    see(&bed, &mut browser, &query).await;
    until_state(&mut browser, "ended").await;
    let (rows, digest) = manifest(&bed, &body).await;
    assert_eq!(rows.len(), 360);
    assert_eq!(drawn(&mut browser).await, rows);
    assert_eq!(text(&mut browser, "rows-drawn").await, "360");
    assert_eq!(text(&mut browser, "rows-digest").await, digest);
    assert_eq!(text(&mut browser, "job-id").await, "0-1");
    for id in [
        "rows-lost",
        "rows-duplicate",
        "rows-reordered",
        "rows-damaged",
    ] {
        assert_eq!(text(&mut browser, id).await, "0", "{id}");
    }
    // The canvas shows many colours, not black and not one.
    let colours = "(() => { const canvas = document.getElementById('spectrogram');
        const { data } = canvas.getContext('2d').getImageData(canvas.width >> 2, 20, canvas.width >> 1, 200);
        return new Set(new Uint32Array(data.buffer)).size; })()";
    let colours = browser
        .eval(&format!(
            "new Promise(requestAnimationFrame).then(() => {colours})"
        ))
        .await;
    assert!(colours.as_u64().unwrap() > 50, "{colours} colours");
    assert_eq!(browser.complaints, Vec::<String>::new());

    set(&bed, &["flip-bit"]).await;
    see(&bed, &mut browser, &query).await;
    until_state(&mut browser, "ended").await;
    let wrong = drawn(&mut browser).await;
    let differing = wrong
        .iter()
        .zip(&rows)
        .filter(|(seen, sent)| seen != sent)
        .count();
    assert_eq!((wrong.len(), differing), (360, 3), "one row of each stream");
    assert_ne!(text(&mut browser, "rows-digest").await, digest);
    for (behavior, figure, count) in [
        ("drop-row", "rows-lost", "3"),
        ("repeat-row", "rows-duplicate", "3"),
        ("swap-rows", "rows-reordered", "3"),
        ("truncate-row", "rows-damaged", "3"),
    ] {
        set(&bed, &[behavior]).await;
        see(&bed, &mut browser, &query).await;
        until_state(&mut browser, "ended").await;
        browser
            .until(&format!(
                "document.getElementById('{figure}').textContent === '{count}'"
            ))
            .await;
    }
    browser.close().await;
}

#[tokio::test]
async fn a_live_view_runs_pauses_changes_its_region_and_stops() {
    let Some(mut browser) = Chromium::start().await else {
        return;
    };
    let bed = Bed::quick().await;
    see(
        &bed,
        &mut browser,
        "duration=4&channels_from=1&channels_to=60",
    )
    .await;
    until_state(&mut browser, "idle").await;
    click(&mut browser, "start").await;
    until_state(&mut browser, "streaming").await;
    browser
        .until("Number(document.getElementById('rows-drawn').textContent) > 60")
        .await;
    assert_eq!(bed.get("/_testbed").await.1["streams_open"], 3);

    click(&mut browser, "pause").await;
    until_state(&mut browser, "paused").await;
    let before = text(&mut browser, "rows-drawn").await;
    sleep(Duration::from_millis(700)).await;
    assert_eq!(
        text(&mut browser, "rows-drawn").await,
        before,
        "nothing is drawn in a pause"
    );
    click(&mut browser, "pause").await;
    until_state(&mut browser, "streaming").await;
    let more = format!("Number(document.getElementById('rows-drawn').textContent) > {before} + 60");
    browser.until(&more).await;
    assert_eq!(
        text(&mut browser, "rows-lost").await,
        "0",
        "a pause loses nothing"
    );

    let first = text(&mut browser, "job-id").await;
    for (id, channel) in [("roi-from", "20"), ("roi-to", "31")] {
        fill(&mut browser, id, channel).await;
    }
    click(&mut browser, "apply-roi").await;
    browser
        .until(&format!(
            "document.getElementById('job-id').textContent !== '{first}'"
        ))
        .await;
    until_state(&mut browser, "streaming").await;
    assert_eq!(browser.eval("panda.job.streams[0].first").await, 20);
    bed.until(&format!("/metadata/{first}"), 404).await;
    drag(&mut browser).await;
    browser
        .until("panda.job.streams.at(-1).last < 31 && panda.job.streams[0].first > 20")
        .await;
    until_state(&mut browser, "streaming").await;

    click(&mut browser, "stop").await;
    until_state(&mut browser, "idle").await;
    let start = Instant::now();
    while bed.get("/_testbed").await.1["jobs"] != json!([]) {
        assert!(start.elapsed() < PATIENCE, "a job is left");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(browser.complaints, Vec::<String>::new());
    browser.close().await;
}

/// Drags over the middle of the picture.
async fn drag(browser: &mut Chromium) {
    let canvas = browser
        .eval("(() => { const box = document.getElementById('spectrogram').getBoundingClientRect(); return [box.x, box.y, box.width, box.height]; })()")
        .await;
    let at = |index: usize| canvas[index].as_f64().unwrap();
    let y = at(1) + at(3) / 2.0;
    for (kind, place, buttons) in [
        ("mousePressed", 0.4, 1),
        ("mouseMoved", 0.5, 1),
        ("mouseMoved", 0.7, 1),
        ("mouseReleased", 0.7, 0),
    ] {
        let x = at(0) + at(2) * place;
        let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "buttons": buttons, "clickCount": 1 });
        browser.call("Input.dispatchMouseEvent", event).await;
    }
}

#[tokio::test]
async fn what_cannot_be_shown_is_said_in_plain_words() {
    let Some(mut browser) = Chromium::start().await else {
        return;
    };
    let bed = Bed::quick().await;
    let cases = [
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
    for (query, field, said) in cases {
        see(&bed, &mut browser, &format!("run=1&{query}")).await;
        until_error(&mut browser, "invalid_input").await;
        let note = text(&mut browser, &format!("{field}-problem")).await;
        assert_eq!(note, said, "{query}");
        assert!(
            text(&mut browser, "error-detail").await.contains(said),
            "{query}"
        );
        assert_eq!(
            browser.eval("document.activeElement.id").await,
            field,
            "{query}"
        );
    }
    assert_eq!(
        bed.get("/_testbed").await.1["jobs"],
        json!([]),
        "nothing was sent"
    );

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
