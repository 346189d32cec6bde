//! Reasons that come from the data: proven corrupt, or never compared.
use super::input::{Input, Lossy, StageFact};
use super::reason::ReasonCode;
use crate::aggregate::{Selector, Span};
use crate::report::model::Reason;
use testmesh_shared::metric::MetricId;
use testmesh_shared::plan::model::Allow;

fn reason(code: ReasonCode, message: String) -> Reason {
    Reason { code, message }
}

fn rows(input: &Input<'_>, metric: MetricId, selector: &Selector) -> u64 {
    input.totals.counter(metric, selector, Span::ALL)
}

/// Data that is proven corrupt, beyond what lossy streams may be.
pub fn corrupt(input: &Input<'_>) -> Vec<Reason> {
    let kinds: [(_, _, _, Share); 4] = [
        (
            ReasonCode::RowsMissing,
            MetricId::IntegrityMissing,
            "never came",
            |allow| allow.missing,
        ),
        (
            ReasonCode::RowsRepeated,
            MetricId::IntegrityRepeated,
            "came again",
            |allow| allow.repeated,
        ),
        (
            ReasonCode::RowsReordered,
            MetricId::IntegrityReordered,
            "came out of order",
            |allow| allow.reordered,
        ),
        (
            ReasonCode::RowsMismatched,
            MetricId::IntegrityMismatched,
            "differ from their truth",
            |allow| allow.mismatched,
        ),
    ];
    let all = rows(input, MetricId::StreamRows, &Selector::all());
    let proven = kinds.into_iter().filter_map(|(code, metric, what, share)| {
        let excused: Vec<_> = (input.rules.lossy.iter())
            .map(|lossy| (lossy, excused(input, metric, lossy, share)))
            .filter(|(_, excused)| *excused > 0)
            .collect();
        // What no stage excuses counts, wherever it was found.
        let count = rows(input, metric, &Selector::all());
        let count = count.saturating_sub(excused.iter().map(|(_, excused)| excused).sum());
        let elsewhere = |fact: &StageFact| {
            !(excused.iter())
                .any(|(lossy, _)| (&lossy.scenario, &lossy.stage) == (&fact.scenario, &fact.stage))
        };
        let place = || worst_place(input, metric, elsewhere);
        (count > 0).then(|| {
            reason(
                code,
                format!("{count} rows {what}, of {all} received{}", place()),
            )
        })
    });
    proven.collect()
}

/// One kind of what a stream may do.
type Share = fn(&Allow) -> f64;

/// Rows of a stage that are wrong in one way, if they are few enough to be allowed; else none are.
fn excused(input: &Input<'_>, metric: MetricId, lossy: &Lossy, share: Share) -> u64 {
    let here = Selector::all()
        .with("scenario", &lossy.scenario)
        .with("stage", &lossy.stage);
    let wrong = rows(input, metric, &here);
    let received = rows(input, MetricId::StreamRows, &here);
    // Shares are decimal and their products are not: 0.7% of 1,000 rows are 7.
    let allowed = share(&lossy.allow) * received as f64 * (1.0 + 4.0 * f64::EPSILON);
    if wrong as f64 <= allowed { wrong } else { 0 }
}

/// Data that was to be compared and was not.
pub fn unproven(input: &Input<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let unverified = rows(input, MetricId::IntegrityUnverified, &Selector::all());
    if unverified > 0 {
        let place = worst_place(input, MetricId::IntegrityUnverified, |_| true);
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

/// `, first of all in stage X of Y`, of those stages that count.
fn worst_place(input: &Input<'_>, metric: MetricId, counts: impl Fn(&StageFact) -> bool) -> String {
    let count = |fact: &&StageFact| {
        let here = Selector::all()
            .with("scenario", &fact.scenario)
            .with("stage", &fact.stage);
        rows(input, metric, &here)
    };
    let worst = input
        .rules
        .stages
        .iter()
        .filter(|fact| counts(fact))
        .max_by_key(count)
        .filter(|fact| count(fact) > 0);
    worst.map_or_else(String::new, |fact| {
        format!(
            ", first of all in stage {} of {}",
            fact.stage, fact.scenario
        )
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use testmesh_shared::metric::{Change, LabelSet};

    use super::super::{Explained, Process, Rules};
    use super::*;
    use crate::aggregate::{Sliding, Totals};
    use crate::phase::{Class, Phases};
    use crate::run::Ending;

    /// What is told of streams with so many rows, of which so many are missing and mismatched, by stage.
    fn told(lossy: &[(&str, Allow)], found: &[(&str, u64, u64, u64)]) -> Vec<String> {
        let mut totals = Totals::default();
        let mut rules = Rules::default();
        for (stage, received, missing, mismatched) in found {
            let labels = [("scenario", "live"), ("site", "local"), ("stage", stage)];
            let labels = LabelSet::new(&labels).unwrap();
            for (metric, count) in [
                (MetricId::StreamRows, received),
                (MetricId::IntegrityMissing, missing),
                (MetricId::IntegrityMismatched, mismatched),
            ] {
                let id = totals.intern(metric, &labels).unwrap();
                totals.add(id, 1, Class::JUDGED, &Change::Counter(*count));
            }
            rules.stages.push(StageFact {
                scenario: "live".into(),
                stage: (*stage).into(),
                after: None,
                has_truth: true,
            });
        }
        let lossy = lossy.iter().map(|(stage, allow)| Lossy {
            scenario: "live".into(),
            stage: (*stage).into(),
            allow: *allow,
        });
        rules.lossy = lossy.collect();
        let input = Input {
            rules: &rules,
            totals: &totals,
            sliding: &Sliding::default(),
            ledger: &[],
            ending: &Ending::default(),
            phases: &Phases::default(),
            duration: Duration::from_secs(10),
            agents: &[],
            clocks: &[],
            missing_batches: &[],
            process: Process::Apart,
            explained: Explained::default(),
            aborted: None,
            faults_failed: &[],
        };
        let show = |reason: Reason| format!("{}: {}", reason.code.as_str(), reason.message);
        corrupt(&input).into_iter().map(show).collect()
    }

    fn missing(share: f64) -> Allow {
        Allow {
            missing: share,
            ..Allow::default()
        }
    }

    #[test]
    fn a_lossy_stream_may_lose_what_its_stage_allows() {
        let one_in_thousand = [("a", missing(0.001))];
        let nothing: [String; 0] = [];
        assert_eq!(told(&one_in_thousand, &[("a", 1_000, 1, 0)]), nothing);
        assert_eq!(
            told(&one_in_thousand, &[("a", 1_000, 2, 0)]),
            ["rows_missing: 2 rows never came, of 1000 received, first of all in stage a of live"],
            "beyond the share all of them count"
        );
        assert_eq!(told(&one_in_thousand, &[("a", 0, 1, 0)]).len(), 1);
        assert_eq!(
            told(&one_in_thousand, &[("a", 1_000, 1, 1)]),
            [
                "rows_mismatched: 1 rows differ from their truth, of 1000 received, first of all in stage a of live"
            ],
            "each kind has its own share"
        );
    }

    #[test]
    fn what_one_stage_allows_excuses_no_other() {
        let lossy = [("a", missing(0.5))];
        assert_eq!(
            told(&lossy, &[("a", 100, 50, 0), ("b", 10_000, 1, 0)]),
            ["rows_missing: 1 rows never came, of 10100 received, first of all in stage b of live"]
        );
        let elsewhere = [("c", missing(1.0))];
        assert_eq!(told(&elsewhere, &[("b", 100, 1, 0)]).len(), 1);
    }

    #[test]
    fn shares_are_exact_at_their_bound() {
        for per_mille in 1..1_000_u32 {
            let allow = missing(f64::from(per_mille) / 10.0 / 100.0);
            for rows in [1_000, 7_000, 1_000_000_000] {
                let bound = rows / 1_000 * u64::from(per_mille);
                let count = |missing| told(&[("a", allow)], &[("a", rows, missing, 0)]).len();
                assert_eq!(
                    (count(bound), count(bound + 1)),
                    (0, 1),
                    "{per_mille} of {rows}"
                );
            }
        }
    }
}
