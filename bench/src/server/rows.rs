//! Numbered rows over gRPC, paced or as fast as they are taken.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{IntervalStream, TcpListenerStream};
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::process::tell;
use crate::rows::{METHOD, Row, SERVICE, StreamRequest};

/// Payloads repeat after this many rows; neighbours differ.
const PATTERNS: usize = 256;
/// Thousands of paced streams are open at once, and need no more than neighbours that differ.
const PATTERNS_PACED: usize = 2;
/// No benchmark needs larger rows, and a request must not make the server allocate without bound.
const MAX_SIZE: u32 = 1 << 20;

/// Serves rows on `listener` until `until` is done.
pub(crate) async fn serve(listener: TcpListener, until: impl Future<Output = ()>) -> Result<()> {
    tonic::transport::Server::builder()
        // Windows that never are the limit, the same for every client.
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20)
        .add_service(RowsServer)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), until)
        .await
        .context("the server failed")
}

/// The service, as generated code would wrap it.
#[derive(Debug, Clone, Copy)]
struct RowsServer;

impl NamedService for RowsServer {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<tonic::body::Body>> for RowsServer {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(async move {
            if request.uri().path() == METHOD {
                let codec = ProstCodec::<Row, StreamRequest>::default();
                return Ok(Grpc::new(codec).server_streaming(RowsServer, request).await);
            }
            Ok(Status::unimplemented("there is one method").into_http())
        })
    }
}

impl ServerStreamingService<StreamRequest> for RowsServer {
    type Response = Row;
    type ResponseStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<Row, Status>> + Send>>;
    type Future = std::future::Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<StreamRequest>) -> Self::Future {
        let StreamRequest {
            count,
            size,
            interval_ms,
        } = request.into_inner();
        if size > MAX_SIZE {
            return std::future::ready(Err(Status::invalid_argument("rows have at most 1 MiB")));
        }
        let open = Open::new();
        let stream: Self::ResponseStream = if interval_ms == 0 {
            let rows = rows(count, size, PATTERNS);
            Box::pin(tokio_stream::iter(rows.map(move |row| open.pass(row))))
        } else {
            let interval = Duration::from_millis(interval_ms.into());
            let mut rows = rows(count, size, PATTERNS_PACED);
            let ticks = IntervalStream::new(tokio::time::interval(interval));
            Box::pin(ticks.map_while(move |_| rows.next().map(|row| open.pass(row))))
        };
        std::future::ready(Ok(Response::new(stream)))
    }
}

/// A stream that is open. How many there are is told whenever that changes.
struct Open;

/// Held while its value is told, so that values are told in order.
static OPEN: Mutex<u64> = Mutex::new(0);

impl Open {
    fn new() -> Self {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        *open += 1;
        tell(&open.to_string());
        Self
    }

    /// Ties this to the stream whose row it is.
    #[expect(clippy::unused_self, reason = "a closure keeps what it calls")]
    fn pass(&self, row: Row) -> Result<Row, Status> {
        Ok(row)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        *open -= 1;
        tell(&open.to_string());
    }
}

/// The rows of a stream; the payload depends on index and size alone.
fn rows(count: u64, size: u32, patterns: usize) -> impl Iterator<Item = Row> {
    let in_turn = (0..patterns).cycle();
    let patterns: Vec<Bytes> = (0..patterns)
        .map(|pattern| payload(pattern, size))
        .collect();
    (0..count).zip(in_turn).map(move |(index, pattern)| Row {
        index,
        sent_at_ms: now_ms(),
        data: patterns[pattern].clone(),
    })
}

fn payload(pattern: usize, size: u32) -> Bytes {
    (0..size)
        .map(|at| {
            (at.wrapping_mul(31))
                .wrapping_add(u32::try_from(pattern).unwrap_or(0))
                .to_le_bytes()[0]
        })
        .collect()
}

fn now_ms() -> i64 {
    #[expect(
        clippy::disallowed_types,
        reason = "a stand-in for a server of someone else, whose clock is its own"
    )]
    let since_epoch = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
