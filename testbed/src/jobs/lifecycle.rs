//! A job's life: pod comes up, port answers, calls come and go, idle, cleaned up, slot free again.
//!
//! | state | port | `/metadata/{job_id}` | leaves when |
//! | --- | --- | --- | --- |
//! | queueing | bound, refuses | 404 | its queue is declared in RabbitMQ, if there is one; else it is refused |
//! | starting | bound, refuses | 200 | its ready time has come |
//! | running | answers | 200 | no call has been open for the idle time |
//! | cleaning up | closed, connections say goodbye | 404 | the last connection is gone |
//! | gone | free for the next job of the slot | 404 | |

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use testmesh_shared::shutdown::Tasks;
use tokio::net::TcpSocket;
use tokio::sync::oneshot;
use tracing::{Instrument, Span};

use super::job::Job;
use crate::behavior::Kind;
use crate::broker::{self, Broker, Living, Opened};
use crate::grpc;
use crate::hash::{mix3, unit};
use crate::limits::{BACKLOG, CONNECTION_GRACE};
use crate::profile::Config;
use crate::server::Server;

/// Longer than any testbed runs.
const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);

/// A job about to begin.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub(crate) job: Arc<Job>,
    pub(crate) socket: TcpSocket,
    /// The body that it was configured with.
    pub(crate) request: Bytes,
    /// The request's span, until the answer is known.
    pub(crate) span: Span,
    /// Hears whether the job is accepted, else why not.
    pub(crate) told: oneshot::Sender<Result<(), String>>,
}

/// Runs a job to its end. Returns once its slot is free; bounded once the job drains.
pub(crate) async fn run(server: Arc<Server>, beginning: Beginning) {
    let Beginning {
        job,
        socket,
        request,
        span,
        told,
    } = beginning;
    let queue = match open_queue(&server, &job).instrument(span.clone()).await {
        Ok(queue) => queue,
        Err(refusal) => {
            drop(socket);
            server.jobs.release(job.slot);
            drop(span);
            // Whoever asked may have left.
            let _ = told.send(Err(refusal));
            return;
        }
    };
    server.jobs.insert(&job);
    if let (Some(store), Some(task)) = (server.archive.store(), job.task) {
        let now = server.clock.now_s();
        span.in_scope(|| store.task_created(task, &job.id, &request, now));
    }
    drop((span, request));
    // A job whose client has left is cleaned up when it is idle.
    let _ = told.send(Ok(()));
    live(&server, &job, socket, queue).await;
}

/// A job's queue, and the promise to remove it.
struct Queue {
    broker: Broker,
    opened: Opened,
    living: Living,
}

async fn open_queue(server: &Server, job: &Job) -> Result<Option<Queue>, String> {
    let Some(broker) = server.broker.clone() else {
        return Ok(None);
    };
    let living = broker.living();
    let opened = tokio::select! {
        opened = broker::open(&broker, &job.id) => opened,
        () = job.life.draining() => Err("the server is ending".to_owned()),
    };
    match opened {
        Ok(opened) => Ok(Some(Queue {
            broker,
            opened,
            living,
        })),
        Err(refusal) => {
            // It may have been declared before something else failed.
            broker::give_up(&broker, &job.id, living);
            Err(refusal)
        }
    }
}

/// Takes commands while the job lives; without a queue, there are none.
async fn commands(server: &Server, job: &Job, opened: Option<(Broker, Opened)>) {
    match opened {
        Some((broker, opened)) => broker::attend(server, &broker, job, opened).await,
        None => std::future::pending().await,
    }
}

async fn live(server: &Arc<Server>, job: &Arc<Job>, socket: TcpSocket, queue: Option<Queue>) {
    // The job's own tasks, so that its slot is freed only after the last connection is gone.
    let connections = Tasks::new(job.life.clone());
    let sequence = job
        .id
        .bytes()
        .fold(0, |sum, byte| mix3(sum, u64::from(byte), 0));
    let (opened, living) = queue
        .map(|queue| {
            (
                (queue.broker.clone(), queue.opened),
                (queue.broker, queue.living),
            )
        })
        .unzip();
    tokio::select! {
        () = job.life.draining() => {}
        () = start_and_serve(server, job, socket, &connections, ready_after(&server.config, sequence)) => {}
        () = commands(server, job, opened) => {}
    }
    job.calls.close();
    if let (Some(store), Some(task)) = (server.archive.store(), job.task) {
        store.task_removed(task, server.clock.now_s());
    }
    server.jobs.forget(job.slot);
    if let Some((broker, living)) = living {
        if server.struck(Kind::LeakQueue).is_some() {
            tracing::info!(
                job = job.id,
                "its queue is left behind, as a behavior wants it"
            );
        } else {
            broker::close(&broker, &job.id, living);
        }
    }
    job.life.drain();
    if connections.join(CONNECTION_GRACE * 2).await.is_err() {
        job.life.abort();
        if let Err(left) = connections.join(CONNECTION_GRACE).await {
            tracing::error!(job = job.id, %left, "a job's connections did not end");
        }
    }
    server.jobs.release(job.slot);
    tracing::debug!(job = job.id, "job cleaned up");
}

async fn start_and_serve(
    server: &Arc<Server>,
    job: &Arc<Job>,
    socket: TcpSocket,
    connections: &Tasks,
    ready: Duration,
) {
    let config = &server.config;
    let idle = match server.struck(Kind::LeakJob) {
        Some(_) => FOR_EVER,
        None => config.idle_cleanup + lasts(server, Kind::Linger),
    };
    tokio::time::sleep(ready + lasts(server, Kind::SlowReady)).await;
    if server.struck(Kind::NeverReady).is_some() {
        return job.calls.idle(idle, config.startup_grace).await;
    }
    let listener = match socket.listen(BACKLOG) {
        Ok(listener) => listener,
        Err(error) => {
            // As with a pod that never comes up: the job is known and its port refuses.
            tracing::warn!(job = job.id, port = job.port, %error, "failed to listen on a job's port");
            return job.calls.idle(idle, config.startup_grace).await;
        }
    };
    tokio::select! {
        () = grpc::serve(listener, server, job, connections) => {}
        () = job.calls.watch_readers(config.stream_idle) => {}
        () = job.calls.idle(idle, config.startup_grace) => {}
    }
}

/// By how much a behavior delays what it strikes; nothing if it does not.
fn lasts(server: &Server, kind: Kind) -> Duration {
    server
        .struck(kind)
        .map_or(Duration::ZERO, |behavior| behavior.lasts())
}

/// How long a job's pod takes to come up: most are near the least time, few near the greatest.
fn ready_after(config: &Config, sequence: u64) -> Duration {
    let skewed = unit(mix3(config.seed, sequence, 0x4EAD)).powi(4);
    config.ready_min + (config.ready_max - config.ready_min).mul_f64(skewed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_times_lie_in_the_observed_range() {
        let config = Config::as_observed();
        let mut times: Vec<_> = (0..1_000)
            .map(|sequence| ready_after(&config, sequence))
            .collect();
        times.sort();
        assert!(times[0] >= Duration::from_secs(6) && times[999] <= Duration::from_secs(21));
        assert!(
            times[500] < Duration::from_millis(7_300),
            "{:?}",
            times[500]
        );
        assert_eq!(ready_after(&Config::quick(), 5), Duration::from_millis(50));
    }
}
