//! Reasons that come from the data: proven corrupt, or never compared.
use super::input::Input;
use super::reason::ReasonCode;
use crate::aggregate::{Selector, Span};
use crate::report::model::Reason;
use testmesh_shared::metric::MetricId;

fn reason(code: ReasonCode, message: String) -> Reason {
    Reason { code, message }
}

fn rows(input: &Input<'_>, metric: MetricId, selector: &Selector) -> u64 {
    input.totals.counter(metric, selector, Span::ALL)
}

/// Data that is proven corrupt.
pub fn corrupt(input: &Input<'_>) -> Vec<Reason> {
    let kinds = [
        (
            ReasonCode::RowsMissing,
            MetricId::IntegrityMissing,
            "never came",
        ),
        (
            ReasonCode::RowsRepeated,
            MetricId::IntegrityRepeated,
            "came again",
        ),
        (
            ReasonCode::RowsReordered,
            MetricId::IntegrityReordered,
            "came out of order",
        ),
        (
            ReasonCode::RowsMismatched,
            MetricId::IntegrityMismatched,
            "differ from their truth",
        ),
    ];
    let all = rows(input, MetricId::StreamRows, &Selector::all());
    let proven = kinds.into_iter().filter_map(|(code, metric, what)| {
        let count = rows(input, metric, &Selector::all());
        let place = || worst_place(input, metric);
        (count > 0).then(|| {
            reason(
                code,
                format!("{count} rows {what}, of {all} received{}", place()),
            )
        })
    });
    proven.collect()
}

/// Data that was to be compared and was not.
pub fn unproven(input: &Input<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let unverified = rows(input, MetricId::IntegrityUnverified, &Selector::all());
    if unverified > 0 {
        let place = worst_place(input, MetricId::IntegrityUnverified);
        reasons.push(reason(
            ReasonCode::RowsUnverified,
            format!("{unverified} rows could not be compared with their truth{place}"),
        ));
    }
    for fact in input.rules.stages.iter().filter(|fact| fact.has_truth) {
        let here = Selector::all()
            .with("scenario", &fact.scenario)
            .with("stage", &fact.stage);
        let [received, verified, mismatched, unverified] = [
            MetricId::StreamRows,
            MetricId::IntegrityVerified,
            MetricId::IntegrityMismatched,
            MetricId::IntegrityUnverified,
        ]
        .map(|metric| rows(input, metric, &here));
        // Rows that were compared and found wrong, or that could not be, have a reason of their own.
        if received > 0 && verified + mismatched + unverified == 0 {
            let message = format!(
                "stage {} of {} received {received} rows and none was seen by two sessions, or is in its truth",
                fact.stage, fact.scenario
            );
            reasons.push(reason(ReasonCode::NothingVerified, message));
        }
    }
    reasons
}

/// `, most of them in stage X of Y`, where there is more than one stage with a truth or a sequence.
fn worst_place(input: &Input<'_>, metric: MetricId) -> String {
    let count = |fact: &&super::input::StageFact| {
        let here = Selector::all()
            .with("scenario", &fact.scenario)
            .with("stage", &fact.stage);
        rows(input, metric, &here)
    };
    let worst = input
        .rules
        .stages
        .iter()
        .max_by_key(count)
        .filter(|fact| count(fact) > 0);
    worst.map_or_else(String::new, |fact| {
        format!(
            ", first of all in stage {} of {}",
            fact.stage, fact.scenario
        )
    })
}
