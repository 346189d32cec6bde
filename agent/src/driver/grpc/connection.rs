//! One HTTP/2 connection for gRPC calls, over `h2` itself.
//!
//! Not tonic's channel, because a measuring client must tell a refusal from a reset from garbage, must not reconnect behind
//! the session's back, and must not close a connection because the server sends many small frames. Messages stay encoded.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use hyper::rt::Executor as _;
use hyper_util::rt::TokioExecutor;
use testmesh_shared::plan::ErrorKind;
use tokio::time::Instant;

use super::frames::{Frames, framed};
use super::status::Status;
use crate::driver::connections::Reusable;
use crate::driver::contract::StageError;
use crate::driver::limits;
use crate::driver::transport::{Address, Gate, dial, http2_failure};

/// How much may be in flight on a connection and on each of its streams: throughput is at most window ÷ round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Windows {
    pub(crate) stream: u32,
    pub(crate) connection: u32,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            stream: limits::STREAM_WINDOW,
            connection: limits::CONNECTION_WINDOW,
        }
    }
}

/// An open connection. It closes when the last handle and the last call on it are dropped.
pub(crate) struct Connection {
    sender: SendRequest<Bytes>,
    authority: Authority,
    scheme: Scheme,
    closed: Arc<AtomicBool>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

impl Reusable for Connection {
    fn is_open(&self) -> bool {
        let refused = || matches!(self.sender.clone().ready().now_or_never(), Some(Err(_)));
        !self.closed.load(Ordering::Relaxed) && !refused()
    }
}

impl Connection {
    /// Connects, and says how long name look-up, TCP and TLS took.
    pub(crate) async fn open(
        gate: &Gate,
        address: &Address,
        tls: Option<&Arc<rustls::ClientConfig>>,
        windows: Windows,
    ) -> Result<(Self, Duration), StageError> {
        let dialled = dial(gate, address, tls).await?;
        if tls.is_some() && dialled.alpn.as_deref() != Some(b"h2") {
            let message = format!("{address} does not offer HTTP/2 over TLS");
            return Err(StageError::new(ErrorKind::Protocol, message).with_code("no_http2"));
        }
        let authority = address
            .to_string()
            .parse()
            .map_err(|error: http::uri::InvalidUri| {
                StageError::new(
                    ErrorKind::Unavailable,
                    format!("`{address}` is no authority: {error}"),
                )
            })?;
        let (sender, connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(windows.stream)
            .initial_connection_window_size(windows.connection)
            .max_header_list_size(limits::HEADER_LIST_BYTES)
            .data_frame_budget(limits::SMALL_FRAMES_BYTES)
            .handshake(dialled.io)
            .await
            .map_err(|error| http2_failure(&format!("HTTP/2 handshake with {address}"), &error))?;
        let closed = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&closed);
        // The task ends with the connection, which ends with its last handle: nothing has to wait for it.
        TokioExecutor::new().execute(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a gRPC connection failed");
            }
            told.store(true, Ordering::Relaxed);
        });
        let scheme = if tls.is_some() {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        };
        Ok((
            Self {
                sender,
                authority,
                scheme,
                closed,
            },
            dialled.took,
        ))
    }

    /// Sends a call with one message, and waits for the answer's headers.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the [`Reply`], resets the stream: the server sees the call cancelled.
    pub(crate) async fn call(
        &self,
        path: &PathAndQuery,
        metadata: HeaderMap,
        message: &[u8],
        limit: usize,
    ) -> Result<Reply, StageError> {
        let (answer, mut body) = self.begin(path, metadata, limit).await?;
        body.send_data(framed(message), true)
            .map_err(|error| answer.failed(&error))?;
        answer.reply().await
    }

    /// Sends a call whose messages follow.
    ///
    /// # Cancel safety
    ///
    /// As [`Connection::call`], of both parts.
    pub(crate) async fn begin(
        &self,
        path: &PathAndQuery,
        metadata: HeaderMap,
        limit: usize,
    ) -> Result<(Answer, SendStream<Bytes>), StageError> {
        let at = format!("{path} at {}", self.authority);
        let mut sender = self
            .sender
            .clone()
            .ready()
            .await
            .map_err(|error| http2_failure(&format!("calling {at}"), &error))?;
        let asked = Instant::now();
        let (response, body) = sender
            .send_request(self.request(path, metadata), false)
            .map_err(|error| http2_failure(&format!("calling {at}"), &error))?;
        let answer = Answer {
            at,
            asked,
            limit,
            response,
        };
        Ok((answer, body))
    }

    fn request(&self, path: &PathAndQuery, metadata: HeaderMap) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(self.scheme.clone());
        uri.authority = Some(self.authority.clone());
        uri.path_and_query = Some(path.clone());
        *request.uri_mut() = Uri::from_parts(uri).expect("scheme, authority and path make a URI");
        *request.headers_mut() = metadata;
        let headers = request.headers_mut();
        headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
        headers.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        );
        headers
            .entry(http::header::USER_AGENT)
            .or_insert(HeaderValue::from_static(USER_AGENT));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        request
    }
}

const USER_AGENT: &str = concat!("testmesh/", env!("CARGO_PKG_VERSION"));
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// The answer to a call, of which nothing has come.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The call and its server, for messages.
    at: String,
    asked: Instant,
    limit: usize,
    response: ResponseFuture,
}

impl Answer {
    /// Waits for the answer's headers.
    pub(crate) async fn reply(self) -> Result<Reply, StageError> {
        let Self {
            at,
            asked,
            limit,
            response,
        } = self;
        let (parts, body) = response
            .await
            .map_err(|error| http2_failure(&format!("calling {at}"), &error))?
            .into_parts();
        let first_byte = asked.elapsed();
        let status =
            Status::of_headers(parts.status, &parts.headers).map_err(|error| error.at(&at))?;
        Ok(Reply {
            at,
            headers: parts.headers,
            first_byte,
            status,
            frames: Frames::new(limit),
            body,
        })
    }

    fn failed(&self, error: &h2::Error) -> StageError {
        http2_failure(&format!("calling {}", self.at), error)
    }
}

/// The answer to a call, as it comes.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The call and its server, for messages.
    at: String,
    /// The answer's metadata.
    pub(crate) headers: HeaderMap,
    /// From the request to the answer's headers.
    pub(crate) first_byte: Duration,
    /// The status, if the answer is nothing but headers.
    status: Option<Status>,
    frames: Frames,
    body: RecvStream,
}

impl Reply {
    /// The next message of what has come; `None` until [`Reply::more`] brought more.
    #[inline]
    pub(crate) fn message(&mut self) -> Result<Option<&[u8]>, StageError> {
        let Self { frames, at, .. } = self;
        frames.next().map_err(|error| frame_failure(at, error))
    }

    /// Waits for more of the body; gives the status if there is no more.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub(crate) async fn more(&mut self) -> Result<Option<Status>, StageError> {
        if let Some(status) = self.status.take() {
            return Ok(Some(status));
        }
        match self.body.data().await {
            Some(Ok(chunk)) => {
                let failed =
                    |error: h2::Error| http2_failure(&format!("reading {}", self.at), &error);
                self.body
                    .flow_control()
                    .release_capacity(chunk.len())
                    .map_err(failed)?;
                self.frames.push(chunk);
                Ok(None)
            }
            Some(Err(error)) => Err(http2_failure(&format!("reading {}", self.at), &error)),
            None => self.trailers().await.map(Some),
        }
    }

    async fn trailers(&mut self) -> Result<Status, StageError> {
        let trailers = self.body.trailers().await;
        let trailers =
            trailers.map_err(|error| http2_failure(&format!("reading {}", self.at), &error))?;
        if self.frames.is_cut() {
            let message = format!("{} ended in the middle of a message", self.at);
            return Err(StageError::new(ErrorKind::Protocol, message).with_code("truncated"));
        }
        trailers
            .as_ref()
            .and_then(Status::of_trailers)
            .ok_or_else(|| {
                StageError::new(
                    ErrorKind::Protocol,
                    format!("{} ended without a status", self.at),
                )
                .with_code("no_status")
            })
    }
}

fn frame_failure(at: &str, error: super::frames::FrameError) -> StageError {
    let code = match error {
        super::frames::FrameError::TooLarge { .. } => "too_large",
        super::frames::FrameError::Compressed => "compressed",
        super::frames::FrameError::Garbage(_) => "garbage",
    };
    StageError::new(ErrorKind::Protocol, format!("{at}: {error}")).with_code(code)
}
