//! Rows that have been computed, kept for other calls of the same view, within a bound of bytes.
//!
//! Two hundred users of one live view ask for the same rows within one `lines_dt`; it would be a waste to compute each
//! two hundred times. The oldest row goes first, which for rows asked for in order of time is the least recently used.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::field::Field;

/// One row: its payload and extrema.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) payload: Bytes,
    pub(crate) least: f32,
    pub(crate) greatest: f32,
}

/// A bounded store of rows, shared by all calls.
#[derive(Debug)]
pub(crate) struct RowCache {
    shards: Vec<Mutex<Shard>>,
    shard_budget: usize,
}

type Key = (u64, u64);

#[derive(Debug, Default)]
struct Shard {
    rows: HashMap<Key, Row>,
    order: VecDeque<Key>,
    bytes: usize,
}

const SHARDS: u64 = 16;
/// What a row costs besides its payload.
const OVERHEAD: usize = 160;

impl RowCache {
    /// A cache that keeps about this many bytes; 0 keeps nothing.
    pub(crate) fn new(budget: usize) -> Self {
        let shards = (0..SHARDS)
            .map(|_| Mutex::new(Shard::default()))
            .collect::<Vec<_>>();
        let shard_budget = budget / shards.len();
        Self {
            shards,
            shard_budget,
        }
    }

    /// The row of a field at a time, computed unless it is kept.
    pub(crate) fn row(&self, field: &Field, time_ns: u64) -> Row {
        let key = (field.key, time_ns);
        let shard = self.shard(key);
        if let Some(row) = shard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .rows
            .get(&key)
        {
            return row.clone();
        }
        // Computed outside the lock: two calls may compute one row at once, which costs less than waiting.
        let row = compute(field, time_ns);
        shard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .keep(key, &row, self.shard_budget);
        row
    }

    fn shard(&self, (field, time_ns): Key) -> &Mutex<Shard> {
        let index = usize::try_from(crate::hash::mix(field ^ time_ns) % SHARDS).unwrap_or(0);
        &self.shards[index]
    }
}

impl Shard {
    fn keep(&mut self, key: Key, row: &Row, budget: usize) {
        let cost = row.payload.len() + OVERHEAD;
        if cost > budget || self.rows.insert(key, row.clone()).is_some() {
            return;
        }
        self.order.push_back(key);
        self.bytes += cost;
        while self.bytes > budget {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            if let Some(gone) = self.rows.remove(&oldest) {
                self.bytes -= gone.payload.len() + OVERHEAD;
            }
        }
    }
}

/// Computes a row.
pub(crate) fn compute(field: &Field, time_ns: u64) -> Row {
    let mut payload = Vec::with_capacity(field.values() * 2);
    let (least, greatest) = field.render(time_ns, &mut payload);
    let value = |bits| half::f16::from_bits(bits).to_f32();
    Row {
        payload: Bytes::from(payload),
        least: value(least),
        greatest: value(greatest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Signal;

    fn field() -> Field {
        Field::new(Signal::Live, 1, 17, 1_024, (0, 64), 7_804)
    }

    #[test]
    fn a_kept_row_is_the_computed_row() {
        let cache = RowCache::new(1 << 20);
        let (first, again) = (cache.row(&field(), 5), cache.row(&field(), 5));
        assert_eq!(first.payload, compute(&field(), 5).payload);
        assert_eq!(
            first.payload.as_ptr(),
            again.payload.as_ptr(),
            "the second was not computed again"
        );
    }

    #[test]
    fn bytes_are_bounded() {
        let budget = 1 << 18;
        let cache = RowCache::new(budget);
        for time in 0..2_000 {
            cache.row(&field(), time);
        }
        let kept: usize = cache
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap().bytes)
            .sum();
        assert!(kept <= budget && kept > budget / 4, "{kept}");
        for shard in &cache.shards {
            let shard = shard.lock().unwrap();
            assert_eq!(shard.rows.len(), shard.order.len());
            let bytes: usize = shard
                .rows
                .values()
                .map(|row| row.payload.len() + OVERHEAD)
                .sum();
            assert_eq!(bytes, shard.bytes);
        }
        assert!(RowCache::new(0).row(&field(), 1).payload == cache.row(&field(), 1).payload);
    }
}
