//! The bytes of a request's body, within the limit.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use bytes::BytesMut;
use futures_util::StreamExt as _;

use super::refusal::Refusal;
use crate::limits::{MAX_BODY, MAX_DRAINED};

/// A whole body.
pub(crate) struct Body(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let mut chunks = request.into_body().into_data_stream();
        let (mut body, mut length) = (BytesMut::new(), 0);
        while let Some(chunk) = chunks.next().await {
            // A client that left reads no answer.
            let chunk = chunk.map_err(|_| Refusal::TooLarge)?;
            length += chunk.len();
            if length > MAX_DRAINED {
                break;
            }
            // What is too much is read all the same: to answer a client that still writes would break its connection.
            if length <= MAX_BODY {
                body.extend_from_slice(&chunk);
            }
        }
        if length > MAX_BODY {
            return Err(Refusal::TooLarge);
        }
        Ok(Self(body.freeze()))
    }
}
