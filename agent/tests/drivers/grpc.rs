//! `grpc` against scripted servers: unary calls and server streams, their ends, their failures, and their cancellation.

use std::sync::atomic::Ordering;
use std::time::Duration;

use h2::Reason;
use prost::Message as _;
use testmesh_agent::driver::{Body, Results};
use testmesh_shared::plan::ErrorKind;

use crate::harness::Bench;
use crate::servers::{self, Act, Grpc, Raw, Seen};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Answer {
    #[prost(int64, tag = "1")]
    pub(crate) value: i64,
    #[prost(string, repeated, tag = "2")]
    pub(crate) words: Vec<String>,
    #[prost(uint64, tag = "3")]
    pub(crate) big: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Ask {
    #[prost(int32, tag = "1")]
    pub(crate) id: i32,
    #[prost(string, tag = "2")]
    pub(crate) text: String,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) raw: Vec<u8>,
    #[prost(message, optional, boxed, tag = "4")]
    pub(crate) inner: Option<Box<Ask>>,
    #[prost(int32, tag = "5")]
    pub(crate) colour: i32,
}

/// Until the rows before have been written: resetting a stream drops what waits.
pub(crate) const SENT: Act = Act::Pause(Duration::from_millis(20));

/// A row with one number.
pub(crate) fn row(number: i32) -> Act {
    Act::Message(vec![0x08, u8::try_from(number).expect("small")])
}

fn target(more: &str) -> String {
    format!("a: {{ grpc: {{ protos: [protos/t.proto]{more} }} }}")
}

fn bench(server: &Grpc, more: &str) -> Bench {
    let stages = format!(
        "- name: rows\n  grpc: {{ target: a, address: '{}', call: t.S/Rows, message: {{ id: 3 }}{more} }}\n  \
         expect: [stream.messages >= 0]",
        server.address
    );
    Bench::new(&target(", max_message: 1KiB"), &stages)
}

fn stream(results: &Results) -> &testmesh_agent::driver::StreamResults {
    results.stream.as_ref().expect("a stream")
}

#[tokio::test]
async fn a_unary_call_goes_out_and_its_answer_is_a_map() {
    let answer = Answer {
        value: -4,
        words: vec!["x".into()],
        big: u64::MAX,
    };
    let mut server = servers::grpc(vec![
        Act::Message(answer.encode_to_vec()),
        Act::Status(0, ""),
    ])
    .await;
    let stages = format!(
        r#"
- name: get
  grpc:
    target: a
    address: "http://{}/ignored"
    call: t.S/Get
    message: {{ id: "${{session.index}}", text: "hi ${{session.id}}", raw: "${{bytes('ab')}}", inner: {{ id: 2 }}, colour: RED }}
    metadata: {{ x-user: "${{secrets.token}}" }}
"#,
        server.address
    );
    let bench = Bench::new(&target(""), &stages);
    let results = bench.run("get").await.expect("answers");
    assert_eq!((results.status, results.failure.is_none()), (Some(0), true));
    assert!(
        results
            .headers
            .iter()
            .any(|(name, value)| (&**name, &**value) == ("x-server", "script"))
    );
    let Body::Message(message) = &results.body else {
        panic!("no message")
    };
    let value = message.to_value().expect("decodes");
    assert_eq!(
        value.to_json().to_string(),
        format!(r#"{{"value":-4,"words":["x"],"big":{}}}"#, u64::MAX)
    );
    let Some(Seen::Call {
        path,
        message,
        traceparent,
        metadata,
    }) = server.seen.recv().await
    else {
        panic!("no call")
    };
    assert_eq!((path.as_str(), metadata.as_str()), ("/t.S/Get", "s3cret"));
    assert!(traceparent.starts_with("00-0af7651916cd43dd"));
    let inner = Some(Box::new(Ask {
        id: 2,
        ..Ask::default()
    }));
    let asked = Ask {
        id: 7,
        text: "hi abc".into(),
        raw: b"ab".to_vec(),
        inner,
        colour: 1,
    };
    assert_eq!(Ask::decode(message).expect("decodes"), asked);
    assert_eq!(
        (bench.meter.connects.get(), bench.meter.first_bytes.get()),
        (1, 1)
    );
}

#[tokio::test]
async fn a_stream_is_stopped_measured_and_cancelled_at_the_server() {
    let script = (0..5)
        .map(row)
        .chain([Act::Pause(Duration::from_millis(30)), row(5), Act::Hang])
        .collect();
    let mut server = servers::grpc(script).await;
    let bench = bench(&server, ", stop: { messages: 6 }");
    let results = bench.run("rows").await.expect("stops");
    let stream = stream(&results);
    assert_eq!(
        (stream.messages, stream.rows, stream.bytes, stream.status),
        (6, 6, 12, None)
    );
    assert!(stream.duration >= Duration::from_millis(25));
    let Body::Message(last) = &stream.last else {
        panic!("no last message")
    };
    assert_eq!(&last.bytes()[..], [0x08, 5]);
    let meter = &bench.meter;
    assert_eq!(
        (
            meter.messages.get(),
            meter.gaps.get(),
            meter.first_messages.get()
        ),
        (6, 5, 1)
    );
    assert_eq!((meter.open.get(), meter.durations.get()), (0, 1));
    assert!(meter.stalls.borrow().is_empty());
    assert!(matches!(server.seen.recv().await, Some(Seen::Call { .. })));
    let cancelled = tokio::time::timeout(Duration::from_millis(100), server.seen.recv()).await;
    assert_eq!(
        cancelled.expect("at once"),
        Some(Seen::Cancelled(Reason::CANCEL))
    );
}

#[tokio::test]
async fn dropping_a_stage_cancels_its_call_and_keeps_what_was_measured() {
    let mut server = servers::grpc(vec![row(0), row(1), Act::Hang]).await;
    let bench = bench(&server, "");
    let cut = tokio::time::timeout(Duration::from_millis(150), bench.run("rows")).await;
    assert!(cut.is_err(), "the stream would never end");
    assert!(matches!(server.seen.recv().await, Some(Seen::Call { .. })));
    let cancelled = tokio::time::timeout(Duration::from_millis(100), server.seen.recv()).await;
    assert_eq!(
        cancelled.expect("at once"),
        Some(Seen::Cancelled(Reason::CANCEL))
    );
    assert_eq!(
        (
            bench.meter.messages.get(),
            bench.meter.open.get(),
            bench.meter.durations.get()
        ),
        (2, 0, 1)
    );
}

#[tokio::test]
async fn a_stream_for_some_time_ends_on_time_even_under_a_flood() {
    let flood = (0..100)
        .map(row)
        .cycle()
        .take(20_000)
        .chain([Act::Hang])
        .collect();
    let quiet = vec![row(0), Act::Hang];
    for script in [quiet, flood] {
        let server = servers::grpc(script).await;
        let bench = bench(&server, ", stop: { for: 80ms }");
        let results = bench.run("rows").await.expect("stops");
        let took = stream(&results).duration;
        assert!(
            (Duration::from_millis(80)..Duration::from_millis(400)).contains(&took),
            "{took:?}"
        );
    }
}

#[tokio::test]
async fn a_stream_ends_well_only_as_the_plan_says() {
    let ended = async |script: Vec<Act>, more: &str| {
        let server = servers::grpc(script).await;
        let bench = bench(&server, more);
        match bench.run("rows").await {
            Ok(results) => match results.failure {
                None => ("passed", None),
                Some(failure) => (failure.kind.as_str(), failure.code),
            },
            Err(error) => (error.kind.as_str(), error.code),
        }
    };
    let ok = || vec![row(0), Act::Status(0, "")];
    let gone = || vec![row(0), Act::Status(14, "idle")];
    let idle = || {
        vec![
            row(0),
            Act::Pause(Duration::from_millis(60)),
            Act::Status(14, "idle"),
        ]
    };
    let unavailable = ", end: [ok, { status: unavailable, after_idle: 40ms }]";
    assert_eq!(ended(ok(), "").await, ("passed", None));
    assert_eq!(ended(ok(), ", stop: end").await, ("passed", None));
    assert_eq!(
        ended(ok(), ", stop: { messages: 2 }").await,
        ("protocol", Some("ended_early"))
    );
    assert_eq!(
        ended(ok(), ", stop: { for: 10s }").await,
        ("protocol", Some("ended_early"))
    );
    assert_eq!(
        ended(ok(), ", stop: { messages: 2 }, end: [ok]").await,
        ("passed", None)
    );
    assert_eq!(
        ended(gone(), "").await,
        ("unavailable", Some("unavailable"))
    );
    assert_eq!(
        ended(gone(), unavailable).await,
        ("unavailable", Some("unavailable"))
    );
    assert_eq!(ended(idle(), unavailable).await, ("passed", None));
    assert_eq!(
        ended(ok(), ", end: [not_found]").await,
        ("protocol", Some("ended_early"))
    );
    assert_eq!(
        ended(vec![Act::Status(5, "no%20stream")], "").await,
        ("status", Some("not_found"))
    );
    assert_eq!(
        ended(vec![Act::Status(4, "")], "").await,
        ("timeout", Some("deadline_exceeded"))
    );
}

#[tokio::test]
async fn a_status_other_than_ok_is_an_answer() {
    let server = servers::grpc(vec![Act::Status(5, "no%20such")]).await;
    let stages = format!(
        "- {{ name: get, grpc: {{ target: a, address: '{}', call: t.S/Get }} }}",
        server.address
    );
    let bench = Bench::new(&target(""), &stages);
    let results = bench.run("get").await.expect("an answer");
    let failure = results.failure.expect("a failure");
    assert_eq!(
        (results.status, failure.status, failure.kind),
        (Some(5), Some(5), ErrorKind::Status)
    );
    assert!(failure.message.ends_with("no such"), "{}", failure.message);
    assert_eq!(*bench.meter.statuses.borrow(), [5]);
}

async fn failure_of(script: Vec<Act>) -> (&'static str, Option<&'static str>) {
    // The server keeps the call open: what it sent must be enough.
    let script = script.into_iter().chain([Act::Hang]).collect();
    let server = servers::grpc(script).await;
    let bench = bench(&server, "");
    let failure = bench.failure("rows").await;
    assert_eq!(bench.meter.open.get(), 0);
    failure
}

#[tokio::test]
async fn every_bad_stream_gives_its_own_kind_of_error() {
    assert_eq!(
        failure_of(vec![row(0), SENT, Act::Reset(Reason::INTERNAL_ERROR)]).await,
        ("reset", None)
    );
    assert_eq!(
        failure_of(vec![Act::Reset(Reason::REFUSED_STREAM)]).await,
        ("unavailable", None)
    );
    assert_eq!(failure_of(vec![row(0), Act::Abort]).await, ("reset", None));
    assert_eq!(
        failure_of(vec![Act::Message(vec![0; 1025])]).await,
        ("protocol", Some("too_large"))
    );
    assert_eq!(
        failure_of(vec![row(0), Act::Body(vec![0, 0xff, 0xff, 0xff, 0xff])]).await,
        ("protocol", Some("too_large"))
    );
    assert_eq!(
        failure_of(vec![Act::Body(b"garbage".to_vec())]).await,
        ("protocol", Some("garbage"))
    );
    assert_eq!(
        failure_of(vec![Act::Body(vec![1, 0, 0, 0, 0])]).await,
        ("protocol", Some("compressed"))
    );
    let cut = vec![Act::Body(vec![0, 0, 0, 0, 9, 1]), Act::Status(0, "")];
    assert_eq!(failure_of(cut).await, ("protocol", Some("truncated")));
    assert_eq!(
        failure_of(vec![row(0), Act::Message(vec![0xff; 10])]).await,
        ("protocol", Some("bad_message"))
    );
    let another_type = vec![Act::Message(vec![0x09, 1, 2, 3, 4, 5, 6, 7, 8])];
    assert_eq!(
        failure_of(another_type).await,
        ("protocol", Some("bad_message"))
    );
}

#[tokio::test]
async fn servers_that_are_no_grpc_servers_are_told_apart() {
    let stages = "- { name: rows, grpc: { target: a, address: 'ADDRESS', call: t.S/Rows } }";
    let failure = async |address: String| {
        Bench::new(&target(""), &stages.replace("ADDRESS", &address))
            .failure("rows")
            .await
    };
    assert_eq!(
        failure(servers::nobody().await.to_string()).await,
        ("refused", None)
    );
    let http = servers::raw(Raw::Answer(b"HTTP/1.1 400 Bad Request\r\n\r\n")).await;
    assert_eq!(failure(http.to_string()).await.0, "protocol");
    assert_eq!(
        failure(servers::raw(Raw::Answer(b"")).await.to_string()).await,
        ("reset", None)
    );
    assert_eq!(
        failure(servers::raw(Raw::Reset(b"")).await.to_string()).await,
        ("reset", None)
    );
    assert_eq!(
        failure("no address".into()).await,
        ("expectation", Some("bad_address"))
    );
}

#[tokio::test]
async fn a_silent_server_is_a_timeout_of_its_own() {
    let mut server = servers::grpc(vec![row(0), row(1), Act::Hang]).await;
    let bench = bench(&server, "");
    let run = bench.run("rows");
    let paused = async {
        // Time stands still until the messages are there; from then on it runs as fast as nothing happens.
        server.seen.recv().await;
        while bench.meter.messages.get() < 2 {
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
    };
    let (result, ()) = tokio::join!(run, paused);
    let error = result.expect_err("silence");
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert!(error.message.contains("60s, after 2"), "{}", error.message);
    let stalls = bench.meter.stalls.borrow();
    assert!(
        stalls.len() == 1 && stalls[0] >= Duration::from_secs(60),
        "the last silence is a stall: {stalls:?}"
    );
}

#[tokio::test]
async fn a_session_keeps_its_connection_and_replaces_one_that_broke() {
    let server = servers::grpc(vec![row(0), Act::Status(0, "")]).await;
    let good = bench(&server, "");
    for _ in 0..3 {
        good.run("rows").await.expect("ends");
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
    good.next_session();
    good.run("rows").await.expect("ends");
    assert_eq!(
        (
            server.connections.load(Ordering::Relaxed),
            good.meter.connects.get()
        ),
        (2, 2)
    );
    let breaking = servers::grpc(vec![row(0), Act::Abort]).await;
    let bench = bench(&breaking, "");
    for tries in 1..=3 {
        assert_eq!(bench.failure("rows").await, ("reset", None));
        assert_eq!(breaking.connections.load(Ordering::Relaxed), tries);
    }
}

#[tokio::test]
async fn many_small_frames_do_not_close_the_connection() {
    let flood = (0..100)
        .map(row)
        .cycle()
        .take(60_000)
        .chain([Act::Status(0, "")])
        .collect();
    let server = servers::grpc(flood).await;
    let results = bench(&server, "").run("rows").await.expect("ends");
    assert_eq!(stream(&results).messages, 60_000);
}

#[tokio::test]
async fn parallel_streams_of_a_session_share_its_connection() {
    let server = servers::grpc(vec![
        row(0),
        Act::Pause(Duration::from_millis(20)),
        Act::Status(0, ""),
    ])
    .await;
    let bench = bench(&server, "");
    let (a, b, c) = tokio::join!(bench.run("rows"), bench.run("rows"), bench.run("rows"));
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
}
