//! Says in words why a schedule is as it is.
use super::{Candidate, ScenarioNeed};
use std::collections::BTreeMap;

/// How one scenario was cut.
pub(super) fn scenario(need: &ScenarioNeed, agents: &[&Candidate], weights: &[u32]) -> String {
    if need.sites.is_empty() {
        return match agents.len() {
            1 => format!("scenario {} runs on one agent", need.name),
            count => format!("scenario {} runs on all {count} agents, evenly", need.name),
        };
    }
    let mut sites: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
    for (agent, weight) in agents
        .iter()
        .zip(weights)
        .filter(|(_, weight)| **weight > 0)
    {
        let entry = sites.entry(&agent.site).or_default();
        entry.0 += u64::from(*weight);
        entry.1 += 1;
    }
    let total: u64 = sites.values().map(|(weight, _)| weight).sum();
    let parts: Vec<_> = sites
        .iter()
        .map(|(site, (weight, agents))| format!("{weight}/{total} at {site} (agents: {agents})"))
        .collect();
    format!("scenario {} runs {}", need.name, parts.join(", "))
}
