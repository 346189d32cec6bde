//! From CPU times to a table: slope of each run, median of the runs, ratios.

use std::fmt::Write as _;
use std::time::Duration;

/// One run of one client: CPU time of two amounts of work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) small: (u64, Duration),
    pub(crate) large: (u64, Duration),
}

impl Pair {
    /// Microseconds of CPU per message: start-up and shut-down cancel out.
    fn slope_us(&self) -> f64 {
        let messages = self.large.0.saturating_sub(self.small.0);
        let time = self.large.1.saturating_sub(self.small.1);
        time.as_secs_f64() * 1e6 / as_f64(messages)
    }
}

/// All runs of one client.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) client: &'static str,
    pub(crate) does: &'static str,
    pub(crate) pairs: Vec<Pair>,
}

impl Measured {
    /// Least, median and greatest slope.
    fn spread(&self) -> (f64, f64, f64) {
        let mut slopes: Vec<f64> = self.pairs.iter().map(Pair::slope_us).collect();
        slopes.sort_by(f64::total_cmp);
        let at = |index: usize| slopes.get(index).copied().unwrap_or(f64::NAN);
        (
            at(0),
            at(slopes.len() / 2),
            at(slopes.len().saturating_sub(1)),
        )
    }

    fn messages(&self) -> String {
        let amounts = self
            .pairs
            .first()
            .map_or((0, 0), |pair| (pair.small.0, pair.large.0));
        format!("{} and {}", millions(amounts.0), millions(amounts.1))
    }
}

/// The Markdown table; `ours` is compared with all others.
pub(crate) fn render(measured: &[Measured], ours: &str) -> String {
    let reference = measured
        .iter()
        .find(|one| one.client == ours)
        .map(|one| one.spread().1);
    let mut table = String::from(
        "| client | does | messages | CPU per message, median (least to greatest) | ratio to testmesh |\n",
    );
    table.push_str("| --- | --- | --- | --- | --- |\n");
    for one in measured {
        let (least, median, greatest) = one.spread();
        let ratio = reference.map_or_else(
            || "-".to_owned(),
            |reference| format!("{:.2}", median / reference),
        );
        let _infallible = writeln!(
            table,
            "| {} | {} | {} | {median:.3} µs ({least:.3} to {greatest:.3}) | {ratio} |",
            one.client,
            one.does,
            one.messages()
        );
    }
    table
}

fn millions(messages: u64) -> String {
    format!("{} M", as_f64(messages) / 1e6)
}

/// Exact below 2^53, which no benchmark reaches.
fn as_f64(number: u64) -> f64 {
    let high = u32::try_from(number >> 32).unwrap_or(u32::MAX);
    let low = u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(client: &'static str, seconds: &[u64]) -> Measured {
        let small = (2_000_000, Duration::from_secs(1));
        let pair = |large| Pair {
            small,
            large: (10_000_000, Duration::from_secs(large)),
        };
        Measured {
            client,
            does: "things",
            pairs: seconds.iter().copied().map(pair).collect(),
        }
    }

    #[test]
    fn the_median_slope_decides_and_start_up_cancels_out() {
        let table = render(
            &[
                measured("testmesh", &[9, 3, 5]),
                measured("other", &[81, 9, 9]),
            ],
            "testmesh",
        );
        let lines: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            lines[0],
            "| testmesh | things | 2 M and 10 M | 0.500 µs (0.250 to 1.000) | 1.00 |"
        );
        assert_eq!(
            lines[1],
            "| other | things | 2 M and 10 M | 1.000 µs (1.000 to 10.000) | 2.00 |"
        );
    }

    #[test]
    fn large_numbers_stay_exact() {
        assert!((as_f64(5_000_000_000) - 5e9).abs() < f64::EPSILON);
    }
}
