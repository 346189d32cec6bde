//! Streams: first messages, gaps and stalls are those of the server's script.

use std::time::Duration;

use anyhow::Result;
use testmesh_e2e::{
    Cli, Expected,
    calibration::{Answers, Emission, Streams, Then, Yardstick, loop_lateness, reading},
};

use crate::plan;

const FIRST: f64 = 0.08;
const GAP: f64 = 0.02;
const STALL: f64 = 1.5;
/// Messages before the stall, and as many after it.
const HALF: u32 = 40;
const STREAMS: f64 = 12.0;
const SILENCES: f64 = 8.0;
/// How far a median may be from the script on a quiet machine.
const MEDIAN: f64 = 0.001;
const BUCKET: f64 = 0.001;

/// The first message, a steady flow, a stall, and the same flow again.
fn script() -> Emission {
    let before = (0..HALF).map(|number| FIRST + f64::from(number) * GAP);
    let resumes = FIRST + f64::from(HALF - 1) * GAP + STALL;
    let after = (0..HALF).map(|number| resumes + f64::from(number) * GAP);
    Emission {
        at: before.chain(after).map(Duration::from_secs_f64).collect(),
        then: Then::End,
    }
}

fn silence() -> Emission {
    Emission {
        at: (1..=5)
            .map(|number| Duration::from_millis(number * 100))
            .collect(),
        then: Then::Silence,
    }
}

#[tokio::test]
async fn alone_gaps_and_stalls_are_those_of_the_script() -> Result<()> {
    let (server, silent) = (Streams::timed(script())?, Streams::timed(silence())?);
    let yardstick = Yardstick::start(Answers::start()?.address())?;
    let run = Cli::run(&plan("streams.yaml"))
        .var("server", &server.url())
        .var("silent", &silent.url());
    let outcome = run.finish().await?;
    let widened = yardstick.stop()? + server.lateness() + loop_lateness(&outcome);
    Expected::passed().check(&outcome);
    let read = |metric, scenario| {
        reading(
            &outcome,
            metric,
            &[("scenario", scenario), ("stage", "stream")],
        )
    };
    let near = |what: &str, measured: f64, scripted: f64| {
        let bound = MEDIAN + scripted * BUCKET + widened;
        assert!(
            (measured - scripted).abs() < bound,
            "{what} is {measured}, scripted {scripted}, widened by {widened}"
        );
    };
    let messages = f64::from(2 * HALF);

    let first = read("stream_first_message", "scripted");
    assert_eq!(first.get("count"), STREAMS);
    assert!(first.get("min") >= FIRST, "{first:?}");
    near("half of the first messages", first.get("p50"), FIRST);

    let gaps = read("stream_gap", "scripted");
    assert_eq!(gaps.get("count"), STREAMS * (messages - 1.0));
    near("half of the gaps", gaps.get("p50"), GAP);
    near(
        "the mean gap",
        gaps.get("mean"),
        ((messages - 2.0) * GAP + STALL) / (messages - 1.0),
    );

    let stalls = read("stream_stall", "scripted");
    assert_eq!(
        stalls.get("count"),
        STREAMS,
        "one in each stream: {stalls:?}"
    );
    near("half of the stalls", stalls.get("p50"), STALL);
    assert_eq!(stalls.get("max"), gaps.get("max"), "a stall is a gap");

    let duration = read("stream_duration", "scripted");
    let scripted = (messages - 2.0) * GAP + STALL;
    assert_eq!(duration.get("count"), STREAMS);
    near("half of the streams", duration.get("p50"), scripted);
    assert_eq!(
        read("stream_messages", "scripted").get("count"),
        STREAMS * messages
    );

    // Still waited for when it was stopped: a stall, of 2 s less the four gaps between five messages.
    let stalls = read("stream_stall", "silent");
    assert_eq!(stalls.get("count"), SILENCES, "{stalls:?}");
    near("half of the silences", stalls.get("p50"), 1.6);
    Ok(())
}
