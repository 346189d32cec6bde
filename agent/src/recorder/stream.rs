//! What a driver measures one stream with: messages, gaps, stalls, and whether it is open.

use std::time::Duration;

use tokio::time::Instant;

use super::meter::StageMeter;

/// Whether the silence since the last message may be a stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trailing {
    /// The stream broke or was cut while it was owed messages.
    Counts,
    /// The stream ended as the plan accepts: trailing idle is no stall.
    Ignored,
}

/// Measures one stream. Open from its first message until it is ended or dropped.
#[derive(Debug)]
pub struct StreamMeter {
    meter: StageMeter,
    asked: Instant,
    stall: Duration,
    last: Option<Instant>,
}

impl StreamMeter {
    pub(super) fn new(meter: StageMeter, asked: Instant, stall: Duration) -> Self {
        Self { meter, asked, stall, last: None }
    }

    /// A message of so many encoded bytes arrived. Read the clock once per wake-up and pass the same instant for all
    /// messages that were ready.
    #[inline]
    pub fn message(&mut self, at: Instant, bytes: usize) {
        let series = self.meter.inner.series.stream();
        let Some(last) = self.last.replace(at) else { return self.first(at, bytes) };
        let gap = at.saturating_duration_since(last);
        self.meter.recorder().frames(|frames| {
            frames.count(series.messages, at, 1);
            frames.count(series.bytes, at, bytes as u64);
            frames.observe(series.gap, at, gap);
            if gap > self.stall {
                frames.observe(series.stall, at, gap);
            }
        });
    }

    /// So many rows arrived.
    #[inline]
    pub fn rows(&self, at: Instant, rows: u64) {
        let series = self.meter.inner.series.stream();
        self.meter.recorder().count(series.rows, at, rows);
    }

    /// A message arrived so long after it was sent: `stream_latency`.
    #[inline]
    pub fn latency(&self, at: Instant, latency: Duration) {
        let series = self.meter.inner.series.stream();
        self.meter.recorder().observe(series.latency, at, latency);
    }

    /// When the last message arrived.
    pub fn last_message(&self) -> Option<Instant> {
        self.last
    }

    /// The stream has ended. Dropping the meter instead counts the trailing silence.
    pub fn end(mut self, at: Instant, trailing: Trailing) {
        self.finish(at, trailing);
    }

    #[cold]
    fn first(&self, at: Instant, bytes: usize) {
        let series = self.meter.inner.series.stream();
        let recorder = self.meter.recorder();
        recorder.open(series.open, at);
        recorder.frames(|frames| {
            frames.count(series.messages, at, 1);
            frames.count(series.bytes, at, bytes as u64);
            frames.observe(series.first_message, at, at.saturating_duration_since(self.asked));
        });
    }

    fn finish(&mut self, at: Instant, trailing: Trailing) {
        let Some(last) = self.last.take() else { return };
        let series = self.meter.inner.series.stream();
        let recorder = self.meter.recorder();
        recorder.close(series.open, at);
        recorder.observe(series.duration, self.meter.inner.started, at.saturating_duration_since(self.asked));
        let silence = at.saturating_duration_since(last);
        if trailing == Trailing::Counts && silence > self.stall {
            recorder.observe(series.stall, at, silence);
        }
    }
}

impl Drop for StreamMeter {
    fn drop(&mut self) {
        if self.last.is_some() {
            self.finish(Instant::now(), Trailing::Counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_open_from_its_first_message_to_its_end() {
        let meter = StageMeter::detached("live", "stream");
        let recorder = meter.recorder().clone();
        let start = Instant::now();
        recorder.clock().start_at(start);
        let second = Duration::from_secs(1);
        let mut stream = meter.stream(start, second);
        stream.message(start + second / 2, 200);
        stream.message(start + second, 200);
        stream.message(start + second * 3, 200);
        stream.rows(start + second * 3, 2);
        let delta = recorder.cut(start + second * 3);
        assert_eq!(delta.counter(&recorder, "stream_messages"), 3);
        assert_eq!(delta.counter(&recorder, "stream_bytes"), 600);
        assert_eq!(delta.counter(&recorder, "stream_rows"), 2);
        let open: Vec<_> = delta.gauges.iter().map(|&(second, _, least)| (second, least)).collect();
        assert_eq!(open, [(0, 0), (1, 1), (2, 1)]);
        stream.end(start + second * 5, Trailing::Ignored);
        let delta = recorder.cut(start + second * 6);
        let open: Vec<_> = delta.gauges.iter().map(|&(second, _, least)| (second, least)).collect();
        assert_eq!(open, [(3, 1), (4, 1), (5, 0)]);
    }
}
