//! A server that echoes, a proxy before it, and clients that measure.
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use testmesh_agent::fault::proxy::{
    Counts, Effect, Opening, Order, ProxyError, ProxyHandle, ProxyProgram,
};
use testmesh_shared::shutdown::{Shutdown, Tasks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

/// Longer than anything here takes.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A lease that does not end within a test.
pub(crate) const LONG: u64 = 60_000;

/// A free port of loopback, which somebody else may take until it is used.
pub(crate) async fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("loopback works, and so does the proxy");
    listener
        .local_addr()
        .expect("loopback works, and so does the proxy")
}

/// A server that sends everything back.
pub(crate) async fn echo(tasks: &Tasks) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("loopback works, and so does the proxy");
    let address = listener
        .local_addr()
        .expect("loopback works, and so does the proxy");
    tasks.spawn_detached("echo", async move {
        let mut open = tokio::task::JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            open.spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

/// A proxy before an echoing server.
pub(crate) struct Proxied {
    pub(crate) handle: ProxyHandle,
    pub(crate) listen: SocketAddr,
    pub(crate) tasks: Tasks,
}

impl Proxied {
    pub(crate) async fn here() -> Self {
        Self::start(&ProxyProgram::Here).await
    }

    pub(crate) async fn start(program: &ProxyProgram) -> Self {
        let tasks = Tasks::new(Shutdown::new());
        let to = echo(&tasks).await.to_string();
        let listen = free_port().await;
        let handle = ProxyHandle::start(program, opening(listen, to), &tasks).await;
        Self {
            handle: handle.expect("loopback works, and so does the proxy"),
            listen,
            tasks,
        }
    }

    pub(crate) async fn inject(&self, effect: Effect) -> Counts {
        self.inject_for(effect, LONG).await
    }

    pub(crate) async fn inject_for(&self, effect: Effect, lease_ms: u64) -> Counts {
        let fault = "f".to_owned();
        let order = Order::Inject {
            fault,
            effect,
            lease_ms,
        };
        self.handle
            .order(order)
            .await
            .expect("loopback works, and so does the proxy")
    }

    pub(crate) async fn renew(&self, lease_ms: u64) -> Result<Counts, ProxyError> {
        let fault = "f".to_owned();
        self.handle.order(Order::Renew { fault, lease_ms }).await
    }

    pub(crate) async fn revert(&self) -> Counts {
        let fault = "f".to_owned();
        self.handle
            .order(Order::Revert { fault })
            .await
            .expect("loopback works, and so does the proxy")
    }

    pub(crate) async fn client(&self) -> TcpStream {
        let stream = TcpStream::connect(self.listen)
            .await
            .expect("loopback works, and so does the proxy");
        stream
            .set_nodelay(true)
            .expect("loopback works, and so does the proxy");
        stream
    }
}

pub(crate) fn opening(listen: SocketAddr, to: String) -> Opening {
    Opening {
        listen,
        to,
        seed: 7,
        linger_ms: 1_500,
    }
}

/// Sends bytes and reads as many back.
pub(crate) async fn round(stream: &mut TcpStream, sent: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut back = vec![0; sent.len()];
    let (mut read, mut write) = stream.split();
    let both = async {
        tokio::try_join!(write.write_all(sent), read.read_exact(&mut back))?;
        Ok(())
    };
    let done: Result<std::io::Result<()>, _> = timeout(SOON, both).await;
    done.expect("an answer comes, or an error")?;
    Ok(back)
}

/// How long a small round takes.
pub(crate) async fn takes(stream: &mut TcpStream) -> Duration {
    let began = Instant::now();
    assert_eq!(
        round(stream, b"ping")
            .await
            .expect("loopback works, and so does the proxy"),
        b"ping"
    );
    began.elapsed()
}

/// Waits until a new connection gets an answer.
pub(crate) async fn passes_again(listen: SocketAddr) {
    let tries = async {
        loop {
            if let Ok(mut stream) = TcpStream::connect(listen).await
                && round(&mut stream, b"again").await.is_ok()
            {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, tries)
        .await
        .expect("the proxy passes everything on again");
}
