//! The store of local runs and of tests: the last runs, in memory.
use super::contract::{RunStore, StoreError, StoredRevert, StoredRun};
use crate::limits;
use crate::run::RunOverview;
use futures_util::future::{BoxFuture, ready};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use testmesh_shared::id::RunId;

/// Keeps a bounded number of runs in bounded memory. Ids of runs sort by their start, so the first one is the oldest.
#[derive(Debug)]
pub struct MemoryStore {
    most: usize,
    bytes_max: usize,
    runs: Mutex<BTreeMap<RunId, StoredRun>>,
    reverts: Mutex<BTreeMap<(RunId, String), StoredRevert>>,
}

impl MemoryStore {
    /// An empty store that keeps this many runs, and at least one.
    pub fn new(most: usize) -> Self {
        Self::bounded(most, limits::MAX_STORE_BYTES)
    }

    /// The same with at most about this many bytes; the newest run is kept however large it is.
    pub fn bounded(most: usize, bytes_max: usize) -> Self {
        Self {
            most: most.max(1),
            bytes_max,
            runs: Mutex::default(),
            reverts: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RunId, StoredRun>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_reverts(&self) -> MutexGuard<'_, BTreeMap<(RunId, String), StoredRevert>> {
        self.reverts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a run takes: its files, and the model that one of them is written from, which is about as large as that one.
fn size(run: &StoredRun) -> usize {
    let sizes = run.files.iter().map(|(name, content)| {
        let times = if name == "report.json" { 2 } else { 1 };
        content.len() * times
    });
    sizes.sum()
}

impl RunStore for MemoryStore {
    fn put(&self, run: StoredRun) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut runs = self.lock();
        runs.insert(run.overview.id.clone(), run);
        let mut bytes: usize = runs.values().map(size).sum();
        while runs.len() > self.most || (bytes > self.bytes_max && runs.len() > 1) {
            let oldest = runs.pop_first();
            bytes -= oldest.map_or(0, |(_, run)| size(&run));
        }
        Box::pin(ready(Ok(())))
    }

    fn find<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<Option<StoredRun>, StoreError>> {
        Box::pin(ready(Ok(self.lock().get(run).cloned())))
    }

    fn put_revert(&self, revert: StoredRevert) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut reverts = self.lock_reverts();
        reverts.insert((revert.run.clone(), revert.fault.clone()), revert);
        while reverts.len() > limits::MAX_STORED_REVERTS {
            reverts.pop_first();
        }
        Box::pin(ready(Ok(())))
    }

    fn drop_revert<'a>(
        &'a self,
        run: &'a RunId,
        fault: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.lock_reverts().remove(&(run.clone(), fault.to_owned()));
        Box::pin(ready(Ok(())))
    }

    fn reverts<'a>(
        &'a self,
        run: &'a RunId,
    ) -> BoxFuture<'a, Result<Vec<StoredRevert>, StoreError>> {
        let reverts = self.lock_reverts();
        let of_run = reverts.values().filter(|revert| revert.run == *run);
        Box::pin(ready(Ok(of_run.cloned().collect())))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<RunOverview>, StoreError>> {
        let newest_first = self
            .lock()
            .values()
            .rev()
            .map(|run| run.overview.clone())
            .collect();
        Box::pin(ready(Ok(newest_first)))
    }
}
