//! Servers that follow a script: raw TCP, and gRPC as bytes over HTTP/2.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Runs a server beside the test; it ends with the test's runtime.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's servers end with its runtime"
)]
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener
        .local_addr()
        .expect("a bound listener has an address");
    (listener, address)
}

/// An address that nobody listens on.
pub(crate) async fn nobody() -> SocketAddr {
    listen().await.1
}

/// What a raw server does with a connection after it read a request's first bytes.
#[derive(Clone, Copy)]
pub(crate) enum Raw {
    /// Answers these bytes and closes.
    Answer(&'static [u8]),
    /// Answers these bytes, then closes with a reset.
    Reset(&'static [u8]),
    /// Answers these bytes, then nothing more.
    Silence(&'static [u8]),
    /// Answers the first part, then the second over and over.
    Endless(&'static [u8], &'static [u8]),
}

pub(crate) async fn raw(behaviour: Raw) -> SocketAddr {
    let (listener, address) = listen().await;
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn(answer(stream, behaviour));
        }
    });
    address
}

async fn answer(mut stream: TcpStream, behaviour: Raw) {
    let mut buffer = [0; 1024];
    let _ = stream.read(&mut buffer).await;
    match behaviour {
        Raw::Answer(bytes) => drop(stream.write_all(bytes).await),
        Raw::Reset(bytes) => {
            let _ = stream.write_all(bytes).await;
            let _ = stream.set_zero_linger();
        }
        Raw::Silence(bytes) => {
            let _ = stream.write_all(bytes).await;
            std::future::pending::<()>().await;
        }
        Raw::Endless(first, more) => {
            let _ = stream.write_all(first).await;
            while stream.write_all(more).await.is_ok() {}
        }
    }
}

/// One act of a scripted gRPC answer.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Message(Vec<u8>),
    /// Bytes of the body, whatever they mean.
    Body(Vec<u8>),
    Pause(Duration),
    Status(i32, &'static str),
    Reset(Reason),
    /// Nothing more; the server notes when the call is cancelled.
    Hang,
    /// The connection breaks.
    Abort,
}

/// What a scripted server saw.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Call {
        path: String,
        message: Bytes,
        traceparent: String,
        metadata: String,
    },
    Cancelled(Reason),
    Gone,
}

pub(crate) struct Grpc {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) seen: mpsc::Receiver<Seen>,
}

/// A gRPC server that answers every call by this script.
pub(crate) async fn grpc(script: Vec<Act>) -> Grpc {
    let (listener, address) = listen().await;
    let (tell, seen) = mpsc::channel(1_000);
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            spawn(serve(stream, script.clone(), tell.clone()));
        }
    });
    Grpc {
        address,
        connections,
        seen,
    }
}

async fn serve(stream: TcpStream, script: Vec<Act>, tell: mpsc::Sender<Seen>) {
    let abort = script
        .iter()
        .any(|act| matches!(act, Act::Abort))
        .then(|| Arc::new(tokio::sync::Notify::new()));
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    let aborted = async {
        match &abort {
            Some(abort) => abort.notified().await,
            None => std::future::pending().await,
        }
    };
    let accept = async {
        while let Some(Ok((request, respond))) = connection.accept().await {
            spawn(call(
                request,
                respond,
                script.clone(),
                tell.clone(),
                abort.clone(),
            ));
        }
    };
    tokio::select! {
        () = aborted => {}
        () = accept => {}
    }
    drop(tell.send(Seen::Gone).await);
}

async fn call(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    script: Vec<Act>,
    tell: mpsc::Sender<Seen>,
    abort: Option<Arc<tokio::sync::Notify>>,
) {
    let (parts, mut body) = request.into_parts();
    let mut message = Vec::new();
    while let Some(Ok(chunk)) = body.data().await {
        message.extend_from_slice(&chunk);
        let _ = body.flow_control().release_capacity(chunk.len());
    }
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let seen = Seen::Call {
        path: parts.uri.path().to_owned(),
        message: Bytes::from(message).slice(5..),
        traceparent: header("traceparent"),
        metadata: header("x-user"),
    };
    let _ = tell.send(seen).await;
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .header("x-server", "script");
    let Ok(mut send) = respond.send_response(response.body(()).expect("a response"), false) else {
        return;
    };
    for act in script {
        match act {
            Act::Message(bytes) => {
                let mut framed = vec![0];
                framed.extend_from_slice(&u32::try_from(bytes.len()).expect("short").to_be_bytes());
                framed.extend_from_slice(&bytes);
                if send.send_data(framed.into(), false).is_err() {
                    return;
                }
            }
            Act::Body(bytes) => drop(send.send_data(bytes.into(), false)),
            Act::Pause(duration) => tokio::time::sleep(duration).await,
            Act::Status(code, message) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from(code));
                trailers.insert("grpc-message", HeaderValue::from_static(message));
                let _ = send.send_trailers(trailers);
                return;
            }
            Act::Reset(reason) => {
                send.send_reset(reason);
                return;
            }
            Act::Hang => {
                if let Ok(reason) = poll_fn(|cx| send.poll_reset(cx)).await {
                    let _ = tell.send(Seen::Cancelled(reason)).await;
                }
                return;
            }
            Act::Abort => {
                // Lets the connection write what was sent before.
                tokio::time::sleep(Duration::from_millis(20)).await;
                abort.as_ref().expect("a script with an abort").notify_one();
                std::future::pending::<()>().await;
            }
        }
    }
}
