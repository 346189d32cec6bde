//! The coordinator as a component: builds every part, wires them, and states the order in which they end.
//!
//! Draining, in this order: no run is taken any more, those under way are stopped and sealed; links and watchers are told
//! to leave; the server, the registry and the rest end. Aborting ends everything at once.
use crate::api;
use crate::limits;
use crate::registry::Registry;
use crate::run::{Runs, Sealing, Surroundings};
use crate::store::blobs::Blobs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use testmesh_shared::clock::TimeAnchor;
use testmesh_shared::id::Epoch;
use testmesh_shared::shutdown::{Panicked, Shutdown, Tasks};
use tokio::net::TcpListener;

pub use crate::config::Config;

/// Why a coordinator did not start, or ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// The address cannot be listened on.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server failed.
    #[error("failed to serve")]
    Serve(#[source] tonic::transport::Error),
    /// A task panicked, which is a defect of testmesh.
    #[error("a part of the coordinator failed")]
    Panicked(#[source] Panicked),
}

/// A coordinator that listens and does not serve yet.
#[derive(Debug)]
pub struct Coordinator {
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
}

/// A coordinator that runs in tasks of its own.
#[derive(Clone, Debug)]
pub struct Handle {
    address: SocketAddr,
    shutdown: Shutdown,
    tasks: Tasks,
}

impl Coordinator {
    /// Binds the address; from now on connections wait to be served.
    ///
    /// # Errors
    ///
    /// If the address cannot be listened on.
    pub async fn bind(config: Config) -> Result<Self, CoordinatorError> {
        let failed = |source| CoordinatorError::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            config,
            listener,
            address,
        })
    }

    /// Binds, and runs in tasks of its own.
    ///
    /// # Errors
    ///
    /// As [`Coordinator::bind`].
    pub async fn start(config: Config) -> Result<Handle, CoordinatorError> {
        let coordinator = Self::bind(config).await?;
        let shutdown = Shutdown::new();
        let tasks = Tasks::new(shutdown.clone());
        let handle = Handle {
            address: coordinator.address,
            shutdown: shutdown.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn("coordinator", async move {
            if let Err(error) = coordinator.run(shutdown).await {
                tracing::error!(error = %testmesh_shared::error::Chain(&error), "the coordinator ended");
            }
        });
        Ok(handle)
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` drains and every run is sealed, or until it aborts.
    ///
    /// # Errors
    ///
    /// If the server fails, or a task panicked.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), CoordinatorError> {
        let tasks = Tasks::new(shutdown.child());
        // The registry and the server outlive the runs, which need both until they are sealed.
        let serving = Shutdown::new();
        let anchor = TimeAnchor::now();
        let (registry, registry_handle) = Registry::new(self.config.terms);
        tasks.spawn("registry", registry.run(serving.clone()));
        let surroundings = Surroundings {
            registry: registry_handle.clone(),
            anchor,
            tasks: tasks.clone(),
            sealing: Sealing {
                store: Arc::clone(&self.config.store),
                render: self.config.render,
                process: self.config.process,
            },
        };
        let (runs, runs_handle) = Runs::new(surroundings);
        let runs = tasks.spawn("runs", runs.run(tasks.shutdown().clone()));
        let parts = api::Parts {
            registry: registry_handle,
            runs: runs_handle,
            store: self.config.store,
            blobs: Arc::new(Blobs::default()),
            anchor,
            epoch: Epoch::at(anchor.unix_ns_now()),
            terms: self.config.terms,
            tasks: tasks.clone(),
            closing: serving.drain_token().clone(),
        };
        tracing::info!(address = %self.address, version = env!("CARGO_PKG_VERSION"), "coordinator listens");
        let mut server = tasks.spawn("server", api::serve(self.listener, parts, serving.clone()));
        // The runs end because they are told to, the server alone only by failing.
        let failed = tokio::select! {
            _ = runs => None,
            served = &mut server => Some(served),
        };
        serving.drain();
        let served = match failed {
            Some(served) => Some(served),
            // Links and watchers leave now; whoever does not is cut off.
            None => tokio::select! {
                served = &mut server => Some(served),
                () = tokio::time::sleep(limits::LEAVE) => None,
                () = shutdown.aborting() => None,
            },
        };
        serving.abort();
        server.abort();
        if let Err(unfinished) = tasks.join(limits::LEAVE).await {
            tracing::warn!(%unfinished, "left behind");
        }
        match tasks.panicked() {
            Some(panicked) => Err(CoordinatorError::Panicked(panicked)),
            None => served
                .and_then(Result::ok)
                .unwrap_or(Ok(()))
                .map_err(CoordinatorError::Serve),
        }
    }
}

impl Handle {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drains, and waits until it has ended; aborts what takes longer than `within`.
    pub async fn stop(&self, within: std::time::Duration) {
        self.shutdown.drain();
        if self.tasks.join(within).await.is_err() {
            self.shutdown.abort();
        }
    }
}
