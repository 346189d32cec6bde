//! What a plan needs of agents, said without the plan: so that placing can be scripted and tested alone.
use std::collections::BTreeSet;
use testmesh_shared::plan::{Action, FaultAction, Plan, Stage};

/// What one run needs of agents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// The plan's `min_agents`.
    pub min_agents: u32,
    /// Use exactly so many; 0: all that are of use.
    pub wanted: u32,
    /// Drivers that every agent must have.
    pub drivers: BTreeSet<String>,
    /// One per scenario, in the plan's order.
    pub scenarios: Vec<ScenarioNeed>,
}

/// Where one scenario is to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScenarioNeed {
    /// The scenario's name.
    pub name: String,
    /// Sites with their weights; empty: everywhere, evenly.
    pub sites: Vec<(String, u32)>,
    /// Places for sessions, which are shared among agents; none: the load needs no such bound.
    pub max_sessions: Option<u64>,
}

impl Requirements {
    /// Reads them from a plan; `wanted` is the user's.
    pub fn of(plan: &Plan, wanted: u32) -> Self {
        let mut drivers = BTreeSet::new();
        for scenario in &plan.scenarios {
            collect_drivers(&scenario.stages, &mut drivers);
            collect_drivers(&scenario.cleanup, &mut drivers);
        }
        collect_drivers(&plan.setup, &mut drivers);
        collect_drivers(&plan.teardown, &mut drivers);
        // Any agent may have to revert what another one injected.
        for fault in &plan.faults {
            if let FaultAction::Stage { inject, revert } = &fault.action {
                collect_drivers(inject, &mut drivers);
                collect_drivers(revert, &mut drivers);
            }
        }
        let scenarios = plan.scenarios.iter().map(|scenario| ScenarioNeed {
            name: scenario.name.clone(),
            sites: scenario.sites.clone(),
            max_sessions: scenario.load.max_sessions(),
        });
        Self {
            min_agents: plan.min_agents,
            wanted,
            drivers,
            scenarios: scenarios.collect(),
        }
    }

    /// Every site that some scenario names, with the sum of its weights.
    pub(super) fn sites(&self) -> std::collections::BTreeMap<&str, u64> {
        let mut sites = std::collections::BTreeMap::new();
        for (site, weight) in self.scenarios.iter().flat_map(|scenario| &scenario.sites) {
            *sites.entry(site.as_str()).or_default() += u64::from(*weight);
        }
        sites
    }

    /// Whether agents at any site are of use.
    pub(super) fn runs_anywhere(&self) -> bool {
        self.scenarios
            .iter()
            .any(|scenario| scenario.sites.is_empty())
    }
}

fn collect_drivers(stages: &[Stage], into: &mut BTreeSet<String>) {
    stages.iter().for_each(|stage| collect(stage, into));
}

fn collect(stage: &Stage, into: &mut BTreeSet<String>) {
    if let Action::Drive { form, .. } = &stage.action {
        into.insert((*form).to_owned());
    }
    stage.inner().for_each(|stage| collect(stage, into));
}
