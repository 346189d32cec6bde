//! From seconds of the run to phases. Pure; the coordinator alone knows phases, agents only know seconds.
//!
//! Now there is one phase, `warm_up`, which each scenario has for itself. Faults and named phases come to the same place:
//! they are spans too, and may overlap.
use crate::report::model;
use std::collections::BTreeMap;
use std::time::Duration;
use testmesh_shared::plan::Plan;

/// Whether thresholds judge a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Measured, and judged only by thresholds that ask for it.
    WarmUp,
    /// Judged.
    Judged,
}

/// The phases of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    scenarios: BTreeMap<String, WarmUp>,
}

/// A scenario's warm-up, in time since the run's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WarmUp {
    /// When the scenario begins.
    pub from: Duration,
    /// When it is warm.
    pub to: Duration,
}

impl Phases {
    /// Reads them from a plan.
    pub fn of(plan: &Plan) -> Self {
        Self::new(plan.scenarios.iter().map(|scenario| {
            // One that begins at a time that nobody knows beforehand has no warm-up.
            let from = plan.begins(scenario).unwrap_or_default();
            let to = from + scenario.warm_up;
            (scenario.name.as_str(), WarmUp { from, to })
        }))
    }

    /// Phases of scenarios with these warm-ups.
    pub fn new<'a>(warm_ups: impl IntoIterator<Item = (&'a str, WarmUp)>) -> Self {
        let scenarios = warm_ups.into_iter();
        Self {
            scenarios: scenarios
                .map(|(scenario, warm_up)| (scenario.to_owned(), warm_up))
                .collect(),
        }
    }

    /// The class of one second of a scenario. A second that lies partly in the warm-up belongs to it.
    pub fn class(&self, scenario: Option<&str>, second: u32) -> Class {
        let (from, to) = (
            Duration::from_secs(second.into()),
            Duration::from_secs(u64::from(second) + 1),
        );
        let warm_up = scenario.and_then(|scenario| self.scenarios.get(scenario));
        match warm_up {
            Some(warm_up)
                if warm_up.from < warm_up.to && from < warm_up.to && to > warm_up.from =>
            {
                Class::WarmUp
            }
            _ => Class::Judged,
        }
    }

    /// Seconds of a run of this length that are judged for some scenario: from the time on when the first one is warm.
    pub fn judged_seconds(&self, scenarios: &[&str], run: Duration) -> Duration {
        let first = scenarios
            .iter()
            .map(|scenario| {
                self.scenarios
                    .get(*scenario)
                    .copied()
                    .unwrap_or_default()
                    .to
            })
            .min()
            .unwrap_or_default();
        // Whole seconds, as `class` cuts them.
        let cut = Duration::from_secs(first.as_secs() + u64::from(first.subsec_nanos() > 0));
        run.saturating_sub(cut)
    }

    /// As the report lists them.
    pub fn report(&self, run: Duration) -> Vec<model::Phase> {
        let warm = self.scenarios.iter();
        let phase = |(scenario, warm_up): (&String, &WarmUp)| model::Phase {
            name: "warm_up".into(),
            from: warm_up.from.min(run).as_secs_f64(),
            to: warm_up.to.min(run).as_secs_f64(),
            scenario: Some(scenario.clone()),
        };
        warm.filter(|(_, warm_up)| warm_up.from < warm_up.to)
            .map(phase)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warm_up(from: u64, to: u64) -> WarmUp {
        let [from, to] = [from, to].map(Duration::from_millis);
        WarmUp { from, to }
    }

    #[test]
    fn a_second_belongs_to_the_warm_up_as_soon_as_part_of_it_does() {
        let phases = Phases::new([
            ("live", warm_up(0, 4_500)),
            ("probe", warm_up(0, 0)),
            ("later", warm_up(30_500, 32_000)),
        ]);
        for (scenario, second, expect) in [
            (Some("live"), 0, Class::WarmUp),
            (Some("live"), 4, Class::WarmUp),
            (Some("live"), 5, Class::Judged),
            (Some("probe"), 0, Class::Judged),
            (Some("setup"), 0, Class::Judged),
            (None, 0, Class::Judged),
            (Some("later"), 29, Class::Judged),
            (Some("later"), 30, Class::WarmUp),
            (Some("later"), 31, Class::WarmUp),
            (Some("later"), 32, Class::Judged),
        ] {
            assert_eq!(
                phases.class(scenario, second),
                expect,
                "{scenario:?} {second}"
            );
        }
    }

    #[test]
    fn judged_seconds_begin_with_the_first_scenario_that_is_warm() {
        let phases = Phases::new([
            ("a", warm_up(0, 4_500)),
            ("b", warm_up(0, 2_000)),
            ("later", warm_up(30_000, 32_000)),
        ]);
        let run = Duration::from_secs(60);
        for (scenarios, expect) in [
            (&["a"][..], 55),
            (&["b"], 58),
            (&["a", "b"], 58),
            (&["c"], 60),
            (&["later"], 28),
            (&[], 60),
        ] {
            assert_eq!(
                phases.judged_seconds(scenarios, run),
                Duration::from_secs(expect),
                "{scenarios:?}"
            );
        }
        assert_eq!(
            phases.judged_seconds(&["a"], Duration::from_secs(1)),
            Duration::ZERO
        );
    }
}
