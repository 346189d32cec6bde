//! `amqp` when something between it and the broker breaks, or the broker itself.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::amqp::{bench, with_files};
use crate::rabbitmq::{self, Rabbit};
use crate::servers::{Raw, listen, nobody, raw, spawn};
use crate::tls::Pki;

/// A relay to the broker that can go deaf, or drop what goes through it.
struct Relay {
    address: SocketAddr,
    open: Arc<AtomicUsize>,
    cut: Arc<Notify>,
}

/// The client's bytes after which nothing of the broker's comes through any more.
const DEAF: &[u8] = b"be deaf from here on";

impl Relay {
    async fn to(uri: &str, tls: Option<TlsAcceptor>) -> Self {
        let broker = host(uri).to_owned();
        let (listener, address) = listen().await;
        let relay = Self {
            address,
            open: Arc::default(),
            cut: Arc::default(),
        };
        let (open, cut) = (Arc::clone(&relay.open), Arc::clone(&relay.cut));
        spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (open, cut) = (Arc::clone(&open), Arc::clone(&cut));
                let (broker, tls) = (broker.clone(), tls.clone());
                open.fetch_add(1, Ordering::SeqCst);
                spawn(async move {
                    let server = TcpStream::connect(&broker).await.expect("the broker");
                    let passing = async {
                        match tls {
                            None => pass(client, server).await,
                            Some(tls) => {
                                if let Ok(client) = tls.accept(client).await {
                                    pass(client, server).await;
                                }
                            }
                        }
                    };
                    tokio::select! {
                        () = passing => {}
                        () = cut.notified() => {}
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        relay
    }

    /// The broker's URI, through the relay.
    fn uri(&self, uri: &str) -> String {
        uri.replace(host(uri), &self.address.to_string())
    }

    /// Waits until all clients have hung up.
    async fn until_nobody(&self, within: Duration) {
        let start = Instant::now();
        while self.open.load(Ordering::SeqCst) > 0 {
            assert!(start.elapsed() < within, "a connection was left behind");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// `HOST:PORT` of a URI.
fn host(uri: &str) -> &str {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// Passes bytes on until the client hangs up.
async fn pass(client: impl AsyncRead + AsyncWrite + Send, server: TcpStream) {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = server.into_split();
    let back = async {
        tokio::io::copy(&mut from_server, &mut to_client).await.ok();
        // A broker that has said goodbye leaves it to the client to hang up.
        to_client.shutdown().await.ok();
        std::future::pending::<()>().await;
    };
    let mut back: Pin<Box<dyn Future<Output = ()> + Send + '_>> = Box::pin(back);
    let mut buffer = [0; 4096];
    loop {
        let read = tokio::select! {
            () = &mut back => 0,
            read = from_client.read(&mut buffer) => read.unwrap_or_default(),
        };
        let bytes = &buffer[..read];
        if read == 0 {
            return;
        }
        if bytes.windows(DEAF.len()).any(|part| part == DEAF) {
            back = Box::pin(std::future::pending());
        }
        if to_server.write_all(bytes).await.is_err() {
            return;
        }
    }
}

/// Whether a thread of lapin's runs in this process. Only where each test has a process of its own, this says something.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let names = tasks
        .flatten()
        .map(|task| std::fs::read_to_string(task.path().join("comm")));
    names
        .flatten()
        .filter(|name| name.starts_with("lapin"))
        .count()
}

#[tokio::test]
async fn a_connection_that_is_dropped_leaves_nothing_behind() {
    let Some(uri) = rabbitmq::uri() else { return };
    let relay = Relay::to(&uri, None).await;
    let through = format!("amqp: '{}', connections: session", relay.uri(&uri));
    let bench = bench(
        &through,
        &[
            ("exchange", "exchange: amq.topic"),
            (
                "wait",
                "consume: { exchange: amq.topic, keys: [testmesh-none] } | timeout: 300ms",
            ),
        ],
    );
    for _ in 0..3 {
        bench.run("exchange").await.expect("an answer");
        bench.next_session();
    }
    assert_eq!(bench.meter.connects.get(), 3);
    relay.until_nobody(Duration::from_secs(1)).await;
    // And one whose stage was cut.
    assert_eq!(bench.failure("wait").await.0, "timeout");
    assert_eq!(
        relay.open.load(Ordering::SeqCst),
        1,
        "the session still has it"
    );
    drop(bench);
    relay.until_nobody(Duration::from_secs(1)).await;
    if std::env::var_os("NEXTEST").is_some() {
        sleep(Duration::from_millis(50)).await;
        assert_eq!(threads(), 0);
    }
}

#[tokio::test]
async fn a_broker_that_never_confirms_or_never_says_goodbye_is_left() {
    let Some(uri) = rabbitmq::uri() else { return };
    let relay = Relay::to(&uri, None).await;
    let publish = "publish: { key: testmesh-none, text: 'be deaf from here on' } | timeout: 500ms";
    let bench = bench(
        &format!("amqp: '{}'", relay.uri(&uri)),
        &[("publish", publish)],
    );
    let start = Instant::now();
    let error = bench
        .run("publish")
        .await
        .expect_err("no confirmation comes");
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    let said = "not done within 500ms (timeout), waiting for the broker's confirmation";
    assert_eq!(
        (error.kind.as_str(), error.message.as_str()),
        ("timeout", said)
    );
    drop(bench);
    // It is asked to close, does not answer, and is cut.
    relay.until_nobody(Duration::from_secs(3)).await;
}

#[tokio::test]
async fn who_is_no_broker_is_told_and_left() {
    let refused = nobody().await;
    let silent = raw(Raw::Silence(b"")).await;
    let http = raw(Raw::Answer(b"HTTP/1.1 400 Bad Request\r\n\r\n")).await;
    let closes = raw(Raw::Answer(b"")).await;
    let resets = raw(Raw::Reset(b"")).await;
    let failure = async |address: SocketAddr| {
        let stages = [("x", "exchange: amq.topic | timeout: 300ms")];
        bench(&format!("amqp: 'amqp://u:hidden@{address}'"), &stages)
            .run("x")
            .await
    };
    for (address, kind) in [
        (refused, "refused"),
        (silent, "timeout"),
        (http, "protocol"),
        (closes, "reset"),
        (resets, "reset"),
    ] {
        let error = failure(address).await.expect_err("no broker");
        assert_eq!(error.kind.as_str(), kind, "{error}");
        assert!(!error.message.contains("hidden"), "{error}");
    }
    let start = Instant::now();
    while std::env::var_os("NEXTEST").is_some() && threads() > 0 {
        assert!(
            start.elapsed() < Duration::from_secs(3),
            "a thread was left behind"
        );
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn who_may_not_come_in_is_told_why_and_no_secret() {
    let Some(uri) = rabbitmq::uri() else { return };
    let address = host(&uri);
    let stages = [("x", "exchange: amq.topic")];
    let secret = format!("amqp: 'amqp://guest:${{secrets.token}}@{address}'");
    let error = bench(&secret, &stages)
        .run("x")
        .await
        .expect_err("a wrong password");
    assert_eq!(
        (error.kind.as_str(), error.status),
        ("status", Some(403)),
        "{error}"
    );
    assert!(error.message.contains("ACCESS_REFUSED"), "{error}");
    assert!(!error.message.contains("s3cret"), "{error}");
    let error = bench(&format!("amqp: '{uri}/testmesh-none'"), &stages)
        .run("x")
        .await;
    let error = error.expect_err("no such virtual host");
    assert_eq!(
        (error.kind.as_str(), error.status),
        ("status", Some(530)),
        "{error}"
    );
    let error = bench("amqp: 'no ${secrets.token}'", &stages).run("x").await;
    let error = error.expect_err("no URI");
    assert_eq!(
        (error.kind.as_str(), error.code),
        ("expectation", Some("bad_address"))
    );
    assert!(!error.message.contains("s3cret"), "{error}");
}

#[tokio::test]
async fn a_connection_that_broke_is_replaced_before_anything_is_asked() {
    let Some(uri) = rabbitmq::uri() else { return };
    let relay = Relay::to(&uri, None).await;
    let stages = [
        ("publish", "publish: { key: testmesh-none, text: x }"),
        ("wait", "consume: { exchange: amq.topic }"),
    ];
    let bench = bench(&format!("amqp: '{}'", relay.uri(&uri)), &stages);
    bench.run("publish").await.expect("a confirmation");
    relay.cut.notify_waiters();
    // Also where nothing has told yet that it is gone.
    bench.run("publish").await.expect("a new connection");
    assert_eq!(bench.meter.connects.get(), 2);
    let cutting = async {
        while relay.open.load(Ordering::SeqCst) == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_millis(200)).await;
        relay.cut.notify_waiters();
    };
    let (failure, ()) = tokio::join!(bench.failure("wait"), cutting);
    assert_eq!(failure.0, "reset");
}

#[tokio::test]
async fn tls_is_spoken_and_checked() {
    let Some(uri) = rabbitmq::uri() else { return };
    let pki = Pki::new();
    let relay = Relay::to(&uri, Some(pki.acceptor(true))).await;
    let through = relay.uri(&uri).replace("amqp://", "amqps://");
    let stages = [("x", "exchange: amq.topic")];
    let client = "client: { cert: client.pem, key: client.key }";
    let run = async |tls: &str| {
        let bench = with_files(
            &format!("amqp: '{through}', tls: {{ {tls} }}"),
            &stages,
            &pki.files(),
        );
        bench.run("x").await.map(|results| results.status)
    };
    assert_eq!(run(&format!("ca: ca.pem, {client}")).await, Ok(Some(200)));
    assert_eq!(
        run(&format!("insecure: true, {client}")).await,
        Ok(Some(200))
    );
    let error = run(client).await.expect_err("nobody knows the authority");
    assert_eq!(
        (error.kind.as_str(), error.code),
        ("protocol", Some("tls")),
        "{error}"
    );
}

#[tokio::test]
async fn a_broker_that_is_killed_is_told_at_once_and_one_that_stops_says_so() {
    let Some(mut rabbit) = Rabbit::start().await else {
        return;
    };
    let uri = rabbit.uri();
    let stages = [
        ("publish", "publish: { key: q, text: x } | timeout: 10s"),
        ("wait", "consume: { exchange: amq.topic } | timeout: 20s"),
    ];
    let bench = bench(&format!("amqp: '{uri}'"), &stages);
    bench.run("publish").await.expect("a confirmation");
    let publishing = async {
        loop {
            if let Err(error) = bench.run("publish").await {
                return error;
            }
        }
    };
    let killing = async {
        sleep(Duration::from_millis(300)).await;
        rabbit.kill();
        Instant::now()
    };
    let both = async { tokio::join!(publishing, bench.failure("wait"), killing) };
    let (error, waiting, killed) = timeout(Duration::from_secs(30), both)
        .await
        .expect("an end");
    assert!(
        killed.elapsed() < Duration::from_secs(5),
        "{:?}",
        killed.elapsed()
    );
    assert!(
        ["reset", "refused"].contains(&error.kind.as_str()),
        "{error}"
    );
    assert_eq!(waiting.0, "reset");
    // What was accepted and not yet looked at is reset first.
    while bench.failure("publish").await.0 != "refused" {
        assert!(
            killed.elapsed() < Duration::from_secs(10),
            "it still listens"
        );
    }
}
