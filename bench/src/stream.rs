//! The stream benchmark: one server, several clients in turn, five rounds.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use xtask::process::say;
use xtask::workspace::Workspace;

use crate::clients::{Amounts, Client, TESTMESH, prepare};
use crate::cpu;
use crate::table::{Measured, Pair, render};

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds; in each, every client runs once.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Bytes of payload in each row; 186 make messages of 200.
    #[arg(long, default_value_t = 186)]
    size: u32,
    /// A fiftieth of the rows: shows that everything runs, not what it costs.
    #[arg(long)]
    quick: bool,
    /// Only clients whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

/// Runs the benchmark and gives its table.
pub(crate) fn run(options: &Options) -> Result<String> {
    let workspace = Workspace::find()?;
    let amounts = if options.quick {
        Amounts {
            fast: (40_000, 200_000),
            slow: (4_000, 20_000),
        }
    } else {
        Amounts {
            fast: (2_000_000, 10_000_000),
            slow: (200_000, 1_000_000),
        }
    };
    let clients = prepare(&workspace, amounts, &options.only)?;
    let server = Server::start()?;
    let mut pairs = vec![Vec::new(); clients.len()];
    for round in 1..=options.rounds {
        for (client, pairs) in clients.iter().zip(&mut pairs) {
            let pair = measure(client, &server.address, options.size)?;
            say(&format!(
                "round {round}, {}: {:.2?} for {}, {:.2?} for {}",
                client.name, pair.small.1, pair.small.0, pair.large.1, pair.large.0
            ));
            pairs.push(pair);
        }
    }
    let measured = clients.iter().zip(pairs).map(|(client, pairs)| Measured {
        client: client.name,
        does: client.does,
        pairs,
    });
    Ok(render(&measured.collect::<Vec<_>>(), TESTMESH))
}

fn measure(client: &Client, address: &str, size: u32) -> Result<Pair> {
    let cost = |rows| -> Result<_> {
        let cpu = cpu::of(&mut client.command(address, rows, size))
            .with_context(|| format!("{} gave no figure", client.name))?;
        Ok((rows, cpu))
    };
    Ok(Pair {
        small: cost(client.rows.0)?,
        large: cost(client.rows.1)?,
    })
}

/// The server in a process of its own, which ends when its standard input closes.
#[derive(Debug)]
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start() -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start the server")?;
        let mut address = String::new();
        let stdout = process
            .stdout
            .take()
            .context("the server's standard output was just piped")?;
        BufReader::new(stdout).read_line(&mut address)?;
        anyhow::ensure!(
            !address.trim().is_empty(),
            "the server ended before it was ready"
        );
        Ok(Self {
            process,
            address: address.trim().to_owned(),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ended = self.process.wait();
    }
}
