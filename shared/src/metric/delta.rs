//! A histogram on the wire: exact totals, and the buckets that are not empty as pairs of varints (gap from the last
//! bucket, count). Bytes from outside become a [`TrendDelta`] only if all of it makes sense, so merging cannot fail and a
//! refused delta has changed nothing.

use super::histogram::{BUCKETS, HIGHEST_NS, bucket_of, least_of, upper_bound};
use crate::varint;

/// Greatest count of one delta. Far above what a second can hold, and far enough below 2⁶⁴ that no run overflows.
pub const DELTA_COUNT_MAX: u64 = 1 << 48;

/// Longest encoding of one delta: every bucket once, with the widest gap and count that make sense.
pub const DELTA_BYTES_MAX: usize = BUCKETS * 10;

/// Why bytes from the wire are not a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// A varint does not end, or is wider than 64 bits.
    #[error("the buckets end within a number")]
    Truncated,
    /// Buckets do not ascend, lie beyond the last, or are empty.
    #[error("bucket {bucket} is out of place")]
    Bucket {
        /// Its number.
        bucket: u64,
    },
    /// More values than a second can hold.
    #[error("the buckets count more than 2^48 values, or take more than {DELTA_BYTES_MAX} bytes")]
    TooMany,
    /// Sum, least and greatest value contradict the buckets.
    #[error("sum, minimum and maximum contradict the buckets")]
    Totals,
}

/// What a trend gained in one second, validated and still encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrendDelta<'a> {
    count: u64,
    sum_ns: u64,
    min_ns: u64,
    max_ns: u64,
    buckets: Buckets<'a>,
}

impl<'a> TrendDelta<'a> {
    /// Takes totals and buckets as they came from the wire.
    ///
    /// # Errors
    /// [`DeltaError`] if they are not what an agent can have counted.
    pub fn new(
        sum_ns: u64,
        min_ns: u64,
        max_ns: u64,
        buckets: &'a [u8],
    ) -> Result<Self, DeltaError> {
        let (count, ends) = Buckets::check(buckets)?;
        let sum = u128::from(sum_ns);
        let count_wide = u128::from(count);
        // A series that gained nothing is not shipped.
        let (first, last) = ends.ok_or(DeltaError::Totals)?;
        let fits = min_ns <= max_ns
            && max_ns <= HIGHEST_NS
            && bucket_of(min_ns) == first
            && bucket_of(max_ns) == last
            && count_wide * u128::from(min_ns) <= sum
            && sum <= count_wide * u128::from(max_ns);
        if !fits {
            return Err(DeltaError::Totals);
        }
        debug_assert!(
            least_of(first) <= min_ns && max_ns <= upper_bound(last),
            "buckets hold their values"
        );
        Ok(Self {
            count,
            sum_ns,
            min_ns,
            max_ns,
            buckets: Buckets(buckets),
        })
    }

    /// How many values it counts; at least one.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    #[must_use]
    pub const fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// The least of them.
    #[must_use]
    pub const fn min_ns(&self) -> u64 {
        self.min_ns
    }

    /// The greatest of them.
    #[must_use]
    pub const fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// Bucket numbers and counts, ascending.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (usize, u64)> + 'a {
        self.buckets.iter()
    }
}

/// Encoded buckets that were checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Buckets<'a>(&'a [u8]);

impl<'a> Buckets<'a> {
    /// Encodes ascending buckets.
    pub(super) fn encode(buckets: impl Iterator<Item = (usize, u64)>) -> Vec<u8> {
        // Enough for most, so that growing is rare.
        let mut bytes = Vec::with_capacity(256);
        let mut last = 0;
        for (bucket, count) in buckets {
            varint::write(&mut bytes, (bucket - last) as u64);
            varint::write(&mut bytes, count);
            last = bucket;
        }
        bytes
    }

    /// Total count, and the first and last bucket unless there is none.
    fn check(mut bytes: &[u8]) -> Result<(u64, Option<(usize, usize)>), DeltaError> {
        if bytes.len() > DELTA_BYTES_MAX {
            return Err(DeltaError::TooMany);
        }
        let mut total = 0u64;
        let mut ends: Option<(usize, usize)> = None;
        while !bytes.is_empty() {
            let gap = take(&mut bytes).ok_or(DeltaError::Truncated)?;
            let count = take(&mut bytes).ok_or(DeltaError::Truncated)?;
            let last = ends.map_or(0, |(_, last)| last as u64);
            let bucket = last.saturating_add(gap);
            let place = usize::try_from(bucket)
                .ok()
                .filter(|place| *place < BUCKETS);
            let again = gap == 0 && ends.is_some();
            let (Some(place), false, false) = (place, again, count == 0) else {
                return Err(DeltaError::Bucket { bucket });
            };
            total = total.saturating_add(count);
            if total > DELTA_COUNT_MAX {
                return Err(DeltaError::TooMany);
            }
            ends = Some((ends.map_or(place, |(first, _)| first), place));
        }
        Ok((total, ends))
    }

    fn iter(self) -> impl Iterator<Item = (usize, u64)> + 'a {
        let mut bytes = self.0;
        let mut last = 0usize;
        std::iter::from_fn(move || {
            let gap = take(&mut bytes)?;
            let count = take(&mut bytes)?;
            // `check` has seen that every bucket is in range.
            last = last.saturating_add(usize::try_from(gap).ok()?);
            Some((last, count))
        })
    }
}

/// Reads a number and moves on.
#[inline]
fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (value, len) = varint::read(bytes).ok()?;
    *bytes = bytes.get(len..)?;
    Some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::histogram::Histogram;
    use super::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::new();
        for value in values {
            histogram.record(*value).unwrap();
        }
        histogram
    }

    #[track_caller]
    fn refused(totals: (u64, u64, u64), buckets: &[u8], expect: DeltaError) {
        assert_eq!(
            TrendDelta::new(totals.0, totals.1, totals.2, buckets),
            Err(expect)
        );
    }

    #[test]
    fn nonsense_is_refused() {
        refused((0, 0, 0), &[], DeltaError::Totals);
        refused((0, 0, 0), &[0x80], DeltaError::Truncated);
        refused((0, 0, 0), &[0], DeltaError::Truncated);
        refused((0, 0, 0), &[0xff; 24], DeltaError::Truncated);
        refused((0, 0, 0), &[0, 0], DeltaError::Bucket { bucket: 0 });
        refused((0, 0, 0), &[0, 1, 0, 1], DeltaError::Bucket { bucket: 0 });
        refused(
            (0, 0, 0),
            &[0x80, 0xc0, 0x01, 1],
            DeltaError::Bucket { bucket: 24_576 },
        );
        refused(
            (0, 0, 0),
            &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            DeltaError::TooMany,
        );
        refused(
            (0, 0, 0),
            &vec![0; DELTA_BYTES_MAX + 1],
            DeltaError::TooMany,
        );
        // Two values of 0 to 511 ns.
        assert!(TrendDelta::new(300, 100, 200, &[0, 2]).is_ok());
        refused((300, 200, 100), &[0, 2], DeltaError::Totals);
        refused((401, 100, 200), &[0, 2], DeltaError::Totals);
        refused((199, 100, 200), &[0, 2], DeltaError::Totals);
        refused((700, 100, 600), &[0, 2], DeltaError::Totals);
        refused((u64::MAX, 0, u64::MAX), &[0, 2], DeltaError::Totals);
    }

    #[test]
    fn a_busy_second_is_small() {
        let values: Vec<u64> = (0..1_000).map(|n| 1_000_000 + n * n * 13).collect();
        let bytes = of(&values).encode_buckets();
        assert!(bytes.len() < 2_000, "{} bytes", bytes.len());
    }

    proptest! {
        #[test]
        fn a_delta_brings_all_that_was_recorded(values in prop::collection::vec(0..=HIGHEST_NS, 1..100)) {
            let histogram = of(&values);
            let bytes = histogram.encode_buckets();
            let sum = u64::try_from(histogram.sum_ns()).unwrap();
            let delta = TrendDelta::new(sum, histogram.min_ns().unwrap(), histogram.max_ns().unwrap(), &bytes).unwrap();
            let mut merged = Histogram::new();
            merged.merge_delta(&delta);
            prop_assert_eq!(merged, histogram);
        }

        #[test]
        fn hostile_bytes_never_panic(
            bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0x80), Just(0xff), any::<u8>()], 0..64),
            sum: u64, min: u64, max: u64,
        ) {
            if let Ok(delta) = TrendDelta::new(sum, min, max, &bytes) {
                let mut histogram = Histogram::new();
                histogram.merge_delta(&delta);
                prop_assert!(histogram.percentile(50.0).is_some());
            }
        }
    }
}
