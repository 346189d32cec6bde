//! What a batch may say, and what follows from it for the whole run.
use super::*;
use testmesh_shared::id::{BatchSeq, Epoch};
use testmesh_shared::metric::Histogram;
use testmesh_shared::wire::BatchBuilder;

fn aggregator() -> Aggregator {
    let mut aggregator = Aggregator::new(Phases::default());
    let agents = [("a", "haifa"), ("b", "tokyo")]
        .map(|(id, site)| (id.parse().unwrap(), site.parse().unwrap()));
    aggregator.begin(&agents, &[("s".to_owned(), Some(10))]);
    aggregator
}

fn batch(seq: u64, second: u32) -> BatchBuilder {
    let run = "r1".parse().unwrap();
    BatchBuilder::new(&run, Epoch::new(7), BatchSeq::new(seq), second)
}

fn sessions() -> LabelSet<'static> {
    LabelSet::new(&[("scenario", "s")]).unwrap()
}

#[test]
fn a_batch_of_the_future_is_refused_even_if_it_measures_nothing() {
    let mut aggregator = aggregator();
    // Its second alone would settle every row that waits.
    let refused = aggregator.take(0, 5, &batch(1, 5_000).build());
    assert!(
        matches!(
            refused,
            Err(IngestError::Future {
                second: 5_000,
                now: 5
            })
        ),
        "{refused:?}"
    );
    assert!(aggregator.take(0, 5, &batch(1, 6).build()).is_ok());
}

#[test]
fn a_run_lasts_until_its_last_session_ended_and_not_longer() {
    let mut aggregator = aggregator();
    assert_eq!(aggregator.active_for(), None);
    let mut first = batch(1, 60);
    let mut took = Histogram::new();
    took.record(2_500_000_000).unwrap();
    first.counter(MetricId::SessionsStarted, &sessions(), 40, 1);
    first.trend(MetricId::SessionDuration, &sessions(), 40, &took);
    // Its cleanup goes on, and counts as being in flight.
    first.gauge(MetricId::SessionsActive, &sessions(), 59, 1.0);
    aggregator.take(0, 60, &first.build()).unwrap();
    assert_eq!(aggregator.active_for(), Some(Duration::from_millis(42_500)));
    let mut second = batch(2, 61);
    let stream = [("scenario", "s"), ("stage", "stream")];
    let stream = LabelSet::new(&stream).unwrap();
    second.counter(MetricId::StreamMessages, &stream, 50, 3);
    let teardown = LabelSet::new(&[("scenario", "teardown"), ("stage", "tidy")]).unwrap();
    second.counter(MetricId::StreamMessages, &teardown, 60, 3);
    aggregator.take(0, 61, &second.build()).unwrap();
    assert_eq!(aggregator.active_for(), Some(Duration::from_secs(51)));
}

#[test]
fn lost_sessions_are_known_by_the_site_that_lost_them() {
    let mut aggregator = aggregator();
    for agent in [0, 1] {
        let mut batch = batch(1, 1);
        batch.counter(MetricId::SessionsStarted, &sessions(), 1, 3);
        batch.counter(MetricId::SessionsPassed, &sessions(), 1, 1);
        aggregator.take(agent, 1, &batch.build()).unwrap();
    }
    aggregator.write_off(1);
    let ledger = aggregator.ledger();
    assert_eq!(ledger[0].lost_by_site, [("tokyo".to_owned(), 2)].into());
    let rows = super::super::Rollup::of(&aggregator, &ledger).metrics;
    let lost = rows.iter().filter(|row| row.name == "sessions_lost");
    let lost: Vec<_> = lost
        .map(|row| (row.labels.get("site").map(String::as_str), row.count))
        .collect();
    assert_eq!(lost, [(None, 2), (Some("tokyo"), 2)]);
}

#[test]
fn shares_are_called_ratios_as_the_contract_has_it() {
    let mut aggregator = aggregator();
    let mut batch = batch(1, 1);
    batch.gauge(MetricId::AgentCpu, &LabelSet::EMPTY, 1, 0.5);
    aggregator.take(0, 1, &batch.build()).unwrap();
    let rows = super::super::Rollup::of(&aggregator, &[]).metrics;
    assert!(rows.iter().all(|row| row.unit == "ratio"), "{rows:?}");
}

#[test]
fn counters_of_hostile_agents_stop_at_the_greatest_number() {
    let mut aggregator = aggregator();
    let most = testmesh_shared::wire::VALUE_MAX;
    let same: Vec<_> = std::iter::repeat_n(most, 100_000).collect();
    for agent in [0, 1] {
        let mut batch = batch(1, 1);
        same.iter()
            .for_each(|value| batch.counter(MetricId::SessionsStarted, &sessions(), 1, *value));
        aggregator.take(agent, 1, &batch.build()).unwrap();
    }
    assert_eq!(aggregator.ledger()[0].sessions.started, u64::MAX);
    assert_eq!(aggregator.started_by_agent(), [u64::MAX; 2]);
    assert_eq!(aggregator.progress().scenarios[0].started, u64::MAX);
}

#[test]
fn seconds_are_told_when_every_agent_has_and_the_silent_are_not_waited_for() {
    let mut aggregator = aggregator();
    assert_eq!(aggregator.told_until(3), 0);
    aggregator.take(0, 8, &batch(1, 8).build()).unwrap();
    assert_eq!(aggregator.told_until(8), 0);
    aggregator.take(1, 8, &batch(1, 6).build()).unwrap();
    assert_eq!(aggregator.told_until(8), 6);
    // Silent for too long.
    assert_eq!(aggregator.told_until(18), 8);
    // One that has drained has told everything, and one that is given up never will.
    aggregator.drained(1, 1);
    assert_eq!(aggregator.told_until(9), 8);
    aggregator.write_off(0);
    assert_eq!(aggregator.told_until(9), 9);
}
