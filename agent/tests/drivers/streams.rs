//! `grpc` streams: when they are enough, what is watched in their messages, and what goes on beside them.

use std::cell::Cell;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use h2::Reason;
use testmesh_agent::driver::{During, Results, StageError};
use testmesh_shared::plan::ErrorKind;
use testmesh_shared::plan::expr::Scope;
use tokio::time::Instant;

use crate::grpc::{SENT, row};
use crate::harness::{Bench, scope};
use crate::servers::{self, Act, Grpc, Seen};

fn bench(server: &Grpc, call: &str, stage: &str) -> Bench {
    let stages = format!(
        "- name: rows\n  grpc: {{ target: a, address: '{}', call: t.S/Rows{call} }}\n  expect: [stream.messages >= 0]\n  stall: 40ms\n{stage}",
        server.address
    );
    Bench::new("a: { grpc: { protos: [protos/t.proto] } }", &stages)
}

/// With a stage beside the stream, which is called `act` and saves `x`.
fn beside(server: &Grpc, call: &str) -> Bench {
    let during = "during: [ { name: act, wait: { for: 1s }, save: { x: '1' } } ]";
    bench(server, &format!(", {during}{call}"), "")
}

const fn pause(millis: u64) -> Act {
    Act::Pause(Duration::from_millis(millis))
}

fn messages(results: &Results) -> u64 {
    results.stream.as_ref().expect("a stream").messages
}

/// What a run came to: messages, or kind and code of its failure.
fn outcome(
    result: Result<Results, StageError>,
) -> Result<u64, (&'static str, Option<&'static str>)> {
    match result {
        Ok(results) => match &results.failure {
            None => Ok(messages(&results)),
            Some(failure) => Err((failure.kind.as_str(), failure.code)),
        },
        Err(error) => Err((error.kind.as_str(), error.code)),
    }
}

/// Waits until the server sees its call cancelled.
async fn cancelled(server: &mut Grpc) {
    let seen = async {
        while !matches!(
            server.seen.recv().await,
            Some(Seen::Cancelled(Reason::CANCEL))
        ) {}
    };
    let waited = tokio::time::timeout(Duration::from_millis(500), seen).await;
    waited.expect("the server sees the call cancelled");
}

fn is_about(took: Duration, millis: u64) -> bool {
    let expected = Duration::from_millis(millis);
    took >= expected.saturating_sub(Duration::from_millis(5))
        && took < expected + Duration::from_millis(150)
}

#[tokio::test]
async fn a_stream_may_end_when_it_falls_silent() {
    let script = || vec![row(0), row(1), pause(30), row(2), Act::Hang];
    let server = servers::grpc(script()).await;
    let silent = bench(&server, ", stop: { idle: 100ms }", "");
    let results = silent.run("rows").await.expect("stops");
    assert_eq!(messages(&results), 3);
    let took = results.stream.expect("a stream").duration;
    assert!(is_about(took, 130), "{took:?}");
    assert!(
        silent.meter.stalls.borrow().is_empty(),
        "silence was asked for"
    );
    let waiting = bench(&server, ", stop: { for: 130ms }", "");
    waiting.run("rows").await.expect("stops");
    assert_eq!(
        waiting.meter.stalls.borrow().len(),
        1,
        "and here it was not"
    );
}

#[tokio::test]
async fn a_server_that_ends_before_the_silence_has_ended_early() {
    let server = servers::grpc(vec![row(0), Act::Status(0, "")]).await;
    let run = async |call: &str| outcome(bench(&server, call, "").run("rows").await);
    let early = Err(("protocol", Some("ended_early")));
    assert_eq!(run(", stop: { idle: 1s }").await, early);
    assert_eq!(run(", stop: { idle: 1s }, end: [ok]").await, Ok(1));
    assert_eq!(
        run(", stop: { when: 'message.number[0] == 7' }").await,
        early
    );
    assert_eq!(
        run(", stop: { when: 'message.number[0] == 7' }, end: [ok]").await,
        Ok(1)
    );
}

#[tokio::test]
async fn silence_may_be_longer_than_streams_are_otherwise_allowed() {
    let mut server = servers::grpc(vec![row(0), row(1), Act::Hang]).await;
    let bench = bench(&server, ", stop: { idle: 10m }", "");
    let run = bench.run("rows");
    let paused = async {
        server.seen.recv().await;
        while bench.meter.messages.get() < 2 {
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
    };
    let (result, ()) = tokio::join!(run, paused);
    let took = result.expect("stops").stream.expect("a stream").duration;
    assert!(took >= Duration::from_secs(600), "{took:?}");
}

#[tokio::test]
async fn a_stream_is_enough_when_a_message_says_so() {
    let script = (0..6).map(row).chain([Act::Hang]).collect();
    let mut server = servers::grpc(script).await;
    let cases = [
        ("message.number[0] == 3", Ok(4)),
        ("message.number == [2]", Ok(3)),
        (
            "stream.messages == 2 && stream.rows == 2 && stream.bytes == 4",
            Ok(2),
        ),
        ("stream.last.number[0] == stream.first.number[0] + 4", Ok(5)),
        ("stream.duration >= 0.0", Ok(1)),
        ("message.number[0] >= session.index - 2", Ok(6)),
        (
            "message.key[0] == 1",
            Err(("expectation", Some("template"))),
        ),
        ("message.number", Err(("expectation", Some("template")))),
    ];
    for (when, expected) in cases {
        let bench = bench(&server, &format!(", stop: {{ when: '{when}' }}"), "");
        assert_eq!(outcome(bench.run("rows").await), expected, "{when}");
        assert_eq!(bench.meter.open.get(), 0, "{when}");
        cancelled(&mut server).await;
    }
}

#[tokio::test]
async fn messages_are_read_by_expressions_and_checked_all_the_same() {
    let script = (0..6).map(row).chain([Act::Hang]).collect();
    let server = servers::grpc(script).await;
    let integrity = "  integrity: { sequence: number }";
    let bench = bench(
        &server,
        ", stop: { when: 'message.number[0] == 4' }",
        integrity,
    );
    assert_eq!(outcome(bench.run("rows").await), Ok(5));
    assert_eq!(bench.meter.counts.borrow().verified, 5);
}

#[tokio::test]
async fn the_time_until_something_is_true_is_taken_once() {
    let script = vec![
        row(0),
        pause(80),
        row(1),
        pause(80),
        row(2),
        row(1),
        SENT,
        Act::Status(0, ""),
    ];
    let server = servers::grpc(script).await;
    let watch = ", watch: { one: 'message.number[0] == 1', more: 'message.number[0] >= 1 && stream.messages > 2', never: 'message.number[0] == 9' }";
    let bench = bench(&server, watch, "");
    assert_eq!(outcome(bench.run("rows").await), Ok(4));
    let watched = bench.meter.watched.borrow();
    let [(one, early), (more, late)] = &watched[..] else {
        panic!("{watched:?}")
    };
    assert_eq!((one.as_str(), more.as_str()), ("one", "more"));
    assert!(is_about(*early, 80) && is_about(*late, 160), "{watched:?}");
}

#[tokio::test]
async fn an_expression_that_is_watched_and_has_no_value_is_an_error() {
    let server = servers::grpc(vec![row(0), Act::Hang]).await;
    let bench = bench(&server, ", watch: { broken: 'message.key[0] == 1' }", "");
    let error = bench.run("rows").await.expect_err("no value");
    assert_eq!(
        (error.kind, error.code),
        (ErrorKind::Expectation, Some("template"))
    );
    assert!(
        error.message.starts_with("watch.broken: "),
        "{}",
        error.message
    );
}

/// Stages beside a stream, as far as a driver sees them: one, `act`.
#[derive(Debug, Default)]
struct Acts {
    lasts: Duration,
    fails: bool,
    began: Cell<Option<Instant>>,
    over: Cell<bool>,
    cut: Cell<bool>,
}

impl Acts {
    fn lasting(millis: u64) -> Self {
        Self {
            lasts: Duration::from_millis(millis),
            ..Self::default()
        }
    }
}

struct Cut<'a>(&'a Acts);

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        self.0.cut.set(!self.0.over.get());
    }
}

impl During for Acts {
    fn run(&self) -> LocalBoxFuture<'_, Result<(), StageError>> {
        async move {
            assert!(
                self.began.replace(Some(Instant::now())).is_none(),
                "begins once"
            );
            let _cut = Cut(self);
            tokio::time::sleep(self.lasts).await;
            self.over.set(true);
            if self.fails {
                return Err(StageError::new(ErrorKind::Cancelled, "a stage failed"));
            }
            Ok(())
        }
        .boxed_local()
    }

    fn is_over(&self) -> bool {
        self.over.get()
    }

    fn began(&self, stage: &str) -> Option<Instant> {
        assert_eq!(stage, "act");
        self.began.get()
    }

    fn bind(&self, layer: &mut Scope<'_>) {
        if self.over.get() {
            layer.set_field("session", "x", 2_i64);
        }
    }
}

#[tokio::test]
async fn stages_beside_a_stream_begin_with_its_first_message() {
    let server = servers::grpc(vec![pause(80), row(0), pause(20), row(1), Act::Hang]).await;
    let bench = beside(&server, ", stop: { after: during }");
    let acts = Acts::lasting(100);
    let asked = Instant::now();
    let results = bench.run_beside("rows", &scope(), Some(&acts)).await;
    assert_eq!(outcome(results), Ok(2), "the stream is read meanwhile");
    let began = acts.began.get().expect("began") - asked;
    assert!(is_about(began, 80), "{began:?}");
    assert!(acts.over.get() && is_about(asked.elapsed(), 180));
    let nothing = servers::grpc(vec![Act::Status(0, "")]).await;
    let never = Acts::lasting(0);
    let bench = beside(&nothing, "");
    let results = bench.run_beside("rows", &scope(), Some(&never)).await;
    assert_eq!((outcome(results), never.began.get()), (Ok(0), None));
}

#[tokio::test]
async fn a_stream_may_wait_for_both_in_whichever_order() {
    let script = vec![row(0), pause(30), row(1), pause(200), row(2), Act::Hang];
    let server = servers::grpc(script).await;
    let run = async |stop: &str, lasts: u64| {
        let bench = beside(&server, &format!(", stop: {{ {stop}, after: during }}"));
        let acts = Acts::lasting(lasts);
        let results = bench.run_beside("rows", &scope(), Some(&acts)).await;
        assert!(acts.over.get(), "{stop}");
        let took = results
            .as_ref()
            .expect("stops")
            .stream
            .as_ref()
            .expect("a stream")
            .duration;
        (outcome(results), took)
    };
    let when = |number| format!("when: 'message.number[0] == {number}'");
    let cases = [
        ("messages: 2", 70, Ok(2), 70),
        ("messages: 3", 10, Ok(3), 230),
        (&when(1), 70, Ok(2), 70),
        (&when(2), 10, Ok(3), 230),
        ("for: 50ms", 80, Ok(2), 80),
        ("for: 80ms", 20, Ok(2), 80),
        ("idle: 20ms", 70, Ok(2), 70),
        ("idle: 60ms", 1, Ok(2), 90),
    ];
    for (stop, lasts, messages, millis) in cases {
        let (found, took) = run(stop, lasts).await;
        assert_eq!(found, messages, "{stop}, {lasts}");
        // The third row bounds it from above.
        let least = Duration::from_millis(millis - 5);
        assert!(took >= least, "{stop}, {lasts}: {took:?}");
    }
}

#[tokio::test]
async fn a_stream_that_is_enough_before_cuts_them() {
    let mut server = servers::grpc(vec![row(0), pause(50), row(1), Act::Hang]).await;
    let bench = beside(&server, ", stop: { messages: 2 }");
    let acts = Acts::lasting(10_000);
    let results = bench.run_beside("rows", &scope(), Some(&acts)).await;
    assert_eq!((outcome(results), acts.cut.get()), (Ok(2), true));
    cancelled(&mut server).await;
}

#[tokio::test]
async fn a_stream_that_ends_before_they_have_run_has_ended_early() {
    let server = servers::grpc(vec![row(0), SENT, Act::Status(0, "")]).await;
    let run = async |call: &str| {
        let acts = Acts::lasting(10_000);
        let bench = beside(&server, call);
        let results = bench.run_beside("rows", &scope(), Some(&acts)).await;
        assert!(acts.cut.get() && bench.meter.open.get() == 0);
        outcome(results)
    };
    assert_eq!(
        run(", stop: { after: during }").await,
        Err(("protocol", Some("ended_early")))
    );
    assert_eq!(run(", stop: { after: during }, end: [ok]").await, Ok(1));
    assert_eq!(run("").await, Ok(1));
}

#[tokio::test]
async fn a_failure_beside_a_stream_cancels_it_at_the_server() {
    let mut server = servers::grpc(vec![row(0), row(1), Act::Hang]).await;
    let bench = beside(&server, ", stop: { for: 10s }");
    let acts = Acts {
        fails: true,
        ..Acts::lasting(50)
    };
    let error = bench.run_beside("rows", &scope(), Some(&acts)).await;
    assert_eq!(error.expect_err("cut").message, "a stage failed");
    cancelled(&mut server).await;
    let meter = &bench.meter;
    assert_eq!(
        (
            meter.open.get(),
            meter.messages.get(),
            meter.durations.get()
        ),
        (0, 2, 1)
    );
}

#[tokio::test]
async fn the_time_since_a_stage_began_is_taken_and_what_it_saves_is_waited_for() {
    let script = vec![
        pause(60),
        row(2),
        pause(40),
        row(2),
        pause(80),
        row(2),
        Act::Hang,
    ];
    let server = servers::grpc(script).await;
    let watch = ", watch: { act: { expr: 'message.number[0] == 2', since: act }, call: 'message.number[0] == session.x' }, stop: { when: 'message.number[0] == session.x' }";
    let bench = beside(&server, watch);
    let acts = Acts::lasting(90);
    let results = bench.run_beside("rows", &scope(), Some(&acts)).await;
    assert_eq!(
        outcome(results),
        Ok(3),
        "`x` is there with the third message"
    );
    let watched = bench.meter.watched.borrow();
    let [(act, since), (call, all)] = &watched[..] else {
        panic!("{watched:?}")
    };
    assert_eq!((act.as_str(), call.as_str()), ("act", "call"));
    assert!(is_about(*since, 40) && is_about(*all, 180), "{watched:?}");
}

#[tokio::test]
async fn what_nobody_saves_any_more_is_an_error() {
    let script = vec![row(2), pause(60), row(2), Act::Hang];
    let server = servers::grpc(script).await;
    let bench = beside(
        &server,
        ", stop: { when: 'message.number[0] == session.x' }",
    );
    #[derive(Debug)]
    struct Nothing(Acts);
    impl During for Nothing {
        fn run(&self) -> LocalBoxFuture<'_, Result<(), StageError>> {
            self.0.run()
        }
        fn is_over(&self) -> bool {
            self.0.is_over()
        }
        fn began(&self, stage: &str) -> Option<Instant> {
            self.0.began(stage)
        }
        fn bind(&self, _: &mut Scope<'_>) {}
    }
    let nothing = Nothing(Acts::lasting(0));
    let results = bench.run_beside("rows", &scope(), Some(&nothing)).await;
    assert_eq!(outcome(results), Err(("expectation", Some("template"))));
}

#[tokio::test]
async fn how_a_stream_may_end_follows_from_what_was_saved_beside_it() {
    let server = servers::grpc(vec![row(0), pause(50), row(1), SENT, Act::Status(0, "")]).await;
    let end = ", stop: { for: 10s }, end: [ { status: ok, when: 'stream.messages == session.x' } ]";
    let bench = beside(&server, end);
    let acts = Acts::lasting(10);
    let results = bench.run_beside("rows", &scope(), Some(&acts)).await;
    assert_eq!(outcome(results), Ok(2));
}
