//! A client of one cluster: kube's, over connections that are dialled as every driver dials.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::ReadBufCursor;
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::{Body, ConfigExt as _};
use kube::config::KubeConfigOptions;
use kube::{Client, Config};
use testmesh_shared::plan::ErrorKind;
use testmesh_shared::plan::expr::Scope;
use tower::{BoxError, Layer as _, Service, ServiceExt as _};

use super::form::{Cluster as Written, Target};
use super::kinds::Resource;
use crate::driver::connections::Reusable;
use crate::driver::contract::StageError;
use crate::driver::transport::{Address, Gate, Io, chain, dial};

/// A client of one cluster, and what was learnt of it.
pub(super) struct Cluster {
    pub(super) client: Client,
    /// Where it is, as messages name it.
    pub(super) at: Box<str>,
    connects: Arc<AtomicU64>,
    /// Kinds that it was asked about, by version and kind. A plan names few.
    pub(super) kinds: RefCell<HashMap<(String, String), Resource>>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Reusable for Cluster {
    /// Connections are pooled within, and those that closed are replaced.
    fn is_open(&self) -> bool {
        true
    }
}

impl Cluster {
    /// A client without a connection yet.
    pub(super) async fn new(
        target: &Target,
        scope: &Scope<'_>,
        gate: &Arc<Gate>,
    ) -> Result<Self, StageError> {
        let (config, tls) = config(&target.cluster, scope).await?;
        let at = config.cluster_url.to_string();
        let at = at.trim_end_matches('/').into();
        let connects = Arc::new(AtomicU64::new(0));
        let connector = Connector {
            gate: Arc::clone(gate),
            tls,
            connects: Arc::clone(&connects),
        };
        let http: Http<_, Body> = Http::builder(TokioExecutor::new()).build(connector);
        let failed = |error: kube::Error| unusable(&chain(&error));
        let headers = config.extra_headers_layer().map_err(failed)?;
        let base = config.base_uri_layer();
        let namespace = config.default_namespace.clone();
        let http = headers.layer(http).map_err(BoxError::from);
        let client = match config.auth_layer().map_err(failed)? {
            None => Client::new(base.layer(http), namespace),
            Some(auth) => Client::new(base.layer(auth.layer(http)), namespace),
        };
        Ok(Self {
            client,
            at,
            connects,
            kinds: RefCell::default(),
        })
    }

    /// The time that connects took since the last call, if there were any.
    pub(super) fn connects(&self) -> Option<Duration> {
        match self.connects.swap(0, Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }
}

fn unusable(reason: &str) -> StageError {
    let message = format!("there is no cluster to talk to: {reason}");
    StageError::new(ErrorKind::Unavailable, message).with_code("no_cluster")
}

/// How to talk to a cluster, and how to trust it.
async fn config(
    written: &Written,
    scope: &Scope<'_>,
) -> Result<(Config, Arc<rustls::ClientConfig>), StageError> {
    let options = |context: &Option<String>| KubeConfigOptions {
        context: context.clone(),
        ..KubeConfigOptions::default()
    };
    let config = match written {
        Written::Url { url, token, tls } => {
            let text = url
                .text(scope)
                .map_err(|error| StageError::template("the cluster's URL", &error))?;
            let uri: Uri = text
                .parse()
                .map_err(|_| unusable("its URL is none: write https://HOST[:PORT]"))?;
            let mut config = Config::new(uri);
            if let Some(token) = token {
                let token = token
                    .text(scope)
                    .map_err(|error| StageError::template("the token", &error))?;
                config.auth_info.token = Some(token.into_owned().into());
            }
            return Ok((config, Arc::clone(tls)));
        }
        Written::Default { context: None } => Config::infer()
            .await
            .map_err(|error| unusable(&chain(&error)))?,
        Written::Default { context } => Config::from_kubeconfig(&options(context))
            .await
            .map_err(|error| unusable(&chain(&error)))?,
        Written::File { config, context } => {
            Config::from_custom_kubeconfig((**config).clone(), &options(context))
                .await
                .map_err(|error| unusable(&chain(&error)))?
        }
    };
    if config.tls_server_name.is_some() {
        return Err(unusable(
            "`tls-server-name` of a kubeconfig is not followed",
        ));
    }
    let tls = config
        .rustls_client_config()
        .map_err(|error| unusable(&chain(&error)))?;
    Ok((config, Arc::new(tls)))
}

/// Opens connections, few at once, and times them.
#[derive(Debug, Clone)]
struct Connector {
    gate: Arc<Gate>,
    tls: Arc<rustls::ClientConfig>,
    connects: Arc<AtomicU64>,
}

impl Service<Uri> for Connector {
    type Response = Wire;
    type Error = StageError;
    type Future = Pin<Box<dyn Future<Output = Result<Wire, StageError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StageError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self {
            gate,
            tls,
            connects,
        } = self.clone();
        Box::pin(async move {
            let authority = uri.authority().map_or("", |authority| authority.as_str());
            let scheme = uri.scheme_str().unwrap_or("https");
            let address = Address::parse(&format!("{scheme}://{authority}"))
                .map_err(|error| unusable(&error.to_string()))?;
            let tls = (address.tls == Some(true)).then_some(&tls);
            let dialled = dial(&gate, &address, tls).await?;
            let nanos = u64::try_from(dialled.took.as_nanos()).unwrap_or(u64::MAX);
            connects.fetch_add(nanos.max(1), Ordering::Relaxed);
            Ok(Wire(TokioIo::new(dialled.io)))
        })
    }
}

/// An open connection, as hyper wants it.
struct Wire(TokioIo<Io>);

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
