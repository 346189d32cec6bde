//! What an agent and its proxy say to each other: one JSON object a line, an answer to each order.
use super::counts::Counts;
use super::effect::Effect;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// What a proxy is told first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    /// Where it listens.
    pub listen: SocketAddr,
    /// `HOST:PORT` that it passes connections on to.
    pub to: String,
    /// Of which bits it turns over, and how much it jitters.
    pub seed: u64,
    /// How long it stays, in milliseconds, when its agent is gone.
    pub linger_ms: u64,
}

/// What a proxy is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// Listen. The first order, and no other.
    Open(Opening),
    /// A fault acts on it, as long as its lease.
    Inject {
        /// The fault's name.
        fault: String,
        /// What it does.
        effect: Effect,
        /// In milliseconds.
        lease_ms: u64,
    },
    /// The fault stays for another lease.
    Renew {
        /// The fault's name.
        fault: String,
        /// In milliseconds.
        lease_ms: u64,
    },
    /// The fault is over.
    Revert {
        /// The fault's name.
        fault: String,
    },
    /// The run is over.
    End,
}

/// What a proxy answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "snake_case")]
pub enum Said {
    /// It listens.
    Listening,
    /// The order is carried out; so much was done until then, of an injection until just before it.
    Done {
        /// Since it listens.
        counts: Counts,
    },
    /// It is not.
    Failed {
        /// Why.
        error: String,
    },
}
