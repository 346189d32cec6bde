//! The connection to RabbitMQ: who holds it, who waits for it, and what waits for it to be there.
//!
//! The driver's own recovery is not used: after a crash of the broker, a confirm that was pending would never resolve.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::ensure;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use serde_json::{Value, json};
use testmesh_shared::telemetry::Traceparent;
use tokio::sync::{Notify, mpsc, watch};

use super::work::Work;
use crate::limits::{AMQP_HEARTBEAT_S, AMQP_PUBLISHES_QUEUED, AMQP_REMOVALS_QUEUED};
use crate::link::Link;
use crate::server_uri::ServerUri;

/// Where commands come from.
#[derive(Debug, Clone)]
pub(crate) struct BrokerConfig {
    pub(crate) uri: ServerUri,
    pub(crate) exchange: String,
}

/// A message on its way out.
#[derive(Debug)]
pub(crate) struct Publish {
    pub(super) routing_key: String,
    pub(super) body: Value,
    /// The request that it is part of.
    pub(super) trace: Option<Traceparent>,
}

/// RabbitMQ, as the testbed uses it.
#[derive(Clone)]
pub(crate) struct Broker {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) config: BrokerConfig,
    /// There while the exchange is declared on it.
    pub(super) connection: watch::Sender<Option<Arc<Connection>>>,
    pub(super) link: Link,
    /// Queues that nobody needs any more.
    pub(super) removals: Mutex<VecDeque<Removal>>,
    pub(super) removal: Notify,
    publishes: mpsc::Sender<Publish>,
    /// Jobs that have a queue, or will ask for its removal.
    pub(super) living: AtomicUsize,
    pub(super) counts: Counts,
}

/// A queue to be deleted.
#[derive(Debug, Clone)]
pub(super) struct Removal {
    pub(super) queue: String,
    /// It may be another testbed's: then it has a consumer, and stays.
    pub(super) if_unused: bool,
}

/// What was lost or left.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Messages that were never published.
    pub(super) unpublished: AtomicU64,
    /// Queues that should be gone and are not known to be.
    pub(super) queues_left: AtomicU64,
}

/// A job that has a queue; dropping it says that it needs none any more.
#[derive(Debug)]
pub(crate) struct Living {
    broker: Broker,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

/// Checks what no broker could make right.
///
/// # Errors
///
/// The URI or the exchange's name is none.
pub(crate) fn check(config: &BrokerConfig) -> anyhow::Result<()> {
    let bytes = config.exchange.len();
    ensure!(
        (1..=127).contains(&bytes),
        "--amqp-exchange must have from 1 to 127 bytes, not {bytes}"
    );
    uri(config).map(drop)
}

/// The URI with what this testbed relies on.
pub(super) fn uri(config: &BrokerConfig) -> anyhow::Result<AMQPUri> {
    let mut uri: AMQPUri = config
        .uri
        .expose()
        .parse()
        .map_err(|error| anyhow::anyhow!("--amqp is not an AMQP URI: {error}"))?;
    uri.query.heartbeat.get_or_insert(AMQP_HEARTBEAT_S);
    Ok(uri)
}

pub(super) fn properties() -> ConnectionProperties {
    ConnectionProperties::default().with_connection_name("focus-server".into())
}

impl Broker {
    /// A broker, whether or not its server is there, and what [`super::run`] is to do.
    pub(crate) fn new(config: BrokerConfig, now: u64) -> (Self, Work) {
        let (publishes, queued) = mpsc::channel(AMQP_PUBLISHES_QUEUED);
        let inner = Inner {
            config,
            connection: watch::Sender::new(None),
            link: Link::new("RabbitMQ", now),
            removals: Mutex::default(),
            removal: Notify::new(),
            publishes,
            living: AtomicUsize::new(0),
            counts: Counts::default(),
        };
        let broker = Self {
            inner: Arc::new(inner),
        };
        (broker, Work(queued))
    }

    pub(crate) fn exchange(&self) -> &str {
        &self.inner.config.exchange
    }

    /// Waits for a connection on which the exchange is declared. Cancel safe.
    pub(super) async fn connection(&self) -> Arc<Connection> {
        let mut connection = self.inner.connection.subscribe();
        loop {
            if let Some(found) = connection.borrow_and_update().as_ref() {
                return Arc::clone(found);
            }
            if connection.changed().await.is_err() {
                // The sender lives as long as `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Counts a job whose queue will have to be removed.
    pub(crate) fn living(&self) -> Living {
        self.inner.living.fetch_add(1, Ordering::SeqCst);
        Living {
            broker: self.clone(),
        }
    }

    /// Has a queue deleted, as soon as RabbitMQ is there.
    pub(super) fn remove(&self, removal: Removal) {
        let mut removals = self.removals();
        if removals.len() >= AMQP_REMOVALS_QUEUED {
            self.inner
                .counts
                .queues_left
                .fetch_add(1, Ordering::Relaxed);
            tracing::warn!(?removal, "a queue stays: too many wait to be deleted");
            return;
        }
        removals.push_back(removal);
        self.inner.removal.notify_one();
    }

    pub(super) fn removals(&self) -> MutexGuard<'_, VecDeque<Removal>> {
        self.inner
            .removals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a message published, under the caller's trace. It is lost, and counted, if too many wait.
    pub(crate) fn publish(&self, routing_key: String, body: Value) {
        let trace = Traceparent::current();
        let message = Publish {
            routing_key,
            body,
            trace,
        };
        if self.inner.publishes.try_send(message).is_err() {
            self.inner
                .counts
                .unpublished
                .fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The connection's state, and what was lost.
    pub(crate) fn describe(&self) -> Value {
        let counts = &self.inner.counts;
        let mut told = self.inner.link.describe();
        told["exchange"] = json!(self.exchange());
        told["messages_lost"] = json!(counts.unpublished.load(Ordering::Relaxed));
        told["queues_to_delete"] = json!(self.removals().len());
        told["queues_left"] = json!(counts.queues_left.load(Ordering::Relaxed));
        told
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        self.broker.inner.living.fetch_sub(1, Ordering::SeqCst);
        self.broker.inner.removal.notify_one();
    }
}
