//! The open `StreamData` calls of a job: whether it is idle, and which client has stopped reading.
//!
//! The gate and the count are under one lock, so that a job is never cleaned up under a call that was just admitted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The calls of one job.
#[derive(Debug)]
pub(crate) struct Calls {
    table: Mutex<Table>,
    changed: Notify,
    epoch: Instant,
}

#[derive(Debug, Default)]
struct Table {
    closed: bool,
    next: u64,
    ever: bool,
    open: HashMap<u64, Arc<Reader>>,
}

/// What is known of a call's client.
#[derive(Debug)]
struct Reader {
    /// Milliseconds of the job's life since when a row waits for the client, plus 1; 0 if none waits.
    blocked: AtomicU64,
    connection: CancellationToken,
}

/// An open call; dropping it closes the call.
#[derive(Debug)]
pub(crate) struct CallGuard {
    calls: Arc<Calls>,
    number: u64,
    reader: Arc<Reader>,
}

impl Calls {
    pub(crate) fn new() -> Self {
        Self {
            table: Mutex::default(),
            changed: Notify::new(),
            epoch: Instant::now(),
        }
    }

    /// Opens a call on a connection, unless the job is being cleaned up.
    pub(crate) fn open(self: &Arc<Self>, connection: CancellationToken) -> Option<CallGuard> {
        let mut table = self.table();
        if table.closed {
            return None;
        }
        let number = table.next;
        table.next += 1;
        table.ever = true;
        let reader = Arc::new(Reader {
            blocked: AtomicU64::new(0),
            connection,
        });
        table.open.insert(number, Arc::clone(&reader));
        self.changed.notify_one();
        Some(CallGuard {
            calls: Arc::clone(self),
            number,
            reader,
        })
    }

    /// How many calls are open.
    pub(crate) fn count(&self) -> usize {
        self.table().open.len()
    }

    /// Gives an idle job another idle time.
    pub(crate) fn keep(&self) {
        self.changed.notify_one();
    }

    /// Admits no more calls.
    pub(crate) fn close(&self) {
        self.table().closed = true;
    }

    /// Waits until no call has been open for a time (longer before the first call), and closes the gate.
    pub(crate) async fn idle(&self, idle: Duration, startup_grace: Duration) {
        loop {
            let patience = {
                let table = self.table();
                if !table.open.is_empty() {
                    None
                } else if table.ever {
                    Some(idle)
                } else {
                    Some(idle + startup_grace)
                }
            };
            let Some(patience) = patience else {
                self.changed.notified().await;
                continue;
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep(patience) => {
                    let mut table = self.table();
                    if table.open.is_empty() {
                        table.closed = true;
                        return;
                    }
                }
            }
        }
    }

    /// Closes the connections of clients that have not read for a time. Never returns.
    pub(crate) async fn watch_readers(&self, idle: Duration) {
        let mut tick = tokio::time::interval(idle / 8);
        loop {
            tick.tick().await;
            let now = self.now();
            let limit = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
            for reader in self.table().open.values() {
                let since = reader.blocked.load(Ordering::Relaxed);
                if since > 0 && now.saturating_sub(since) >= limit {
                    tracing::info!("a client has not read for {idle:?}: its connection is closed");
                    reader.connection.cancel();
                }
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallGuard {
    /// A row was handed over: until the next is asked for, the client may be the one that waits.
    pub(crate) fn handed_over(&self) {
        self.reader
            .blocked
            .store(self.calls.now(), Ordering::Relaxed);
    }

    /// The next row was asked for.
    pub(crate) fn asked(&self) {
        self.reader.blocked.store(0, Ordering::Relaxed);
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.calls.table().open.remove(&self.number);
        self.calls.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(2);
    const GRACE: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn a_job_that_nobody_calls_is_idle_after_its_grace() {
        let start = Instant::now();
        Arc::new(Calls::new()).idle(IDLE, GRACE).await;
        assert_eq!(start.elapsed(), IDLE + GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_call_keeps_a_job_and_its_end_starts_the_clock() {
        let calls = Arc::new(Calls::new());
        let start = Instant::now();
        let first = calls.open(CancellationToken::new()).unwrap();
        let second = calls.open(CancellationToken::new()).unwrap();
        let clients = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(first);
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(second);
        };
        tokio::join!(calls.idle(IDLE, GRACE), clients);
        assert_eq!(start.elapsed(), Duration::from_secs(122));
        assert!(
            calls.open(CancellationToken::new()).is_none(),
            "the gate is closed"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_within_the_idle_time_starts_it_anew() {
        let calls = Arc::new(Calls::new());
        let start = Instant::now();
        let client = async {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(1_900)).await;
                drop(calls.open(CancellationToken::new()).unwrap());
            }
        };
        tokio::join!(calls.idle(IDLE, GRACE), client);
        assert_eq!(start.elapsed(), Duration::from_millis(3 * 1_900 + 2_000));
    }

    #[tokio::test(start_paused = true)]
    async fn to_keep_a_job_starts_its_idle_time_anew() {
        let calls = Arc::new(Calls::new());
        let start = Instant::now();
        let keeper = async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            calls.keep();
        };
        tokio::join!(calls.idle(IDLE, GRACE), keeper);
        assert_eq!(start.elapsed(), Duration::from_secs(4) + IDLE + GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_reading_loses_its_connection() {
        let calls = Arc::new(Calls::new());
        let (reading, stopped) = (CancellationToken::new(), CancellationToken::new());
        let good = calls.open(reading.clone()).unwrap();
        let bad = calls.open(stopped.clone()).unwrap();
        good.handed_over();
        good.asked();
        bad.handed_over();
        let watch = tokio::time::timeout(
            Duration::from_secs(300),
            calls.watch_readers(Duration::from_secs(180)),
        );
        watch.await.unwrap_err();
        assert!(stopped.is_cancelled());
        assert!(!reading.is_cancelled());
    }
}
