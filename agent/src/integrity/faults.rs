//! What was wrong with the data of one stream, for a finding: how many rows, and where the first of them is.
//!
//! Nothing here is counted for the verdict; the counters are the checker's. A stream without a fault costs nothing.

use testmesh_shared::digest::RowDigest;
use testmesh_shared::integrity::{Key, Order, OrderCounts};

use crate::driver::contract::{DataFault, Meter};

/// The first fault of each kind in one stream.
#[derive(Debug, Default)]
pub(super) struct Faults {
    repeated: Option<i64>,
    reordered: Option<i64>,
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

    /// The truth could not be read.
    pub(super) fn unreadable(&mut self, reason: &str) {
        self.unreadable = Some(reason.into());
    }

    /// The stream is over: tells what was wrong with it.
    pub(super) fn tell(&self, order: OrderCounts, first_gap: Option<i64>, meter: &dyn Meter) {
        let at = |first: Option<i64>| {
            first.map_or_else(String::new, |first| format!(", first number {first}"))
        };
        let orders = [
            ("rows_missing", order.missing, "never came", first_gap),
            ("rows_repeated", order.repeated, "came again", self.repeated),
            (
                "rows_reordered",
                order.reordered,
                "came out of order",
                self.reordered,
            ),
        ];
        for (code, rows, what, first) in orders {
            if rows > 0 {
                let message = format!("{} {what}{}", rows_text(rows), at(first));
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
