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
    warm_up: BTreeMap<String, Duration>,
}

impl Phases {
    /// Reads them from a plan.
    pub fn of(plan: &Plan) -> Self {
        Self::new(
            plan.scenarios
                .iter()
                .map(|scenario| (scenario.name.as_str(), scenario.warm_up)),
        )
    }

    /// Phases of scenarios with these warm-ups.
    pub fn new<'a>(warm_ups: impl IntoIterator<Item = (&'a str, Duration)>) -> Self {
        let warm_up = warm_ups.into_iter().filter(|(_, length)| !length.is_zero());
        Self {
            warm_up: warm_up
                .map(|(scenario, length)| (scenario.to_owned(), length))
                .collect(),
        }
    }

    /// The class of one second of a scenario. A second that lies partly in the warm-up belongs to it.
    pub fn class(&self, scenario: Option<&str>, second: u32) -> Class {
        let warm_up = scenario.and_then(|scenario| self.warm_up.get(scenario));
        match warm_up {
            Some(length) if Duration::from_secs(second.into()) < *length => Class::WarmUp,
            _ => Class::Judged,
        }
    }

    /// Seconds of a run of this length that are judged for some scenario.
    pub fn judged_seconds(&self, scenarios: &[&str], run: Duration) -> Duration {
        let shortest = scenarios
            .iter()
            .map(|scenario| self.warm_up.get(*scenario).copied().unwrap_or_default())
            .min()
            .unwrap_or_default();
        // Whole seconds, as `class` cuts them.
        let cut = Duration::from_secs(shortest.as_secs() + u64::from(shortest.subsec_nanos() > 0));
        run.saturating_sub(cut)
    }

    /// As the report lists them.
    pub fn report(&self, run: Duration) -> Vec<model::Phase> {
        let phase = |(scenario, length): (&String, &Duration)| model::Phase {
            name: "warm_up".into(),
            from: 0.0,
            to: length.min(&run).as_secs_f64(),
            scenario: Some(scenario.clone()),
        };
        self.warm_up.iter().map(phase).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_belongs_to_the_warm_up_as_soon_as_part_of_it_does() {
        let phases = Phases::new([
            ("live", Duration::from_millis(4_500)),
            ("probe", Duration::ZERO),
        ]);
        for (scenario, second, expect) in [
            (Some("live"), 0, Class::WarmUp),
            (Some("live"), 4, Class::WarmUp),
            (Some("live"), 5, Class::Judged),
            (Some("probe"), 0, Class::Judged),
            (Some("setup"), 0, Class::Judged),
            (None, 0, Class::Judged),
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
            ("a", Duration::from_millis(4_500)),
            ("b", Duration::from_secs(2)),
        ]);
        let run = Duration::from_secs(60);
        for (scenarios, expect) in [
            (&["a"][..], 55),
            (&["b"], 58),
            (&["a", "b"], 58),
            (&["c"], 60),
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
