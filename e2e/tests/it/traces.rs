//! One tree of spans, from the command line to the server under test, seen by a collector that is not ours.

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, Result};
use testmesh_e2e::{Cli, Collector, Expected, Span, plan};

/// The services that a span's ancestors belong to, itself first, up to its root.
fn services_above<'a>(span: &'a Span, by_id: &HashMap<&str, &'a Span>) -> Vec<&'a str> {
    let mut path = vec![span.service.as_str()];
    let mut seen = HashSet::new();
    let mut at = span;
    while let Some(parent) = by_id.get(at.parent.as_str()) {
        if !seen.insert(parent.id.as_str()) {
            break;
        }
        path.push(parent.service.as_str());
        at = parent;
    }
    path
}

#[tokio::test]
async fn one_tree_from_the_command_line_to_the_testbed() -> Result<()> {
    let mut collector = Collector::start().await?;
    let run = Cli::run(&plan("focus/api-contract.yaml")).arg("--testbed");
    let run = run.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint());
    Expected::passed().check(&run.finish().await?);
    let whole = |spans: &[Span]| {
        let by_id: HashMap<_, _> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
        spans.iter().any(|span| {
            let path = services_above(span, &by_id);
            ["focus-server", "testmesh-agent", "testmesh"]
                .iter()
                .all(|service| path.contains(service))
        })
    };
    let spans = collector.wait_for(whole).await?;
    let root = spans
        .iter()
        .find(|span| span.parent.is_empty() && span.name.contains("run"))
        .context("the command line has a root span")?;
    let in_tree = spans.iter().filter(|span| span.trace == root.trace).count();
    assert!(in_tree > 10, "only {in_tree} spans are in the run's trace");
    Ok(())
}

#[tokio::test]
async fn a_collector_that_is_absent_costs_no_session() -> Result<()> {
    let run = Cli::run(&plan("focus/live-view.yaml")).arg("--testbed");
    let run = run.var("users", "2").var("for", "2s");
    let run = run.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    let outcome = run.finish().await?;
    Expected::passed().check(&outcome);
    Ok(())
}
