//! All truths of one run on one agent, and the thread that reads them.
//!
//! Sessions live on threads that are measured, and a truth may be large: so it is read on a thread of its own, once for all
//! streams that name it. The thread begins with the first truth, and ends, with what it reads, when the run does.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::LocalBoxFuture;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinSet, LocalSet};

use super::listing::{Listing, ListingWriter};
use crate::driver::{Connections, Gate};
use crate::limits;

/// Where the rows of a truth are read from.
pub(crate) trait Source: fmt::Debug + Send {
    /// Sources with the same id have the same rows.
    fn id(&self) -> &str;

    /// Reads all rows, in the order of their keys.
    ///
    /// # Errors
    ///
    /// Why they cannot be read, or not to their end: then what was read counts, and the rest is unverified.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the reading.
    fn read<'a>(
        &'a self,
        connections: &'a Connections,
        into: &'a mut ListingWriter,
    ) -> LocalBoxFuture<'a, Result<(), String>>;
}

/// All truths of one run on one agent.
#[derive(Debug, Default)]
pub struct Truths {
    known: Mutex<Known>,
    /// Bytes of all listings.
    used: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Known {
    listings: HashMap<String, Kept>,
    clock: u64,
    jobs: Option<mpsc::Sender<Job>>,
}

#[derive(Debug)]
struct Kept {
    listing: Arc<Listing>,
    used: u64,
}

/// A truth that is to be read.
#[derive(Debug)]
struct Job {
    source: Box<dyn Source>,
    into: ListingWriter,
}

impl Truths {
    /// The rows of a source, which is read unless it was already. One that could not be read is read again.
    ///
    /// # Errors
    ///
    /// If the agent has no room for another truth, or no thread to read it.
    pub(crate) fn listing(
        &self,
        source: impl Source + 'static,
        gate: &Arc<Gate>,
    ) -> Result<Arc<Listing>, String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.clock += 1;
        let now = known.clock;
        if let Some(kept) = known.listings.get_mut(source.id())
            && !kept.listing.has_failed()
        {
            kept.used = now;
            return Ok(Arc::clone(&kept.listing));
        }
        known.listings.remove(source.id());
        self.make_room(&mut known)?;
        let listing = Listing::new(&self.used);
        let kept = Kept {
            listing: Arc::clone(&listing),
            used: now,
        };
        let id = source.id().to_owned();
        let job = Job {
            source: Box::new(source),
            into: ListingWriter::new(Arc::clone(&listing)),
        };
        known.read(job, gate)?;
        known.listings.insert(id, kept);
        Ok(listing)
    }

    /// Forgets truths that no stream uses, those first that were asked for least recently, until there is room for more.
    fn make_room(&self, known: &mut Known) -> Result<(), String> {
        while known.listings.len() >= limits::TRUTHS
            || self.used.load(Ordering::Relaxed) > limits::TRUTH_BYTES / 2
        {
            let idle = known
                .listings
                .iter()
                .filter(|(_, kept)| Arc::strong_count(&kept.listing) == 1);
            let oldest = idle.min_by_key(|(_, kept)| kept.used);
            let Some(id) = oldest.map(|(id, _)| id.clone()) else {
                // Of memory there may still be enough; the reading will tell.
                return match known.listings.len() < limits::TRUTHS {
                    true => Ok(()),
                    false => Err(format!(
                        "streams compare with {} different truths at once, and no more are kept",
                        limits::TRUTHS
                    )),
                };
            };
            known.listings.remove(&id);
        }
        Ok(())
    }
}

impl Known {
    /// Hands a truth to the thread that reads them.
    fn read(&mut self, job: Job, gate: &Arc<Gate>) -> Result<(), String> {
        let jobs = match &self.jobs {
            Some(jobs) => jobs,
            None => self.jobs.insert(start(gate)?),
        };
        let refused = |error| match error {
            mpsc::error::TrySendError::Full(_) => "too many truths wait to be read",
            mpsc::error::TrySendError::Closed(_) => "the thread that reads truths has ended",
        };
        jobs.try_send(job)
            .map_err(|error| refused(error).to_owned())
    }
}

/// Starts the thread that reads truths. It ends once the sender is dropped.
fn start(gate: &Arc<Gate>) -> Result<mpsc::Sender<Job>, String> {
    let failed = |error: std::io::Error| format!("the system grants no thread to read it: {error}");
    let (jobs, taken) = mpsc::channel(limits::TRUTHS);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let gate = Arc::clone(gate);
    std::thread::Builder::new()
        .name("truths".to_owned())
        .spawn(move || LocalSet::new().block_on(&runtime, serve(taken, gate)))
        .map_err(failed)?;
    Ok(jobs)
}

/// Reads what comes, so many at a time, until nobody can ask any more; what is being read then is cut.
async fn serve(mut jobs: mpsc::Receiver<Job>, gate: Arc<Gate>) {
    let connections = Connections::worker(0, 1, &gate).for_session();
    let turns = Arc::new(Semaphore::new(limits::TRUTH_READS));
    let mut reading = JoinSet::new();
    loop {
        tokio::select! {
            job = jobs.recv() => match job {
                Some(job) => {
                    reading.spawn_local(job.read(connections.clone(), Arc::clone(&turns)));
                }
                None => return,
            },
            Some(ended) = reading.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "the reading of a truth panicked");
                }
            }
        }
    }
}

impl Job {
    async fn read(self, connections: Connections, turns: Arc<Semaphore>) {
        let Self { source, mut into } = self;
        let _turn = turns.acquire().await;
        let result = source.read(&connections, &mut into).await;
        into.end(result);
    }
}
