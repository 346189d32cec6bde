//! The table of behaviors: name, finding, meaning, and what a plan must say about each.

use std::time::Duration;

/// Identifies a behavior.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One bit of a row's payload is inverted.
    FlipBit,
    /// A row is left out.
    DropRow,
    /// A row is sent twice.
    RepeatRow,
    /// Two neighbouring rows change places, each with its own number.
    SwapRows,
    /// A row's payload is cut short.
    TruncateRow,
    /// From a row on, another stream's payload comes with this stream's numbering.
    WrongStream,
    /// The stream pauses before a row.
    Stall,
    /// The stream ends by itself, with status OK.
    EarlyEnd,
    /// `POST /configure` answers late.
    SlowStage,
}

/// What a behavior's value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// A rate only.
    Rate,
    /// A rate, or a duration with this default.
    RateOrDuration(Duration),
}

/// One behavior of the table.
#[derive(Debug)]
pub struct Entry {
    /// Which it is.
    pub kind: Kind,
    /// Its name on the command line, in `--testbed=` and in the admin API.
    pub name: &'static str,
    /// The finding of the real server that it imitates, or why it exists.
    pub finding: &'static str,
    /// What a client sees.
    pub doc: &'static str,
    /// The code that a plan which looks must give: a verdict's reason, or a stage error's code.
    pub reason: &'static str,
    /// What its value may be.
    pub takes: Takes,
}

/// Every behavior, in the order of the documentation.
pub const TABLE: &[Entry] = &[
    Entry {
        kind: Kind::FlipBit,
        name: "flip-bit",
        finding: "silent corruption on the way (data fault)",
        doc: "one bit of a row's payload is inverted",
        reason: "rows_mismatched",
        takes: Takes::Rate,
    },
    Entry {
        kind: Kind::DropRow,
        name: "drop-row",
        finding: "rows lost under load (F-23)",
        doc: "a row is left out, its number is never sent",
        reason: "rows_missing",
        takes: Takes::Rate,
    },
    Entry {
        kind: Kind::RepeatRow,
        name: "repeat-row",
        finding: "rows sent again after a reconnect inside the server (data fault)",
        doc: "a row is sent twice in a row",
        reason: "rows_repeated",
        takes: Takes::Rate,
    },
    Entry {
        kind: Kind::SwapRows,
        name: "swap-rows",
        finding: "rows out of order (data fault)",
        doc: "two neighbouring messages change places, each keeps its own number and payload",
        reason: "rows_reordered",
        takes: Takes::Rate,
    },
    Entry {
        kind: Kind::TruncateRow,
        name: "truncate-row",
        finding: "short payloads (data fault)",
        doc: "the last quarter of a row's payload is missing, its shape fields still announce it",
        reason: "rows_mismatched",
        takes: Takes::Rate,
    },
    Entry {
        kind: Kind::WrongStream,
        name: "wrong-stream",
        finding: "another job's or stream's data (F-26)",
        doc: "from a row on, the payload is another stream's, of the same length, under this stream's numbering",
        reason: "rows_mismatched",
        takes: Takes::Rate,
    },
    Entry {
        kind: Kind::Stall,
        name: "stall",
        finding: "streams that pause, zero rows a second reported as a pass (F-23, F-31)",
        doc: "the stream pauses once before a row, then sends what is late",
        reason: "threshold_broken",
        takes: Takes::RateOrDuration(Duration::from_secs(3)),
    },
    Entry {
        kind: Kind::EarlyEnd,
        name: "early-end",
        finding: "streams that end while data is left (F-31)",
        doc: "the stream ends by itself before a row, with status OK",
        reason: "ended_early",
        takes: Takes::Rate,
    },
    Entry {
        kind: Kind::SlowStage,
        name: "slow-stage",
        finding: "slow job creation (F-01, F-02, F-03)",
        doc: "POST /configure answers late",
        reason: "threshold_broken",
        takes: Takes::RateOrDuration(Duration::from_millis(1_500)),
    },
];

/// Finds an entry by name.
pub(crate) fn named(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.name == name)
}

/// The entry of a kind.
pub(crate) fn entry(kind: Kind) -> &'static Entry {
    TABLE
        .iter()
        .find(|entry| entry.kind == kind)
        .expect("every kind has an entry, which a test checks")
}
