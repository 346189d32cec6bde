//! `pandadatastream.DataStreamService`, as one job serves it.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use testmesh_shared::shutdown::Tasks;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::{Grpc, ServerStreamingService};
use tonic::{Code, Status};
use tracing::Span;

use super::codec::{OutRow, RowCodec};
use super::stream::{Call, RowStream};
use crate::behavior::CallFaults;
use crate::generated::pandadatastream::StreamDataRequest;
use crate::jobs::Job;
use crate::serve::{Protocol, accept};
use crate::server::Server;
use crate::trace;

const STREAM_DATA: &str = "/pandadatastream.DataStreamService/StreamData";

/// Serves a job until its tasks drain.
pub(crate) async fn serve(
    listener: TcpListener,
    server: &Arc<Server>,
    job: &Arc<Job>,
    tasks: &Tasks,
) {
    accept(listener, Protocol::Grpc, tasks.clone(), |connection| {
        let (server, job) = (Arc::clone(server), Arc::clone(job));
        service_fn(move |request| {
            let service = StreamData {
                server: Arc::clone(&server),
                job: Arc::clone(&job),
                connection: connection.clone(),
                span: Span::none(),
            };
            async move { Ok::<_, Infallible>(handle(service, request).await) }
        })
    })
    .await;
}

async fn handle(mut service: StreamData, request: Request<Incoming>) -> Response<Body> {
    if request.uri().path() != STREAM_DATA {
        let unknown = format!(
            "{} is not served here, only {STREAM_DATA}",
            request.uri().path()
        );
        return Status::unimplemented(unknown).into_http();
    }
    service.span = tracing::info_span!(
        "StreamData",
        otel.name = "pandadatastream.DataStreamService/StreamData",
        otel.kind = "server",
        rpc.system = "grpc",
        job = service.job.id,
        stream = tracing::field::Empty,
        rows = tracing::field::Empty,
        rpc.grpc.status_code = tracing::field::Empty,
    );
    trace::join(&service.span, request.headers());
    Grpc::new(RowCodec).server_streaming(service, request).await
}

/// One call about to be answered.
struct StreamData {
    server: Arc<Server>,
    job: Arc<Job>,
    connection: CancellationToken,
    span: Span,
}

impl ServerStreamingService<StreamDataRequest> for StreamData {
    type Response = OutRow;
    type ResponseStream = RowStream;
    type Future = Ready<Result<tonic::Response<RowStream>, Status>>;

    fn call(&mut self, request: tonic::Request<StreamDataRequest>) -> Self::Future {
        let answer = self.open(request.get_ref().stream_id);
        if let Err(status) = &answer {
            self.span
                .record("rpc.grpc.status_code", i32::from(status.code()));
        }
        ready(answer.map(tonic::Response::new))
    }
}

impl StreamData {
    fn open(&self, stream: i32) -> Result<RowStream, Status> {
        self.span.record("stream", stream);
        let streams = self.job.display.shown().view.streams.len();
        let index = usize::try_from(stream)
            .ok()
            .filter(|index| *index < streams)
            .ok_or_else(|| {
                Status::new(
                    Code::InvalidArgument,
                    format!("stream_id {stream} is not one of the job's {streams}"),
                )
            })?;
        let guard = self
            .job
            .calls
            .open(self.connection.clone())
            .ok_or_else(|| Status::unavailable("the job is being cleaned up"))?;
        let faults = CallFaults::new(
            self.server.config.seed,
            self.server.next_call(),
            &self.server.behaviors(),
        );
        let call = Call::new(
            Arc::clone(&self.server),
            Arc::clone(&self.job),
            index,
            faults,
            self.connection.clone(),
            self.span.clone(),
        );
        Ok(RowStream::new(call, guard))
    }
}
