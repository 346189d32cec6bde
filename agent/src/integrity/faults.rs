//! What was wrong with the data of one stream, for a finding: how many rows, and where the first of them is.
//!
//! Nothing here is counted for the verdict; the counters are the checker's. A stream without a fault costs nothing.

use testmesh_shared::digest::{Digest, RowDigest};
use testmesh_shared::integrity::{Key, Order, OrderCounts};

use crate::driver::contract::{DataFault, Meter};

/// The first fault of each kind in one stream.
#[derive(Debug, Default)]
pub(super) struct Faults {
    repeated: Option<i64>,
    reordered: Option<i64>,
    /// The number of no row.
    off: Option<i64>,
    /// Rows of a complete list that never came, beside those that the sequence misses.
    absent: u64,
    first_absent: Option<String>,
    mismatched: Option<Box<Mismatched>>,
    unreadable: Option<Box<str>>,
}

#[derive(Debug)]
struct Mismatched {
    rows: u64,
    first: String,
}

impl Faults {
    /// A row did not come in its turn.
    #[cold]
    pub(super) fn order(&mut self, order: Order, number: i64) {
        match order {
            Order::Again => drop(self.repeated.get_or_insert(number)),
            Order::Late => drop(self.reordered.get_or_insert(number)),
            Order::Off => drop(self.off.get_or_insert(number)),
            // Whether a gap stays one is known at the end.
            Order::Ahead { .. } | Order::Next => {}
        }
    }

    /// A row differs from its truth; none: it is not in it.
    #[cold]
    pub(super) fn mismatched(&mut self, key: &Key<'_>, found: RowDigest, truth: Option<RowDigest>) {
        if let Some(known) = &mut self.mismatched {
            known.rows += 1;
            return;
        }
        let first = match truth {
            Some(truth) => format!("row {key} has digest {found}, and its truth {truth}"),
            None => format!("row {key} is not in its truth"),
        };
        self.mismatched = Some(Box::new(Mismatched { rows: 1, first }));
    }

    /// The payload of the whole stream differs from its truth.
    pub(super) fn stream_mismatched(&mut self, rows: u64, found: Digest, truth: Digest) {
        let first = format!("the stream has digest {found}, and its truth {truth}");
        self.mismatched = Some(Box::new(Mismatched { rows, first }));
    }

    /// Rows never came, the first of which is described so.
    pub(super) fn absent(&mut self, rows: u64, first: String) {
        (self.absent, self.first_absent) = (rows, Some(first));
    }

    /// The truth could not be read.
    pub(super) fn unreadable(&mut self, reason: &str) {
        self.unreadable = Some(reason.into());
    }

    /// The stream is over: tells what was wrong with it.
    pub(super) fn tell(&self, order: OrderCounts, first_gap: Option<i64>, meter: &dyn Meter) {
        let at = |first: Option<i64>| first.map(|first| format!("first number {first}"));
        let off = self
            .off
            .map(|off| format!("{off} is no number of the sequence"));
        let orders = [
            (
                "rows_missing",
                order.missing + self.absent,
                "never came",
                at(first_gap).or_else(|| self.first_absent.clone()),
            ),
            (
                "rows_repeated",
                order.repeated,
                "came again",
                at(self.repeated),
            ),
            (
                "rows_reordered",
                order.reordered,
                "came out of order",
                at(self.reordered).or(off),
            ),
        ];
        for (code, rows, what, first) in orders {
            if rows > 0 {
                let first = first.map_or_else(String::new, |first| format!(", {first}"));
                let message = format!("{} {what}{first}", rows_text(rows));
                meter.data_fault(DataFault { code, message });
            }
        }
        if let Some(mismatched) = &self.mismatched {
            let message = format!(
                "{} from {} truth: {}",
                match mismatched.rows {
                    1 => "1 row differs".to_owned(),
                    rows => format!("{rows} rows differ"),
                },
                if mismatched.rows == 1 { "its" } else { "their" },
                mismatched.first
            );
            meter.data_fault(DataFault {
                code: "rows_mismatched",
                message,
            });
        }
        if let Some(reason) = &self.unreadable {
            meter.data_fault(DataFault {
                code: "truth_unreadable",
                message: format!("the truth of its rows cannot be read: {reason}"),
            });
        }
    }
}

fn rows_text(rows: u64) -> String {
    match rows {
        1 => "1 row".to_owned(),
        rows => format!("{rows} rows"),
    }
}
