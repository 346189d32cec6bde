//! Where the agents of a local mesh pretend to be: the plan's sites, by weight.
use super::error::CliError;
use std::collections::BTreeMap;
use testmesh_shared::plan::Plan;

/// The site of agents that no plan has asked for.
const ELSEWHERE: &str = "local";

/// A site for each of `agents` agents.
///
/// # Errors
/// [`CliError::NotEnoughAgents`] if there are fewer than the plan or its sites need.
pub(super) fn assign(plan: &Plan, agents: u32) -> Result<Vec<String>, CliError> {
    if agents < plan.min_agents {
        return Err(CliError::NotEnoughAgents(format!(
            "the plan needs {}, and there would be {agents}",
            plan.min_agents
        )));
    }
    let mut weights: BTreeMap<&str, u32> = BTreeMap::new();
    for (site, weight) in plan.scenarios.iter().flat_map(|scenario| &scenario.sites) {
        let known = weights.entry(site).or_default();
        *known = (*known).max(*weight);
    }
    share_out(&weights, agents)
}

/// One agent for each site, and each further one where there are fewest for the weight.
fn share_out(weights: &BTreeMap<&str, u32>, agents: u32) -> Result<Vec<String>, CliError> {
    let sites = u32::try_from(weights.len()).unwrap_or(u32::MAX);
    if agents < sites {
        let names: Vec<_> = weights.keys().copied().collect();
        let message = format!(
            "the plan has {sites} sites ({}), and there would be {agents}",
            names.join(", ")
        );
        return Err(CliError::NotEnoughAgents(message));
    }
    if weights.is_empty() {
        return Ok((0..agents).map(|_| ELSEWHERE.to_owned()).collect());
    }
    let mut shares: Vec<(&str, u64, u64)> = weights
        .iter()
        .map(|(site, weight)| (*site, u64::from(*weight).max(1), 1))
        .collect();
    for _ in sites..agents {
        // Compared without division: a / b > c / d exactly if a × d > c × b. The first of equals wins.
        let mut neediest = 0;
        for (index, (_, weight, count)) in shares.iter().enumerate() {
            let (_, most, fewest) = shares[neediest];
            if weight * (fewest + 1) > most * (count + 1) {
                neediest = index;
            }
        }
        shares[neediest].2 += 1;
    }
    let mut sites = Vec::new();
    for (site, _, count) in shares {
        sites.extend((0..count).map(|_| site.to_owned()));
    }
    Ok(sites)
}

#[cfg(test)]
mod tests {
    use super::share_out;
    use testmesh_shared::exit_code::ExitCode;

    #[track_caller]
    fn check(weights: &[(&str, u32)], agents: u32, expect: &str) {
        let sites = share_out(&weights.iter().copied().collect(), agents).unwrap();
        assert_eq!(sites.join(" "), expect);
    }

    #[test]
    fn agents_follow_the_weights() {
        check(&[], 2, "local local");
        check(&[("haifa", 2), ("tokyo", 1)], 3, "haifa haifa tokyo");
        check(
            &[("haifa", 2), ("tokyo", 1)],
            6,
            "haifa haifa haifa haifa tokyo tokyo",
        );
        check(&[("a", 100), ("b", 1)], 3, "a a b");
        check(&[("a", 1), ("b", 1)], 2, "a b");
    }

    #[test]
    fn every_site_needs_an_agent() {
        let error = share_out(&[("haifa", 2), ("tokyo", 1)].into(), 1).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::NotEnoughAgents);
        assert!(error.to_string().contains("haifa, tokyo"), "{error}");
    }
}
