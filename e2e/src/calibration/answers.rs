//! An HTTP server that answers when its script says, never earlier, and writes down when it did.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::time::Instant;

use super::Freeze;

/// Thousands of them are small.
const STACK: usize = 64 * 1024;
/// The longest request that is read; those of testmesh have a few hundred bytes.
const REQUEST: usize = 8 * 1024;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What became of one request.
#[derive(Clone, Debug)]
pub struct Answered {
    /// What it asked for.
    pub path: String,
    /// When it was there.
    pub came: Instant,
    /// When it was to be answered.
    pub due: Instant,
    /// When it was answered; none if it was not, or nobody waited any more.
    pub went: Option<Instant>,
}

/// A server with a thread for each connection: plain blocking calls are what wakes up most exactly, and shares no loop with
/// anything.
///
/// `GET /after/MS/…` is answered so many milliseconds after it came, `GET /freezing/…` as its [`Freeze`] says, and everything
/// else at once.
#[derive(Debug)]
pub struct Answers {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    freeze: Option<Freeze>,
    first: OnceLock<Instant>,
    log: Mutex<Vec<Answered>>,
}

impl Answers {
    /// Starts a server that never freezes.
    ///
    /// # Errors
    ///
    /// If it cannot listen.
    pub fn start() -> Result<Self> {
        Self::with(None)
    }

    /// Starts a server that freezes, counted from its first request.
    ///
    /// # Errors
    ///
    /// If it cannot listen.
    pub fn freezing(freeze: Freeze) -> Result<Self> {
        Self::with(Some(freeze))
    }

    fn with(freeze: Option<Freeze>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("failed to listen")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            freeze,
            first: OnceLock::new(),
            log: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::Builder::new()
            .name("answers".to_owned())
            .spawn(move || accept(&listener, &accepting))?;
        Ok(Self { address, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a plan takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests whose path starts so, in the order in which they came.
    #[must_use]
    pub fn log(&self, path: &str) -> Vec<Answered> {
        let log = self.shared.log();
        let ours = log.iter().filter(|one| one.path.starts_with(path));
        ours.cloned().collect()
    }
}

impl Shared {
    /// Nothing is left half-done under this lock.
    fn log(&self) -> MutexGuard<'_, Vec<Answered>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, path: &str, came: Instant) -> Duration {
        let mut parts = path.split('/').skip(1);
        match (parts.next(), parts.next()) {
            (Some("after"), Some(millis)) => {
                Duration::from_millis(millis.parse().unwrap_or_default())
            }
            (Some("freezing"), _) => self.freeze.map_or(Duration::ZERO, |freeze| {
                freeze.wait(came - *self.first.get_or_init(|| came))
            }),
            _ => Duration::ZERO,
        }
    }

    fn came(&self, path: String, came: Instant) -> (usize, Instant) {
        let due = came + self.wait(&path, came);
        let mut log = self.log();
        log.push(Answered {
            path,
            came,
            due,
            went: None,
        });
        (log.len() - 1, due)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for connection in listener.incoming() {
        let Ok(connection) = connection else { continue };
        let shared = Arc::clone(shared);
        let serving = thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || serve(connection, &shared));
        // A connection that finds no thread is closed, and its session fails.
        drop(serving);
    }
}

/// Serves until the client leaves.
fn serve(mut connection: TcpStream, shared: &Shared) -> Option<()> {
    connection.set_nodelay(true).ok()?;
    let mut buffer = vec![0; REQUEST];
    loop {
        let mut length = 0;
        while !buffer[..length].ends_with(b"\r\n\r\n") {
            match connection.read(&mut buffer[length..]).ok()? {
                0 => return None,
                more => length += more,
            }
        }
        let came = Instant::now();
        let head = String::from_utf8_lossy(&buffer[..length]);
        let path = head.split(' ').nth(1)?.to_owned();
        let (number, due) = shared.came(path, came);
        sleep_until(due);
        connection.write_all(ANSWER).ok()?;
        shared.log()[number].went = Some(Instant::now());
    }
}

/// Sleeps on this thread, never too short.
#[expect(
    clippy::disallowed_methods,
    reason = "a thread of its own wakes up more exactly than a runtime, whose clock ticks once a millisecond"
)]
pub(super) fn sleep_until(due: Instant) {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left);
    }
}
