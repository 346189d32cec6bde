//! Gauges of one worker: the least value within each second.
//!
//! Minima of workers and of agents may be summed: that many were open at the same time, which is what *proven concurrency*
//! means. A second is handed out once it is over.

use super::catalog::GaugeId;

/// The gauges of one worker.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    slots: Vec<Option<Gauge>>,
}

#[derive(Debug)]
struct Gauge {
    value: u64,
    second: u32,
    least: u64,
    /// Seconds that are over, with their least value.
    over: Vec<(u32, u64)>,
}

impl Gauges {
    /// One more is open, from `second` on.
    pub(crate) fn open(&mut self, id: GaugeId, second: u32) {
        let gauge = self.at(id, second);
        gauge.value += 1;
    }

    /// One less is open, from `second` on.
    pub(crate) fn close(&mut self, id: GaugeId, second: u32) {
        let gauge = self.at(id, second);
        gauge.value = gauge.value.saturating_sub(1);
        gauge.least = gauge.least.min(gauge.value);
    }

    /// Takes the minima of all seconds before `second`.
    pub(crate) fn take(&mut self, second: u32) -> Vec<(u32, GaugeId, u64)> {
        let mut taken = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let Some(gauge) = slot else { continue };
            gauge.advance(second);
            let id = GaugeId::from_index(index);
            taken.extend(
                gauge
                    .over
                    .drain(..)
                    .map(|(second, least)| (second, id, least)),
            );
        }
        taken
    }

    fn at(&mut self, id: GaugeId, second: u32) -> &mut Gauge {
        if self.slots.len() <= id.index() {
            self.slots.resize_with(id.index() + 1, || None);
        }
        let gauge = self.slots[id.index()].get_or_insert(Gauge {
            value: 0,
            second,
            least: 0,
            over: Vec::new(),
        });
        gauge.advance(second);
        gauge
    }
}

impl Gauge {
    fn advance(&mut self, to: u32) {
        while self.second < to {
            self.over.push((self.second, self.least));
            self.least = self.value;
            self.second += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_value_within_each_second_is_kept() {
        let id = GaugeId::from_index(1);
        let mut gauges = Gauges::default();
        gauges.open(id, 0);
        gauges.open(id, 0);
        assert_eq!(
            gauges.take(1),
            [(0, id, 0)],
            "nothing was open when the second began"
        );
        gauges.open(id, 2);
        gauges.close(id, 2);
        gauges.close(id, 4);
        assert_eq!(
            gauges.take(6),
            [(1, id, 2), (2, id, 2), (3, id, 2), (4, id, 1), (5, id, 1)]
        );
    }

    #[test]
    fn a_dip_within_a_second_is_seen() {
        let id = GaugeId::from_index(1);
        let mut gauges = Gauges::default();
        gauges.open(id, 0);
        gauges.close(id, 1);
        gauges.open(id, 1);
        assert_eq!(gauges.take(3), [(0, id, 0), (1, id, 0), (2, id, 1)]);
    }
}
