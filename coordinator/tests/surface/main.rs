//! Everything a user sees: help, summaries, reports, messages about bad plans, and the command line as a process.
mod fixture;
mod process;
mod reports;
mod runs;
