//! What the parts of one testbed share. Every testbed has its own: several may run in one process.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use testmesh_shared::shutdown::Tasks;
use tokio::sync::Notify;

use crate::archive::{Archive, Lookup};
use crate::behavior::{Behavior, Kind, TABLE, strikes_request};
use crate::broker::Broker;
use crate::clock::Clock;
use crate::http::Manifests;
use crate::jobs::Registry;
use crate::profile::Config;
use crate::rows::RowCache;
use crate::task_flow::Consumers;

/// The other servers that a testbed uses, and the clock that they share with it.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) clock: Clock,
    pub(crate) archive: Archive,
    pub(crate) broker: Option<Broker>,
}

/// The shared state of one testbed.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    /// What `stream_url` says: `http://` and a host, no slash at the end.
    pub(crate) stream_url: String,
    pub(crate) jobs: Registry,
    pub(crate) task_flow: Consumers,
    pub(crate) rows: RowCache,
    pub(crate) manifests: Mutex<Manifests>,
    pub(crate) tasks: Tasks,
    pub(crate) archive: Archive,
    /// None: there are no commands.
    pub(crate) broker: Option<Broker>,
    /// How often the REST API has restarted.
    pub(crate) restarts: AtomicU64,
    behaviors: RwLock<Vec<Behavior>>,
    changed: Notify,
    calls: AtomicU64,
    configures: AtomicU32,
    counts: Vec<AtomicU64>,
}

impl Server {
    pub(crate) fn new(
        config: Config,
        stream_url: String,
        jobs: Registry,
        tasks: Tasks,
        servers: Servers,
    ) -> Self {
        Self {
            clock: servers.clock,
            archive: servers.archive,
            broker: servers.broker,
            restarts: AtomicU64::new(0),
            changed: Notify::new(),
            stream_url,
            jobs,
            task_flow: Consumers::default(),
            rows: RowCache::new(config.row_cache),
            manifests: Mutex::new(Manifests::default()),
            tasks,
            behaviors: RwLock::new(config.behaviors.clone()),
            calls: AtomicU64::new(0),
            configures: AtomicU32::new(0),
            counts: TABLE.iter().map(|_| AtomicU64::new(0)).collect(),
            config,
        }
    }

    /// The behaviors that are on now.
    pub(crate) fn behaviors(&self) -> Vec<Behavior> {
        self.behaviors
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces them; calls that are open keep theirs.
    pub(crate) fn set_behaviors(&self, behaviors: Vec<Behavior>) {
        *self
            .behaviors
            .write()
            .unwrap_or_else(PoisonError::into_inner) = behaviors;
        self.changed.notify_one();
    }

    /// Waits until they are replaced. One waiter is told.
    pub(crate) async fn behaviors_changed(&self) {
        self.changed.notified().await;
    }

    /// What to look up of a range of epoch seconds, as the behaviors want it.
    pub(crate) fn lookup(&self, start: u64, end: u64) -> Lookup {
        let slow = self
            .archive
            .store()
            .and_then(|_| self.struck(Kind::SlowMongodb));
        Lookup {
            start,
            end,
            now: self.clock.now_s(),
            slower: slow.map_or(Duration::ZERO, |slow| slow.lasts()),
        }
    }

    /// Numbers a `StreamData` call.
    pub(crate) fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// The behavior of a kind that strikes a request, call, job or task, if it is on and strikes this one.
    ///
    /// Each kind counts what it might strike, so that whom it strikes does not depend on other kinds of requests.
    pub(crate) fn struck(&self, kind: Kind) -> Option<Behavior> {
        let behaviors = self
            .behaviors
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let behavior = *behaviors.iter().find(|one| one.kind() == kind)?;
        drop(behaviors);
        let number = self.count(kind);
        strikes_request(self.config.seed, number, &behavior).then_some(behavior)
    }

    /// Numbers what a kind of behavior might strike, from 0.
    fn count(&self, kind: Kind) -> u64 {
        let place = TABLE.iter().position(|entry| entry.kind == kind);
        place
            .and_then(|place| self.counts.get(place))
            .map_or(0, |count| count.fetch_add(1, Ordering::Relaxed))
    }

    /// Holds a request back, if a behavior that makes it slow strikes it. Nothing is lost when it is cancelled.
    pub(crate) async fn hold(&self, kind: Kind) {
        if let Some(slow) = self.struck(kind) {
            tokio::time::sleep(slow.lasts()).await;
        }
    }

    /// Numbers a `POST /configure`, from 0.
    pub(crate) fn next_configure(&self) -> u32 {
        self.configures.fetch_add(1, Ordering::Relaxed)
    }
}
