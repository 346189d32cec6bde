//! What the tests of the page do with it in a browser.

use std::fmt::Write as _;

use serde_json::{Value, json};
use testmesh_testbed::FIXED_START;
use xxhash_rust::xxh3::xxh3_64;

use crate::chromium::Chromium;
use crate::kit::Bed;

/// Twelve seconds of recordings at ten lines a second, and the body that the page sends for them.
pub(crate) fn playback() -> (String, Value) {
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

pub(crate) async fn see(bed: &Bed, browser: &mut Chromium, query: &str) {
    browser
        .open(&format!("{}/panda?{query}", bed.testbed.url()))
        .await;
}

pub(crate) async fn until_state(browser: &mut Chromium, state: &str) {
    browser
        .until(&format!(
            "document.getElementById('state').dataset.state === '{state}'"
        ))
        .await;
}

pub(crate) async fn until_error(browser: &mut Chromium, code: &str) {
    let shown = format!(
        "document.getElementById('error').dataset.code === '{code}' && !document.getElementById('error').hidden"
    );
    browser.until(&shown).await;
}

pub(crate) async fn text(browser: &mut Chromium, id: &str) -> String {
    let text = browser
        .eval(&format!("document.getElementById('{id}').textContent"))
        .await;
    text.as_str().unwrap().to_owned()
}

pub(crate) async fn click(browser: &mut Chromium, id: &str) {
    browser
        .eval(&format!("document.getElementById('{id}').click()"))
        .await;
}

pub(crate) async fn fill(browser: &mut Chromium, id: &str, value: &str) {
    browser
        .eval(&format!(
            "document.getElementById('{id}').value = '{value}'"
        ))
        .await;
}

pub(crate) async fn set(bed: &Bed, behaviors: &[&str]) {
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
pub(crate) async fn manifest(bed: &Bed, body: &Value) -> (Vec<Value>, String) {
    let (mut rows, mut lines) = (Vec::new(), String::new());
    for stream in 0..3 {
        let (status, list) = bed
            .post(&format!("/_testbed/rows?stream={stream}"), body)
            .await;
        assert_eq!(status, 200, "{list}");
        for (row, entry) in list.as_array().unwrap().iter().enumerate() {
            let (key, digest) = (&entry["key"], entry["digest"].as_str().unwrap());
            rows.push(json!({ "stream": stream, "key": key, "row": row, "digest": digest }));
            writeln!(lines, "{key} {digest}").unwrap();
        }
    }
    (rows, format!("{:016x}", xxh3_64(lines.as_bytes())))
}

pub(crate) async fn drawn(browser: &mut Chromium) -> Vec<Value> {
    let sorted = "panda.rows.slice().sort((a, b) => a.stream - b.stream || a.key - b.key)";
    browser.eval(sorted).await.as_array().unwrap().clone()
}
