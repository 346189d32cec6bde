//! Which of the candidates take part, and how much of each scenario each of them gets.
use super::{Candidate, Requirements, ScenarioNeed, ScheduleError};
use std::collections::BTreeMap;

/// Greatest cycle of residues that shares are cut from; weights beyond are rounded, the cut itself stays exact.
const MAX_CYCLE: u64 = 20_000;

/// Chooses the agents of a run, sorted by site and id, so that their numbers do not depend on who dialled in first.
pub(super) fn choose<'a>(
    needs: &Requirements,
    candidates: &'a [Candidate],
    reasons: &mut Vec<String>,
) -> Result<Vec<&'a Candidate>, ScheduleError> {
    let sites = needs.sites();
    let mut fit = Vec::new();
    for candidate in candidates {
        let missing: Vec<_> = needs
            .drivers
            .iter()
            .filter(|driver| !candidate.drivers.contains(*driver))
            .collect();
        if let Some(driver) = missing.first() {
            reasons.push(format!(
                "agent {} is left out: it has no driver `{driver}`",
                candidate.id
            ));
        } else if !needs.runs_anywhere() && !sites.contains_key(candidate.site.as_str()) {
            reasons.push(format!(
                "agent {} is left out: no scenario runs at site {}",
                candidate.id, candidate.site
            ));
        } else {
            fit.push(candidate);
        }
    }
    fit.sort_by(|a, b| (&a.site, &a.id).cmp(&(&b.site, &b.id)));
    for site in sites.keys() {
        if !fit.iter().any(|candidate| candidate.site == *site) {
            return Err(ScheduleError::NoAgentAtSite {
                site: (*site).to_owned(),
                agents: fit.len(),
            });
        }
    }
    let wanted = if needs.wanted == 0 {
        fit.len()
    } else {
        as_count(needs.wanted)
    };
    let least = as_count(needs.min_agents).max(wanted).max(1);
    if fit.len() < least {
        let left_out = std::mem::take(reasons);
        return Err(ScheduleError::TooFew {
            needed: least,
            agents: fit.len(),
            left_out,
        });
    }
    if wanted < sites.len() {
        return Err(ScheduleError::FewerThanSites {
            wanted,
            sites: sites.len(),
        });
    }
    if wanted < as_count(needs.min_agents) {
        return Err(ScheduleError::FewerThanMinimum {
            wanted,
            minimum: needs.min_agents,
        });
    }
    Ok(take(wanted, &sites, fit, reasons))
}

/// Takes one agent of each named site, then those whose site is furthest below its weight, then any.
fn take<'a>(
    wanted: usize,
    sites: &BTreeMap<&str, u64>,
    fit: Vec<&'a Candidate>,
    reasons: &mut Vec<String>,
) -> Vec<&'a Candidate> {
    let mut left: BTreeMap<&str, Vec<&'a Candidate>> = BTreeMap::new();
    for candidate in fit.iter().rev() {
        left.entry(&candidate.site).or_default().push(candidate);
    }
    let mut taken: Vec<&Candidate> = Vec::new();
    let mut count: BTreeMap<&str, u64> = BTreeMap::new();
    while taken.len() < wanted {
        // The site with the fewest agents for its weight; sites that no scenario names weigh as the lightest named one.
        let lightest = sites.values().copied().min().unwrap_or(1);
        let next = left
            .iter()
            .filter(|(_, candidates)| !candidates.is_empty())
            .min_by_key(|(site, _)| {
                let weight = sites.get(*site).copied().unwrap_or(lightest);
                let agents = count.get(*site).copied().unwrap_or(0);
                // Agents per weight as an exact fraction over a common scale; named sites come first.
                (
                    agents > 0 || !sites.contains_key(*site),
                    agents * 1_000_000 / weight.max(1),
                )
            })
            .map(|(site, _)| *site);
        let Some(site) = next else { break };
        if let Some(candidate) = left.get_mut(site).and_then(Vec::pop) {
            *count.entry(site).or_default() += 1;
            taken.push(candidate);
        }
    }
    taken.sort_by(|a, b| (&a.site, &a.id).cmp(&(&b.site, &b.id)));
    for candidate in fit
        .iter()
        .filter(|one| !taken.iter().any(|other| other.id == one.id))
    {
        reasons.push(format!(
            "agent {} is not needed: {wanted} were asked for",
            candidate.id
        ));
    }
    taken
}

/// The weight of each agent in one scenario; 0: it has no part.
pub(super) fn weights(need: &ScenarioNeed, agents: &[&Candidate]) -> Vec<u32> {
    if need.sites.is_empty() {
        return vec![1; agents.len()];
    }
    let at = |site: &str| agents.iter().filter(|agent| agent.site == site).count();
    let weight_of = |site: &str| {
        need.sites
            .iter()
            .find(|(name, _)| name == site)
            .map_or(0, |(_, weight)| *weight)
    };
    // A site's weight is cut evenly among its agents: over a common multiple of their numbers this is exact.
    let common = need
        .sites
        .iter()
        .map(|(site, _)| at(site).max(1))
        .fold(1_u64, |common, count| {
            lcm(common, u64::try_from(count).unwrap_or(u64::MAX)).min(MAX_CYCLE * MAX_CYCLE)
        });
    let exact = agents.iter().map(|agent| {
        let agents_there = u64::try_from(at(&agent.site)).unwrap_or(1).max(1);
        u64::from(weight_of(&agent.site)) * (common / agents_there)
    });
    reduce(exact.collect())
}

/// The same proportions in small numbers; rounded where they would not be small.
fn reduce(weights: Vec<u64>) -> Vec<u32> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let sum: u64 = weights.iter().map(|weight| weight / divisor).sum();
    let scaled = weights.iter().map(|weight| {
        let weight = weight / divisor;
        if weight == 0 || sum <= MAX_CYCLE {
            weight
        } else {
            (weight.saturating_mul(MAX_CYCLE) / sum).max(1)
        }
    });
    scaled
        .map(|weight| u32::try_from(weight).unwrap_or(u32::MAX))
        .collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn lcm(a: u64, b: u64) -> u64 {
    (a / gcd(a, b).max(1)).saturating_mul(b)
}

fn as_count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
