//! A running testbed: builds every part, and ends them in order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use testmesh_shared::shutdown::{Shutdown, Tasks};
use tokio::net::{TcpListener, TcpSocket};

use crate::archive::Archive;
use crate::broker::{self, Broker, Work};
use crate::clock::Clock;
use crate::jobs::{OnConflict, Ports, Registry};
use crate::limits::{BACKLOG, SHUTDOWN_ABORT, SHUTDOWN_GRACE};
use crate::profile::{Config, Validation};
use crate::rest::serve_rest;
use crate::server::{Server, Servers};
use crate::store::{self, Store, TaskWrites};

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
        let (servers, work) = servers(&config).await?;
        let server = Arc::new(Server::new(
            config,
            format!("http://{advertise}"),
            jobs,
            tasks.clone(),
            servers,
        ));
        begin(&server, work);
        let rest = serve_rest(listener, address, server);
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

/// What the other servers need done for as long as the testbed runs.
struct OtherWork {
    store: Option<(Store, TaskWrites)>,
    broker: Option<(Broker, Work)>,
}

/// The other servers, which need not be there yet.
async fn servers(config: &Config) -> anyhow::Result<(Servers, OtherWork)> {
    let clock = Clock::start();
    let store = match config.store() {
        Some(config) => Some(Store::new(config, clock.now_s()).await?),
        None => None,
    };
    let broker = config
        .broker()
        .map(|config| Broker::new(config, clock.now_s()));
    let servers = Servers {
        clock,
        archive: store.as_ref().map_or(Archive::Embedded, |(store, _)| {
            Archive::MongoDb(store.clone())
        }),
        broker: broker.as_ref().map(|(broker, _)| broker.clone()),
    };
    Ok((servers, OtherWork { store, broker }))
}

fn begin(server: &Arc<Server>, work: OtherWork) {
    let tasks = &server.tasks;
    if let Some((store, writes)) = work.store {
        let tending = store::tend(Arc::clone(server), store.clone());
        let shutdown = tasks.shutdown().clone();
        tasks.spawn("mongodb", async move {
            // A silent server is waited for no longer.
            tokio::select! {
                () = tending => {}
                () = shutdown.draining() => {}
            }
        });
        let jobs = Arc::clone(server);
        let jobs_left = move || !jobs.jobs.list().is_empty();
        let shutdown = tasks.shutdown().clone();
        let writing = store::write(store, writes, shutdown.clone(), jobs_left);
        tasks.spawn("task documents", async move {
            tokio::select! {
                () = writing => {}
                () = shutdown.aborting() => {}
            }
        });
    }
    if let Some((broker, work)) = work.broker {
        let working = broker::run(Arc::clone(server), broker, work);
        let shutdown = tasks.shutdown().clone();
        tasks.spawn("rabbitmq", async move {
            tokio::select! {
                () = working => {}
                () = shutdown.aborting() => {}
            }
        });
    }
}

pub(crate) fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
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
