//! How long messages were under way, by the time of sending that they carry.
//!
//! The server's clock has an unknown offset, so that only the excess over the stream's minimum means something. The minimum
//! is known at the end only; to be near it from the beginning, the first messages are kept back until some have come.
//!
//! A target may declare that its servers' clock is the coordinator's, or near to it: then a latency is the coordinator's time of
//! the arrival minus the time of sending. It has an error: that of the declaration, and the uncertainty of the agent's estimate
//! of the coordinator's clock. Within it, what came before it was sent took no time, and is counted; beyond it nothing is
//! recorded.

use std::time::Duration;

use tokio::time::Instant;

use super::clock::{ClockReading, MeshClock};
use crate::driver::contract::Meter;

/// Messages that are kept back: 4 KiB of memory for a stream that has `sent_at`.
const SETTLING: usize = 256;

/// What the histograms hold, and farther than which a time of sending is no time of sending.
const RANGE_NS: i64 = 3_600_000_000_000;

/// What a target declares of its servers' clock: that it differs by at most this from the coordinator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerClock {
    /// Zero: it is the same clock.
    pub error: Duration,
}

/// The latencies of one stream.
#[derive(Debug)]
pub(super) struct Latency {
    kind: Kind,
    out_of_range: u64,
    negative: u64,
}

#[derive(Debug)]
enum Kind {
    /// Over the stream's minimum.
    Excess(Excess),
    /// By the coordinator's clock, with an error of so many nanoseconds.
    Absolute(ClockReading, i64),
    /// By the coordinator's clock, which the agent does not know yet.
    Unknown,
}

impl Latency {
    /// Latencies of a stream that begins now.
    pub(super) fn of(declared: Option<ServerClock>, clock: &MeshClock) -> Self {
        let kind = match (declared, declared.and_then(|_| clock.reading())) {
            (None, _) => Kind::Excess(Excess::new()),
            (Some(_), None) => Kind::Unknown,
            (Some(ServerClock { error }), Some(reading)) => {
                let error = i64::try_from(error.as_nanos()).unwrap_or(i64::MAX);
                Kind::Absolute(reading, error.saturating_add(reading.uncertainty_ns()))
            }
        };
        Self {
            kind,
            out_of_range: 0,
            negative: 0,
        }
    }

    /// A message came that says when it was sent.
    pub(super) fn message(&mut self, at: Instant, sent_ns: Option<i64>, meter: &dyn Meter) {
        let in_range = match (&mut self.kind, sent_ns) {
            (Kind::Excess(excess), Some(sent_ns)) => excess.message(at, sent_ns, meter),
            (Kind::Absolute(clock, error), Some(sent_ns)) => {
                let took = clock.at(at).checked_sub(sent_ns);
                let took = took.filter(|took| (-*error..RANGE_NS).contains(took));
                if let Some(took) = took {
                    self.negative += u64::from(took < 0);
                    meter.latency(at, Duration::from_nanos(took.max(0).unsigned_abs()));
                }
                took.is_some()
            }
            (_, None) | (Kind::Unknown, _) => false,
        };
        self.out_of_range += u64::from(!in_range);
    }

    /// The stream is over.
    pub(super) fn end(self, meter: &dyn Meter) {
        if let Kind::Excess(mut excess) = self.kind {
            excess.settle(meter);
        }
        if self.out_of_range > 0 {
            meter.loss("samples_out_of_range", self.out_of_range);
        }
        if self.negative > 0 {
            meter.loss("negative_latencies", self.negative);
        }
    }
}

/// Latencies over the stream's minimum.
#[derive(Debug)]
struct Excess {
    /// When the first message came. All arrivals count from here.
    first: Option<(Instant, i64)>,
    least: i64,
    settling: Vec<(Instant, i64)>,
    settled: bool,
}

impl Excess {
    const fn new() -> Self {
        Self {
            first: None,
            least: i64::MAX,
            settling: Vec::new(),
            settled: false,
        }
    }

    /// Whether the time of sending can be one.
    fn message(&mut self, at: Instant, sent_ns: i64, meter: &dyn Meter) -> bool {
        let (first, first_sent) = *self.first.get_or_insert((at, sent_ns));
        let arrived =
            i64::try_from(at.saturating_duration_since(first).as_nanos()).unwrap_or(i64::MAX);
        // Relative to the first message: the offset of the clocks, and the year 1970, cancel out.
        let delay = sent_ns
            .checked_sub(first_sent)
            .and_then(|sent| arrived.checked_sub(sent));
        let Some(delay) = delay.filter(|delay| (-RANGE_NS..RANGE_NS).contains(delay)) else {
            return false;
        };
        self.least = self.least.min(delay);
        if self.settled {
            self.record(at, delay, meter);
        } else {
            self.settling.push((at, delay));
            if self.settling.len() >= SETTLING {
                self.settle(meter);
            }
        }
        true
    }

    fn settle(&mut self, meter: &dyn Meter) {
        self.settled = true;
        for (at, delay) in std::mem::take(&mut self.settling) {
            self.record(at, delay, meter);
        }
    }

    fn record(&self, at: Instant, delay: i64, meter: &dyn Meter) {
        meter.latency(
            at,
            Duration::from_nanos(delay.saturating_sub(self.least).unsigned_abs()),
        );
    }
}
