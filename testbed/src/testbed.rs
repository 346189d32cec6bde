//! A running testbed: builds every part, and ends them in order.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use hyper::service::service_fn;
use tokio::net::TcpSocket;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::http::router;
use crate::jobs::{OnConflict, Ports, Registry};
use crate::limits::{BACKLOG, SHUTDOWN_ABORT, SHUTDOWN_GRACE};
use crate::profile::{Config, Validation};
use crate::serve::{Protocol, Scope, accept};
use crate::server::Server;

/// A running stand-in Focus Server. Dropping it ends it without waiting; [`Testbed::shutdown`] waits.
#[derive(Debug)]
pub struct Testbed {
    url: String,
    address: SocketAddr,
    job_ports: u16,
    tasks: TaskTracker,
    closing: DropGuard,
    abort: DropGuard,
}

impl Testbed {
    /// Starts a testbed on the current tokio runtime. It answers once this returns.
    ///
    /// # Errors
    ///
    /// The configuration is not possible, the address is taken, or no block of job ports is free.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        config.check()?;
        let ports = Ports::take(config.job_ports, config.listen.ip(), config.max_jobs)?;
        let job_ports = ports.base;
        let listener = listen(config.listen)
            .with_context(|| format!("failed to listen on {}", config.listen))?;
        let address = listener
            .local_addr()
            .context("failed to read the listening address")?;
        let host = host(address.ip());
        let scope = Scope {
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            abort: CancellationToken::new(),
        };
        let on_conflict = match config.validation {
            Validation::Strict => OnConflict::Skip,
            Validation::Lenient => OnConflict::Fail,
        };
        let jobs = Registry::new(address.ip(), ports, config.max_jobs, on_conflict);
        let advertise = config.advertise.clone().unwrap_or_else(|| host.clone());
        let server = Arc::new(Server::new(
            config,
            format!("http://{advertise}"),
            jobs,
            scope.clone(),
        ));
        let router = router(server);
        scope
            .tasks
            .spawn(accept(listener, Protocol::Http, scope.clone(), move |_| {
                let router = router.clone();
                service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let router = router.clone();
                    async move {
                        let answered: Result<_, Infallible> =
                            router.oneshot(request.map(axum::body::Body::new)).await;
                        answered
                    }
                })
            }));
        Ok(Self {
            url: format!("http://{host}:{}", address.port()),
            address,
            job_ports,
            tasks: scope.tasks,
            closing: scope.closing.drop_guard(),
            abort: scope.abort.drop_guard(),
        })
    }

    /// The REST API, such as `http://127.0.0.1:8080`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where the REST API listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port of the job in slot 0; a job listens on this plus its slot.
    #[must_use]
    pub fn job_ports(&self) -> u16 {
        self.job_ports
    }

    /// Ends every stream, job and connection, and waits for the last task, for at most five seconds.
    ///
    /// # Errors
    ///
    /// Tasks were left, which is a defect of the testbed.
    pub async fn shutdown(self) -> anyhow::Result<()> {
        self.tasks.close();
        drop(self.closing);
        if tokio::time::timeout(SHUTDOWN_GRACE, self.tasks.wait())
            .await
            .is_ok()
        {
            return Ok(());
        }
        drop(self.abort);
        let left = self.tasks.len();
        tokio::time::timeout(SHUTDOWN_ABORT, self.tasks.wait())
            .await
            .with_context(|| format!("{left} tasks of the testbed did not end"))
    }
}

fn listen(address: SocketAddr) -> std::io::Result<tokio::net::TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// How clients on this machine reach an address that we listen on.
fn host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) if ip.is_unspecified() => format!("[{}]", Ipv6Addr::LOCALHOST),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}
