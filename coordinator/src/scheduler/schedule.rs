//! `schedule(requirements, candidates) -> Schedule`: the scheduler's one entrance.
use super::{Requirements, explain, placement};
use std::collections::BTreeSet;
use testmesh_shared::segment::{self, Share};

/// An agent that could take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// Where it runs.
    pub site: String,
    /// Drivers that it has.
    pub drivers: BTreeSet<String>,
}

/// Who runs what, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// The agents of the run; the place in this list is the agent's number.
    pub agents: Vec<Placed>,
    /// Why it is so, one sentence each.
    pub reasons: Vec<String>,
}

/// One agent of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// Its id.
    pub id: String,
    /// Where it runs.
    pub site: String,
    /// Its part of every scenario, in the plan's order.
    pub shares: Vec<(String, Share)>,
}

/// Why a run cannot be placed: exit code 103, or 104 if the plan would have to be another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// There are too few agents.
    #[error("agents needed that fit the plan: {needed}; connected: {agents}{}", listed(.left_out))]
    TooFew {
        /// The least number.
        needed: usize,
        /// How many there are.
        agents: usize,
        /// Why others do not fit.
        left_out: Vec<String>,
    },
    /// A site has no agent.
    #[error("the plan needs an agent at site `{site}`, and none of the {agents} that fit is there")]
    NoAgentAtSite {
        /// The site.
        site: String,
        /// How many agents fit otherwise.
        agents: usize,
    },
    /// More sites than agents were asked for.
    #[error("the plan names {sites} sites, and only {wanted} agents were asked for")]
    FewerThanSites {
        /// What the user asked for.
        wanted: usize,
        /// How many sites there are.
        sites: usize,
    },
    /// An agent would have no place for a session.
    #[error(
        "scenario `{scenario}` has {max_sessions} `max_sessions` for {agents} agents, so that agent `{without}` could start \
         none: raise it, or run on fewer agents"
    )]
    TooFewPlaces {
        /// The scenario.
        scenario: String,
        /// What the plan allows.
        max_sessions: u64,
        /// Agents that share it.
        agents: usize,
        /// One that gets none.
        without: String,
    },
    /// The user asked for fewer agents than the plan's minimum.
    #[error("the plan needs at least {minimum} agents, and only {wanted} were asked for")]
    FewerThanMinimum {
        /// What the user asked for.
        wanted: usize,
        /// The plan's `min_agents`.
        minimum: u32,
    },
}

fn listed(reasons: &[String]) -> String {
    reasons
        .iter()
        .take(5)
        .map(|reason| format!("; {reason}"))
        .collect()
}

impl ScheduleError {
    /// Whether more agents would help; else waiting for them is in vain.
    pub fn can_be_waited_out(&self) -> bool {
        match self {
            Self::TooFew { .. } | Self::NoAgentAtSite { .. } => true,
            Self::FewerThanSites { .. }
            | Self::FewerThanMinimum { .. }
            | Self::TooFewPlaces { .. } => false,
        }
    }

    /// Whether the plan would have to be another: exit code 104 instead of 103.
    pub fn is_the_plans(&self) -> bool {
        matches!(self, Self::TooFewPlaces { .. })
    }
}

/// Assigns the scenarios of a plan to agents.
///
/// The same needs and the same candidates, in whatever order, give the same schedule. The shares of a scenario cover it
/// without gap or overlap. Every site that a scenario names gets its weight, cut evenly among its agents.
///
/// # Errors
///
/// If there are not enough agents, or not where the plan wants them.
pub fn schedule(needs: &Requirements, candidates: &[Candidate]) -> Result<Schedule, ScheduleError> {
    let mut reasons = Vec::new();
    let agents = placement::choose(needs, candidates, &mut reasons)?;
    let mut placed: Vec<Placed> = agents
        .iter()
        .map(|agent| Placed {
            id: agent.id.clone(),
            site: agent.site.clone(),
            shares: Vec::new(),
        })
        .collect();
    for need in &needs.scenarios {
        let weights = placement::weights(need, &agents);
        reasons.push(explain::scenario(need, &agents, &weights));
        let shares = segment::shares(&weights);
        if let Some(max_sessions) = need.max_sessions {
            let mut with_part = placed
                .iter()
                .zip(&shares)
                .filter(|(_, share)| !share.is_empty());
            let agents = with_part.clone().count();
            if let Some((agent, _)) = with_part.find(|(_, share)| share.count(max_sessions) == 0) {
                return Err(ScheduleError::TooFewPlaces {
                    scenario: need.name.clone(),
                    max_sessions,
                    agents,
                    without: agent.id.clone(),
                });
            }
        }
        for (agent, share) in placed.iter_mut().zip(shares) {
            agent.shares.push((need.name.clone(), share));
        }
    }
    Ok(Schedule {
        agents: placed,
        reasons,
    })
}
