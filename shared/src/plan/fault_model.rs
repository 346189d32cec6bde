//! Proxies and faults of a plan, as the rest of the mesh sees them; made by the reader only, like the rest of a plan.

use std::net::SocketAddr;
use std::time::Duration;

use super::model::Stage;
use super::problem::Position;

/// Proxies of a plan, at most: each is a process beside its agent.
pub const MAX_PROXIES: usize = 16;
/// Faults of a plan, at most: each makes two phases, and totals are kept for each set of phases.
pub const MAX_FAULTS: usize = 12;

/// A TCP proxy beside an agent, that faults act on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proxy {
    /// Its name in `proxies`.
    pub name: String,
    /// Where the plan says so.
    pub position: Position,
    /// Where its agent is; none: anywhere.
    pub site: Option<String>,
    /// Where it listens.
    pub listen: SocketAddr,
    /// `HOST:PORT` that it passes connections on to.
    pub to: String,
}

/// Something that is broken on purpose for a time.
#[derive(Debug)]
#[non_exhaustive]
pub struct Fault {
    /// Its name in `faults`, and of the phase that it makes.
    pub name: String,
    /// Where the plan says so.
    pub position: Position,
    /// When it begins.
    pub begin: FaultBegin,
    /// How long it lasts; more than nothing.
    pub length: Duration,
    /// Where the agent is that does it; none: anywhere. A proxy has a place of its own.
    pub site: Option<String>,
    /// The scenario whose sessions tell that it is overcome; none: any.
    pub recovery: Option<String>,
    /// What it does.
    pub action: FaultAction,
}

/// When a fault begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultBegin {
    /// So long after the run's start.
    At(Duration),
    /// So long after a session passed a stage for the first time, anywhere.
    After {
        /// The scenario.
        scenario: String,
        /// The stage.
        stage: String,
        /// How long after that.
        delay: Duration,
    },
}

/// What a fault does.
#[derive(Debug)]
pub enum FaultAction {
    /// Something happens to the connections of a proxy.
    Proxy {
        /// Its name.
        proxy: String,
        /// What.
        effect: ProxyEffect,
    },
    /// A stage runs once.
    Stage {
        /// The one that injects it.
        inject: Vec<Stage>,
        /// The one that puts it right; none: nothing needs to be done.
        revert: Vec<Stage>,
    },
    /// A program runs.
    Command {
        /// The program that injects it, and its arguments.
        inject: Vec<String>,
        /// The one that puts it right; empty: nothing needs to be done.
        revert: Vec<String>,
        /// How long each may take.
        within: Duration,
    },
}

/// What happens to the connections of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct ProxyEffect {
    /// Open ones end and new ones are refused.
    pub cut: Option<Cut>,
    /// Nothing gets through.
    pub blackhole: bool,
    /// Everything arrives so much later.
    pub delay: Duration,
    /// And up to so much later still.
    pub jitter: Duration,
    /// Bytes a second, each way, of all connections together.
    pub bandwidth: Option<u64>,
    /// The probability that a bit of a KiB is turned over.
    pub corrupt: f64,
}

/// How connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cut {
    /// In order.
    Close,
    /// With a reset.
    Reset,
}
