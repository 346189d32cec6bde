//! Everything a user sees: help, summaries, reports, messages about bad plans, and the command line as a process.
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod process;
#[cfg(test)]
mod reports;
#[cfg(test)]
mod runs;
