//! Every benchmark, one after the other.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use crate::figures::Figures;
use crate::slope::Effort;
use crate::stream::{self, LARGE, SMALL};
use crate::{http, lag, memory, merge, start};

type Benchmark = fn(&Effort) -> Result<Figures>;

/// One line for each.
const BENCHMARKS: [(&str, Benchmark); 7] = [
    ("stream", |effort| {
        stream::run(&stream::Options::new(effort, SMALL))
    }),
    ("stream, large", |effort| {
        stream::run(&stream::Options::new(effort, LARGE))
    }),
    ("memory", memory::run),
    ("http", http::run),
    ("lag", lag::run),
    ("start", start::run),
    ("merge", merge::run),
];

/// Runs all, and gives their tables and the limits that are missed.
pub(crate) fn run(effort: &Effort) -> Result<String> {
    let mut text = String::new();
    let mut missed = Vec::new();
    for (name, benchmark) in BENCHMARKS {
        xtask::process::say(&format!("benchmark {name}"));
        let figures = benchmark(effort).with_context(|| format!("benchmark {name} failed"))?;
        text.push_str(&figures.render());
        text.push('\n');
        missed.extend(figures.missed());
    }
    text.push_str("## Limits that are missed\n\n");
    if missed.is_empty() {
        text.push_str("None.\n");
    }
    for line in missed {
        let _infallible = writeln!(text, "- {line}");
    }
    Ok(text)
}
