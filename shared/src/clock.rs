//! Wall-clock time, from one monotonic clock. A process reads the system's time once and counts on from there, so that
//! times on the wire never jump; agents estimate how far the coordinator's clock is from theirs, with bounds.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// A fixed point at which monotonic and wall-clock time were read together.
///
/// A process makes one at its start and hands it on; two anchors of one process may differ by what the system's clock was
/// adjusted between them. This is the only place that reads the system's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeAnchor {
    instant: Instant,
    unix_ns: i64,
}

impl TimeAnchor {
    /// Reads both clocks.
    #[must_use]
    #[expect(
        clippy::disallowed_types,
        reason = "the one place where the system's time is read"
    )]
    pub fn now() -> Self {
        let instant = Instant::now();
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self::at(instant, nanos(since.unwrap_or_default()))
    }

    /// An anchor that was read elsewhere: tests and simulations choose both clocks.
    #[must_use]
    pub const fn at(instant: Instant, unix_ns: i64) -> Self {
        Self { instant, unix_ns }
    }

    /// Nanoseconds since the Unix epoch at an instant.
    #[must_use]
    pub fn unix_ns(&self, at: Instant) -> i64 {
        if at >= self.instant {
            self.unix_ns.saturating_add(nanos(at - self.instant))
        } else {
            self.unix_ns.saturating_sub(nanos(self.instant - at))
        }
    }

    /// Nanoseconds since the Unix epoch, now.
    #[must_use]
    pub fn unix_ns_now(&self) -> i64 {
        self.unix_ns(Instant::now())
    }

    /// The instant at which it is so many nanoseconds since the Unix epoch; `None` if the monotonic clock cannot say it.
    #[must_use]
    pub fn instant(&self, unix_ns: i64) -> Option<Instant> {
        let ahead = i128::from(unix_ns) - i128::from(self.unix_ns);
        let distance = Duration::from_nanos(u64::try_from(ahead.unsigned_abs()).ok()?);
        if ahead >= 0 {
            self.instant.checked_add(distance)
        } else {
            self.instant.checked_sub(distance)
        }
    }

    /// The wall-clock time of an instant, in the form that span exporters take.
    #[must_use]
    #[expect(
        clippy::disallowed_types,
        reason = "spans carry the standard library's type; the value is the anchor's"
    )]
    pub fn system_time(&self, at: Instant) -> std::time::SystemTime {
        let since = u64::try_from(self.unix_ns(at)).unwrap_or(0);
        std::time::UNIX_EPOCH + Duration::from_nanos(since)
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// One exchange with the coordinator: four readings of two clocks, in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Agent time when the probe left.
    pub sent_ns: i64,
    /// Coordinator time when it came.
    pub received_ns: i64,
    /// Coordinator time when the reply left.
    pub replied_ns: i64,
    /// Agent time when the reply came.
    pub returned_ns: i64,
}

/// How far another clock is ahead of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockOffset {
    /// Their time minus ours: the middle of the interval that the true offset lies in.
    pub offset_ns: i64,
    /// Half the interval's width.
    pub uncertainty_ns: u64,
}

impl ClockOffset {
    /// Both clocks are the same one: a mesh in one process.
    pub const SAME: Self = Self {
        offset_ns: 0,
        uncertainty_ns: 0,
    };

    /// Their time at our time.
    #[must_use]
    pub const fn theirs(&self, ours_ns: i64) -> i64 {
        ours_ns.saturating_add(self.offset_ns)
    }

    /// Our time at their time.
    #[must_use]
    pub const fn ours(&self, theirs_ns: i64) -> i64 {
        theirs_ns.saturating_sub(self.offset_ns)
    }
}

/// How many probes an estimate remembers.
const PROBES_MAX: usize = 16;
/// By how much two clocks part: 100 parts in a million, twice what a quartz is allowed.
const DRIFT_PER_MILLION: u64 = 100;

/// The offset of the coordinator's clock, from probes.
///
/// A probe proves an interval: the coordinator received it after it left and replied before the answer came, so the offset
/// lies between `replied - returned` and `received - sent`. The estimate is what the last sixteen intervals, each widened by
/// its age times the greatest drift, have in common. Where they have nothing in common a clock was set, and the newest counts.
#[derive(Debug, Clone, Default)]
pub struct OffsetEstimate {
    probes: VecDeque<Probe>,
}

impl OffsetEstimate {
    /// Knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a probe in. One that contradicts itself (a reply before its question) is ignored.
    pub fn add(&mut self, probe: Probe) {
        if probe.returned_ns < probe.sent_ns || probe.replied_ns < probe.received_ns {
            return;
        }
        let (lo, hi) = proves(&probe);
        if lo > hi {
            return;
        }
        if self.common(&probe).is_none() {
            self.probes.clear();
        }
        if self.probes.len() == PROBES_MAX {
            self.probes.pop_front();
        }
        self.probes.push_back(probe);
    }

    /// The offset as of the last probe, if there was one.
    #[must_use]
    pub fn offset(&self) -> Option<ClockOffset> {
        let (lo, hi) = self.common(self.probes.back()?)?;
        let middle = lo + (hi - lo) / 2;
        let half = (hi - lo) - (hi - lo) / 2;
        Some(ClockOffset {
            offset_ns: i64::try_from(middle).ok()?,
            uncertainty_ns: u64::try_from(half).ok()?,
        })
    }

    /// What all probes have in common with a newer one.
    fn common(&self, newest: &Probe) -> Option<(i128, i128)> {
        self.probes
            .iter()
            .try_fold(proves(newest), |(lo, hi), probe| {
                let age = i128::from(newest.returned_ns) - i128::from(probe.returned_ns);
                let drift = age.abs() * i128::from(DRIFT_PER_MILLION) / 1_000_000;
                let (its_lo, its_hi) = proves(probe);
                let (lo, hi) = (lo.max(its_lo - drift), hi.min(its_hi + drift));
                (lo <= hi).then_some((lo, hi))
            })
    }
}

fn proves(probe: &Probe) -> (i128, i128) {
    let lo = i128::from(probe.replied_ns) - i128::from(probe.returned_ns);
    let hi = i128::from(probe.received_ns) - i128::from(probe.sent_ns);
    (lo, hi)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    /// A probe sent at `sent` to a clock that is `offset` ahead, over a link with these delays.
    fn probe(sent: i64, offset: i64, there: i64, back: i64) -> Probe {
        let received = sent + there + offset;
        Probe {
            sent_ns: sent,
            received_ns: received,
            replied_ns: received + 10,
            returned_ns: sent + there + 10 + back,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn wall_clock_time_counts_on_from_the_anchor() {
        let anchor = TimeAnchor::at(Instant::now(), 5 * SECOND);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(anchor.unix_ns_now(), 7 * SECOND);
        assert_eq!(anchor.instant(7 * SECOND), Some(Instant::now()));
        assert_eq!(
            anchor.unix_ns(anchor.instant(6 * SECOND).unwrap()),
            6 * SECOND
        );
        assert_eq!(
            anchor.instant(4 * SECOND).map(|at| anchor.unix_ns(at)),
            Some(4 * SECOND)
        );
    }

    #[test]
    fn the_system_time_is_read() {
        assert!(TimeAnchor::now().unix_ns_now() > 1_700_000_000 * SECOND);
    }

    #[test]
    fn better_probes_narrow_the_estimate_and_a_set_clock_starts_it_anew() {
        let mut estimate = OffsetEstimate::new();
        assert_eq!(estimate.offset(), None);
        estimate.add(probe(0, 5_000_000, 900, 100));
        assert_eq!(
            estimate.offset(),
            Some(ClockOffset {
                offset_ns: 5_000_400,
                uncertainty_ns: 500
            })
        );
        estimate.add(probe(1_000, 5_000_000, 50, 50));
        assert_eq!(
            estimate.offset(),
            Some(ClockOffset {
                offset_ns: 5_000_000,
                uncertainty_ns: 50
            })
        );
        estimate.add(probe(2_000, 9_000_000, 50, 50));
        assert_eq!(
            estimate.offset(),
            Some(ClockOffset {
                offset_ns: 9_000_000,
                uncertainty_ns: 50
            })
        );
        estimate.add(Probe {
            sent_ns: 10,
            received_ns: 0,
            replied_ns: 0,
            returned_ns: 0,
        });
        assert_eq!(
            estimate.offset().map(|offset| offset.offset_ns),
            Some(9_000_000),
            "nonsense is ignored"
        );
    }

    proptest! {
        #[test]
        fn the_true_offset_lies_in_the_interval(
            offset in -SECOND..SECOND,
            delays in prop::collection::vec((0..SECOND, 0..SECOND), 1..40),
        ) {
            let mut estimate = OffsetEstimate::new();
            for (place, (there, back)) in (0i64..).zip(delays) {
                estimate.add(probe(place * SECOND, offset, there, back));
                let found = estimate.offset().unwrap();
                prop_assert!(found.offset_ns.abs_diff(offset) <= found.uncertainty_ns + 1);
            }
        }

        #[test]
        fn hostile_replies_never_panic(readings: [i64; 4], more: [i64; 4]) {
            let mut estimate = OffsetEstimate::new();
            for [sent_ns, received_ns, replied_ns, returned_ns] in [readings, more] {
                estimate.add(Probe { sent_ns, received_ns, replied_ns, returned_ns });
                let _ = estimate.offset().map(|offset| offset.theirs(sent_ns));
            }
        }
    }
}
