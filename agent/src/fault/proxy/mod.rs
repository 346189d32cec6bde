//! A TCP proxy that passes everything on, unless a fault acts on it.
//!
//! `serve` is the proxy's own loop, over any pair of pipes; `child` runs it as a process, `handle` is the agent's end of the
//! pipes. So it works the same inside a test's process.
mod child;
mod connection;
mod corrupt;
mod counts;
mod effect;
mod handle;
mod link;
mod listening;
mod order;
mod pump;
mod serve;

pub use child::{SUBCOMMAND, asked_for, main};
pub use counts::Counts;
pub use effect::{Effect, Ending};
pub use handle::{ProxyError, ProxyHandle, ProxyProgram};
pub use order::{Opening, Order, Said};
pub use serve::serve;
