//! The command line: `testmesh run`, `check`, `serve` and the rest, one command per file.
//!
//! [`args`] holds what may be typed, [`execute`] sends it to its command, [`output`] is the one way to stdout and stderr,
//! and [`error`] the one place where failures become exit codes. Commands speak to a coordinator through [`client`] only,
//! also when it runs in the same process (see `local`): there is one path, small or large.
pub mod args;
pub mod client;
pub mod error;
mod examples;
pub mod execute;
pub mod output;
pub mod reference;

mod agents;
mod check;
mod faults;
mod follow;
mod local;
mod not_yet;
mod package;
mod progress;
mod report_files;
mod run;
mod runs;
mod schedule;
mod schema;
mod serve;
mod sites;
mod submit;
mod testbed;
mod vars;

pub use args::Cli;
pub use error::CliError;
pub use execute::main;
pub use reference::reference;
