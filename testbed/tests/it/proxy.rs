//! A TCP proxy that can be cut, as if the server behind it had been killed, or fall silent, as if its network were gone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::kit::PATIENCE;

/// What the proxy does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Bytes go through.
    Open,
    /// Nothing listens, and every connection is gone.
    Cut,
    /// Connections are there, and no byte goes through.
    Silent,
}

pub(crate) struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    listening: watch::Receiver<bool>,
    _task: JoinSet<()>,
}

impl Proxy {
    /// A proxy to an address, open or cut.
    pub(crate) async fn to(target: &str, is_open: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let mode = watch::Sender::new(if is_open { Mode::Open } else { Mode::Cut });
        let (tell, listening) = watch::channel(false);
        let mut task = JoinSet::new();
        let (target, modes) = (Arc::from(target), mode.subscribe());
        task.spawn(run(address, target, modes, tell));
        let proxy = Self {
            address,
            mode,
            listening,
            _task: task,
        };
        proxy.settle(is_open).await;
        proxy
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
        self.settle(false).await;
    }

    pub(crate) async fn mend(&self) {
        self.mode.send_replace(Mode::Open);
        self.settle(true).await;
    }

    pub(crate) async fn silence(&self) {
        self.mode.send_replace(Mode::Silent);
        self.settle(true).await;
    }

    async fn settle(&self, is_listening: bool) {
        let mut listening = self.listening.clone();
        let settled = listening.wait_for(|now| *now == is_listening);
        timeout(PATIENCE, settled).await.unwrap().unwrap();
    }
}

async fn run(
    address: SocketAddr,
    target: Arc<str>,
    mut modes: watch::Receiver<Mode>,
    listening: watch::Sender<bool>,
) {
    loop {
        listening.send_replace(false);
        if modes.wait_for(|mode| *mode != Mode::Cut).await.is_err() {
            return;
        }
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(64).unwrap();
        listening.send_replace(true);
        let mut connections = JoinSet::new();
        let shared = modes.clone();
        loop {
            tokio::select! {
                cut = modes.wait_for(|mode| *mode == Mode::Cut) => {
                    if cut.is_err() {
                        return;
                    }
                    break;
                }
                accepted = listener.accept() => {
                    let (client, _) = accepted.unwrap();
                    connections.spawn(forward(client, Arc::clone(&target), shared.clone()));
                }
            }
        }
        connections.shutdown().await;
    }
}

async fn forward(mut client: TcpStream, target: Arc<str>, mut modes: watch::Receiver<Mode>) {
    let Ok(mut server) = TcpStream::connect(&*target).await else {
        return;
    };
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        if *modes.borrow_and_update() == Mode::Silent {
            if modes.changed().await.is_err() {
                return;
            }
            continue;
        }
        tokio::select! {
            changed = modes.changed() => if changed.is_err() { return },
            read = client.read(&mut up) => match read {
                Ok(length) if length > 0 => {
                    if server.write_all(&up[..length]).await.is_err() { return }
                }
                _ => return,
            },
            read = server.read(&mut down) => match read {
                Ok(length) if length > 0 => {
                    if client.write_all(&down[..length]).await.is_err() { return }
                }
                _ => return,
            },
        }
    }
}

/// Waits until something holds.
pub(crate) async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"))
}
