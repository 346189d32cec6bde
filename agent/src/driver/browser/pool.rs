//! The browsers of one agent in one run, and who may have a page: shared by all workers of the agent.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use testmesh_shared::plan::ErrorKind;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::form::Target;
use super::host::Host;
use crate::driver::contract::StageError;

/// The browsers of one agent in one run. They end when this is dropped, that is when the run is over on all workers.
#[derive(Debug, Default)]
pub(super) struct Browsers {
    /// By the program that a target names.
    hosts: Mutex<HashMap<Option<PathBuf>, Arc<Host>>>,
    /// By the name of the target.
    permits: Mutex<HashMap<Box<str>, Arc<Semaphore>>>,
}

impl Browsers {
    /// Waits until the target may have one page more.
    ///
    /// # Errors
    ///
    /// If none became free in time.
    pub(super) async fn permit(
        &self,
        site: &str,
        target: &Target,
        until: Instant,
    ) -> Result<OwnedSemaphorePermit, StageError> {
        let permits = {
            let mut known = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
            let permits = known
                .entry(site.into())
                .or_insert_with(|| Arc::new(Semaphore::new(target.max_contexts)));
            Arc::clone(permits)
        };
        match timeout_at(until, permits.acquire_owned()).await {
            Ok(permit) => Ok(permit.expect("nobody closes these semaphores")),
            Err(_) => {
                let message = format!(
                    "all {} pages of target `{site}` on this agent were taken (max_contexts)",
                    target.max_contexts
                );
                Err(StageError::new(ErrorKind::Timeout, message).with_code("no_page"))
            }
        }
    }

    /// The browser for that program: started if there is none, or if the last one ended.
    ///
    /// # Errors
    ///
    /// If the system grants no thread.
    pub(super) fn host(&self, program: Option<&PathBuf>) -> Result<Arc<Host>, StageError> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let key = program.cloned();
        if let Some(host) = hosts.get(&key).filter(|host| host.is_usable()) {
            return Ok(Arc::clone(host));
        }
        let host = Arc::new(Host::start(key.clone())?);
        let before = hosts.insert(key, Arc::clone(&host));
        drop(hosts);
        // Its thread is over, or about to be.
        drop(before);
        Ok(host)
    }
}
