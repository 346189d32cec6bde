//! The connection to MongoDB: one client for everything, made when it is first needed, and how long anybody waits for it.
//!
//! The driver reconnects by itself. What it hides is bounded: a server is sought for no longer than a request may wait, a
//! heartbeat finds one that is back within a second, and every operation has the time-out of its caller.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use mongodb::bson::doc;
use mongodb::error::ErrorKind;
use mongodb::options::{ClientOptions, ServerMonitoringMode};
use mongodb::{Client, Database};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, mpsc};
use tokio::time::timeout;

use super::tasks::{TaskWrite, TaskWrites};
use crate::limits::{MONGODB_CONNECT, MONGODB_HEARTBEAT, MONGODB_POOL, TASK_DOCUMENTS_QUEUED};
use crate::link::Link;
use crate::server_uri::ServerUri;

/// Where recordings are, and how long a request waits for them.
#[derive(Debug, Clone)]
pub(crate) struct StoreConfig {
    pub(crate) uri: ServerUri,
    pub(crate) database: String,
    /// Which base path the server's storage is mounted at.
    pub(crate) storage_path: String,
    pub(crate) patience: Duration,
}

/// Why the store has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// It refused, or was not there.
    #[error("failed to {operation}")]
    Failed {
        operation: &'static str,
        #[source]
        source: mongodb::error::Error,
    },
    /// It was there and silent, or too slow.
    #[error("failed to {operation} within {patience:?}")]
    TimedOut {
        operation: &'static str,
        patience: Duration,
    },
    /// It lists more recordings than a job may have.
    #[error("the range has more than {limit} recordings")]
    TooMany { limit: usize },
}

impl StoreError {
    /// Whether the same may succeed later: the server was away, or about to be.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::TimedOut { .. } => true,
            Self::TooMany { .. } => false,
            Self::Failed { source, .. } => {
                source.contains_label("RetryableWriteError")
                    || matches!(
                        *source.kind,
                        ErrorKind::Io(_)
                            | ErrorKind::ServerSelection { .. }
                            | ErrorKind::ConnectionPoolCleared { .. }
                            | ErrorKind::DnsResolve { .. }
                            | ErrorKind::Authentication { .. }
                    )
            }
        }
    }
}

/// MongoDB, as the testbed uses it.
#[derive(Clone)]
pub(crate) struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    config: StoreConfig,
    client: OnceCell<Client>,
    link: Link,
    writes: mpsc::Sender<TaskWrite>,
    lost: AtomicU64,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// A store, whether or not its server is there, and the documents that [`super::tasks::write`] is to write.
    ///
    /// # Errors
    ///
    /// The URI is none. One whose hosts cannot be looked up now is looked up again later.
    pub(crate) async fn new(config: StoreConfig, now: u64) -> anyhow::Result<(Self, TaskWrites)> {
        if let Err(error) = parse(&config).await
            && matches!(*error.kind, ErrorKind::InvalidArgument { .. })
        {
            return Err(error).context("--mongodb is not a connection string");
        }
        let (writes, queued) = mpsc::channel(TASK_DOCUMENTS_QUEUED);
        let inner = Inner {
            config,
            client: OnceCell::new(),
            link: Link::new("MongoDB", now),
            writes,
            lost: AtomicU64::new(0),
        };
        let store = Self {
            inner: Arc::new(inner),
        };
        Ok((store, TaskWrites(queued)))
    }

    pub(crate) fn config(&self) -> &StoreConfig {
        &self.inner.config
    }

    pub(crate) fn link(&self) -> &Link {
        &self.inner.link
    }

    /// Documents of jobs that were never written.
    pub(crate) fn lost(&self) -> u64 {
        self.inner.lost.load(Ordering::Relaxed)
    }

    /// Counts documents that will never be written.
    pub(super) fn lose(&self, documents: u64) {
        self.inner.lost.fetch_add(documents, Ordering::Relaxed);
    }

    /// The connection's state, and what was lost.
    pub(crate) fn describe(&self) -> Value {
        let mut told = self.inner.link.describe();
        told["database"] = json!(self.inner.config.database);
        told["task_documents_lost"] = json!(self.lost());
        told
    }

    pub(super) fn writes(&self) -> &mpsc::Sender<TaskWrite> {
        &self.inner.writes
    }

    /// The database. Does not wait for its server, but for a name that has yet to be looked up.
    pub(super) async fn database(&self) -> mongodb::error::Result<Database> {
        let config = &self.inner.config;
        let client = self
            .inner
            .client
            .get_or_try_init(|| async { Client::with_options(parse(config).await?) });
        Ok(client.await?.database(&config.database))
    }

    /// Waits for the store's answer for as long as requests wait.
    ///
    /// # Errors
    ///
    /// It failed, or was too slow. Cancel safe as far as the operation is.
    pub(super) async fn within_patience<T>(
        &self,
        operation: &'static str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let patience = self.inner.config.patience;
        timeout(patience, answer)
            .await
            .unwrap_or(Err(StoreError::TimedOut {
                operation,
                patience,
            }))
    }

    /// Asks whether the server is there.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let operation = "ping MongoDB";
        let failed = |source| StoreError::Failed { operation, source };
        let answer = async {
            let database = self.database().await.map_err(failed)?;
            database
                .run_command(doc! { "ping": 1 })
                .await
                .map_err(failed)
        };
        self.within_patience(operation, answer).await.map(drop)
    }
}

async fn parse(config: &StoreConfig) -> mongodb::error::Result<ClientOptions> {
    let mut options = ClientOptions::parse(config.uri.expose()).await?;
    options
        .app_name
        .get_or_insert_with(|| "focus-server".to_owned());
    // A single address is meant as such: a set behind it may call itself by another, which a proxy or a forwarded port
    // does not lead to.
    if options.hosts.len() == 1 && options.repl_set_name.is_none() {
        options.direct_connection.get_or_insert(true);
    }
    options.server_selection_timeout = Some(config.patience);
    options.connect_timeout = Some(MONGODB_CONNECT);
    options.heartbeat_freq = Some(MONGODB_HEARTBEAT);
    // A streamed heartbeat notices a silent server only after its own, longer time-out.
    options.server_monitoring_mode = Some(ServerMonitoringMode::Poll);
    options.max_pool_size.get_or_insert(MONGODB_POOL);
    Ok(options)
}
