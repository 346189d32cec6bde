//! Whether a server that the testbed needs is there, as `GET /_testbed` tells it. Never holds an address or credentials.

use serde_json::{Value, json};
use tokio::sync::watch;

/// What is known of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Connected,
    /// Since when, in epoch seconds; it has not been found or lost yet.
    Seeking(u64),
    /// Since when, in epoch seconds.
    Retrying(u64),
}

/// The state of one connection, told by whoever holds it.
#[derive(Debug)]
pub(crate) struct Link {
    server: &'static str,
    state: watch::Sender<State>,
}

impl Link {
    /// A connection that is being sought since `now` (epoch seconds).
    pub(crate) fn new(server: &'static str, now: u64) -> Self {
        Self {
            server,
            state: watch::Sender::new(State::Seeking(now)),
        }
    }

    /// It answers.
    pub(crate) fn up(&self) {
        let server = self.server;
        self.state.send_if_modified(|state| {
            let changed = *state != State::Connected;
            if changed {
                tracing::info!("connected to {server}");
                *state = State::Connected;
            }
            changed
        });
    }

    /// It does not answer. `why` goes to the log, once for each outage: it may name addresses.
    pub(crate) fn down(&self, now: u64, why: &str) {
        let server = self.server;
        self.state.send_if_modified(|state| {
            let since = match *state {
                State::Connected => now,
                State::Seeking(since) => since,
                State::Retrying(_) => {
                    tracing::debug!(why, "{server} is not there");
                    return false;
                }
            };
            *state = State::Retrying(since);
            tracing::warn!(why, "{server} is not there: it is sought until it is");
            true
        });
    }

    pub(crate) fn is_up(&self) -> bool {
        *self.state.borrow() == State::Connected
    }

    /// Waits until it has been away since before the call, or goes away. Cancel safe.
    pub(crate) async fn lost(&self) {
        let mut state = self.state.subscribe();
        // The sender lives as long as `self`: this cannot fail.
        let _ = state.wait_for(|state| *state != State::Connected).await;
    }

    /// `{"state": "connected"}` or `{"state": "retrying", "since": EPOCH_SECONDS}`.
    pub(crate) fn describe(&self) -> Value {
        match *self.state.borrow() {
            State::Connected => json!({ "state": "connected" }),
            State::Seeking(since) | State::Retrying(since) => {
                json!({ "state": "retrying", "since": since })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_outage_begins_once_and_ends() {
        let link = Link::new("MongoDB", 5);
        assert_eq!(link.describe(), json!({ "state": "retrying", "since": 5 }));
        link.lost().await;
        link.down(7, "refused at the start");
        assert_eq!(link.describe(), json!({ "state": "retrying", "since": 5 }));
        link.up();
        assert!(link.is_up());
        assert_eq!(link.describe(), json!({ "state": "connected" }));
        link.down(9, "refused");
        link.down(10, "refused again");
        assert_eq!(link.describe(), json!({ "state": "retrying", "since": 9 }));
    }
}
