//! Faults of the data: one wrong row in a million is found as what it is, and of ten million clean rows none is doubted.

use anyhow::Result;
use testmesh_e2e::{
    Cli, Expected, Outcome,
    calibration::{DataFault, Place, Streams},
};

use crate::plan;

const ROWS: u64 = 1_000_000;
const MILLION: f64 = 1e6;
/// The stream and the row that are wrong.
const STREAM: u64 = 1;
const ROW: u64 = 654_321;

const COUNTS: [&str; 6] = [
    "missing",
    "repeated",
    "reordered",
    "mismatched",
    "unwitnessed",
    "unverified",
];

/// That each of these was counted so often, and nothing else.
fn counting(expected: Expected, wrong: &[(&str, f64)]) -> Expected {
    COUNTS.iter().fold(expected, |expected, name| {
        let found = wrong.iter().find(|(wrong, _)| wrong == name);
        let count = found.map_or(0.0, |(_, count)| *count);
        expected.with(&format!("/integrity/{name}"), count, count)
    })
}

async fn run(server: &Streams, sessions: &str) -> Result<Outcome> {
    let run = Cli::run(&plan("rows.yaml")).var("server", &server.url());
    run.var("sessions", sessions).finish().await
}

#[tokio::test]
async fn alone_ten_million_clean_rows_are_clean() -> Result<()> {
    let server = Streams::of_rows(ROWS, &[])?;
    let outcome = run(&server, "10").await?;
    counting(Expected::passed(), &[])
        .with("/integrity/streams", 10.0, 10.0)
        .with("/integrity/rows", 10.0 * MILLION, 10.0 * MILLION)
        .with("/integrity/verified", 10.0 * MILLION, 10.0 * MILLION)
        .check(&outcome);
    assert_eq!(disagreements(&outcome), [0_u64; 0]);
    Ok(())
}

/// The keys on which sessions disagreed.
fn disagreements(outcome: &Outcome) -> Vec<u64> {
    let all = outcome.report["integrity"]["disagreements"].as_array();
    let keys = all.into_iter().flatten();
    keys.map(|one| {
        let key = &one["key"];
        let text = key.as_str().map(str::to_owned);
        let text = text.unwrap_or_else(|| key.to_string());
        text.parse().expect("rows have numbers as keys")
    })
    .collect()
}

/// Three sessions take a million rows each, and one row of one of them is wrong.
async fn one_in_a_million(fault: DataFault, reason: &str, counter: &str) -> Result<()> {
    let place = Place {
        fault,
        stream: STREAM,
        row: ROW,
    };
    let server = Streams::of_rows(ROWS, &[place])?;
    let outcome = run(&server, "3").await?;
    let rows = match fault {
        DataFault::Drop => 3.0 * MILLION - 1.0,
        DataFault::Repeat => 3.0 * MILLION + 1.0,
        _ => 3.0 * MILLION,
    };
    let corrupt = counter == "mismatched";
    let verified = if corrupt { rows - 1.0 } else { rows };
    counting(Expected::failed().because(reason), &[(counter, 1.0)])
        .with("/integrity/rows", rows, rows)
        .with("/integrity/verified", verified, verified)
        .check(&outcome);
    let disputed: &[u64] = if corrupt { &[ROW] } else { &[] };
    assert_eq!(disagreements(&outcome), disputed);
    Ok(())
}

#[tokio::test]
async fn alone_a_dropped_row_is_missing() -> Result<()> {
    one_in_a_million(DataFault::Drop, "rows_missing", "missing").await
}

#[tokio::test]
async fn alone_a_repeated_row_is_repeated() -> Result<()> {
    one_in_a_million(DataFault::Repeat, "rows_repeated", "repeated").await
}

#[tokio::test]
async fn alone_swapped_rows_are_reordered() -> Result<()> {
    one_in_a_million(DataFault::Swap, "rows_reordered", "reordered").await
}

#[tokio::test]
async fn alone_a_flipped_bit_is_mismatched() -> Result<()> {
    one_in_a_million(DataFault::Flip, "rows_mismatched", "mismatched").await
}

#[tokio::test]
async fn alone_a_truncated_row_is_mismatched() -> Result<()> {
    one_in_a_million(DataFault::Truncate, "rows_mismatched", "mismatched").await
}

#[tokio::test]
async fn alone_a_row_of_another_stream_is_mismatched() -> Result<()> {
    one_in_a_million(DataFault::WrongStream, "rows_mismatched", "mismatched").await
}
