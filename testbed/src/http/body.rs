//! The bytes of a request's body, within the limit.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};

use super::refusal::Refusal;

/// A whole body.
pub(crate) struct Body(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        // The only other failure is a client that left, and it reads no answer.
        Bytes::from_request(request, state)
            .await
            .map(Self)
            .map_err(|_| Refusal::TooLarge)
    }
}
