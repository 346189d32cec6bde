//! A part of a plan instead of the whole: one scenario, or one session of each.
//!
//! Coordinator and agents narrow the plan that they have read by the same rules, so that they run the same part.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fault_model::{Fault, FaultAction, FaultBegin};
use super::faults::recovery_phase;
use super::model::{Action, Begin, Plan, Reading, Stage, Threshold};
use super::nearest::nearest;
use super::threshold;
use crate::load::table::once;
use crate::metric::table::by_name;

/// Which part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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

impl Narrowing {
    /// Itself, unless it is the whole plan.
    #[must_use]
    pub fn part(&self) -> Option<&Self> {
        (*self != Self::default()).then_some(self)
    }
}

impl Plan {
    /// The part of the plan.
    ///
    /// One scenario begins when its own `start` says, whomever it would have waited for. Thresholds that name another scenario
    /// or its stages are left out, for nothing will be measured for them; so are faults that wait for another scenario, with
    /// the thresholds that read their phases. With one session of each scenario the thresholds of
    /// the plan, which are about its load, are left out altogether, and no session may fail; nothing is broken on purpose.
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
        let gone = self.drop_faults(name);
        let mut thresholds = std::mem::take(&mut self.thresholds);
        let measured = Measured::of(self);
        thresholds.retain(|threshold| measured.has(threshold) && !reads_any(threshold, &gone));
        self.thresholds = thresholds;
        threshold::add_own(&mut self.thresholds);
        Ok(())
    }

    /// Leaves out the faults that cannot be, or cannot be overcome, with one scenario alone. Returns their names.
    fn drop_faults(&mut self, scenario: &str) -> Vec<String> {
        let stays = |fault: &Fault| {
            let waits = match &fault.begin {
                FaultBegin::After { scenario, .. } => Some(scenario),
                FaultBegin::At(_) => None,
            };
            let mut needs = waits.into_iter().chain(&fault.recovery);
            needs.all(|needed| needed == scenario)
        };
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.faults)
            .into_iter()
            .partition(stays);
        self.faults = kept;
        gone.into_iter().map(|fault| fault.name).collect()
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
        // Proxies stay: sessions reach their targets through them.
        self.faults.clear();
        self.thresholds.clear();
        threshold::add_own(&mut self.thresholds);
    }
}

/// Whether a threshold is about one of these faults, or reads its phases.
fn reads_any(threshold: &Threshold, faults: &[String]) -> bool {
    let mut matchers = threshold.readings().flat_map(|reading| &reading.matchers);
    matchers.any(|matcher| match matcher.label.as_str() {
        "fault" => faults.contains(&matcher.value),
        "phase" => faults
            .iter()
            .any(|fault| matcher.value == *fault || matcher.value == recovery_phase(fault)),
        _ => false,
    })
}

/// What a part of a plan will measure.
struct Measured<'p>(Vec<Place<'p>>);

/// A stage of the part, or, without one, a scenario.
struct Place<'p> {
    scenario: &'p str,
    /// Where the scenario runs; empty: anywhere.
    sites: &'p [(String, u32)],
    stage: Option<&'p Stage>,
}

impl<'p> Measured<'p> {
    fn of(plan: &'p Plan) -> Self {
        let mut measured = Self(Vec::new());
        for scenario in &plan.scenarios {
            measured.add(&scenario.name, &scenario.sites, &scenario.stages);
            measured.add(&scenario.name, &scenario.sites, &scenario.cleanup);
        }
        measured.add("setup", &[], &plan.setup);
        measured.add("teardown", &[], &plan.teardown);
        for fault in &plan.faults {
            if let FaultAction::Stage { inject, revert } = &fault.action {
                measured.add("faults", &[], inject);
                measured.add("faults", &[], revert);
            }
        }
        measured
    }

    fn add(&mut self, scenario: &'p str, sites: &'p [(String, u32)], stages: &'p [Stage]) {
        let place = |stage| Place {
            scenario,
            sites,
            stage,
        };
        self.0.push(place(None));
        let mut waiting: Vec<&Stage> = stages.iter().collect();
        while let Some(stage) = waiting.pop() {
            self.0.push(place(Some(stage)));
            waiting.extend(stage.inner());
        }
    }

    /// Whether something will be measured for each side of a threshold.
    fn has(&self, threshold: &Threshold) -> bool {
        let mut readings = threshold.readings();
        readings.all(|reading| self.0.iter().any(|place| place.measures(reading)))
    }
}

impl Place<'_> {
    fn measures(&self, reading: &Reading) -> bool {
        let of_stages =
            by_name(&reading.metric).is_some_and(|metric| metric.labels.contains(&"stage"));
        if of_stages != self.stage.is_some() {
            return false;
        }
        let of_streams = ["stream_", "integrity_"]
            .iter()
            .any(|of| reading.metric.starts_with(of));
        let driver = self.stage.and_then(|stage| match &stage.action {
            Action::Drive { stage, .. } => Some(stage),
            _ => None,
        });
        if of_stages && of_streams && !driver.is_some_and(|driver| driver.streams()) {
            return false;
        }
        reading.matchers.iter().all(|matcher| {
            let value = matcher.value.as_str();
            let has = match matcher.label.as_str() {
                "scenario" => self.scenario == value,
                "stage" => self.stage.is_some_and(|stage| stage.name == value),
                "watch" => driver.is_some_and(|driver| driver.watches().contains(&value)),
                // A scenario that runs elsewhere is not measured there; one that runs there may be measured elsewhere too.
                "site" if !self.sites.is_empty() && matcher.equal => {
                    self.sites.iter().any(|(site, _)| site == value)
                }
                _ => return true,
            };
            has == matcher.equal
        })
    }
}

impl fmt::Display for Narrowing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.scenario, self.once) {
            (None, false) => f.write_str("the whole plan"),
            (None, true) => f.write_str("one session of each scenario"),
            (Some(scenario), false) => write!(f, "only scenario `{scenario}`"),
            (Some(scenario), true) => write!(f, "one session of scenario `{scenario}`"),
        }
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
        assert_eq!(thresholds(&narrowed(Some("first"), false)).len(), 2);
    }

    #[test]
    fn thresholds_on_what_is_left_out_are_left_out() {
        let text = TWO.replacen(
            "thresholds:",
            "  third:
    load: once
    sites: { haifa: 1 }
    stages: [ { name: s, grpc: { target: rpc, call: a.B/C } } ]
thresholds:
  - p99(stream_first_message) < 2s
  - count(integrity_mismatched) == 0
  - p95(stage_duration{scenario!=\"first\"}) < 1s
  - p95(session_duration{site=\"haifa\"}) < 1s",
            1,
        );
        let text = text.replacen("targets: {", "targets: { rpc: { grpc: {} },", 1);
        let left = |scenario: &str| {
            let to = Narrowing {
                scenario: Some(scenario.into()),
                once: false,
            };
            let part = plan(&text).narrowed(&to).unwrap();
            thresholds(&part)
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>()
                .join("\n")
        };
        let (first, third) = (left("first"), left("third"));
        for stream in ["stream_first_message", "integrity_mismatched"] {
            assert!(
                !first.contains(stream) && third.contains(stream),
                "{first}\n{third}"
            );
        }
        assert!(!first.contains("scenario!=") && third.contains("scenario!="));
        // It may run anywhere, so at that site too.
        assert!(first.contains("site=") && third.contains("site="));
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
