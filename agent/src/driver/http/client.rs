//! A pooled HTTP client that times its connects, opens few at once, and knows no proxy but the plan's target.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use testmesh_shared::plan::{ErrorKind, Pool};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;
use tower::{Layer, Service};

use super::form::{Target, Version};
use crate::driver::connections::Reusable;
use crate::driver::contract::StageError;
use crate::driver::transport::Gate;

/// Connections to one target. reqwest pools them, and replaces those that closed.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) http: reqwest::Client,
    connects: Arc<AtomicU64>,
    /// Held by the request that is under way where many sessions share one connection.
    turns: Option<Mutex<()>>,
    /// It speaks HTTP/2, where requests share a connection without turns.
    multiplexes: Cell<bool>,
}

impl Reusable for Client {
    fn is_open(&self) -> bool {
        true
    }
}

impl Client {
    /// A client without a connection yet.
    pub(super) fn new(
        target: &Target,
        version: Version,
        redirects: usize,
        gate: &Arc<Gate>,
    ) -> Result<Self, StageError> {
        let connects = Arc::new(AtomicU64::new(0));
        let timed = Timed {
            gate: Arc::clone(gate),
            address: target.address(),
            connects: Arc::clone(&connects),
        };
        let redirect = match redirects {
            0 => reqwest::redirect::Policy::none(),
            limit => reqwest::redirect::Policy::limited(limit),
        };
        let builder = reqwest::Client::builder()
            .user_agent(concat!("testmesh/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(redirect)
            .retry(reqwest::retry::never())
            .tls_backend_preconfigured(target.tls_config(version))
            .connector_layer(timed);
        let builder = match version {
            Version::Any => builder,
            Version::Http1 => builder.http1_only(),
            Version::Http2 => builder.http2_prior_knowledge(),
        };
        let http = builder.build().map_err(|error| {
            StageError::new(
                ErrorKind::Internal,
                format!("building an HTTP client failed: {error}"),
            )
        })?;
        Ok(Self {
            http,
            connects,
            turns: None,
            multiplexes: Cell::new(version == Version::Http2),
        })
    }

    /// The same client, which opens one connection at most if it stands for one of a fixed number.
    pub(super) fn shared(self, pool: Pool) -> Self {
        let turns = matches!(pool, Pool::Shared(_)).then(Mutex::default);
        Self { turns, ..self }
    }

    /// Waits until the connection is free, where that matters.
    pub(super) async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        match &self.turns {
            Some(turns) if !self.multiplexes.get() => Some(turns.lock().await),
            _ => None,
        }
    }

    /// The server answered in this version.
    pub(super) fn learn(&self, version: http::Version) {
        if version >= http::Version::HTTP_2 {
            self.multiplexes.set(true);
        }
    }

    /// The time that connects took since the last call, if there were any.
    pub(super) fn connects(&self) -> Option<Duration> {
        match self.connects.swap(0, Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }
}

/// Bounds and times the connects of a client.
#[derive(Debug, Clone)]
struct Timed {
    gate: Arc<Gate>,
    address: Arc<str>,
    connects: Arc<AtomicU64>,
}

impl<S> Layer<S> for Timed {
    type Service = TimedConnect<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TimedConnect {
            inner,
            timed: self.clone(),
        }
    }
}

#[derive(Debug, Clone)]
struct TimedConnect<S> {
    inner: S,
    timed: Timed,
}

impl<S, R> Service<R> for TimedConnect<S>
where
    S: Service<R> + Clone + Send + 'static,
    S::Future: Send,
    R: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, destination: R) -> Self::Future {
        let fresh = self.inner.clone();
        // The one that was polled ready is the one to call.
        let mut ready = std::mem::replace(&mut self.inner, fresh);
        let Timed {
            gate,
            address,
            connects,
        } = self.timed.clone();
        Box::pin(async move {
            let _pass = gate.pass(&address).await;
            let start = Instant::now();
            let connection = ready.call(destination).await?;
            let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            connects.fetch_add(nanos.max(1), Ordering::Relaxed);
            Ok(connection)
        })
    }
}
