//! Accepts connections and serves each in its own task, for the REST API and for every job alike.
//!
//! Owns no state. A server ends in two stages: draining lets its connections say goodbye, for [`CONNECTION_GRACE`];
//! aborting drops them. Every task is one of the given tasks, so that whoever started a server can wait for its last one.

use std::error::Error;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::rt::Executor;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use testmesh_shared::shutdown::Tasks;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::limits::{CONNECTION_GRACE, MAX_CONNECTIONS, SEND_BUFFER};

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1, and HTTP/2 for clients that begin with it.
    Http,
    /// HTTP/2 only, as gRPC has it.
    Grpc,
}

/// Accepts until `tasks` drain, then closes the listener and leaves the connections to their tasks.
///
/// `service` makes the service of one connection; its token closes that connection when cancelled.
pub(crate) async fn accept<M, S, B>(
    listener: TcpListener,
    protocol: Protocol,
    tasks: Tasks,
    service: M,
) where
    M: Fn(CancellationToken) -> S,
    S: Service<Request<Incoming>, Response = Response<B>, Future: Send> + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            biased;
            () = tasks.shutdown().draining() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, or the client left before it was accepted: give others time to close theirs.
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(
                limit = MAX_CONNECTIONS,
                "connection refused: the server has as many as it may"
            );
            continue;
        };
        let close = tasks.shutdown().abort_token().child_token();
        let service = service(close.clone());
        let of_connection = tasks.clone();
        tasks.spawn("connection", async move {
            serve_connection(stream, protocol, of_connection, close, service).await;
            drop(place);
        });
    }
}

async fn serve_connection<S, B>(
    stream: TcpStream,
    protocol: Protocol,
    tasks: Tasks,
    close: CancellationToken,
    service: S,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Future: Send> + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "failed to switch off Nagle's algorithm");
    }
    let executor = ConnectionExecutor {
        tasks: tasks.clone(),
        close: close.clone(),
    };
    let mut builder = Builder::new(executor);
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_send_buf_size(SEND_BUFFER);
    let io = TokioIo::new(stream);
    match protocol {
        Protocol::Http => {
            let connection = pin!(builder.serve_connection_with_upgrades(io, service));
            until_end(connection, |it| it.graceful_shutdown(), &tasks, &close).await;
        }
        Protocol::Grpc => {
            let builder = builder.http2_only();
            let connection = pin!(builder.serve_connection(io, service));
            until_end(connection, |it| it.graceful_shutdown(), &tasks, &close).await;
        }
    }
}

/// Drives a connection until it ends by itself, says goodbye because the server drains, or is closed.
async fn until_end<C>(
    mut connection: Pin<&mut C>,
    say_goodbye: impl FnOnce(Pin<&mut C>),
    tasks: &Tasks,
    close: &CancellationToken,
) where
    C: Future<Output = Result<(), Box<dyn Error + Send + Sync>>>,
{
    let ended = tokio::select! {
        biased;
        () = close.cancelled() => return,
        ended = connection.as_mut() => ended,
        () = tasks.shutdown().draining() => {
            say_goodbye(connection.as_mut());
            let goodbye = tokio::time::timeout(CONNECTION_GRACE, connection.as_mut());
            tokio::select! {
                () = close.cancelled() => return,
                ended = goodbye => ended.unwrap_or(Ok(())),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

/// Runs what hyper spawns for a connection: among the server's tasks, and no longer than the connection may live.
#[derive(Debug, Clone)]
struct ConnectionExecutor {
    tasks: Tasks,
    close: CancellationToken,
}

impl<F> Executor<F> for ConnectionExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let close = self.close.clone();
        self.tasks.spawn("call", async move {
            tokio::select! {
                biased;
                () = close.cancelled() => {}
                _ = future => {}
            }
        });
    }
}
