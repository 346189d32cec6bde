//! Laws of the scheduler over random agents and plans.
use super::super::{Candidate, Requirements, ScenarioNeed, schedule};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn agents() -> impl Strategy<Value = Vec<Candidate>> {
    proptest::collection::vec(0..3_u8, 0..12).prop_map(|sites| {
        let candidate = |(index, site): (usize, &u8)| Candidate {
            id: format!("a{index:02}"),
            site: format!("site{site}"),
            drivers: BTreeSet::new(),
        };
        sites.iter().enumerate().map(candidate).collect()
    })
}

fn needs() -> impl Strategy<Value = Requirements> {
    let sites = proptest::collection::btree_map(0..3_u8, 1..5_u32, 0..3);
    (proptest::collection::vec(sites, 1..4), 0..4_u32, 0..8_u32).prop_map(
        |(scenarios, min_agents, wanted)| {
            let need =
                |(index, sites): (usize, std::collections::BTreeMap<u8, u32>)| ScenarioNeed {
                    name: format!("s{index}"),
                    sites: sites
                        .into_iter()
                        .map(|(site, weight)| (format!("site{site}"), weight))
                        .collect(),
                    max_sessions: None,
                };
            let scenarios = scenarios.into_iter().enumerate().map(need).collect();
            Requirements {
                min_agents,
                wanted,
                drivers: BTreeSet::new(),
                scenarios,
            }
        },
    )
}

proptest! {
    /// Every scenario is covered without gap or overlap, only at its sites, whatever order the agents come in.
    #[test]
    fn shares_cover_every_scenario_exactly_once(agents in agents(), needs in needs(), rotate in 0..12_usize) {
        let Ok(made) = schedule(&needs, &agents) else { return Ok(()) };
        let mut rotated = agents;
        if !rotated.is_empty() {
            let by = rotate % rotated.len();
            rotated.rotate_left(by);
        }
        prop_assert_eq!(&schedule(&needs, &rotated).unwrap().agents, &made.agents);
        prop_assert!(made.agents.len() >= usize::try_from(needs.min_agents.max(needs.wanted)).unwrap());
        for (index, need) in needs.scenarios.iter().enumerate() {
            let cycle = made.agents[0].shares[index].1.cycle();
            let mut owned = Vec::new();
            for agent in &made.agents {
                let share = &agent.shares[index].1;
                prop_assert_eq!(share.cycle(), cycle);
                let runs_here = need.sites.is_empty() || need.sites.iter().any(|(site, _)| *site == agent.site);
                prop_assert_eq!(!share.offsets().is_empty(), runs_here);
                owned.extend(share.offsets().iter().copied());
            }
            owned.sort_unstable();
            prop_assert_eq!(owned, (0..cycle).collect::<Vec<_>>());
        }
    }
}
