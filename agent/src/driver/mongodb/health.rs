//! Which servers of a client answer, from the events of its own monitors.
//!
//! The client looks for a server for as long as it is told, 30 s and more, and says at the end why there was none. A stage that
//! waits for a server to come up wants to know at once that nobody listens, and try again as its plan says: so whoever waits
//! for an operation also waits here.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mongodb::event::sdam::SdamEvent;
use mongodb::options::ServerAddress;
use testmesh_shared::plan::ErrorKind;
use tokio::sync::watch;
use tokio::time::Instant;

use super::failure::failure;
use crate::driver::contract::StageError;

/// What is known of the servers of one client.
pub(super) struct Health {
    /// Events come from tasks of the client, which may run on any thread as far as the compiler knows; here it is one.
    servers: Mutex<HashMap<ServerAddress, Server>>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
enum Server {
    /// No answer yet, and no failure.
    Unknown,
    Up,
    Down {
        /// When it last did not answer.
        at: Instant,
        /// How often in a row.
        times: u32,
        error: StageError,
    },
}

impl Default for Health {
    fn default() -> Self {
        Self {
            servers: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }
}

impl Health {
    fn servers(&self) -> MutexGuard<'_, HashMap<ServerAddress, Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one event of the client.
    pub(super) fn hear(&self, event: SdamEvent) {
        let mut servers = self.servers();
        match event {
            SdamEvent::ServerOpening(event) => {
                servers.insert(event.address, Server::Unknown);
            }
            SdamEvent::ServerClosed(event) => {
                servers.remove(&event.address);
            }
            SdamEvent::ServerHeartbeatSucceeded(event) => {
                servers.insert(event.server_address, Server::Up);
            }
            SdamEvent::ServerHeartbeatFailed(event) => {
                let doing = format!("connecting to {}", event.server_address);
                let error = failure(&doing, &event.failure);
                let times = match servers.get(&event.server_address) {
                    Some(Server::Down { times, .. }) => times.saturating_add(1),
                    _ => 1,
                };
                let at = Instant::now();
                let down = Server::Down { at, times, error };
                servers.insert(event.server_address, down);
            }
            _ => return,
        }
        drop(servers);
        self.changed.send_replace(());
    }

    /// Waits until a server has answered for the first time.
    ///
    /// # Errors
    ///
    /// Why the first of them did not, once none did.
    ///
    /// # Cancel safety
    ///
    /// It only waits.
    pub(super) async fn known(&self) -> Result<(), StageError> {
        let mut changed = self.changed.subscribe();
        loop {
            {
                let servers = self.servers();
                if servers.values().any(|server| matches!(server, Server::Up)) {
                    return Ok(());
                }
                if let Some(error) = down(&servers, |_, _, _| true) {
                    return Err(error);
                }
            }
            // The sender is this struct's.
            let _ = changed.changed().await;
        }
    }

    /// Waits until no server answers any more: each has refused a connection since then, or has not answered twice.
    ///
    /// # Cancel safety
    ///
    /// It only waits.
    pub(super) async fn lost(&self, since: Instant) -> StageError {
        let mut changed = self.changed.subscribe();
        loop {
            let lost = down(&self.servers(), |at, times, kind| {
                at >= since && (times > 1 || kind == ErrorKind::Refused)
            });
            if let Some(error) = lost {
                return error;
            }
            let _ = changed.changed().await;
        }
    }
}

/// Why the first server is down, if all are, in this way.
fn down(
    servers: &HashMap<ServerAddress, Server>,
    counts: impl Fn(Instant, u32, ErrorKind) -> bool,
) -> Option<StageError> {
    let mut first: Option<(Instant, &StageError)> = None;
    for server in servers.values() {
        match server {
            Server::Down { at, times, error } if counts(*at, *times, error.kind) => {
                if first.is_none_or(|(known, _)| *at < known) {
                    first = Some((*at, error));
                }
            }
            _ => return None,
        }
    }
    first.map(|(_, error)| error.clone())
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Health").field(&*self.servers()).finish()
    }
}
