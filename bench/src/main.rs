//! Side-by-side benchmarks: what a unit of work costs testmesh, and what it costs others.
//!
//! Run it as `cargo run --release -p testmesh-bench -- stream`. The method is described in `docs/performance.md`.

mod bare;
mod clients;
mod cpu;
mod rows;
mod server;
mod stream;
mod table;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Side-by-side benchmarks against other tools.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// CPU per small stream message: testmesh, k6 and a bare client side by side, as a Markdown table.
    Stream(stream::Options),
    /// Serves rows as fast as they are taken, until standard input closes.
    Serve,
    /// Receives rows, decodes them and does nothing else.
    Bare(bare::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Stream(options) => stream::run(&options).and_then(|table| {
            std::io::stdout().write_all(table.as_bytes())?;
            Ok(())
        }),
        Command::Serve => server::run(),
        Command::Bare(options) => bare::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            xtask::process::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
