//! What a proxy does to its connections, and what several faults at once amount to.
use serde::{Deserialize, Serialize};
use std::time::Duration;
use testmesh_shared::plan::{Cut, ProxyEffect};

/// What happens to connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Open ones end and new ones are refused.
    pub cut: Option<Ending>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// In order.
    Close,
    /// With a reset.
    Reset,
}

impl Effect {
    /// Both at once: delays add up, the narrower bandwidth holds.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            cut: self.cut.max(other.cut),
            blackhole: self.blackhole || other.blackhole,
            delay: self.delay + other.delay,
            jitter: self.jitter + other.jitter,
            bandwidth: match (self.bandwidth, other.bandwidth) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            },
            corrupt: 1.0 - (1.0 - self.corrupt) * (1.0 - other.corrupt),
        }
    }
}

impl From<ProxyEffect> for Effect {
    fn from(effect: ProxyEffect) -> Self {
        Self {
            cut: effect.cut.map(|cut| match cut {
                Cut::Close => Ending::Close,
                Cut::Reset => Ending::Reset,
            }),
            blackhole: effect.blackhole,
            delay: effect.delay,
            jitter: effect.jitter,
            bandwidth: effect.bandwidth,
            corrupt: effect.corrupt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_at_the_same_time_add_up() {
        let one = Effect {
            cut: Some(Ending::Close),
            delay: Duration::from_millis(5),
            bandwidth: Some(100),
            corrupt: 0.5,
            ..Effect::default()
        };
        let other = Effect {
            cut: Some(Ending::Reset),
            blackhole: true,
            delay: Duration::from_millis(7),
            jitter: Duration::from_millis(1),
            bandwidth: Some(50),
            corrupt: 0.5,
        };
        let both = Effect {
            cut: Some(Ending::Reset),
            blackhole: true,
            delay: Duration::from_millis(12),
            jitter: Duration::from_millis(1),
            bandwidth: Some(50),
            corrupt: 0.75,
        };
        assert_eq!(one.and(other), both);
        assert_eq!(other.and(one), both);
        assert_eq!(one.and(Effect::default()), one);
    }
}
