//! The command line of `cargo xtask`: reads arguments, calls the library, turns the answer into an exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{ci, process::say, steps, test, tidy, workspace::Workspace};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Everything a developer runs.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Installs what the tests need, builds, and runs every test.
    Test {
        /// Passed on to the test runner, for instance a part of a test's name.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        filter: Vec<String>,
    },
    /// Keeps everything up that the tests talk to, and says where it is, until it is ended.
    Services,
    /// Runs every behavior of the testbed with every plan for it: each plan must see what it can, and nothing else.
    Matrix,
    /// Runs everything that a change must pass: test, fmt, clippy, doc, deny and tidy.
    Ci {
        /// Skips the tests, which were run already.
        #[arg(long)]
        no_test: bool,
    },
    /// Writes generated code and generated documents anew.
    Gen,
    /// Checks the rules of the house that no compiler knows.
    Tidy,
    /// Formats the code.
    Fmt {
        /// Changes nothing, and fails where something would change.
        #[arg(long)]
        check: bool,
    },
    /// Lints every target, with warnings denied.
    Clippy,
    /// Builds the documentation of the workspace, with warnings denied.
    Doc,
    /// Checks licences, sources and duplicate versions of the dependencies.
    Deny,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match perform(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(command: Command) -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    match command {
        Command::Test { filter } => test::run(&workspace, &filter),
        Command::Services => test::services(&workspace),
        Command::Matrix => test::matrix(&workspace),
        Command::Ci { no_test: false } => ci::run(&workspace, ci::ALL),
        Command::Ci { no_test: true } => ci::run(&workspace, ci::AFTER_TEST),
        Command::Gen => steps::generate(&workspace),
        Command::Tidy => tidy::run(&workspace),
        Command::Fmt { check: false } => steps::format(&workspace),
        Command::Fmt { check: true } => steps::format_check(&workspace),
        Command::Clippy => steps::clippy(&workspace),
        Command::Doc => steps::doc(&workspace),
        Command::Deny => steps::deny(&workspace),
    }
}
