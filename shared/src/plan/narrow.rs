//! A part of a plan instead of the whole: one scenario, or one session of each.
//!
//! Coordinator and agents narrow the plan that they have read by the same rules, so that they run the same part.

use std::collections::BTreeSet;
use std::time::Duration;

use super::model::{Begin, Plan, Reading, Stage, Threshold};
use super::nearest::nearest;
use super::threshold;
use crate::load::table::once;

/// Which part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Narrowing {
    /// Only the scenario of that name.
    pub scenario: Option<String>,
    /// One session in the run of each scenario, whatever its load is.
    pub once: bool,
}

/// The plan has no such scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plan has no scenario `{name}`: {hint}")]
pub struct NoScenario {
    /// As given.
    pub name: String,
    /// The way out.
    pub hint: String,
}

impl Plan {
    /// The part of the plan.
    ///
    /// One scenario begins when its own `start` says, whomever it would have waited for. Thresholds that name another scenario
    /// or its stages are left out, for nothing will be measured for them. With one session of each scenario the thresholds of
    /// the plan, which are about its load, are left out altogether, and no session may fail.
    ///
    /// # Errors
    ///
    /// [`NoScenario`] if there is none of that name.
    pub fn narrowed(mut self, to: &Narrowing) -> Result<Self, NoScenario> {
        if let Some(name) = &to.scenario {
            self.keep_scenario(name)?;
        }
        if to.once {
            self.keep_once();
        }
        Ok(self)
    }

    fn keep_scenario(&mut self, name: &str) -> Result<(), NoScenario> {
        if self.scenario(name).is_none() {
            let names = || self.scenarios.iter().map(|scenario| scenario.name.as_str());
            let hint = nearest(name, names()).map_or_else(
                || format!("there are {}", names().collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            let name = name.to_owned();
            return Err(NoScenario { name, hint });
        }
        self.scenarios.retain(|scenario| scenario.name == name);
        for scenario in &mut self.scenarios {
            if let Begin::After(_) = scenario.begin {
                scenario.begin = Begin::At(Duration::ZERO);
            }
        }
        let thresholds = std::mem::take(&mut self.thresholds);
        let measured = Measured::of(self);
        self.thresholds = thresholds;
        self.thresholds.retain(|threshold| measured.has(threshold));
        threshold::add_own(&mut self.thresholds);
        Ok(())
    }

    fn keep_once(&mut self) {
        for scenario in &mut self.scenarios {
            scenario.load = once();
            // Who waits for another still does: it may need what that one leaves.
            if let Begin::At(start) = &mut scenario.begin {
                *start = Duration::ZERO;
            }
            scenario.warm_up = Duration::ZERO;
        }
        self.min_agents = 1;
        self.thresholds.clear();
        threshold::add_own(&mut self.thresholds);
    }
}

/// The values of labels that a part of a plan has.
struct Measured {
    scenarios: BTreeSet<String>,
    stages: BTreeSet<String>,
}

impl Measured {
    fn of(plan: &Plan) -> Self {
        let mut stages = BTreeSet::new();
        for scenario in &plan.scenarios {
            add_names(&scenario.stages, &mut stages);
            add_names(&scenario.cleanup, &mut stages);
        }
        add_names(&plan.setup, &mut stages);
        add_names(&plan.teardown, &mut stages);
        let scenarios = plan.scenarios.iter().map(|scenario| scenario.name.as_str());
        Self {
            scenarios: scenarios
                .chain(["setup", "teardown"])
                .map(str::to_owned)
                .collect(),
            stages,
        }
    }

    /// Whether something will be measured for each side of a threshold.
    fn has(&self, threshold: &Threshold) -> bool {
        threshold
            .readings()
            .all(|reading| self.has_reading(reading))
    }

    fn has_reading(&self, reading: &Reading) -> bool {
        let named = reading.matchers.iter().filter(|matcher| matcher.equal);
        named
            .into_iter()
            .all(|matcher| match matcher.label.as_str() {
                "scenario" => self.scenarios.contains(&matcher.value),
                "stage" => self.stages.contains(&matcher.value),
                _ => true,
            })
    }
}

fn add_names(stages: &[Stage], names: &mut BTreeSet<String>) {
    let mut waiting: Vec<&Stage> = stages.iter().collect();
    while let Some(stage) = waiting.pop() {
        names.insert(stage.name.clone());
        waiting.extend(stage.inner());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Model, Part};
    use crate::plan::tests::fake::plan;

    const TWO: &str = "testmesh: v1
name: t
min_agents: 3
targets: { web: { http: 'http://x' } }
scenarios:
  first:
    load: { virtual_users: 5, for: 10s }
    stages: [ { name: a, http: { target: web, get: / } } ]
  second:
    load: { arrivals: 5/s, for: 10s, max_sessions: 9 }
    warm_up: 2s
    after: first
    stages:
      - name: several
        repeat: { times: '2' }
        stages: [ { name: b, http: { target: web, get: / } } ]
thresholds:
  - p95(stage_duration{stage=\"a\"}) < 1s
  - p95(stage_duration{stage=\"b\"}) < p95(stage_duration{stage=\"a\"})
  - p95(stage_duration{stage=\"b\"}) < 2s
  - count(stage_errors{scenario=\"second\"}) == 0
  - count(sessions_failed{scenario=\"first\"}) == 0
  - p99(stage_duration{stage!=\"a\"}) < 3s
";

    fn narrowed(scenario: Option<&str>, once: bool) -> Plan {
        let scenario = scenario.map(str::to_owned);
        plan(TWO).narrowed(&Narrowing { scenario, once }).unwrap()
    }

    fn thresholds(plan: &Plan) -> Vec<&str> {
        plan.thresholds
            .iter()
            .map(|threshold| threshold.text.as_str())
            .collect()
    }

    #[test]
    fn one_scenario_begins_at_once_and_is_judged_by_what_is_measured() {
        let second = narrowed(Some("second"), false);
        assert_eq!(second.scenarios.len(), 1);
        assert_eq!(second.begins(&second.scenarios[0]), Some(Duration::ZERO));
        assert_eq!(second.min_agents, 3);
        assert_eq!(
            thresholds(&second),
            [
                "p95(stage_duration{stage=\"b\"}) < 2s",
                "count(stage_errors{scenario=\"second\"}) == 0",
                "p99(stage_duration{stage!=\"a\"}) < 3s",
                "count(sessions_failed) == 0",
            ]
        );
        assert_eq!(thresholds(&narrowed(Some("first"), false)).len(), 3);
    }

    #[test]
    fn once_is_one_session_of_each_whatever_the_load() {
        let both = narrowed(None, true);
        for scenario in &both.scenarios {
            assert_eq!(scenario.load.model(), Model::Once);
            assert_eq!(
                scenario.load.planned(&Part::whole(4, 1, &scenario.name)),
                Some(1)
            );
            assert_eq!(scenario.warm_up, Duration::ZERO);
        }
        assert_eq!(
            (both.min_agents, thresholds(&both)),
            (1, vec!["count(sessions_failed) == 0"])
        );
    }

    #[test]
    fn the_whole_is_what_it_was_and_what_is_not_there_is_refused() {
        assert_eq!(thresholds(&narrowed(None, false)).len(), 6);
        let to = Narrowing {
            scenario: Some("secnd".into()),
            once: false,
        };
        let error = plan(TWO).narrowed(&to).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the plan has no scenario `secnd`: did you mean `second`?"
        );
    }
}
