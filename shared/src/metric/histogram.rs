//! The histogram behind every trend: HDR layout, one fixed configuration everywhere (1 µs to 1 h, three significant
//! digits, in nanoseconds), so that merging is exact and a bucket's number means the same on every machine and in every
//! stored run.
//!
//! The layout is that of HdrHistogram with lowest discernible value 1,000 and highest trackable value 3.6 × 10¹². Counters
//! live in pages of 256 that exist once they are used: a full histogram would take 192 KiB, a real one takes a few pages.
//! Count, sum, least and greatest value are kept exactly beside the buckets.

use std::fmt;
use std::time::Duration;

use super::delta::{Buckets, TrendDelta};

/// The longest duration that is recorded: one hour. What is longer is counted as lost.
pub const HIGHEST_NS: u64 = 3_600_000_000_000;

/// log2 of the width of the narrowest bucket: 512 ns, the power of two below 1 µs.
const UNIT_MAGNITUDE: u32 = 9;
/// Buckets double their width every 1,024, which keeps three significant digits.
const HALF_MAGNITUDE: u32 = 10;
const HALF_COUNT: usize = 1 << HALF_MAGNITUDE;
const SUB_BUCKET_MASK: u64 = ((2 * HALF_COUNT as u64) - 1) << UNIT_MAGNITUDE;

const PAGE_LEN: usize = 256;
const PAGES: usize = 96;
/// How many buckets there are.
pub const BUCKETS: usize = PAGES * PAGE_LEN;

type Page = [u64; PAGE_LEN];

/// A duration above [`HIGHEST_NS`]: it is not in the histogram, and whoever recorded it counts the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a duration of more than one hour is out of a trend's range")]
pub struct OutOfRange;

/// How often durations of each size were seen.
#[derive(Clone)]
pub struct Histogram {
    count: u64,
    sum_ns: u128,
    min_ns: u64,
    max_ns: u64,
    pages: [Option<Box<Page>>; PAGES],
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// An empty histogram, without pages.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            count: 0,
            sum_ns: 0,
            min_ns: u64::MAX,
            max_ns: 0,
            pages: [const { None }; PAGES],
        }
    }

    /// Counts a duration.
    ///
    /// # Errors
    /// [`OutOfRange`] above one hour; the histogram is unchanged.
    #[inline]
    pub fn record(&mut self, ns: u64) -> Result<(), OutOfRange> {
        if ns > HIGHEST_NS {
            return Err(OutOfRange);
        }
        *self.counter(bucket_of(ns)) += 1;
        self.count += 1;
        self.sum_ns += u128::from(ns);
        self.min_ns = self.min_ns.min(ns);
        self.max_ns = self.max_ns.max(ns);
        Ok(())
    }

    /// Counts a duration.
    ///
    /// # Errors
    /// [`OutOfRange`] above one hour; the histogram is unchanged.
    #[inline]
    pub fn record_duration(&mut self, duration: Duration) -> Result<(), OutOfRange> {
        self.record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Adds all that another histogram counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.pages.iter_mut().zip(&other.pages) {
            let Some(theirs) = theirs else { continue };
            match mine {
                None => *mine = Some(theirs.clone()),
                Some(mine) => {
                    for (counter, more) in mine.iter_mut().zip(theirs.iter()) {
                        *counter = counter.saturating_add(*more);
                    }
                }
            }
        }
        self.add_totals(other.count, other.sum_ns, other.min_ns, other.max_ns);
    }

    /// Adds what a delta from the wire counted. A delta was validated when it was made, so this cannot fail.
    pub fn merge_delta(&mut self, delta: &TrendDelta<'_>) {
        for (bucket, count) in delta.buckets() {
            let counter = self.counter(bucket);
            *counter = counter.saturating_add(count);
        }
        self.add_totals(
            delta.count(),
            u128::from(delta.sum_ns()),
            delta.min_ns(),
            delta.max_ns(),
        );
    }

    fn add_totals(&mut self, count: u64, sum_ns: u128, min_ns: u64, max_ns: u64) {
        if count > 0 {
            self.count = self.count.saturating_add(count);
            self.sum_ns = self.sum_ns.saturating_add(sum_ns);
            self.min_ns = self.min_ns.min(min_ns);
            self.max_ns = self.max_ns.max(max_ns);
        }
    }

    /// Forgets all values and keeps the pages, for a recorder that fills the same ones every second.
    pub fn clear(&mut self) {
        for page in self.pages.iter_mut().flatten() {
            page.fill(0);
        }
        (self.count, self.sum_ns, self.min_ns, self.max_ns) = (0, 0, u64::MAX, 0);
    }

    #[inline]
    fn counter(&mut self, bucket: usize) -> &mut u64 {
        let page = &mut self.pages[bucket / PAGE_LEN];
        &mut page.get_or_insert_with(new_page)[bucket % PAGE_LEN]
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many durations were recorded.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Their sum, exact, in nanoseconds.
    #[must_use]
    pub const fn sum_ns(&self) -> u128 {
        self.sum_ns
    }

    /// The shortest, exact, in nanoseconds.
    #[must_use]
    pub fn min_ns(&self) -> Option<u64> {
        (self.count > 0).then_some(self.min_ns)
    }

    /// The longest, exact, in nanoseconds.
    #[must_use]
    pub fn max_ns(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max_ns)
    }

    /// The mean, in nanoseconds.
    #[must_use]
    pub fn mean_ns(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum_ns as f64 / self.count as f64)
    }

    /// The duration in nanoseconds that `percent` of all do not exceed, `percent` from 0 to 100.
    ///
    /// It is the upper bound of the bucket that HdrHistogram would answer with, but never beyond the shortest or longest
    /// duration, which are known exactly.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let wanted = rank(percent, self.count);
        let mut seen = 0u64;
        let mut bound = self.max_ns;
        for (upper, count) in self.iter() {
            seen = seen.saturating_add(count);
            if seen >= wanted {
                bound = upper;
                break;
            }
        }
        Some(bound.clamp(self.min_ns, self.max_ns))
    }

    /// How many durations lie in buckets that end at or below `ns`.
    #[must_use]
    pub fn count_at_or_below(&self, ns: u64) -> u64 {
        self.iter()
            .take_while(|(upper, _)| *upper <= ns)
            .map(|(_, count)| count)
            .sum()
    }

    /// The buckets that are not empty, from the shortest: upper bound in nanoseconds, and count.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.buckets()
            .map(|(bucket, count)| (upper_bound(bucket), count))
    }

    /// The buckets that are not empty, by number.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.pages
            .iter()
            .enumerate()
            .filter_map(|(number, page)| Some((number, page.as_deref()?)))
            .flat_map(|(number, page)| {
                let full = page.iter().enumerate().filter(|(_, count)| **count > 0);
                full.map(move |(place, count)| (number * PAGE_LEN + place, *count))
            })
    }

    /// The buckets as they go on the wire: see [`TrendDelta`].
    #[must_use]
    pub fn encode_buckets(&self) -> Vec<u8> {
        Buckets::encode(self.buckets())
    }

    /// Approximate memory it takes, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.pages.iter().flatten().count() * size_of::<Page>()
    }
}

/// Out of line, so that the hot path of `record` stays small.
#[cold]
fn new_page() -> Box<Page> {
    Box::new([0; PAGE_LEN])
}

impl PartialEq for Histogram {
    /// Equal contents; which pages exist does not matter.
    fn eq(&self, other: &Self) -> bool {
        (self.count, self.sum_ns, self.min_ns, self.max_ns)
            == (other.count, other.sum_ns, other.min_ns, other.max_ns)
            && self.buckets().eq(other.buckets())
    }
}

impl Eq for Histogram {}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count)
            .field("sum_ns", &self.sum_ns)
            .field("min_ns", &self.min_ns())
            .field("max_ns", &self.max_ns())
            .field("p50_ns", &self.percentile(50.0))
            .finish_non_exhaustive()
    }
}

/// The number of the bucket that holds a duration of at most [`HIGHEST_NS`].
#[inline]
pub(super) const fn bucket_of(ns: u64) -> usize {
    // Which doubling the value lies in, from 0; the mask lifts small values into the first.
    let doubling = (u64::BITS - (ns | SUB_BUCKET_MASK).leading_zeros())
        - (UNIT_MAGNITUDE + HALF_MAGNITUDE + 1);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a doubling has 2,048 places"
    )]
    let within = (ns >> (doubling + UNIT_MAGNITUDE)) as usize;
    ((doubling as usize) << HALF_MAGNITUDE) + within
}

/// The least duration that falls into a bucket, and log2 of the bucket's width.
const fn lower_bound(bucket: usize) -> (u64, u32) {
    let doubling = (bucket >> HALF_MAGNITUDE).saturating_sub(1);
    let within = (bucket - (doubling << HALF_MAGNITUDE)) as u64;
    #[expect(clippy::cast_possible_truncation, reason = "there are 23 doublings")]
    let width = doubling as u32 + UNIT_MAGNITUDE;
    (within << width, width)
}

/// The least duration that falls into a bucket.
pub(super) const fn least_of(bucket: usize) -> u64 {
    lower_bound(bucket).0
}

/// The greatest duration that falls into a bucket.
pub(super) const fn upper_bound(bucket: usize) -> u64 {
    let (lower, width) = lower_bound(bucket);
    lower + (1 << width) - 1
}

/// Which value, counted from the shortest as 1, a percentile asks for.
fn rank(percent: f64, count: u64) -> u64 {
    let wanted = (percent / 100.0).clamp(0.0, 1.0) * count as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between 0 and the count"
    )]
    let rank = wanted.ceil() as u64;
    rank.clamp(1, count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::new();
        for value in values {
            histogram.record(*value).unwrap();
        }
        histogram
    }

    fn reference(values: &[u64]) -> hdrhistogram::Histogram<u64> {
        let mut histogram = hdrhistogram::Histogram::new_with_bounds(1_000, HIGHEST_NS, 3).unwrap();
        for value in values {
            histogram.record(*value).unwrap();
        }
        histogram
    }

    /// Durations of every size, edges of buckets among them.
    fn durations() -> impl Strategy<Value = u64> {
        let magnitudes = (0u32..42, any::<u64>());
        let spread = magnitudes
            .prop_map(|(bits, noise)| (noise & ((1 << bits) - 1) | (1 << bits)).min(HIGHEST_NS));
        prop_oneof![Just(0), Just(HIGHEST_NS), spread, 0..HIGHEST_NS]
    }

    #[test]
    fn buckets_are_those_of_hdr_histogram() {
        let crate_layout = reference(&[]);
        assert_eq!(crate_layout.distinct_values(), BUCKETS);
        for bucket in 0..BUCKETS {
            let (least, greatest) = (least_of(bucket), upper_bound(bucket));
            assert_eq!(bucket_of(least), bucket);
            assert_eq!(bucket_of(greatest), bucket);
            assert_eq!(crate_layout.lowest_equivalent(least), least);
            assert_eq!(crate_layout.highest_equivalent(least), greatest);
            if bucket > 0 {
                assert_eq!(
                    upper_bound(bucket - 1) + 1,
                    least,
                    "no gap below bucket {bucket}"
                );
            }
        }
        assert!(upper_bound(BUCKETS - 1) >= HIGHEST_NS);
    }

    #[test]
    fn what_is_out_of_range_is_refused_and_changes_nothing() {
        let mut histogram = of(&[5]);
        assert_eq!(histogram.record(HIGHEST_NS + 1), Err(OutOfRange));
        assert_eq!(histogram.record_duration(Duration::MAX), Err(OutOfRange));
        assert_eq!(histogram, of(&[5]));
    }

    #[test]
    fn an_empty_histogram_has_no_percentile() {
        let empty = Histogram::new();
        assert!(empty.is_empty());
        assert_eq!(
            (
                empty.percentile(50.0),
                empty.min_ns(),
                empty.max_ns(),
                empty.mean_ns()
            ),
            (None, None, None, None)
        );
    }

    #[test]
    fn a_single_value_is_every_percentile() {
        let histogram = of(&[1_234_567]);
        for percent in [0.0, 50.0, 99.9, 100.0, f64::NAN, -1.0, 1e9] {
            assert_eq!(histogram.percentile(percent), Some(1_234_567));
        }
    }

    #[test]
    fn pages_exist_only_where_values_are() {
        let histogram = of(&[1_000_000; 1_000]);
        assert_eq!(
            histogram.memory(),
            size_of::<Histogram>() + size_of::<Page>()
        );
    }

    proptest! {
        #[test]
        fn percentiles_equal_those_of_the_crate(
            values in prop::collection::vec(durations(), 1..200),
            percent in 0.0..=100.0f64,
        ) {
            let (ours, theirs) = (of(&values), reference(&values));
            let (min, max) = (*values.iter().min().unwrap(), *values.iter().max().unwrap());
            for percent in [percent, 50.0, 90.0, 95.0, 99.0, 99.9, 100.0] {
                let expect = theirs.value_at_quantile(percent / 100.0).clamp(min, max);
                prop_assert_eq!(ours.percentile(percent), Some(expect));
            }
            prop_assert_eq!(ours.count(), theirs.len());
            prop_assert_eq!((ours.min_ns(), ours.max_ns()), (Some(min), Some(max)));
            prop_assert_eq!(ours.sum_ns(), values.iter().map(|v| u128::from(*v)).sum::<u128>());
            let theirs: Vec<_> = theirs.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect();
            prop_assert_eq!(ours.iter().collect::<Vec<_>>(), theirs);
        }

        #[test]
        fn merging_in_any_order_is_recording_all(
            a in prop::collection::vec(durations(), 0..50),
            b in prop::collection::vec(durations(), 0..50),
            c in prop::collection::vec(durations(), 0..50),
        ) {
            let whole = of(&[a.clone(), b.clone(), c.clone()].concat());
            let mut left = of(&a);
            left.merge(&of(&b));
            left.merge(&of(&c));
            let mut right = of(&c);
            let mut inner = of(&b);
            inner.merge(&of(&a));
            right.merge(&inner);
            prop_assert_eq!(&left, &whole);
            prop_assert_eq!(&right, &whole);
        }

        #[test]
        fn clearing_forgets_all_values(values in prop::collection::vec(durations(), 0..50)) {
            let mut histogram = of(&values);
            histogram.clear();
            prop_assert_eq!(histogram, Histogram::new());
        }
    }
}
