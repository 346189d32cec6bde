//! What the parts of one testbed share. Every testbed has its own: several may run in one process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use testmesh_shared::shutdown::Tasks;

use crate::behavior::{Behavior, Kind, strikes_request};
use crate::clock::Clock;
use crate::http::Manifests;
use crate::jobs::Registry;
use crate::profile::Config;
use crate::rows::RowCache;

/// The shared state of one testbed.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    /// What `stream_url` says: `http://` and a host, no slash at the end.
    pub(crate) stream_url: String,
    pub(crate) jobs: Registry,
    pub(crate) rows: RowCache,
    pub(crate) manifests: Mutex<Manifests>,
    pub(crate) tasks: Tasks,
    behaviors: RwLock<Vec<Behavior>>,
    calls: AtomicU64,
    configures: AtomicU64,
}

impl Server {
    pub(crate) fn new(config: Config, stream_url: String, jobs: Registry, tasks: Tasks) -> Self {
        Self {
            clock: Clock::start(),
            stream_url,
            jobs,
            rows: RowCache::new(config.row_cache),
            manifests: Mutex::new(Manifests::default()),
            tasks,
            behaviors: RwLock::new(config.behaviors.clone()),
            calls: AtomicU64::new(0),
            configures: AtomicU64::new(0),
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
    }

    /// Numbers a `StreamData` call.
    pub(crate) fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// How long this `POST /configure` is held back by `slow-stage`, if at all.
    pub(crate) fn configure_held(&self) -> Option<std::time::Duration> {
        let request = self.configures.fetch_add(1, Ordering::Relaxed);
        let behaviors = self
            .behaviors
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let slow = behaviors
            .iter()
            .find(|behavior| behavior.kind() == Kind::SlowStage)?;
        strikes_request(self.config.seed, request, slow).then(|| slow.lasts())
    }
}
