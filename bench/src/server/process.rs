//! A server as a process: it prints its address, then what it has to tell, and ends when its standard input closes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::{http, rows};
use crate::programs::itself;

/// What to serve.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Rows over gRPC. Each time a stream opens or ends, the number of open ones is printed.
    Rows,
    /// One small JSON object over HTTP, for every request.
    Http,
}

/// Serves until standard input closes, and prints the address first.
pub(crate) fn run(kind: Kind) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("failed to listen")?;
        tell(&listener.local_addr()?.to_string());
        let closed = async {
            let mut rest = Vec::new();
            let _closed = tokio::io::stdin().read_to_end(&mut rest).await;
        };
        match kind {
            // Streams that are open would be waited for.
            Kind::Rows => tokio::select! {
                served = rows::serve(listener, std::future::pending()) => served,
                () = closed => Ok(()),
            },
            Kind::Http => tokio::select! {
                served = http::serve(listener) => served,
                () = closed => Ok(()),
            },
        }
    })
}

/// Prints a line; nobody may be reading any more.
pub(super) fn tell(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _closed = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    /// Where it listens.
    pub(crate) address: String,
    told: Option<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts it, and waits for its address.
    pub(crate) fn start(kind: Kind) -> Result<Self> {
        let kind = match kind {
            Kind::Rows => "rows",
            Kind::Http => "http",
        };
        let mut process = Command::new(itself()?)
            .args(["serve", kind])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start the server")?;
        let mut address = String::new();
        let stdout = process
            .stdout
            .take()
            .context("the server's standard output was just piped")?;
        let mut told = BufReader::new(stdout);
        told.read_line(&mut address)?;
        anyhow::ensure!(
            !address.trim().is_empty(),
            "the server ended before it was ready"
        );
        Ok(Self {
            process,
            address: address.trim().to_owned(),
            told: Some(told),
        })
    }

    /// What it tells from now on, a line each.
    pub(crate) fn told(&mut self) -> Result<BufReader<ChildStdout>> {
        self.told.take().context("what a server tells is read once")
    }

    /// Nobody reads what it tells.
    pub(crate) fn unheard(mut self) -> Self {
        self.told = None;
        self
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ended = self.process.wait();
    }
}
