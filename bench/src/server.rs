//! The server that every client of a benchmark talks to: numbered rows, unpaced, in a process of its own, so that its
//! CPU is nobody's.

use std::convert::Infallible;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::rows::{METHOD, Row, SERVICE, StreamRequest};

/// Payloads repeat after this many rows; neighbours differ.
const PATTERNS: usize = 256;
/// No benchmark needs larger rows, and a request must not make the server allocate without bound.
const MAX_SIZE: u32 = 1 << 20;

/// Serves until standard input closes, and prints the address first.
pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("failed to listen")?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
        std::io::stdout().flush()?;
        serve(listener, async {
            let mut rest = Vec::new();
            let _closed = tokio::io::stdin().read_to_end(&mut rest).await;
        })
        .await
    })
}

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
        let StreamRequest { count, size } = request.into_inner();
        if size > MAX_SIZE {
            return std::future::ready(Err(Status::invalid_argument("rows have at most 1 MiB")));
        }
        let stream: Self::ResponseStream = Box::pin(tokio_stream::iter(rows(count, size).map(Ok)));
        std::future::ready(Ok(Response::new(stream)))
    }
}

/// The rows of a stream; the payload depends on index and size alone.
fn rows(count: u64, size: u32) -> impl Iterator<Item = Row> {
    let patterns: Vec<Bytes> = (0..PATTERNS)
        .map(|pattern| payload(pattern, size))
        .collect();
    let in_turn = (0..PATTERNS).cycle();
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
