//! One connection through a proxy: both ways, until both have ended, one breaks, or a fault ends it.
use super::counts::{Counters, count};
use super::effect::{Effect, Ending};
use super::link::Link;
use super::pump::{Way, open, pump};
use crate::limits;
use std::io;
use std::sync::Arc;
use testmesh_shared::rng::SeedTree;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// What the connections of a proxy share.
#[derive(Debug)]
pub(super) struct Shared {
    /// `HOST:PORT` that they are passed on to.
    pub(super) to: String,
    pub(super) counters: Counters,
    /// KiB for what is under way.
    pub(super) room: Semaphore,
    up: Link,
    down: Link,
    seeds: SeedTree,
}

impl Shared {
    pub(super) fn new(to: String, seed: u64) -> Self {
        Self {
            to,
            counters: Counters::default(),
            room: Semaphore::new(limits::PROXY_ROOM_KIB),
            up: Link::default(),
            down: Link::default(),
            seeds: SeedTree::new(seed).child("proxy"),
        }
    }
}

/// Serves a connection to its end.
///
/// # Cancel safety
///
/// Dropping it closes both sides.
pub(super) async fn serve(
    shared: Arc<Shared>,
    mut client: TcpStream,
    number: u64,
    mut effects: watch::Receiver<Effect>,
) {
    let mut cuts = effects.clone();
    let connecting = async {
        open(&mut effects).await;
        match timeout(limits::PROXY_CONNECT, TcpStream::connect(&shared.to)).await {
            Ok(connected) => connected,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    };
    let connected = tokio::select! {
        biased;
        ending = cut(&mut cuts) => {
            count(&shared.counters.cut, 1);
            return end(client, ending).await;
        }
        connected = connecting => connected,
    };
    let Ok(mut server) = connected else {
        count(&shared.counters.unreachable, 1);
        return end(client, Ending::Reset).await;
    };
    // Small messages go on as they come.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let broken = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let seeds = shared.seeds.child_index(number);
        let way = |link, bytes, name: &str| Way {
            shared: &shared,
            effects: effects.clone(),
            link,
            bytes,
            seed: seeds.child(name).number(),
        };
        let counters = &shared.counters;
        let both = async {
            tokio::try_join!(
                pump(
                    client_read,
                    server_write,
                    way(&shared.up, &counters.bytes_up, "up")
                ),
                pump(
                    server_read,
                    client_write,
                    way(&shared.down, &counters.bytes_down, "down")
                ),
            )
        };
        tokio::select! {
            biased;
            ending = cut(&mut cuts) => {
                count(&counters.cut, 1);
                Some(ending)
            }
            // Whoever broke it did so to the other side.
            moved = both => moved.err().map(|_| Ending::Reset),
        }
    };
    if let Some(ending) = broken {
        tokio::join!(end(client, ending), end(server, ending));
    }
}

/// Waits until a fault ends connections.
async fn cut(effects: &mut watch::Receiver<Effect>) -> Ending {
    match effects.wait_for(|effect| effect.cut.is_some()).await {
        Ok(effect) => effect.cut.unwrap_or(Ending::Close),
        Err(_) => Ending::Close,
    }
}

async fn end(mut stream: TcpStream, ending: Ending) {
    match ending {
        Ending::Reset => {
            let _ = stream.set_zero_linger();
        }
        Ending::Close => {
            let _ = stream.shutdown().await;
            // With something unread the system would send a reset after all.
            let mut unread = [0; 4096];
            while matches!(stream.try_read(&mut unread), Ok(1..)) {}
        }
    }
}
