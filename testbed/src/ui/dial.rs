//! Calls a job as any client does: at the address that configure answered, again and again while its pod comes up.

use std::time::Duration;

use bytes::{Buf, Bytes};
use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::{sleep, timeout};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use crate::generated::pandadatastream::StreamDataRequest;
use crate::limits::{
    DIAL_ATTEMPT, DIAL_PATIENCE, DIAL_RETRY, KEEP_ALIVE, KEEP_ALIVE_ANSWER, MAX_MESSAGE,
};
use crate::server::Server;

const STREAM_DATA: &str = "/pandadatastream.DataStreamService/StreamData";

/// Opens a stream of a job. Its messages are the bytes that the job encoded, not decoded here.
///
/// # Errors
///
/// `NOT_FOUND` if there is no such job (any more), `DEADLINE_EXCEEDED` if it has not answered the call for
/// [`DIAL_PATIENCE`], or what the job answered.
///
/// # Cancel safety
///
/// Dropping the future, or the stream, ends the call and its connection.
pub(crate) async fn open(
    server: &Server,
    job_id: &str,
    stream: i32,
) -> Result<Streaming<Bytes>, Status> {
    match timeout(DIAL_PATIENCE, call(server, job_id, stream)).await {
        Ok(answer) => answer,
        Err(_) => Err(Status::deadline_exceeded(format!(
            "job {job_id} did not answer within {} s",
            DIAL_PATIENCE.as_secs()
        ))),
    }
}

async fn call(server: &Server, job_id: &str, stream: i32) -> Result<Streaming<Bytes>, Status> {
    let channel = connect(server, job_id).await?;
    let mut client = Grpc::new(channel).max_decoding_message_size(MAX_MESSAGE);
    client
        .ready()
        .await
        .map_err(|error| Status::unavailable(format!("the job's connection broke: {error}")))?;
    let request = Request::new(StreamDataRequest { stream_id: stream });
    let path = PathAndQuery::from_static(STREAM_DATA);
    let answer = client.server_streaming(request, path, RawRows).await?;
    Ok(answer.into_inner())
}

/// Tries until the job's port answers. The job is looked up each time: once it is gone, its port may be another job's.
async fn connect(server: &Server, job_id: &str) -> Result<Channel, Status> {
    loop {
        let job = server.jobs.find(job_id).ok_or_else(|| {
            Status::not_found(format!("there is no job {job_id}, or it has ended"))
        })?;
        let address = format!("{}:{}", server.stream_url, job.port);
        let endpoint = Endpoint::from_shared(address)
            .map_err(|error| Status::internal(format!("the job's address is no URL: {error}")))?
            .connect_timeout(DIAL_ATTEMPT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_ANSWER)
            .keep_alive_while_idle(true);
        match connected(&endpoint).await {
            Ok(channel) => return Ok(channel),
            Err(error) => {
                tracing::debug!(job = job_id, %error, "the job's port does not answer yet")
            }
        }
        sleep(DIAL_RETRY).await;
    }
}

/// One try, bounded as a whole: a proxy in between may accept and then be silent.
async fn connected(endpoint: &Endpoint) -> Result<Channel, String> {
    timeout(DIAL_ATTEMPT + Duration::from_secs(1), endpoint.connect())
        .await
        .map_err(|_| "no answer".to_owned())?
        .map_err(|error| error.to_string())
}

/// Encodes requests, leaves rows as they are.
#[derive(Debug, Clone, Copy, Default)]
struct RawRows;

impl Codec for RawRows {
    type Encode = StreamDataRequest;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawRows {
    type Item = StreamDataRequest;
    type Error = Status;

    fn encode(
        &mut self,
        request: StreamDataRequest,
        out: &mut EncodeBuf<'_>,
    ) -> Result<(), Status> {
        request
            .encode(out)
            .map_err(|error| Status::internal(format!("failed to encode the request: {error}")))
    }
}

impl Decoder for RawRows {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, row: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(row.copy_to_bytes(row.remaining())))
    }
}
