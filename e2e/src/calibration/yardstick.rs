//! How disturbed the machine is: by the plainest client there is, which asks a server at the same time, and by the agent's own
//! loop.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Result, anyhow};
use tokio::time::Instant;

use super::{answers::sleep_until, quantile, reading};
use crate::Outcome;

/// Between two of its requests: it must not be a load itself.
const PAUSE: Duration = Duration::from_millis(15);
/// What the yardstick waits for: as long as the shortest script that is measured.
const SCRIPT: Duration = Duration::from_millis(5);
/// How late the plain client may see its answers on a machine that is called quiet, nine of ten times.
const QUIET: f64 = 0.000_4;
/// The same for the agent's own loop, 99 of 100 times: its clock ticks once a millisecond.
const QUIET_LOOP: f64 = 0.003;

/// A blocking client on a thread of its own, until it is stopped.
#[derive(Debug)]
pub struct Yardstick {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<f64>>>,
}

impl Yardstick {
    /// Starts to measure the way to a server and back.
    ///
    /// # Errors
    ///
    /// If there is no thread, or no connection.
    pub fn start(server: SocketAddr) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut connection = TcpStream::connect(server)?;
        connection.set_nodelay(true)?;
        let thread = thread::Builder::new()
            .name("yardstick".to_owned())
            .spawn(move || {
                let request = format!(
                    "GET /after/{}/yardstick HTTP/1.1\r\n\r\n",
                    SCRIPT.as_millis()
                );
                let mut late = Vec::new();
                while !stopped.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    connection.write_all(request.as_bytes())?;
                    let mut answer = [0; 1024];
                    anyhow::ensure!(connection.read(&mut answer)? > 0, "the server left");
                    late.push((asked.elapsed().saturating_sub(SCRIPT)).as_secs_f64());
                    sleep_until(Instant::now() + PAUSE);
                }
                Ok(late)
            })?;
        Ok(Self { stop, thread })
    }

    /// Stops, and says how much later than scripted it saw nine of ten answers, in seconds: by so much a bound may widen; not
    /// at all on a quiet machine.
    ///
    /// # Errors
    ///
    /// If it saw nothing.
    pub fn stop(self) -> Result<f64> {
        self.stop.store(true, Ordering::Relaxed);
        let mut late = self
            .thread
            .join()
            .map_err(|_| anyhow!("the yardstick panicked"))??;
        late.sort_unstable_by(f64::total_cmp);
        let most = quantile(&late, 0.9);
        Ok(if most <= QUIET { 0.0 } else { most })
    }
}

/// How late the agent's own loop ran, 99 of 100 times, in seconds; zero on a quiet machine.
#[must_use]
pub fn loop_lateness(outcome: &Outcome) -> f64 {
    let most = reading(outcome, "agent_loop_lag", &[]).get("p99");
    if most <= QUIET_LOOP { 0.0 } else { most }
}
