//! The laws of `contract.rs`, for every store there is.
use super::{MemoryStore, RunStore, StoredRevert, StoredRun};
use crate::report::model::{Integrity, Report, RunInfo, SCHEMA, Sessions, Tool};
use crate::run::{Lifecycle, RunOverview};
use crate::verdict::VerdictKind;
use std::collections::BTreeMap;
use std::sync::Arc;
use testmesh_shared::id::RunId;

/// A report of a run that measured nothing.
pub(crate) fn report(plan: &str) -> Report {
    report_of(&"r1".parse().unwrap(), plan)
}

fn report_of(id: &RunId, plan: &str) -> Report {
    Report {
        schema: SCHEMA.into(),
        tool: Tool {
            version: String::new(),
            protocol: 1,
        },
        run: RunInfo {
            id: id.to_string(),
            plan: plan.into(),
            part: None,
            plan_digest: String::new(),
            started_at: None,
            duration: 0.0,
            seed: 0,
            vars: BTreeMap::new(),
        },
        verdict: VerdictKind::Passed,
        exit_code: 0,
        reasons: Vec::new(),
        sessions: Sessions::default(),
        scenarios: Vec::new(),
        thresholds: Vec::new(),
        integrity: Integrity::default(),
        metrics: Vec::new(),
        stages: Vec::new(),
        phases: Vec::new(),
        series: Vec::new(),
        sites: Vec::new(),
        agents: Vec::new(),
        start_skew: None,
        settings: BTreeMap::new(),
        faults: Vec::new(),
        findings: Vec::new(),
        slowest: Vec::new(),
    }
}

fn run(id: &str, plan: &str) -> StoredRun {
    let id: RunId = id.parse().unwrap();
    let report = report_of(&id, plan);
    let overview = RunOverview {
        id,
        plan: plan.into(),
        part: None,
        state: Lifecycle::Sealed,
        submitted_ns: 1,
        started_ns: 2,
        ended_ns: 3,
        agents: 1,
        verdict: Some(VerdictKind::Passed),
        exit_code: 0,
        reasons: Vec::new(),
        progress: None,
    };
    StoredRun {
        overview,
        report: Arc::new(report),
        files: Arc::new(vec![("report.json".into(), plan.into())]),
    }
}

async fn keeps_the_laws(store: &dyn RunStore, most: usize) {
    assert!(store.list().await.unwrap().is_empty());
    assert!(
        store
            .find(&"absent".parse().unwrap())
            .await
            .unwrap()
            .is_none()
    );
    for index in 0..most + 2 {
        store
            .put(run(&format!("r{index:03}"), "first"))
            .await
            .unwrap();
    }
    let newest = format!("r{:03}", most + 1);
    store.put(run(&newest, "again")).await.unwrap();
    let listed: Vec<_> = store
        .list()
        .await
        .unwrap()
        .iter()
        .map(|run| run.id.to_string())
        .collect();
    let expect: Vec<_> = (2..most + 2)
        .rev()
        .map(|index| format!("r{index:03}"))
        .collect();
    assert_eq!(listed, expect, "the newest first, and the oldest forgotten");
    let found = store.find(&newest.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(
        (found.report.run.plan.as_str(), found.files[0].1.as_slice()),
        ("again", b"again".as_slice())
    );
    assert!(
        store
            .find(&"r001".parse().unwrap())
            .await
            .unwrap()
            .is_none()
    );
    keeps_reverts(store).await;
}

async fn keeps_reverts(store: &dyn RunStore) {
    let revert = |run: &str, fault: &str| StoredRevert {
        run: run.parse().unwrap(),
        fault: fault.to_owned(),
        by_hand: "run: x".to_owned(),
    };
    for (run, fault) in [("r1", "b"), ("r1", "a"), ("r2", "a"), ("r1", "b")] {
        store.put_revert(revert(run, fault)).await.unwrap();
    }
    let run = "r1".parse().unwrap();
    let both = [revert("r1", "a"), revert("r1", "b")];
    assert_eq!(store.reverts(&run).await.unwrap(), both);
    store.drop_revert(&run, "a").await.unwrap();
    store.drop_revert(&run, "unknown").await.unwrap();
    assert_eq!(store.reverts(&run).await.unwrap(), both[1..]);
    let other = store.reverts(&"r2".parse().unwrap()).await.unwrap();
    assert_eq!(other, [revert("r2", "a")]);
}

#[tokio::test]
async fn the_store_in_memory_is_bounded_by_bytes_too() {
    let store = MemoryStore::bounded(10, 3_000);
    for id in ["r1", "r2", "r3"] {
        let mut run = run(id, "plan");
        run.files = Arc::new(vec![("report.json".into(), vec![0; 1_000])]);
        store.put(run).await.unwrap();
    }
    let listed =
        |runs: Vec<RunOverview>| -> Vec<_> { runs.iter().map(|run| run.id.to_string()).collect() };
    // The model counts besides its file.
    assert_eq!(listed(store.list().await.unwrap()), ["r3"]);
    // One that is too large for all of it is kept alone: whoever ran it waits for it.
    let mut large = run("r4", "plan");
    large.files = Arc::new(vec![("report.json".into(), vec![0; 10_000])]);
    store.put(large).await.unwrap();
    assert_eq!(listed(store.list().await.unwrap()), ["r4"]);
}

#[tokio::test]
async fn the_store_in_memory_keeps_the_laws() {
    keeps_the_laws(&MemoryStore::new(3), 3).await;
}
