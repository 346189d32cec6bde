//! `grpc` calls that send a stream of messages: to servers that read it, answer before its end, or never read it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Response};
use prost::Message as _;
use testmesh_agent::driver::{Body, Results};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::grpc::{Answer, Ask};
use crate::harness::Bench;
use crate::servers::{listen, spawn};

/// A call at its server.
struct Talk {
    body: RecvStream,
    came: Vec<u8>,
    send: SendStream<Bytes>,
    seen: mpsc::Sender<Option<Ask>>,
}

impl Talk {
    /// The next message; none: the client has sent its end.
    async fn next(&mut self) -> Option<Ask> {
        let ask = loop {
            if let Some(prefix) = self.came.first_chunk::<5>() {
                let [_, length @ ..] = *prefix;
                let end = 5 + u32::from_be_bytes(length) as usize;
                if self.came.len() >= end {
                    let message = self.came.drain(..end).skip(5).collect::<Vec<u8>>();
                    break Some(Ask::decode(message.as_slice()).expect("a message"));
                }
            }
            match self.body.data().await {
                Some(Ok(chunk)) => {
                    let _ = self.body.flow_control().release_capacity(chunk.len());
                    self.came.extend_from_slice(&chunk);
                }
                Some(Err(_)) => std::future::pending().await,
                None => break None,
            }
        };
        let _ = self.seen.send(ask.clone()).await;
        ask
    }

    fn say(&mut self, message: &[u8]) {
        let mut framed = vec![0];
        framed.extend_from_slice(&u32::try_from(message.len()).expect("short").to_be_bytes());
        framed.extend_from_slice(message);
        let _ = self.send.send_data(framed.into(), false);
    }

    fn answer(&mut self, value: i64) {
        self.say(
            &Answer {
                value,
                ..Answer::default()
            }
            .encode_to_vec(),
        );
    }

    /// A row with this number and this name.
    fn row(&mut self, number: i32, name: &str) {
        #[derive(Clone, PartialEq, prost::Message)]
        struct Row {
            #[prost(int32, repeated, tag = "1")]
            number: Vec<i32>,
            #[prost(string, tag = "6")]
            name: String,
        }
        let row = Row {
            number: vec![number],
            name: name.to_owned(),
        };
        self.say(&row.encode_to_vec());
    }

    fn end(mut self, status: i32) {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from(status));
        let _ = self.send.send_trailers(trailers);
    }
}

struct Server {
    address: SocketAddr,
    seen: mpsc::Receiver<Option<Ask>>,
}

/// A server that handles every call so.
async fn server(handle: fn(Talk) -> BoxFuture<'static, ()>) -> Server {
    let (listener, address) = listen().await;
    let (tell, seen) = mpsc::channel(1_000);
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tell = tell.clone();
            spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else {
                    return;
                };
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let response = Response::builder().header("content-type", "application/grpc");
                    let response = response.body(()).expect("a response");
                    let Ok(send) = respond.send_response(response, false) else {
                        continue;
                    };
                    let talk = Talk {
                        body: request.into_body(),
                        came: Vec::new(),
                        send,
                        seen: tell.clone(),
                    };
                    spawn(handle(talk));
                }
            });
        }
    });
    Server { address, seen }
}

/// Answers with the number of messages once the client has ended.
fn counts(mut talk: Talk) -> BoxFuture<'static, ()> {
    async move {
        let mut count = 0;
        while talk.next().await.is_some() {
            count += 1;
        }
        talk.answer(count);
        talk.end(0);
    }
    .boxed()
}

/// Sends each message back as a row, and ends when the client does.
fn echoes(mut talk: Talk) -> BoxFuture<'static, ()> {
    async move {
        while let Some(ask) = talk.next().await {
            talk.row(ask.id, &ask.text);
        }
        talk.end(0);
    }
    .boxed()
}

fn bench(server: &Server, method: &str, keys: &str, more: &str) -> Bench {
    let stages = format!(
        "- name: talk\n  grpc: {{ target: a, address: '{}', call: t.S/{method}{keys} }}\n{more}",
        server.address
    );
    Bench::new("a: { grpc: { protos: [protos/t.proto] } }", &stages)
}

fn value(results: &Results) -> i64 {
    let Body::Message(message) = &results.body else {
        panic!("no answer")
    };
    Answer::decode(message.bytes().clone())
        .expect("an answer")
        .value
}

/// What the server saw until the client's end.
async fn seen(server: &mut Server) -> Vec<Ask> {
    let mut seen = Vec::new();
    while let Some(ask) = server.seen.recv().await.expect("a call") {
        seen.push(ask);
    }
    seen
}

fn ask(id: i32, text: &str) -> Ask {
    Ask {
        id,
        text: text.into(),
        ..Ask::default()
    }
}

#[tokio::test]
async fn a_client_stream_sends_its_messages_in_order_and_then_the_end() {
    let mut server = server(counts).await;
    let listed = ", messages: [ { id: 1, text: a }, { id: '${session.index}' }, {} ]";
    let results = bench(&server, "Upload", listed, "").run("talk").await;
    assert_eq!(value(&results.expect("an answer")), 3);
    assert_eq!(
        seen(&mut server).await,
        [ask(1, "a"), ask(7, ""), ask(0, "")]
    );
    let each =
        ", messages: { each: 'range(1, 4)', as: i, message: { id: '${i}', text: 'n ${i}' } }";
    let results = bench(&server, "Upload", each, "").run("talk").await;
    assert_eq!(value(&results.expect("an answer")), 3);
    assert_eq!(
        seen(&mut server).await,
        [ask(1, "n 1"), ask(2, "n 2"), ask(3, "n 3")]
    );
    for (keys, count) in [(", messages: []", 0), (", message: { id: 5 }", 1), ("", 1)] {
        let results = bench(&server, "Upload", keys, "").run("talk").await;
        assert_eq!(value(&results.expect("an answer")), count, "{keys}");
        assert_eq!(
            seen(&mut server).await.len(),
            usize::try_from(count).expect("few")
        );
    }
}

#[tokio::test]
async fn messages_go_out_at_their_pace() {
    let mut server = server(counts).await;
    let keys = ", messages: { each: '[1, 2, 3]', every: 50ms }";
    let bench = bench(&server, "Upload", keys, "");
    let began = Instant::now();
    let run = bench.run("talk");
    let watch = async {
        let mut times = Vec::new();
        while server.seen.recv().await.expect("a call").is_some() {
            times.push(began.elapsed());
        }
        times
    };
    let (results, times) = tokio::join!(run, watch);
    assert_eq!(value(&results.expect("an answer")), 3);
    let apart = |pair: &[Duration]| pair[1] - pair[0] >= Duration::from_millis(40);
    assert!(times.windows(2).all(apart), "{times:?}");
    assert!(times[2] < Duration::from_millis(300), "{times:?}");
}

/// So much text that no window has room for it.
fn large() -> String {
    "x".repeat(200_000)
}

#[tokio::test]
async fn messages_larger_than_the_windows_go_out_in_pieces() {
    let mut server = server(counts).await;
    let keys = format!(
        ", messages: {{ each: 'range(8)', as: i, message: {{ id: '${{i}}', text: '{}' }} }}",
        large()
    );
    let results = bench(&server, "Upload", &keys, "").run("talk").await;
    assert_eq!(value(&results.expect("an answer")), 8);
    let seen = seen(&mut server).await;
    assert!(seen.iter().all(|ask| ask.text == large()));
    assert_eq!(
        seen.iter().map(|ask| ask.id).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4, 5, 6, 7]
    );
}

#[tokio::test]
async fn a_message_is_made_when_the_server_has_room_for_it() {
    fn reads_nothing(mut talk: Talk) -> BoxFuture<'static, ()> {
        async move {
            tokio::time::sleep(Duration::from_millis(150)).await;
            talk.answer(0);
            talk.end(0);
        }
        .boxed()
    }
    let server = server(reads_nothing).await;
    // The second one cannot be made.
    let keys = format!(
        ", messages: {{ each: 'range(3)', as: i, message: {{ id: '${{1 / (1 - i)}}', text: '{}' }} }}",
        large()
    );
    let results = bench(&server, "Upload", &keys, "").run("talk").await;
    assert_eq!(value(&results.expect("an answer")), 0);
    let reading = self::server(counts).await;
    let failure = bench(&reading, "Upload", &keys, "").failure("talk").await;
    assert_eq!(failure, ("expectation", Some("template")));
}

#[tokio::test]
async fn a_server_may_answer_before_it_has_read_everything() {
    fn first(mut talk: Talk) -> BoxFuture<'static, ()> {
        async move {
            talk.next().await;
            talk.answer(1);
            let Talk { body, mut send, .. } = talk;
            let trailers = HeaderMap::from_iter([(
                "grpc-status".parse().expect("a name"),
                HeaderValue::from(0),
            )]);
            let _ = send.send_trailers(trailers);
            // The rest is never read, and never refused.
            let _kept = body;
            std::future::pending::<()>().await;
        }
        .boxed()
    }
    let server = server(first).await;
    let keys = format!(
        ", messages: {{ each: 'range(50)', message: {{ text: '{}' }} }}",
        large()
    );
    let bench = bench(&server, "Upload", &keys, "");
    let answered = tokio::time::timeout(Duration::from_secs(5), bench.run("talk")).await;
    assert_eq!(value(&answered.expect("at once").expect("an answer")), 1);
}

#[tokio::test]
async fn a_server_that_refuses_while_messages_go_out_says_why() {
    fn refuses(mut talk: Talk) -> BoxFuture<'static, ()> {
        async move {
            talk.next().await;
            talk.end(8);
        }
        .boxed()
    }
    let server = server(refuses).await;
    let keys = format!(
        ", messages: {{ each: 'range(50)', message: {{ text: '{}' }} }}",
        large()
    );
    let results = bench(&server, "Upload", &keys, "")
        .run("talk")
        .await
        .expect("a status");
    assert_eq!(
        results.failure.expect("a failure").code,
        Some("resource_exhausted")
    );
}

#[tokio::test]
async fn both_sides_talk_at_once_and_every_row_is_checked() {
    let server = server(echoes).await;
    let keys = format!(
        ", messages: {{ each: 'range(50)', as: i, message: {{ id: '${{i}}', text: '{}' }} }}",
        large()
    );
    let checked = "  integrity: { sequence: number }\n  expect: [stream.messages == 50]";
    let bench = bench(&server, "Chat", &keys, checked);
    let run = tokio::time::timeout(Duration::from_secs(30), bench.run("talk"));
    let results = run.await.expect("no deadlock").expect("ends");
    let stream = results.stream.expect("a stream");
    assert_eq!((stream.messages, stream.status), (50, Some(0)));
    let counts = bench.meter.counts.borrow();
    assert_eq!((counts.verified, counts.missing), (50, 0));
    assert_eq!(bench.meter.open.get(), 0);
}

#[tokio::test]
async fn a_stream_of_both_sides_stops_and_ends_as_others_do() {
    fn two(mut talk: Talk) -> BoxFuture<'static, ()> {
        async move {
            for _ in 0..2 {
                if let Some(ask) = talk.next().await {
                    talk.row(ask.id, "");
                }
            }
            talk.end(0);
        }
        .boxed()
    }
    let messages = ", messages: { each: 'range(9)', as: i, message: { id: '${i}' }, every: 20ms }";
    let run = async |server: &Server, keys: &str| {
        let bench = bench(server, "Chat", &format!("{messages}{keys}"), "");
        let outcome = match bench.run("talk").await {
            Ok(results) => Ok(results.stream.expect("a stream").messages),
            Err(error) => Err((error.kind.as_str(), error.code)),
        };
        assert_eq!(bench.meter.open.get(), 0);
        outcome
    };
    let short = server(two).await;
    assert_eq!(run(&short, "").await, Ok(2));
    assert_eq!(
        run(&short, ", stop: { messages: 5 }").await,
        Err(("protocol", Some("ended_early")))
    );
    let whole = server(echoes).await;
    assert_eq!(run(&whole, ", stop: { messages: 5 }").await, Ok(5));
    assert_eq!(
        run(&whole, ", stop: { when: 'message.number[0] == 3' }").await,
        Ok(4)
    );
}

#[tokio::test]
async fn a_message_that_cannot_be_made_fails_the_stage() {
    let server = server(counts).await;
    let template = ("expectation", Some("template"));
    let failure = async |keys: &str| bench(&server, "Upload", keys, "").failure("talk").await;
    assert_eq!(
        failure(", messages: [ { id: 1 }, { id: '${int(session.id)}' } ]").await,
        template
    );
    assert_eq!(failure(", messages: { each: session.id }").await, template);
    assert_eq!(
        failure(", messages: { each: '[1, 2][session.index]' }").await,
        template
    );
    let chat = bench(
        &server,
        "Chat",
        ", messages: [ { id: '${int(session.id)}' } ]",
        "",
    );
    assert_eq!(chat.failure("talk").await, template);
}
