//! How a process ends: the first signal drains, the second aborts, and every task is named and waited for. Components take
//! a [`Shutdown`] and [`Tasks`]; a mesh in one process, and tests, drain and abort without any signal.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Two stages of ending, told to everyone who holds a clone. Aborting includes draining.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    abort: CancellationToken,
}

impl Shutdown {
    /// Nothing is ending yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A part that ends with the whole, and may end alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            drain: self.drain.child_token(),
            abort: self.abort.child_token(),
        }
    }

    /// Start nothing new, and finish what is in flight.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// End what is in flight now.
    pub fn abort(&self) {
        self.drain.cancel();
        self.abort.cancel();
    }

    /// Whether nothing new should start.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Whether what is in flight should end now.
    #[must_use]
    pub fn is_aborting(&self) -> bool {
        self.abort.is_cancelled()
    }

    /// Waits until nothing new should start. Cancel safe.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Waits until what is in flight should end now. Cancel safe.
    pub async fn aborting(&self) {
        self.abort.cancelled().await;
    }

    /// The token of the first stage, for APIs that take one.
    #[must_use]
    pub const fn drain_token(&self) -> &CancellationToken {
        &self.drain
    }

    /// The token of the second stage, for APIs that take one.
    #[must_use]
    pub const fn abort_token(&self) -> &CancellationToken {
        &self.abort
    }

    /// Lets SIGINT and SIGTERM end this process: the first drains, the second aborts. Called once, by `main`.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub fn listen(&self, tasks: &Tasks) -> io::Result<()> {
        let mut signals = Signals::install()?;
        let shutdown = self.clone();
        let listening = async move {
            let first = signals.next().await;
            tracing::info!(signal = first, "draining; once more aborts");
            shutdown.drain();
            let second = signals.next().await;
            tracing::warn!(signal = second, "aborting");
            shutdown.abort();
        };
        // It waits for signals that may never come, so nobody waits for it.
        tasks.spawn_detached("signals", listening);
        Ok(())
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn install() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn install() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> &'static str {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "Ctrl-C"
    }
}

/// A task that panicked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panicked {
    /// The task's name.
    pub task: &'static str,
    /// What it panicked with.
    pub message: String,
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task `{}` panicked: {}", self.task, self.message)
    }
}

impl std::error::Error for Panicked {}

/// Tasks that did not end in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} tasks are still running: {}", .tasks.values().sum::<usize>(), name_all(.tasks))]
pub struct Unfinished {
    /// How many of each name.
    pub tasks: BTreeMap<&'static str, usize>,
}

fn name_all(tasks: &BTreeMap<&'static str, usize>) -> String {
    tasks
        .iter()
        .map(|(name, count)| format!("{count} × {name}"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[derive(Debug, Default)]
struct Ledger {
    running: BTreeMap<&'static str, usize>,
    panicked: Option<Panicked>,
}

/// Spawns tasks, and knows which run. A task that panics is a bug after which nothing that the process measured can be
/// vouched for: it is logged, remembered, and the shutdown is aborted, so that the process ends with exit code 1.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    watch: Watch,
}

impl Tasks {
    /// No tasks yet; a panic in one of them aborts `shutdown`.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self {
            tracker: TaskTracker::new(),
            watch: Watch {
                shutdown,
                ledger: Arc::default(),
            },
        }
    }

    /// What these tasks should watch.
    #[must_use]
    pub const fn shutdown(&self) -> &Shutdown {
        &self.watch.shutdown
    }

    /// Spawns a task on the current runtime.
    pub fn spawn<F>(&self, name: &'static str, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(self.watch.clone().run(name, task))
    }

    /// Spawns a task on the current thread, within a `LocalSet` or local runtime.
    pub fn spawn_local<F>(&self, name: &'static str, task: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.tracker.spawn_local(self.watch.clone().run(name, task))
    }

    /// Spawns a task that [`Tasks::join`] does not wait for. It ends with its runtime.
    pub fn spawn_detached<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let watch = self.watch.clone();
        let task = async move {
            let result = AssertUnwindSafe(task).catch_unwind().await;
            result.unwrap_or_else(|panic| watch.propagate(name, panic));
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place for tasks that nobody waits for"
        )]
        drop(tokio::spawn(task));
    }

    /// Runs blocking work on the runtime's blocking threads.
    pub fn spawn_blocking<F, T>(&self, name: &'static str, work: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let watch = self.watch.clone();
        let running = watch.running(name);
        self.tracker.spawn_blocking(move || {
            let result = std::panic::catch_unwind(AssertUnwindSafe(work));
            drop(running);
            result.unwrap_or_else(|panic| watch.propagate(name, panic))
        })
    }

    /// Waits for all tasks.
    ///
    /// # Errors
    /// [`Unfinished`] with their names if some still run after `within`; they go on.
    ///
    /// # Cancel safety
    /// Cancel safe: it only waits.
    pub async fn join(&self, within: Duration) -> Result<(), Unfinished> {
        self.tracker.close();
        let waited = tokio::time::timeout(within, self.tracker.wait()).await;
        waited.map_err(|_| Unfinished {
            tasks: self.watch.lock().running.clone(),
        })
    }

    /// The first panic of a task, if there was one.
    #[must_use]
    pub fn panicked(&self) -> Option<Panicked> {
        self.watch.lock().panicked.clone()
    }
}

/// What the tasks of one [`Tasks`] share.
#[derive(Debug, Clone)]
struct Watch {
    shutdown: Shutdown,
    ledger: Arc<Mutex<Ledger>>,
}

impl Watch {
    /// The task, counted as running from now on and with its panic caught.
    fn run<F: Future>(self, name: &'static str, task: F) -> impl Future<Output = F::Output> {
        let running = self.running(name);
        async move {
            let result = AssertUnwindSafe(task).catch_unwind().await;
            drop(running);
            result.unwrap_or_else(|panic| self.propagate(name, panic))
        }
    }

    fn propagate<T>(&self, task: &'static str, panic: Box<dyn Any + Send>) -> T {
        let panicked = Panicked {
            task,
            message: panic_message(panic.as_ref()),
        };
        tracing::error!(task, message = panicked.message, "a task panicked");
        self.lock().panicked.get_or_insert(panicked);
        self.shutdown.abort();
        // Whoever awaits the handle sees the panic too.
        std::panic::resume_unwind(panic)
    }

    fn running(&self, name: &'static str) -> Running {
        *self.lock().running.entry(name).or_default() += 1;
        Running {
            name,
            watch: self.clone(),
        }
    }

    /// The ledger is a set of counters, whole at every moment: a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a task as running for as long as it lives, however it ends.
struct Running {
    name: &'static str,
    watch: Watch,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut ledger = self.watch.lock();
        if let Some(count) = ledger.running.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                ledger.running.remove(self.name);
            }
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn draining_comes_before_aborting() {
        let shutdown = Shutdown::new();
        let part = shutdown.child();
        part.drain();
        part.draining().await;
        assert!(
            !shutdown.is_draining() && !part.is_aborting(),
            "a part ends alone"
        );
        shutdown.abort();
        shutdown.draining().await;
        part.aborting().await;
    }

    #[tokio::test(start_paused = true)]
    async fn join_waits_for_all_and_names_the_rest() {
        let tasks = Tasks::new(Shutdown::new());
        let shutdown = tasks.shutdown().clone();
        tasks.spawn("patient", async move { shutdown.aborting().await });
        assert_eq!(tasks.spawn("quick", async { 7 }).await.unwrap(), 7);
        assert_eq!(tasks.spawn_blocking("blocking", || 8).await.unwrap(), 8);
        tasks.spawn_detached("detached", std::future::ready(()));
        let unfinished = tasks.join(Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(
            unfinished.to_string(),
            "1 tasks are still running: 1 × patient"
        );
        tasks.shutdown().abort();
        tasks.join(Duration::from_secs(1)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_remembered_and_aborts() {
        let tasks = Tasks::new(Shutdown::new());
        let failed = tasks.spawn("unlucky", async {
            assert!(std::hint::black_box(false), "no luck")
        });
        assert!(failed.await.unwrap_err().is_panic());
        tasks.shutdown().aborting().await;
        assert_eq!(
            tasks.panicked().unwrap().to_string(),
            "task `unlucky` panicked: no luck"
        );
        tasks.join(Duration::ZERO).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_aborted_task_no_longer_runs() {
        let tasks = Tasks::new(Shutdown::new());
        let handle = tasks.spawn("endless", std::future::pending::<()>());
        handle.abort();
        tasks.join(Duration::from_secs(1)).await.unwrap();
        assert_eq!(tasks.panicked(), None);
    }
}
