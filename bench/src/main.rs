//! Side-by-side benchmarks: what a unit of work costs testmesh, and what it costs others.
//!
//! Run one as `cargo run --release -p testmesh-bench -- stream`, or `all`. The method is described in
//! `docs/performance.md`.

mod all;
mod bare;
mod cpu;
mod figures;
mod http;
mod lag;
mod memory;
mod merge;
mod programs;
mod rows;
mod server;
mod slope;
mod start;
mod stream;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use figures::Figures;
use slope::Effort;

#[derive(Parser)]
#[command(
    about = "Side-by-side benchmarks against other tools, each of which prints Markdown tables."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// CPU per stream message: testmesh, k6 and a bare client.
    Stream(stream::Options),
    /// Memory per open stream, each on a connection of its own: testmesh, k6 and a bare client.
    Memory(Effort),
    /// CPU per HTTP request with an expectation and a save: testmesh, k6 and oha.
    Http(Effort),
    /// How late sessions start at 2,000 arrivals a second.
    Lag(Effort),
    /// Time from the start of the process to the first request: testmesh and k6.
    Start(Effort),
    /// CPU of merging what 1,000 agents ship in a second of a run.
    Merge(Effort),
    /// All of them, and which limits are missed.
    All(Effort),
    /// Serves until standard input closes; benchmarks start it.
    #[command(hide = true)]
    Serve { kind: server::process::Kind },
    /// Receives rows, decodes them and does nothing else; benchmarks start it.
    #[command(hide = true)]
    Bare(bare::Options),
    /// Merges the batches that come on standard input; benchmarks start it.
    #[command(hide = true)]
    MergeBatches(merge::Options),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            xtask::process::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Stream(options) => print(&stream::run(&options)?),
        Command::Memory(effort) => print(&memory::run(&effort)?),
        Command::Http(effort) => print(&http::run(&effort)?),
        Command::Lag(effort) => print(&lag::run(&effort)?),
        Command::Start(effort) => print(&start::run(&effort)?),
        Command::Merge(effort) => print(&merge::run(&effort)?),
        Command::All(effort) => write(&all::run(&effort)?),
        Command::Serve { kind } => server::process::run(kind),
        Command::Bare(options) => bare::run(&options),
        Command::MergeBatches(options) => merge::merge(&options),
    }
}

fn print(figures: &Figures) -> Result<()> {
    write(&figures.render())
}

fn write(text: &str) -> Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn every_benchmark_has_a_quick_look() {
        Arguments::command().debug_assert();
        for benchmark in ["stream", "memory", "http", "lag", "start", "merge", "all"] {
            let line = ["testmesh-bench", benchmark, "--quick", "--rounds", "1"];
            assert!(Arguments::try_parse_from(line).is_ok(), "{benchmark}");
        }
    }
}
