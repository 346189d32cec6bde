//! A job's life: pod comes up, port answers, calls come and go, idle, cleaned up, slot free again.
//!
//! | state | port | `/metadata/{job_id}` | leaves when |
//! | --- | --- | --- | --- |
//! | starting | bound, refuses | 200 | its ready time has come |
//! | running | answers | 200 | no call has been open for the idle time |
//! | cleaning up | closed, connections say goodbye | 404 | the last connection is gone |
//! | gone | free for the next job of the slot | 404 | |

use std::sync::Arc;
use std::time::Duration;

use testmesh_shared::shutdown::Tasks;
use tokio::net::TcpSocket;

use super::job::Job;
use crate::behavior::Kind;
use crate::grpc;
use crate::hash::{mix3, unit};
use crate::limits::{BACKLOG, CONNECTION_GRACE};
use crate::profile::Config;
use crate::server::Server;

/// Longer than any testbed runs.
const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);

/// Runs a job to its end. Returns once its slot is free; bounded once the job drains.
pub(crate) async fn run(server: Arc<Server>, job: Arc<Job>, socket: TcpSocket) {
    // The job's own tasks, so that its slot is freed only after the last connection is gone.
    let connections = Tasks::new(job.life.clone());
    let sequence = job
        .id
        .bytes()
        .fold(0, |sum, byte| mix3(sum, u64::from(byte), 0));
    tokio::select! {
        () = job.life.draining() => {}
        () = start_and_serve(&server, &job, socket, &connections, ready_after(&server.config, sequence)) => {}
    }
    job.calls.close();
    server.jobs.forget(job.slot);
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
