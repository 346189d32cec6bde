//! Calibration under paused time: what a session takes is in the histograms to the width of a bucket, and nothing else is.
//!
//! What is measured over loopback, in real time, is in `e2e/tests/calibration/`.

use std::time::Duration;

use testmesh_shared::metric::Histogram;

use super::fake::Measured;
use super::loops::play;

const MS: u64 = 1_000_000;

/// That a histogram holds these durations, and that its percentiles are above them by no more than a bucket is wide.
#[track_caller]
fn holds(measured: &Measured, metric: &str, mut scripted: Vec<u64>) {
    let trend: Histogram = measured.trend(metric);
    scripted.sort_unstable();
    let count = scripted.len();
    assert_eq!(trend.count(), count as u64, "{metric}");
    assert_eq!(trend.min_ns(), scripted.first().copied(), "{metric}");
    assert_eq!(trend.max_ns(), scripted.last().copied(), "{metric}");
    let sum: u128 = scripted.iter().copied().map(u128::from).sum();
    assert_eq!(trend.sum_ns(), sum, "{metric}");
    for percent in [1, 10, 25, 50, 75, 90, 95, 99, 100] {
        let truth = scripted[(count * percent).div_ceil(100) - 1];
        let shown = trend.percentile(percent as f64).unwrap();
        // Three significant digits; the narrowest bucket is 512 ns wide.
        let width = (truth / 1_000).max(512);
        assert!(
            (truth..=truth + width).contains(&shown),
            "{metric}: p{percent} is {shown}, not {truth}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn scripted_latencies_come_back_to_the_width_of_a_bucket() {
    let load = "{ arrivals: 100/s, for: 20s, max_sessions: 400 }";
    let rest =
        "    stages:\n      - { name: a, fake: 'sleep ${(session.index * 37) % 1999 + 1}' }\n";
    let (measured, _) = play(load, rest, &[]).await;
    let scripted: Vec<u64> = (0..2_000)
        .map(|index| (index * 37 % 1_999 + 1) * MS)
        .collect();
    for metric in [
        "stage_duration",
        "stage_attempt",
        "session_duration",
        "session_response",
    ] {
        holds(&measured, metric, scripted.clone());
    }
    holds(&measured, "schedule_lag", vec![0; 2_000]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_stands_still_a_second_is_in_the_response_of_all_who_were_to_start() {
    let load = "{ arrivals: 1000/s, for: 10s, max_sessions: 2000 }";
    let rest = "    stages:\n      - { name: a, fake: \"${session.index == 4000 ? 'jump 1000' : 'ok'}\" }\n";
    let (measured, took) = play(load, rest, &[]).await;
    assert!(took >= Duration::from_millis(9_999));
    let stood_still = |index: u64| match index {
        4_000..5_000 => (5_000 - index) * MS,
        _ => 0,
    };
    let response: Vec<u64> = (0..10_000).map(stood_still).collect();
    holds(&measured, "session_response", response);
    // The one who made it stand still started in time, and took a second; all others started late.
    let lag = (0..10_000).map(|index| {
        if index == 4_000 {
            0
        } else {
            stood_still(index)
        }
    });
    holds(&measured, "schedule_lag", lag.collect());
    let duration = (0..10_000).map(|index| if index == 4_000 { 1_000 * MS } else { 0 });
    holds(&measured, "session_duration", duration.collect());
}
