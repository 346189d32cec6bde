//! A running testbed: builds every part, and ends them in order.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use testmesh_shared::shutdown::{Shutdown, Tasks};
use tokio::net::{TcpListener, TcpSocket};
use tower::ServiceExt;

use crate::http::router;
use crate::jobs::{OnConflict, Ports, Registry};
use crate::limits::{BACKLOG, SHUTDOWN_ABORT, SHUTDOWN_GRACE};
use crate::profile::{Config, Validation};
use crate::serve::{Protocol, accept};
use crate::server::Server;

/// A running stand-in Focus Server. Dropping it ends it without waiting; [`Testbed::shutdown`] waits.
#[derive(Debug)]
pub struct Testbed {
    url: String,
    address: SocketAddr,
    job_ports: u16,
    tasks: Tasks,
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
        let tasks = Tasks::new(Shutdown::new());
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
            tasks.clone(),
        ));
        let rest = serve_rest(listener, router(server), tasks.clone());
        tasks.spawn("listener", rest);
        Ok(Self {
            url: format!("http://{host}:{}", address.port()),
            address,
            job_ports,
            tasks,
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
    /// Tasks were left or one panicked, which is a defect of the testbed.
    pub async fn shutdown(self) -> anyhow::Result<()> {
        let shutdown = self.tasks.shutdown();
        shutdown.drain();
        if self.tasks.join(SHUTDOWN_GRACE).await.is_err() {
            shutdown.abort();
            self.tasks
                .join(SHUTDOWN_ABORT)
                .await
                .context("the testbed did not end")?;
        }
        match self.tasks.panicked() {
            Some(panicked) => Err(panicked).context("the testbed has a defect"),
            None => Ok(()),
        }
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        self.tasks.shutdown().abort();
    }
}

async fn serve_rest(listener: TcpListener, router: Router, tasks: Tasks) {
    accept(listener, Protocol::Http, tasks, move |_| {
        let router = router.clone();
        service_fn(move |request: Request<Incoming>| {
            let answer = router.clone().oneshot(request.map(axum::body::Body::new));
            async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
        })
    })
    .await;
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
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
