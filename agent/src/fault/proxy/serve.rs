//! The loop of a proxy: takes orders and connections, and ends faults whose leases have run out.
//!
//! It passes everything on unless a fault acts on it. When its agent is gone, which shows in the end of the orders, it goes
//! on: faults end with their leases, and after a time it ends too.
use super::connection::{Shared, serve as serve_connection};
use super::counts::count;
use super::effect::Effect;
use super::listening::Port;
use super::order::{Opening, Order, Said};
use crate::limits;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Serves one proxy until it is told to end, or has been alone for too long.
///
/// # Errors
///
/// If the orders are not what an agent says.
///
/// # Cancel safety
///
/// Dropping it closes all connections and the port.
pub async fn serve<R, W>(orders: R, mut answers: W) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut orders = BufReader::new(orders).lines();
    let Some(first) = next_order(&mut orders).await? else {
        return Ok(());
    };
    let Order::Open(opening) = first else {
        return Err(io::Error::other("the first order is not where to listen"));
    };
    let mut serving = match Serving::open(&opening) {
        Ok(serving) => serving,
        Err(error) => {
            let error = format!("cannot listen on {}: {error}", opening.listen);
            say(&mut answers, &Said::Failed { error }).await;
            return Ok(());
        }
    };
    say(&mut answers, &Said::Listening).await;
    let mut alone_until = None;
    loop {
        let lease = serving.next_lease();
        tokio::select! {
            order = next_order(&mut orders), if alone_until.is_none() => match order? {
                Some(Order::End) => {
                    let counts = serving.shared.counters.now();
                    say(&mut answers, &Said::Done { counts }).await;
                    return Ok(());
                }
                Some(order) => {
                    let answer = serving.obey(order).await;
                    say(&mut answers, &answer).await;
                }
                None => alone_until = Some(Instant::now() + Duration::from_millis(opening.linger_ms)),
            },
            () = until(lease) => serving.end_leases().await,
            () = until(alone_until) => return Ok(()),
            accepted = accept(serving.listener.as_ref()) => serving.take(accepted).await,
        }
    }
}

/// The next order; none once there will be no more. Cancel safe.
async fn next_order<R: AsyncRead + Unpin>(
    lines: &mut Lines<BufReader<R>>,
) -> io::Result<Option<Order>> {
    match lines.next_line().await? {
        None => Ok(None),
        Some(line) => serde_json::from_str(&line)
            .map(Some)
            .map_err(io::Error::other),
    }
}

/// An agent that is gone hears nothing, and its proxy goes on.
async fn say<W: AsyncWrite + Unpin>(answers: &mut W, said: &Said) {
    let mut line = serde_json::to_vec(said).unwrap_or_default();
    line.push(b'\n');
    let _ = answers.write_all(&line).await;
    let _ = answers.flush().await;
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

/// A fault that acts on the proxy.
#[derive(Debug)]
struct Acting {
    effect: Effect,
    lease_until: Instant,
}

/// A proxy that listens.
struct Serving {
    port: Port,
    listener: Option<TcpListener>,
    shared: Arc<Shared>,
    effect: watch::Sender<Effect>,
    faults: BTreeMap<String, Acting>,
    connections: JoinSet<()>,
}

impl Serving {
    fn open(opening: &Opening) -> io::Result<Self> {
        let port = Port::take(opening.listen)?;
        let listener = port.listen()?;
        Ok(Self {
            port,
            listener: Some(listener),
            shared: Arc::new(Shared::new(opening.to.clone(), opening.seed)),
            effect: watch::channel(Effect::default()).0,
            faults: BTreeMap::new(),
            connections: JoinSet::new(),
        })
    }

    fn next_lease(&self) -> Option<Instant> {
        self.faults.values().map(|fault| fault.lease_until).min()
    }

    async fn obey(&mut self, order: Order) -> Said {
        let now = Instant::now();
        let lease = |ms| now + Duration::from_millis(ms);
        // What a fault does to connections that are open belongs to it.
        let mut before = None;
        let result = match order {
            Order::Inject {
                fault,
                effect,
                lease_ms,
            } => {
                let lease_until = lease(lease_ms);
                let acting = Acting {
                    effect,
                    lease_until,
                };
                self.faults.insert(fault, acting);
                before = Some(self.shared.counters.now());
                self.apply().await
            }
            Order::Renew { fault, lease_ms } => match self.faults.get_mut(&fault) {
                Some(acting) => {
                    acting.lease_until = lease(lease_ms);
                    Ok(())
                }
                None => Err(io::Error::other("its lease had ended")),
            },
            Order::Revert { fault } => {
                self.faults.remove(&fault);
                self.apply().await
            }
            Order::Open(_) | Order::End => Err(io::Error::other("it listens already")),
        };
        match result {
            Ok(()) => Said::Done {
                counts: before.unwrap_or_else(|| self.shared.counters.now()),
            },
            Err(error) => Said::Failed {
                error: error.to_string(),
            },
        }
    }

    /// A port that cannot be listened on again is tried until it can.
    async fn end_leases(&mut self) {
        let now = Instant::now();
        self.faults.retain(|_, fault| fault.lease_until > now);
        while self.apply().await.is_err() {
            sleep(limits::PROXY_LISTEN_AGAIN).await;
        }
    }

    /// Makes the faults that act now felt.
    async fn apply(&mut self) -> io::Result<()> {
        let acting = self.faults.values().map(|fault| fault.effect);
        let effect = acting.fold(Effect::default(), Effect::and);
        if effect.cut.is_some() {
            // What waits to be taken is reset with the listener.
            self.listener = None;
        } else if self.listener.is_none() {
            self.listener = Some(self.port.listen()?);
        }
        self.effect.send_replace(effect);
        if effect.cut.is_some() {
            let all = async { while self.connections.join_next().await.is_some() {} };
            // Whoever is told that the fault is there finds no connection open.
            if timeout(limits::PROXY_CUT, all).await.is_err() {
                self.connections.shutdown().await;
            }
        }
        Ok(())
    }

    async fn take(&mut self, accepted: io::Result<TcpStream>) {
        while self.connections.try_join_next().is_some() {}
        let Ok(stream) = accepted else {
            // Out of descriptors, most likely: they come back.
            return sleep(limits::PROXY_ACCEPT_AGAIN).await;
        };
        let counters = &self.shared.counters;
        count(&counters.connections, 1);
        if self.connections.len() >= limits::PROXY_CONNECTIONS {
            return count(&counters.too_many, 1);
        }
        let number = counters.connections.load(Ordering::Relaxed);
        let shared = Arc::clone(&self.shared);
        let effects = self.effect.subscribe();
        self.connections
            .spawn(serve_connection(shared, stream, number, effects));
    }
}
