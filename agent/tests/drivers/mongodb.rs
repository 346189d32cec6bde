//! The driver `mongodb` against a real server, which `TESTMESH_MONGODB_URI` names, and against what is none.

use std::cell::RefCell;
use std::time::Duration;

use testmesh_agent::driver::contract::{Body, Results, StageError};
use testmesh_agent::driver::transcript::{Listener, Said};
use testmesh_shared::plan::expr::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::harness::{Bench, scope};
use crate::servers;

/// The server's connection string; none is a failure in CI.
#[expect(
    clippy::print_stderr,
    reason = "the lint knows tests by their attribute alone, and this is called by them"
)]
pub(crate) fn server() -> Option<String> {
    let found = std::env::var("TESTMESH_MONGODB_URI").ok();
    assert!(
        found.is_some() || std::env::var_os("CI").is_none(),
        "TESTMESH_MONGODB_URI is not set: `cargo xtask test` starts what it names"
    );
    if found.is_none() {
        eprintln!("not run: TESTMESH_MONGODB_URI is not set");
    }
    found
}

/// A database that no other test has, as a target called `store`.
pub(crate) fn target(uri: &str, keys: &str) -> String {
    let name = format!("testmesh-{}-{}", std::process::id(), line_of_life());
    format!("store: {{ mongodb: '{uri}', database: '{name}', {keys} }}")
}

/// A number that no other call of this process gets.
fn line_of_life() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Stages with these names and operations; results are read, so that documents are kept.
pub(crate) fn stages(operations: &[(&str, &str)]) -> String {
    let lines = operations.iter().map(|(name, operation)| {
        format!(
            "- {{ name: {name}, mongodb: {{ target: store, {operation} }}, expect: 'status >= 0 && size(body) >= 0 && size(docs) >= 0' }}"
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What every test leaves: nothing.
const DROP: (&str, &str) = ("drop", "delete: things, filter: {}, many: true");

fn body(results: &Results) -> serde_json::Value {
    match &results.body {
        Body::Value(value) => value.to_json(),
        other => panic!("{other:?}"),
    }
}

fn docs(results: &Results) -> serde_json::Value {
    results.docs.as_ref().expect("documents").to_json()
}

async fn ok(bench: &Bench, name: &str) -> Results {
    let results = bench.run(name).await.expect("the server answers");
    assert!(results.failure.is_none(), "{name}: {:?}", results.failure);
    assert_eq!(results.status, Some(0));
    results
}

/// Each operation, and what it gives: `body`, and `docs` where there are some. `ID` is an object id.
const EVERY_FORM: &[(&str, &str)] = &[
    ("ping: true", r#"{"ok": true}"#),
    (
        "insert: things, document: { _id: 1, n: 10, at: { $date: 1000 } }",
        r#"{"inserted": 1, "ids": [1]}"#,
    ),
    (
        "insert: things, documents: [ { _id: 2, n: 20 }, { n: 30 } ]",
        r#"{"inserted": 2, "ids": [2, "ID"]}"#,
    ),
    (
        "find: things, sort: { n: -1 }, projection: { _id: 0, n: 1 }",
        r#"{"count": 3, "docs": [{"n": 30}, {"n": 20}, {"n": 10}]}"#,
    ),
    (
        "find: things, filter: { n: { $gt: 10 } }, sort: { n: 1 }, limit: 1",
        r#"{"count": 1, "docs": [{"_id": 2, "n": 20}]}"#,
    ),
    (
        "count: things, filter: { n: { $lt: 30 } }",
        r#"{"count": 2}"#,
    ),
    ("count: things, limit: 1", r#"{"count": 1}"#),
    (
        "aggregate: things, pipeline: [ { $group: { _id: null, n: { $sum: $n } } } ]",
        r#"{"count": 1, "docs": [{"_id": null, "n": 60}]}"#,
    ),
    (
        "update: things, filter: { _id: 1 }, change: { $set: { n: 11 } }",
        r#"{"matched": 1, "modified": 1, "upserted": null}"#,
    ),
    (
        "update: things, filter: { _id: 1 }, change: [ { $set: { n: 12 } } ]",
        r#"{"matched": 1, "modified": 1, "upserted": null}"#,
    ),
    (
        "update: things, filter: {}, change: { $inc: { n: 1 } }, many: true",
        r#"{"matched": 3, "modified": 3, "upserted": null}"#,
    ),
    (
        "update: things, filter: { _id: 9 }, change: { $set: { n: 90 } }, upsert: true",
        r#"{"matched": 0, "modified": 0, "upserted": 9}"#,
    ),
    (
        "delete: things, filter: { n: { $gte: 20 } }",
        r#"{"deleted": 1}"#,
    ),
    (
        "delete: things, filter: {}, many: true",
        r#"{"deleted": 3}"#,
    ),
    ("find: things", r#"{"count": 0, "docs": []}"#),
];

#[tokio::test]
async fn every_form_does_what_it_says() {
    let Some(uri) = server() else { return };
    let names: Vec<String> = (0..EVERY_FORM.len()).map(|at| format!("s{at}")).collect();
    let operations = names.iter().zip(EVERY_FORM);
    let operations: Vec<_> = operations
        .map(|(name, (operation, _))| (name.as_str(), *operation))
        .collect();
    let bench = Bench::new(&target(&uri, "timeout: 10s"), &stages(&operations));
    for (name, (operation, expect)) in names.iter().zip(EVERY_FORM) {
        let results = ok(&bench, name).await;
        let mut found = body(&results);
        if let Some(docs) = &results.docs {
            found["docs"] = docs.to_json();
        }
        let mut expect: serde_json::Value = serde_json::from_str(expect).expect("JSON");
        if expect["ids"][1] == "ID" {
            assert_eq!(found["ids"][1].as_str().map(str::len), Some(24), "{found}");
            expect["ids"][1] = found["ids"][1].clone();
        }
        assert_eq!(found, expect, "{operation}");
    }
    assert_eq!(bench.meter.connects.get(), 1, "one connection is enough");
    let all = u64::try_from(EVERY_FORM.len()).expect("few");
    assert_eq!(*bench.meter.statuses.borrow(), vec![0; EVERY_FORM.len()]);
    assert_eq!(bench.meter.first_bytes.get(), all);
}

#[tokio::test]
async fn the_indexes_of_a_collection_are_listed() {
    let Some(uri) = server() else { return };
    let bench = Bench::new(
        &target(&uri, ""),
        &stages(&[
            ("write", "insert: things, document: { _id: 1 }"),
            ("indexes", "indexes: things"),
            DROP,
        ]),
    );
    ok(&bench, "write").await;
    let indexes = docs(&ok(&bench, "indexes").await);
    let by_id = serde_json::json!({"_id": 1});
    assert_eq!(indexes[0]["key"], by_id, "{indexes}");
    ok(&bench, "drop").await;
}

#[tokio::test]
async fn what_was_read_can_be_written_back() {
    let Some(uri) = server() else { return };
    let every_type = "{ id: { $oid: 0123456789abcdef01234567 }, at: { $date: '2026-01-31T12:00:00.5Z' }, big: { $numberLong: '5000000000' }, \
                      small: 7, real: 1.5, raw: { $binary: { base64: AAEC, subType: '00' } }, price: { $numberDecimal: '1.10' }, \
                      like: { $regularExpression: { pattern: ^a, options: i } }, none: null, yes: true, list: [ 1, { a: b } ], \
                      when: { $timestamp: { t: 5, i: 6 } } }";
    let bench = Bench::new(
        &target(&uri, ""),
        &stages(&[
            ("write", &format!("insert: things, document: {every_type}")),
            ("read", "find: things, projection: { _id: 0 }"),
            (
                "same",
                "find: things, projection: { _id: 0, small: 1 }, filter: { id: { $oid: '${session.read.id}' }, at: { $date: '${session.read.at}' }, \
                 big: { $numberLong: '${session.read.big}' }, raw: { $binary: { base64: '${session.read.raw}', subType: '00' } }, \
                 price: { $numberDecimal: '${session.read.price}' }, when: { $timestamp: '${session.read.when}' }, list: '${session.read.list}' }",
            ),
            ("later", "count: things, filter: { at: { $gt: { $date: '${session.read.at - 1}' } }, id: { $oid: '${session.read.id}' } }"),
            ("bad", "count: things, filter: { id: { $oid: '${session.read.price}' } }"),
            DROP,
        ])
        .replace("- { name: read", "- { name: saved, wait: { for: 1s }, save: { read: '{}' } }\n- { name: read"),
    );
    ok(&bench, "write").await;
    let read = ok(&bench, "read").await;
    let found = read.docs.as_ref().and_then(Value::as_list).expect("a list")[0].clone();
    assert_eq!(
        found.to_json(),
        serde_json::json!({
            "id": "0123456789abcdef01234567", "at": 1_769_860_800_500_i64, "big": 5_000_000_000_i64, "small": 7, "real": 1.5,
            "raw": "AAEC", "price": "1.10", "like": {"pattern": "^a", "options": "i"}, "none": null, "yes": true,
            "list": [1, {"a": "b"}], "when": {"t": 5, "i": 6}
        })
    );
    assert_eq!(
        found.get("raw").and_then(Value::as_bytes),
        Some(&[0, 1, 2][..])
    );
    let mut scope = scope();
    scope.set_field("session", "read", found);
    let same = bench.run_in("same", &scope).await.expect("an answer");
    assert_eq!(docs(&same), serde_json::json!([{"small": 7}]));
    let later = bench.run_in("later", &scope).await.expect("an answer");
    assert_eq!(body(&later), serde_json::json!({"count": 1}));
    let bad = bench.run_in("bad", &scope).await.expect_err("no object id");
    assert_eq!(
        (bad.kind.as_str(), bad.code),
        ("expectation", Some("bad_request"))
    );
    assert_eq!(bad.message, "filter: `id.$oid`: 24 hex digits are expected");
    ok(&bench, "drop").await;
}

#[tokio::test]
async fn what_the_server_refuses_is_an_answer_with_its_code() {
    let Some(uri) = server() else { return };
    let bench = Bench::new(
        &target(&uri, ""),
        &stages(&[
            (
                "one",
                "insert: things, documents: [ { _id: 1 }, { _id: 2 } ]",
            ),
            (
                "again",
                "insert: things, documents: [ { _id: 3 }, { _id: 2 } ]",
            ),
            ("operator", "find: things, filter: { a: { $nonsense: 1 } }"),
            DROP,
        ]),
    );
    ok(&bench, "one").await;
    let again = bench.run("again").await.expect("an answer");
    assert_eq!(again.status, Some(11_000));
    let failure = again.failure.as_ref().expect("it fails the stage");
    assert_eq!(
        (failure.kind.as_str(), failure.status),
        ("status", Some(11_000))
    );
    assert!(
        failure.message.contains("insert things in testmesh-"),
        "{failure}"
    );
    let said = body(&again);
    assert_eq!(
        (&said["code"], &said["index"]),
        (&11_000.into(), &1.into()),
        "{said}"
    );
    let operator = bench.run("operator").await.expect("an answer");
    assert!(
        operator.status.is_some_and(|status| status > 0),
        "{operator:?}"
    );
    assert_eq!(docs(&operator), serde_json::json!([]));
    assert_eq!(bench.meter.statuses.borrow()[..2], [0, 11_000]);
    ok(&bench, "drop").await;
}

#[tokio::test]
async fn answers_are_bounded() {
    let Some(uri) = server() else { return };
    let lots = "aggregate: things, pipeline: [ { $match: { _id: 1 } }, { $project: { n: { $range: [ 0, 10001 ] } } }, { $unwind: $n } ]";
    let bench = Bench::new(
        &target(&uri, "max_body: 1KiB"),
        &stages(&[
            ("write", "insert: things, documents: [ { _id: 1, text: '${session.long}' }, { _id: 2, text: '${session.long}' } ]"),
            ("one", "find: things, limit: 1"),
            ("both", "find: things"),
            DROP,
        ])
        .replace("- { name: write", "- { name: saved, wait: { for: 1s }, save: { long: \"''\" } }\n- { name: write"),
    );
    let mut long = scope();
    long.set_field("session", "long", "x".repeat(600));
    bench.run_in("write", &long).await.expect("an answer");
    assert_eq!(
        body(&ok(&bench, "one").await),
        serde_json::json!({"count": 1})
    );
    assert_eq!(bench.failure("both").await, ("protocol", Some("too_large")));
    ok(&bench, "drop").await;
    let bench = Bench::new(
        &target(&uri, ""),
        &stages(&[
            ("write", "insert: things, document: { _id: 1 }"),
            ("lots", lots),
            DROP,
        ]),
    );
    ok(&bench, "write").await;
    let error = bench.run("lots").await.expect_err("too many");
    assert_eq!(
        (error.kind.as_str(), error.code),
        ("protocol", Some("too_large"))
    );
    assert!(
        error
            .message
            .ends_with("more than 10000 documents (write a `limit`)"),
        "{error}"
    );
    ok(&bench, "drop").await;
}

#[tokio::test]
async fn nobody_there_is_refused_at_once_and_says_no_password() {
    let port = servers::nobody().await.port();
    let uri = format!("mongodb://user:s3same@127.0.0.1:{port}/?authSource=admin");
    let bench = Bench::new(&target(&uri, ""), &stages(&[("ping", "ping: true")]));
    let since = Instant::now();
    for _ in 0..3 {
        let error = bench.run("ping").await.expect_err("nobody listens");
        assert_eq!(
            (error.kind.as_str(), error.code),
            ("refused", None),
            "{error}"
        );
        assert!(
            error.message.contains(&format!("127.0.0.1:{port}")),
            "{error}"
        );
        assert!(!error.message.contains("s3same"), "{error}");
    }
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
    let unknown = Bench::new(
        &target("mongodb://nobody.invalid:1", ""),
        &stages(&[("ping", "ping: true")]),
    );
    assert_eq!(unknown.failure("ping").await, ("unavailable", Some("dns")));
}

#[tokio::test]
async fn a_secret_connection_string_is_never_said() {
    let bench = Bench::new(
        "store: { mongodb: 'mongodb://u:${secrets.token}@a:b', database: d }",
        &stages(&[("ping", "ping: true")]),
    );
    let error = bench.run("ping").await.expect_err("no port");
    assert_eq!(
        (error.kind.as_str(), error.code),
        ("expectation", Some("bad_address"))
    );
    assert!(!error.message.contains("s3cret"), "{error}");
    assert!(error.message.contains("`store`"), "{error}");
}

/// A server that takes connections and never says a word. It ends when the set is dropped.
async fn silent() -> (String, JoinSet<()>) {
    let (listener, address) = servers::listen().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
    });
    (format!("mongodb://{address}"), tasks)
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_within_the_targets_time() {
    let (uri, _server) = silent().await;
    let bench = Bench::new(
        &target(&uri, "timeout: 300ms"),
        &stages(&[("ping", "ping: true")]),
    );
    let since = Instant::now();
    let (kind, _) = bench.failure("ping").await;
    assert!(matches!(kind, "timeout" | "unavailable"), "{kind}");
    assert!(
        since.elapsed() < Duration::from_secs(3),
        "{:?}",
        since.elapsed()
    );
}

/// Passes bytes on to the server, counts connections, and can hold back what the server says. It ends when it is dropped.
pub(crate) struct Between {
    pub(crate) uri: String,
    open: watch::Receiver<usize>,
    pub(crate) hold: watch::Sender<bool>,
    _task: JoinSet<()>,
}

pub(crate) async fn between(uri: &str) -> Between {
    let (listener, address) = servers::listen().await;
    let (count, open) = watch::channel(0);
    let (hold, held) = watch::channel(false);
    let mut task = JoinSet::new();
    task.spawn(pass_on(listener, server_address(uri), Some((count, held))));
    Between {
        uri: through(address),
        open,
        hold,
        _task: task,
    }
}

/// HOST:PORT.
fn server_address(uri: &str) -> String {
    let authority = uri.trim_start_matches("mongodb://");
    let authority = authority.split(['/', '?']).next().unwrap_or_default();
    authority.to_owned()
}

/// One node is asked for, not the set that it says it belongs to.
fn through(address: std::net::SocketAddr) -> String {
    format!("mongodb://{address}/?directConnection=true")
}

async fn pass_on(
    listener: TcpListener,
    to: String,
    control: Option<(watch::Sender<usize>, watch::Receiver<bool>)>,
) {
    let mut open = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let (to, control) = (to.clone(), control.clone());
        if let Some((count, _)) = &control {
            count.send_modify(|open| *open += 1);
        }
        open.spawn(async move {
            let mut server = TcpStream::connect(to).await.expect("the server listens");
            let Some((count, mut held)) = control else {
                let _ = copy_bidirectional(&mut client, &mut server).await;
                return;
            };
            let is_held = async { held.wait_for(|held| *held).await.is_ok() };
            let passed = copy_bidirectional(&mut client, &mut server);
            if tokio::select! { biased; is_held = is_held => is_held, _ = passed => false } {
                // Reads what the client asks, and answers nothing.
                let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
            }
            count.send_modify(|open| *open -= 1);
        });
    }
}

impl Between {
    async fn falls_to(&mut self, most: usize) {
        let fell = self.open.wait_for(|open| *open <= most);
        let fell = tokio::time::timeout(Duration::from_secs(10), fell).await;
        assert!(fell.is_ok(), "more than {most} connections are left");
    }
}

#[tokio::test]
async fn dropping_a_try_closes_its_connection_and_a_session_leaves_nothing() {
    let Some(uri) = server() else { return };
    let mut between = between(&uri).await;
    let bench = Bench::new(
        &target(&between.uri, "connections: session"),
        &stages(&[("ping", "ping: true")]),
    );
    let tasks = tokio::runtime::Handle::current().metrics();
    ok(&bench, "ping").await;
    let with_session = *between.open.borrow();
    assert!(
        (2..=3).contains(&with_session),
        "{with_session} connections"
    );
    between.hold.send_replace(true);
    let cut = tokio::time::timeout(Duration::from_millis(300), bench.run("ping")).await;
    assert!(cut.is_err(), "nobody answers: {cut:?}");
    // The one that waited for an answer is closed; what watches the server is not.
    between.falls_to(with_session - 1).await;
    between.hold.send_replace(false);
    bench.next_session();
    between.falls_to(0).await;
    // Five new sessions, each with a client that ends with it.
    for _ in 0..5 {
        ok(&bench, "ping").await;
        bench.next_session();
    }
    between.falls_to(0).await;
    drop(bench);
    drop(between);
    for _ in 0..100 {
        if tasks.num_alive_tasks() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} tasks are left", tasks.num_alive_tasks());
}

#[tokio::test]
async fn connections_are_shared_as_the_target_says() {
    let Some(uri) = server() else { return };
    for (keys, least, most) in [
        // One for operations, and one that watches the server.
        ("connections: { shared: 1 }", 2, 3),
        // Three sessions, each with its own.
        ("connections: session", 6, 9),
        // Two virtual users.
        ("connections: virtual_user", 4, 6),
    ] {
        let between = between(&uri).await;
        let bench = Bench::new(
            &target(&between.uri, keys),
            &stages(&[("ping", "ping: true")]),
        );
        // Connections of sessions that are over would close.
        let mut kept = Vec::new();
        for session in 0..3 {
            ok(&bench, "ping").await;
            kept.push(bench.connections());
            match session {
                0 => bench.next_session(),
                _ => bench.next_user(),
            }
        }
        let open = *between.open.borrow();
        assert!((least..=most).contains(&open), "{keys}: {open} connections");
    }
}

#[tokio::test]
async fn a_server_that_goes_away_is_told_and_found_again() {
    let Some(uri) = server() else { return };
    let (listener, address) = servers::listen().await;
    let mut up = JoinSet::new();
    up.spawn(pass_on(listener, server_address(&uri), None));
    let bench = Bench::new(
        &target(&through(address), ""),
        &stages(&[("ping", "ping: true")]),
    );
    ok(&bench, "ping").await;
    up.shutdown().await;
    let since = Instant::now();
    let mut kinds = Vec::new();
    for _ in 0..3 {
        kinds.push(bench.failure("ping").await.0);
    }
    assert!(
        since.elapsed() < Duration::from_secs(10),
        "{:?}",
        since.elapsed()
    );
    assert!(
        kinds
            .iter()
            .all(|kind| matches!(*kind, "reset" | "refused" | "unavailable")),
        "{kinds:?}"
    );
    assert_eq!(kinds[2], "refused", "{kinds:?}");
    let listener = TcpListener::bind(address)
        .await
        .expect("the port is still free");
    up.spawn(pass_on(listener, server_address(&uri), None));
    ok(&bench, "ping").await;
}

#[derive(Debug, Default)]
struct Heard(RefCell<Vec<(String, String)>>);

impl Listener for Heard {
    fn asked(&self, said: &Said<'_>) {
        self.0
            .borrow_mut()
            .push((said.what.to_owned(), said.body.to_owned()));
    }

    fn answered(&self, said: &Said<'_>) {
        self.asked(said);
    }
}

#[tokio::test]
async fn requests_and_answers_are_heard() {
    let Some(uri) = server() else { return };
    let bench = Bench::new(
        &target(&uri, ""),
        &stages(&[
            (
                "write",
                "insert: things, document: { _id: 1, at: { $date: 1000 } }",
            ),
            ("read", "find: things, filter: { at: { $date: 1000 } }"),
            DROP,
        ]),
    );
    ok(&bench, "write").await;
    let heard = Heard::default();
    let listening: &dyn Listener = &heard;
    bench
        .run_heard("read", &scope(), listening)
        .await
        .expect("an answer");
    ok(&bench, "drop").await;
    let heard = heard.0.into_inner();
    let [(asked, filter), (answered, found)] = heard.as_slice() else {
        panic!("{heard:?}")
    };
    assert!(asked.starts_with("find things in testmesh-"), "{asked}");
    assert!(filter.contains("1970-01-01"), "{filter}");
    assert!(answered.starts_with("ok in "), "{answered}");
    assert_eq!(found, r#"[{"_id":1,"at":1000}]"#);
}

/// The same server with users, if the tests were given one: most are run without.
#[tokio::test]
async fn a_user_that_the_server_does_not_know_is_a_status() {
    let Some(uri) = server() else { return };
    let with_user = uri.replace("mongodb://", "mongodb://nobody:wr0ng@");
    let bench = Bench::new(
        &target(
            &format!("{}/?authSource=admin", with_user.trim_end_matches('/')),
            "",
        ),
        &stages(&[("ping", "ping: true")]),
    );
    let error: StageError = bench.run("ping").await.expect_err("no such user");
    assert_eq!(
        (error.kind.as_str(), error.code),
        ("status", Some("auth")),
        "{error}"
    );
    assert_eq!(error.status, Some(18), "{error}");
    assert!(!error.message.contains("wr0ng"), "{error}");
}
