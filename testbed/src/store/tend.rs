//! Watches over MongoDB: whether it is there, and whether what is in it is what the behaviors want.

use std::sync::Arc;
use std::time::Duration;

use testmesh_shared::error::Chain;
use tokio::time::{sleep, timeout};

use super::client::{Store, StoreError};
use super::disorder::Disorder;
use crate::limits::{DISORDER_TIMEOUT, MONGODB_HEARTBEAT};
use crate::server::Server;

/// How long what could not be brought about is left alone.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Runs for ever. Dropping it leaves the database as it is.
pub(crate) async fn tend(server: Arc<Server>, store: Store) {
    let mut done: Option<Disorder> = None;
    loop {
        let now = server.clock.now_s();
        match store.ping().await {
            Ok(()) => {
                store.link().up();
                let wanted = Disorder::of(&server.behaviors());
                if done != Some(wanted) {
                    match bring(&store, wanted, now).await {
                        Ok(true) => done = Some(wanted),
                        Ok(false) => {}
                        Err(error) => {
                            let why = Chain(&error).to_string();
                            tracing::warn!(why, "MongoDB is not as the behaviors want it");
                            rest(&server, AFTER_FAILURE).await;
                        }
                    }
                }
            }
            Err(error) => {
                store.link().down(now, &Chain(&error).to_string());
                // It may come back empty.
                done = None;
            }
        }
        rest(&server, MONGODB_HEARTBEAT).await;
    }
}

async fn bring(store: &Store, wanted: Disorder, now: u64) -> Result<bool, StoreError> {
    timeout(DISORDER_TIMEOUT, store.bring_to(wanted, now))
        .await
        .unwrap_or(Err(StoreError::TimedOut {
            operation: "bring MongoDB to what the behaviors want",
            patience: DISORDER_TIMEOUT,
        }))
}

/// Waits, for less if the behaviors change.
async fn rest(server: &Server, time: Duration) {
    tokio::select! {
        () = server.behaviors_changed() => {}
        () = sleep(time) => {}
    }
}
