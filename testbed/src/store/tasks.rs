//! A document for each configured job, written beside it: jobs never wait for MongoDB because of it.
//!
//! Owns the queue of documents, which is bounded: while MongoDB is away it fills, and what no longer fits is counted as
//! lost. Documents in the queue are written when MongoDB is back, in order.

use std::pin::pin;
use std::time::Duration;

use mongodb::bson::{Bson, DateTime, Document, doc, oid::ObjectId};
use testmesh_shared::error::Chain;
use testmesh_shared::shutdown::Shutdown;
use testmesh_shared::telemetry::Traceparent;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::Instrument;

use super::client::{Store, StoreError};
use super::lookup::client_span;
use super::schema::{TASKS, date};
use crate::limits::{TASK_DOCUMENT_BYTES, TASK_DOCUMENTS_FLUSH};

/// How long until what failed is tried again.
const RETRY: Duration = Duration::from_millis(300);
/// How often an ending testbed looks whether jobs are left whose ends are to be written.
const LOOK: Duration = Duration::from_millis(20);

/// Identifies the document of a job: job ids begin anew with each testbed, these do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskId(ObjectId);

/// Something to be written.
#[derive(Debug)]
pub(crate) struct TaskWrite {
    id: TaskId,
    what: What,
    /// The request that it is part of.
    trace: Option<Traceparent>,
}

#[derive(Debug)]
enum What {
    Created { document: Document },
    Removed { at: DateTime },
}

/// What is queued.
#[derive(Debug)]
pub(crate) struct TaskWrites(pub(super) mpsc::Receiver<TaskWrite>);

impl TaskId {
    pub(crate) fn new() -> Self {
        Self(ObjectId::new())
    }
}

impl Store {
    /// Has a job's document written: what was asked, and when (epoch seconds).
    pub(crate) fn task_created(&self, id: TaskId, job: &str, request: &[u8], at: u64) {
        let document = doc! {
            "job_id": job,
            "request": request_of(request),
            "created_at": date(at),
            "removed_at": Bson::Null,
        };
        self.queue(id, What::Created { document });
    }

    /// Has the job's end written (epoch seconds).
    pub(crate) fn task_removed(&self, id: TaskId, at: u64) {
        self.queue(id, What::Removed { at: date(at) });
    }

    fn queue(&self, id: TaskId, what: What) {
        let trace = Traceparent::current();
        let queued = self.writes().try_send(TaskWrite { id, what, trace });
        if queued.is_err() {
            tracing::warn!("the document of a job is lost: too many wait for MongoDB");
            self.lose(1);
        }
    }

    async fn put(&self, write: &TaskWrite) -> Result<(), StoreError> {
        let operation = "write the document of a job to MongoDB";
        let failed = |source| StoreError::Failed { operation, source };
        let span = client_span(&self.config().database, TASKS, "update");
        if let Some(trace) = write.trace {
            trace.adopt(&span);
        }
        let answer = async {
            let database = self.database().await.map_err(failed)?;
            let tasks = database.collection::<Document>(TASKS);
            let this = doc! { "_id": write.id.0 };
            let (change, is_new) = match &write.what {
                // A try whose answer was lost may take effect after a later one, and even after the job's end is
                // written: only the first does anything.
                What::Created { document } => (doc! { "$setOnInsert": document }, true),
                What::Removed { at } => (doc! { "$set": { "removed_at": *at } }, false),
            };
            let changed = tasks.update_one(this, change).upsert(is_new).await;
            changed.map(drop).map_err(failed)
        };
        self.within_patience(operation, answer.instrument(span))
            .await
    }
}

/// The request as a document, or as a text where it holds what a document cannot.
fn request_of(body: &[u8]) -> Bson {
    if body.len() > TASK_DOCUMENT_BYTES {
        return Bson::String(format!("{} bytes, too many to be kept", body.len()));
    }
    let value = serde_json::from_slice::<serde_json::Value>(body).ok();
    value
        .and_then(|value| mongodb::bson::serialize_to_bson(&value).ok())
        .unwrap_or_else(|| Bson::String(String::from_utf8_lossy(body).into_owned()))
}

/// Writes what is queued until `shutdown` drains and no job is left, or for a bounded time after.
pub(crate) async fn write(
    store: Store,
    mut writes: TaskWrites,
    shutdown: Shutdown,
    jobs_left: impl Fn() -> bool,
) {
    loop {
        let next = tokio::select! {
            biased;
            next = writes.0.recv() => next,
            () = shutdown.draining() => break,
        };
        let Some(next) = next else { return };
        let mut written = pin!(put_until_written(&store, &next));
        tokio::select! {
            biased;
            () = &mut written => {}
            () = shutdown.draining() => {
                let deadline = Instant::now() + TASK_DOCUMENTS_FLUSH;
                if timeout_at(deadline, written).await.is_err() {
                    store.lose(1);
                }
                break;
            }
        }
    }
    flush(&store, &mut writes, jobs_left).await;
}

async fn flush(store: &Store, writes: &mut TaskWrites, jobs_left: impl Fn() -> bool) {
    let deadline = Instant::now() + TASK_DOCUMENTS_FLUSH;
    while Instant::now() < deadline {
        // In this order: a job queues its end before it is gone.
        let jobs_left = jobs_left();
        match writes.0.try_recv() {
            Ok(next) => {
                let written = timeout_at(deadline, put_until_written(store, &next)).await;
                if written.is_err() {
                    store.lose(1);
                }
            }
            Err(_) if jobs_left => sleep(LOOK).await,
            Err(_) => return,
        }
    }
    let left = u64::try_from(writes.0.len()).unwrap_or(u64::MAX);
    store.lose(left);
    if store.lost() > 0 {
        let lost = store.lost();
        tracing::warn!(lost, "documents of jobs were never written to MongoDB");
    }
}

/// Writes one document, however long MongoDB is away; one that MongoDB will never take is lost.
async fn put_until_written(store: &Store, write: &TaskWrite) {
    loop {
        match store.put(write).await {
            Ok(()) => return,
            Err(error) if error.is_transient() => {
                tracing::debug!(error = %Chain(&error), "tried again later");
                sleep(RETRY).await;
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the document of a job is lost");
                store.lose(1);
                return;
            }
        }
    }
}
