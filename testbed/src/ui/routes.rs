//! The routes of the page. Nothing here is part of the deployed API: a real server has its page elsewhere.

use std::sync::Arc;

use axum::routing::get;
use axum::{Extension, Router};
use tokio::sync::Semaphore;

use super::{assets, bridge};
use crate::limits::MAX_BRIDGES;
use crate::server::Server;

/// `/panda`, its files, and `/panda/stream`.
pub(crate) fn routes() -> Router<Arc<Server>> {
    Router::new()
        .route("/panda", get(assets::page))
        .route("/panda/stream", get(bridge::stream))
        .route("/panda/{file}", get(assets::file))
        .layer(Extension(Arc::new(Semaphore::new(MAX_BRIDGES))))
}
