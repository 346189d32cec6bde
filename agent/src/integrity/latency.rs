//! How long messages were under way, by the time of sending that they carry.
//!
//! The server's clock has an unknown offset, so that only the excess over the stream's minimum means something. The minimum
//! is known at the end only; to be near it from the beginning, the first messages are kept back until some have come.

use std::time::Duration;

use tokio::time::Instant;

use crate::driver::contract::Meter;

/// Messages that are kept back: 4 KiB of memory for a stream that has `sent_at`.
const SETTLING: usize = 256;

/// What the histograms hold, and farther than which a time of sending is no time of sending.
const RANGE_NS: i64 = 3_600_000_000_000;

/// The latencies of one stream.
#[derive(Debug)]
pub(super) struct Latency {
    /// When the first message came. All arrivals count from here.
    first: Option<(Instant, i64)>,
    least: i64,
    settling: Vec<(Instant, i64)>,
    settled: bool,
    out_of_range: u64,
}

impl Latency {
    pub(super) fn new() -> Self {
        Self {
            first: None,
            least: i64::MAX,
            settling: Vec::new(),
            settled: false,
            out_of_range: 0,
        }
    }

    /// A message came that says when it was sent.
    pub(super) fn message(&mut self, at: Instant, sent_ns: Option<i64>, meter: &dyn Meter) {
        let Some(sent_ns) = sent_ns else {
            self.out_of_range += 1;
            return;
        };
        let (first, first_sent) = *self.first.get_or_insert((at, sent_ns));
        let arrived =
            i64::try_from(at.saturating_duration_since(first).as_nanos()).unwrap_or(i64::MAX);
        // Relative to the first message: the offset of the clocks, and the year 1970, cancel out.
        let delay = sent_ns
            .checked_sub(first_sent)
            .and_then(|sent| arrived.checked_sub(sent));
        let Some(delay) = delay.filter(|delay| (-RANGE_NS..RANGE_NS).contains(delay)) else {
            self.out_of_range += 1;
            return;
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
    }

    /// The stream is over.
    pub(super) fn end(mut self, meter: &dyn Meter) {
        self.settle(meter);
        if self.out_of_range > 0 {
            meter.loss("samples_out_of_range", self.out_of_range);
        }
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
