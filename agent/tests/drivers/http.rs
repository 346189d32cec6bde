//! `http` against servers that answer well, badly, too much, or not at all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use axum::routing::{any, get};
use testmesh_agent::driver::{Body, Results};
use testmesh_shared::plan::ErrorKind;

use crate::harness::{Bench, Tree, scope, tree};
use crate::servers::{self, Raw, listen, spawn};

/// Says back what was asked.
async fn echo(request: Request) -> String {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20)
        .await
        .expect("a small body");
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .unwrap_or_default()
    };
    let body = String::from_utf8_lossy(&body);
    let (kind, user, trace) = (
        header("content-type"),
        header("x-user"),
        header("traceparent"),
    );
    format!(
        "{} {} {kind}|{user}|{trace}|{body}",
        parts.method, parts.uri
    )
}

struct Good {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

async fn good() -> Good {
    let (listener, address) = listen().await;
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let router = Router::new()
        .route(
            "/base/gone",
            get(|| async { (StatusCode::NOT_FOUND, "no such thing").into_response() }),
        )
        .route(
            "/base/moved",
            get(|| async { Redirect::permanent("/base/echo") }),
        )
        .route(
            "/base/auth",
            get(|request: Request| async move {
                let credentials = request.headers().get("authorization").cloned();
                credentials
                    .map(|value| value.to_str().unwrap_or_default().to_owned())
                    .unwrap_or_default()
            }),
        )
        .route(
            "/base/slow",
            get(|| async { tokio::time::sleep(std::time::Duration::from_millis(20)).await }),
        )
        .fallback(any(echo));
    let listener = axum::serve::ListenerExt::tap_io(listener, move |_| {
        let _ = counted.fetch_add(1, Ordering::Relaxed);
    });
    spawn(async move { axum::serve(listener, router).await.expect("serves") });
    Good {
        address,
        connections,
    }
}

fn text(results: &Results) -> &str {
    let Body::Bytes(bytes) = &results.body else {
        panic!("{results:?} has no bytes")
    };
    std::str::from_utf8(bytes).expect("text")
}

#[tokio::test]
async fn requests_go_out_as_the_plan_writes_them() {
    let server = good().await;
    let mut files = tree();
    files.0.insert("data.bin".into(), b"from a file".to_vec());
    let stages = r#"
- name: get
  http:
    target: a
    get: "/echo/${session.id}?x=1"
    query: { q: "a b&c", n: "${session.index}" }
    headers: { X-User: "Bearer ${secrets.token}" }
- name: json
  http: { target: a, post: /echo, json: { id: "${session.index}", text: "no ${session.id}", list: [1, null] } }
- name: fixed
  http: { target: a, put: /echo, json: { a: 1 } }
- name: form
  http: { target: a, patch: /echo, form: { a: "x y", b: "${session.index}" } }
- name: text
  http: { target: a, delete: /echo, text: "hello ${session.id}", headers: { content-type: text/x } }
- name: file
  http: { target: a, post: /echo, body: data.bin }
- name: head
  http: { target: a, head: /echo }
"#;
    let bench = Bench::with(
        &format!("a: {{ http: 'http://{}/base/' }}", server.address),
        stages,
        &files,
    );
    let said = async |name: &str| {
        let results = bench.run(name).await.expect("answers");
        assert_eq!(results.status, Some(200));
        text(&results).replace(
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "TRACE",
        )
    };
    assert_eq!(
        said("get").await,
        "GET /base/echo/abc?x=1&q=a+b%26c&n=7 |Bearer s3cret|TRACE|"
    );
    assert_eq!(
        said("json").await,
        r#"POST /base/echo application/json||TRACE|{"id":7,"text":"no abc","list":[1,null]}"#
    );
    assert_eq!(
        said("fixed").await,
        r#"PUT /base/echo application/json||TRACE|{"a":1}"#
    );
    assert_eq!(
        said("form").await,
        "PATCH /base/echo application/x-www-form-urlencoded||TRACE|a=x+y&b=7"
    );
    assert_eq!(
        said("text").await,
        "DELETE /base/echo text/x||TRACE|hello abc"
    );
    assert_eq!(said("file").await, "POST /base/echo ||TRACE|from a file");
    assert_eq!(said("head").await, "");
    let meter = &bench.meter;
    assert_eq!(
        (meter.connects.get(), meter.first_bytes.get()),
        (1, 7),
        "one connection is kept alive"
    );
    assert_eq!(*meter.statuses.borrow(), [200; 7]);
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_refusal_is_an_answer_that_fails_unless_the_plan_reads_its_status() {
    let server = good().await;
    let stages = "- { name: gone, http: { target: a, get: gone } }";
    let bench = Bench::new(
        &format!("a: {{ http: 'http://{}/base' }}", server.address),
        stages,
    );
    let results = bench.run("gone").await.expect("an answer");
    assert_eq!(
        (results.status, text(&results)),
        (Some(404), "no such thing")
    );
    let failure = results.failure.as_ref().expect("a failure");
    assert_eq!(
        (failure.kind, failure.status),
        (ErrorKind::Status, Some(404))
    );
    let evidence = results.evidence();
    assert_eq!(
        (evidence.status, &evidence.body[..]),
        (Some(404), &b"no such thing"[..])
    );
    assert!(
        evidence
            .headers
            .iter()
            .any(|(name, _)| &**name == "content-type")
    );
}

#[tokio::test]
async fn redirects_are_followed_only_if_the_plan_says_so() {
    let server = good().await;
    let stages = r"
- { name: stay, http: { target: a, get: /moved } }
- { name: follow, http: { target: a, get: /moved, redirects: true } }
- { name: none, http: { target: a, get: /moved, redirects: false } }";
    let bench = Bench::new(
        &format!("a: {{ http: 'http://{}/base' }}", server.address),
        stages,
    );
    assert_eq!(bench.run("stay").await.expect("answers").status, Some(308));
    assert_eq!(bench.run("none").await.expect("answers").status, Some(308));
    let followed = bench.run("follow").await.expect("answers");
    assert!(text(&followed).starts_with("GET /base/echo "));
}

#[tokio::test]
async fn connections_are_shared_as_the_target_says() {
    for (sharing, sessions, users) in [
        ("session", 3, 4),
        ("virtual_user", 1, 2),
        ("{ shared: 1 }", 1, 1),
    ] {
        let server = good().await;
        let target = format!(
            "a: {{ http: 'http://{}', connections: {sharing} }}",
            server.address
        );
        let bench = Bench::new(&target, "- { name: get, http: { target: a, get: / } }");
        for _ in 0..3 {
            bench.run("get").await.expect("answers");
            bench.run("get").await.expect("answers");
            bench.next_session();
        }
        assert_eq!(
            server.connections.load(Ordering::Relaxed),
            sessions,
            "{sharing}"
        );
        bench.next_user();
        bench.run("get").await.expect("answers");
        assert_eq!(
            server.connections.load(Ordering::Relaxed),
            users,
            "{sharing}"
        );
    }
}

async fn failure_of(behaviour: Raw, more: &str) -> (&'static str, Option<&'static str>) {
    let address = servers::raw(behaviour).await;
    let bench = Bench::new(
        &format!("a: {{ http: 'http://{address}'{more} }}"),
        "- { name: get, http: { target: a, get: / } }",
    );
    bench.failure("get").await
}

#[tokio::test]
async fn every_bad_server_gives_its_own_kind_of_error() {
    let nobody = servers::nobody().await;
    let bench = Bench::new(
        &format!("a: {{ http: 'http://{nobody}' }}"),
        "- { name: get, http: { target: a, get: / } }",
    );
    assert_eq!(bench.failure("get").await, ("refused", None));
    let unknown = Bench::new(
        "a: { http: 'http://no-such-host.invalid' }",
        "- { name: get, http: { target: a, get: / } }",
    );
    assert_eq!(unknown.failure("get").await, ("unavailable", Some("dns")));
    assert_eq!(failure_of(Raw::Answer(b""), "").await, ("reset", None));
    assert_eq!(failure_of(Raw::Reset(b""), "").await, ("reset", None));
    assert_eq!(
        failure_of(Raw::Answer(b"220 mail.example ESMTP\r\n"), "").await,
        ("protocol", Some("garbage"))
    );
    assert_eq!(
        failure_of(Raw::Answer(b"\x00\x01\x02\x03\r\n\r\n"), "").await,
        ("protocol", Some("garbage"))
    );
    let cut: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart";
    assert_eq!(failure_of(Raw::Answer(cut), "").await, ("reset", None));
    assert_eq!(failure_of(Raw::Reset(cut), "").await, ("reset", None));
    assert_eq!(
        failure_of(Raw::Silence(b""), ", timeout: 100ms").await,
        ("timeout", None)
    );
    assert_eq!(
        failure_of(Raw::Silence(cut), ", timeout: 100ms").await,
        ("timeout", None)
    );
}

#[tokio::test]
async fn bodies_above_the_limit_are_not_kept() {
    let announced: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 10485760\r\n\r\n";
    assert_eq!(
        failure_of(Raw::Silence(announced), "").await,
        ("protocol", Some("too_large"))
    );
    let chunked: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk: &[u8] = b"10\r\n0123456789abcdef\r\n";
    assert_eq!(
        failure_of(Raw::Endless(chunked, chunk), "").await,
        ("protocol", Some("too_large"))
    );
    let address = servers::raw(Raw::Endless(chunked, chunk)).await;
    let target = format!("a: {{ http: 'http://{address}', max_body: 40 }}");
    let bench = Bench::new(&target, "- { name: get, http: { target: a, get: / } }");
    let error = bench.run("get").await.expect_err("too large");
    let evidence = error.evidence.expect("what came before");
    assert_eq!((error.status, evidence.status), (Some(200), Some(200)));
    assert!(evidence.body.starts_with(b"0123456789abcdef"));
}

#[tokio::test]
async fn one_virtual_user_recovers_after_a_broken_answer() {
    let server = good().await;
    let broken = servers::raw(Raw::Reset(b"")).await;
    let target = format!(
        "a: {{ http: 'http://{}' }}\nb: {{ http: 'http://{broken}' }}",
        server.address
    );
    let stages = "- { name: good, http: { target: a, get: / } }\n- { name: bad, http: { target: b, get: / } }";
    let bench = Bench::new(&target, stages);
    for _ in 0..3 {
        assert_eq!(bench.failure("bad").await.0, "reset");
        bench.run("good").await.expect("answers");
    }
}

#[tokio::test]
async fn templates_without_a_value_fail_the_stage() {
    let server = good().await;
    let target = format!("a: {{ http: 'http://{}' }}", server.address);
    let stages = "- { name: get, http: { target: a, get: \"/${session.id}\", headers: { x: \"${session.id}\" } } }";
    let bench = Bench::with(&target, stages, &Tree::default());
    let mut scope = scope();
    scope.set_field("session", "id", "two\nlines");
    let error = bench.run_in("get", &scope).await.expect_err("not a header");
    assert_eq!(
        (error.kind, error.code),
        (ErrorKind::Expectation, Some("bad_request"))
    );
}

#[tokio::test]
async fn credentials_of_a_url_go_out_as_a_header_and_are_not_shown() {
    let server = good().await;
    let targets = format!(
        "a: {{ http: 'http://us%40er:pa:ss@{}/base' }}",
        server.address
    );
    let bench = Bench::new(
        &targets,
        "- { name: who, http: { target: a, get: /auth }, save: { said: text } }\n- { name: gone, http: { target: a, get: /gone } }\n",
    );
    let results = bench.run("who").await.expect("answers");
    // `us@er:pa:ss` in base64.
    assert_eq!(text(&results), "Basic dXNAZXI6cGE6c3M=");
    let refused = bench
        .run("gone")
        .await
        .expect("answers")
        .failure
        .expect("it is refused");
    assert!(!refused.message.contains("pa:ss"), "{}", refused.message);
}

#[tokio::test]
async fn sessions_that_share_one_connection_open_one() {
    let server = good().await;
    let targets = format!(
        "a: {{ http: 'http://{}/base', connections: {{ shared: 1 }} }}",
        server.address
    );
    let bench = Bench::new(&targets, "- { name: a, http: { target: a, get: /slow } }\n");
    let all = (0..8).map(|_| bench.run("a"));
    for answered in futures_util::future::join_all(all).await {
        answered.expect("answers");
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
}
