//! The agent's end of a proxy: starts it, passes orders on one after another, ends it with the run.
use super::child::SUBCOMMAND;
use super::counts::Counts;
use super::order::{Opening, Order, Said};
use super::serve::serve;
use crate::limits;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use testmesh_shared::shutdown::Tasks;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// What runs proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyProgram {
    /// This program with the argument `proxy`: the proxy survives the agent for a while.
    Child(PathBuf),
    /// The agent's own process, for tests: the proxy ends with it.
    Here,
}

/// Why a proxy did not do what it was asked.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// Its program does not run.
    #[error("failed to start a proxy process")]
    Start(#[source] io::Error),
    /// It says why.
    #[error("{0}")]
    Refused(String),
    /// It is gone, or does not answer.
    #[error("the proxy is gone or does not answer")]
    Gone,
}

type Asked = (Order, oneshot::Sender<Result<Said, ProxyError>>);
type Reader = Pin<Box<dyn AsyncRead + Send>>;
type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// A proxy that listens. It ends when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct ProxyHandle {
    asked: mpsc::Sender<Asked>,
}

impl ProxyHandle {
    /// Starts a proxy, and waits until it listens.
    ///
    /// # Errors
    ///
    /// If it does not start, or cannot listen there.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the proxy.
    pub async fn start(
        program: &ProxyProgram,
        opening: Opening,
        tasks: &Tasks,
    ) -> Result<Self, ProxyError> {
        let pipes = match program {
            ProxyProgram::Child(program) => child(program)?,
            ProxyProgram::Here => here(tasks),
        };
        let (asked, asks) = mpsc::channel(limits::PROXY_ORDERS);
        tasks.spawn("proxy", pipes.pass_on(asks));
        let handle = Self { asked };
        match handle.ask(Order::Open(opening)).await? {
            Said::Listening => Ok(handle),
            Said::Failed { error } => Err(ProxyError::Refused(error)),
            Said::Done { .. } => Err(ProxyError::Gone),
        }
    }

    /// Has an order carried out. Returns what the proxy did so far.
    ///
    /// # Errors
    ///
    /// If it is not carried out.
    pub async fn order(&self, order: Order) -> Result<Counts, ProxyError> {
        match self.ask(order).await? {
            Said::Done { counts } => Ok(counts),
            Said::Failed { error } => Err(ProxyError::Refused(error)),
            Said::Listening => Err(ProxyError::Gone),
        }
    }

    async fn ask(&self, order: Order) -> Result<Said, ProxyError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.asked.send((order, answer)).await;
        sent.map_err(|_| ProxyError::Gone)?;
        answered.await.unwrap_or(Err(ProxyError::Gone))
    }
}

/// Both directions of a proxy.
struct Pipes {
    orders: Writer,
    answers: Lines<BufReader<Reader>>,
    child: Option<Child>,
}

fn child(program: &PathBuf) -> Result<Pipes, ProxyError> {
    let mut child = Command::new(program)
        .arg(SUBCOMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Whoever reads what a killed agent said must not wait for its proxies to end.
        .stderr(Stdio::null())
        // A Ctrl-C in a terminal is for the agent, which ends its proxies itself.
        .process_group(0)
        // It has to survive its agent for a while.
        .kill_on_drop(false)
        .spawn()
        .map_err(ProxyError::Start)?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(ProxyError::Gone);
    };
    let answers: Reader = Box::pin(stdout);
    Ok(Pipes {
        orders: Box::pin(stdin),
        answers: BufReader::new(answers).lines(),
        child: Some(child),
    })
}

fn here(tasks: &Tasks) -> Pipes {
    let (orders, taken) = tokio::io::duplex(limits::PROXY_PIPE);
    let (answers, said) = tokio::io::duplex(limits::PROXY_PIPE);
    tasks.spawn("proxy-here", async move {
        if let Err(error) = serve(taken, answers).await {
            tracing::error!(%error, "a proxy ended");
        }
    });
    let said: Reader = Box::pin(said);
    Pipes {
        orders: Box::pin(orders),
        answers: BufReader::new(said).lines(),
        child: None,
    }
}

impl Pipes {
    /// Passes orders on until nobody will give any more, and then ends the proxy.
    async fn pass_on(mut self, mut asks: mpsc::Receiver<Asked>) {
        while let Some((order, answer)) = asks.recv().await {
            let said = timeout(limits::PROXY_ANSWER, self.exchange(&order)).await;
            let said = said.unwrap_or(Err(ProxyError::Gone));
            let gone = matches!(said, Err(ProxyError::Gone));
            let _ = answer.send(said);
            if gone {
                // An answer that comes after all would be taken for that of the next order.
                tracing::error!("a proxy is gone or does not answer");
                break;
            }
        }
        drop(asks);
        let _ = timeout(limits::PROXY_ANSWER, self.exchange(&Order::End)).await;
        if let Some(mut child) = self.child {
            drop(self.orders);
            if timeout(limits::PROXY_END, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
    }

    async fn exchange(&mut self, order: &Order) -> Result<Said, ProxyError> {
        let mut line = serde_json::to_vec(order).map_err(|_| ProxyError::Gone)?;
        line.push(b'\n');
        let written = async {
            self.orders.write_all(&line).await?;
            self.orders.flush().await
        };
        written.await.map_err(|_| ProxyError::Gone)?;
        let said = self.answers.next_line().await;
        let said = said.ok().flatten().ok_or(ProxyError::Gone)?;
        serde_json::from_str(&said).map_err(|_| ProxyError::Gone)
    }
}
