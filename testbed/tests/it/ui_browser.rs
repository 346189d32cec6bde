//! The page in a real browser: what it draws is what was sent.

use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use prost::Message as _;
use serde_json::json;
use testmesh_shared::shutdown::{Shutdown, Tasks};
use testmesh_testbed::FIXED_START;
use testmesh_testbed::pandadatastream::DataStream;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use xxhash_rust::xxh3::xxh3_64;

use crate::chromium::Chromium;
use crate::foreign::Rabbit;
use crate::kit::{Bed, PATIENCE};
use crate::ui_kit::{click, drawn, fill, manifest, playback, see, set, text, until_state};

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
            fill.map_or_else(|| "(index * 167 + (index >> 8) * 59 + 0xA5) % 256".to_owned(), |fill: u8| fill.to_string()),
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
async fn the_streams_of_a_playback_longer_than_the_picture_keep_together() {
    let Some(mut browser) = Chromium::start().await else {
        return;
    };
    let bed = Bed::quick().await;
    let query = format!(
        "run=1&view=historic&start={}&end={}&duration=4&lines=40",
        FIXED_START,
        FIXED_START + 100
    );
    see(&bed, &mut browser, &query).await;
    until_state(&mut browser, "ended").await;
    assert_eq!(text(&mut browser, "rows-drawn").await, "3000");
    // Every stream's block has its last rows in the picture, down to the last line.
    let colours = "new Promise((shown) => setTimeout(() => requestAnimationFrame(shown), 100)).then(() => [1, 3, 5].map((sixth) => {
        const canvas = document.getElementById('spectrogram');
        const { data } = canvas.getContext('2d').getImageData((canvas.width * sixth) / 6 - 60, canvas.height - 90, 120, 40);
        return new Set(new Uint32Array(data.buffer)).size; }))";
    let colours = browser.eval(colours).await;
    for stream in 0..3 {
        assert!(colours[stream].as_u64().unwrap() > 10, "{colours}");
    }
    browser.close().await;
}

#[tokio::test]
async fn a_region_that_a_command_moves_is_followed() {
    let Some(mut browser) = Chromium::start().await else {
        return;
    };
    let Some(rabbit) = Rabbit::fresh("page").await else {
        return;
    };
    let bed = Bed::start(rabbit.config()).await;
    see(&bed, &mut browser, "run=1&duration=4").await;
    until_state(&mut browser, "streaming").await;
    let region = json!({ "start": 21, "end": 80 });
    let command = json!({ "type": "RegionOfInterestCommand", "value": region });
    let commands = rabbit.client().await;
    commands.send("baby_analyzer.commands.roi", &command).await;
    let followed = "panda.job.streams[0].first === 21 && panda.job.streams[2].last === 80";
    browser.until(followed).await;
    let shown = "['roi-from', 'roi-to'].map((id) => document.getElementById(id).value)";
    assert_eq!(browser.eval(shown).await, json!(["21", "80"]));
    // It is the same job, and its rows go on.
    assert_eq!(text(&mut browser, "job-id").await, "0-1");
    let before = text(&mut browser, "rows-drawn").await;
    let more = format!("Number(document.getElementById('rows-drawn').textContent) > {before} + 60");
    browser.until(&more).await;
    assert_eq!(text(&mut browser, "rows-lost").await, "0");
    assert_eq!(browser.eval("panda.state").await, "streaming");
    browser.close().await;
    bed.testbed.shutdown().await.unwrap();
    rabbit.remove().await;
}

#[tokio::test]
async fn every_view_is_accepted_and_drawn() {
    let Some(mut browser) = Chromium::start().await else {
        return;
    };
    let bed = Bed::quick().await;
    let range = format!("start={}&end={}", FIXED_START, FIXED_START + 6);
    for (query, state, streams) in [
        (
            "view=single&channels_from=7&nfft=65536".to_owned(),
            "streaming",
            1,
        ),
        (format!("view=single&channels_from=7&{range}"), "ended", 1),
        (
            "view=waterfall&scale=logarithmic".to_owned(),
            "streaming",
            3,
        ),
        (format!("view=waterfall&{range}&colormap=jet"), "ended", 3),
        ("channels_from=5&channels_to=6".to_owned(), "streaming", 2),
        (
            "channels_from=1&channels_to=2222&duration=100".to_owned(),
            "streaming",
            3,
        ),
    ] {
        see(&bed, &mut browser, &format!("run=1&{query}")).await;
        until_state(&mut browser, state).await;
        assert_eq!(
            browser.eval("panda.job.streams.length").await,
            streams,
            "{query}"
        );
        assert!(
            browser.eval("panda.rows.length > 0").await == true,
            "{query}"
        );
    }
    assert_eq!(browser.complaints, Vec::<String>::new());
    browser.close().await;
}

#[tokio::test]
async fn rows_are_read_as_protobuf_writes_them_and_a_part_of_one_is_refused() {
    let Some(mut browser) = Chromium::start().await else {
        return;
    };
    let bed = Bed::quick().await;
    see(&bed, &mut browser, "").await;
    let row = DataStream {
        start_channel: 18,
        end_channel: 34,
        timestamp_in_milis: vec![1_790_000_000_150, -5],
        row_index: vec![i32::MAX, -1],
        data_shape_x: 4_352,
        data_shape_y: 2,
        global_maximum: 350.5,
        global_minimum: -0.25,
        main_data: vec![vec![1, 2, 255], vec![9]],
        job_id: Some(-7),
        data_shape_z: Some(3),
    };
    let mut bytes = row.encode_to_vec();
    // Field 15 of a later version, and a time that is not packed.
    bytes.extend([0x7a, 2, 0, 0, 0x18, 9]);
    let read = "(bytes) => { const row = it.decode(Uint8Array.from(bytes).buffer); return { ...row, data: [...row.data] }; }";
    let expression = format!("import('/panda/row.js').then((it) => ({read})({bytes:?}))");
    let got = browser.eval(&expression).await;
    let wanted = json!({
        "startChannel": 18, "endChannel": 34, "times": [1_790_000_000_150_i64, -5, 9], "indexes": [i32::MAX, -1],
        "shapeX": 4_352, "shapeY": 2, "shapeZ": 3, "maximum": 350.5, "minimum": -0.25, "data": [1, 2, 255],
    });
    assert_eq!(got, wanted);
    let parts = format!(
        "import('/panda/row.js').then((it) => {bytes:?}.map((_, length) => {{
            try {{ it.decode(Uint8Array.from({bytes:?}.slice(0, length)).buffer); return 'read'; }}
            catch (error) {{ return error.constructor.name; }} }}))"
    );
    let outcomes = browser.eval(&parts).await;
    let outcomes = outcomes.as_array().unwrap();
    let refused = outcomes.iter().filter(|one| **one == "RangeError").count();
    let read = outcomes.iter().filter(|one| **one == "read").count();
    assert_eq!(refused + read, bytes.len(), "{outcomes:?}");
    assert!(refused > 30 && read > 5, "{outcomes:?}");
    browser.close().await;
}
