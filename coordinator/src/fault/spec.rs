//! What of a plan and its agents decides over faults. Pure.
use crate::limits;
use crate::run::{AgentIndex, RosterEntry};
use std::time::Duration;
use testmesh_agent::limits::FAULT_STAGE;
use testmesh_shared::plan::{Fault, FaultAction, FaultBegin, Plan, Stage};

/// When a fault begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// So long after the start.
    At(Duration),
    /// So long after the first session passed that stage.
    After {
        /// The scenario.
        scenario: String,
        /// The stage.
        stage: String,
        /// How long after.
        delay: Duration,
    },
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its name.
    pub name: String,
    /// When it begins.
    pub begin: Begin,
    /// How long it lasts.
    pub length: Duration,
    /// Agents that can inject it, the first choice first; any of them can revert it.
    pub capable: Vec<AgentIndex>,
    /// It ends by itself with its lease even if its agent is gone.
    pub ends_with_lease: bool,
    /// How long an injection may take.
    pub inject_within: Duration,
    /// How long an agent may take to revert it.
    pub revert_within: Duration,
    /// How a person reverts it.
    pub by_hand: String,
}

/// A plan needs an agent that the run does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAgent {
    /// Nobody is there.
    #[error("{what} needs an agent at the site `{site}`, and the run has none there")]
    AtSite {
        /// The proxy or fault.
        what: String,
        /// The site.
        site: String,
    },
    /// Nobody may.
    #[error(
        "fault `{fault}` runs a command, and {place} was started with --allow-commands: start one so, or `testmesh run` itself"
    )]
    Commands {
        /// The fault.
        fault: String,
        /// Which agents were looked at.
        place: String,
    },
}

/// Which agent runs each proxy of a plan, in the plan's order.
///
/// # Errors
///
/// If one has no agent.
pub fn proxies(plan: &Plan, agents: &[RosterEntry]) -> Result<Vec<AgentIndex>, NoAgent> {
    let host = |proxy: &testmesh_shared::plan::Proxy| {
        let here = at_site(agents, proxy.site.as_deref()).next();
        here.ok_or_else(|| NoAgent::AtSite {
            what: format!("proxy `{}`", proxy.name),
            site: proxy.site.clone().unwrap_or_default(),
        })
    };
    plan.proxies.iter().map(host).collect()
}

/// The faults of a plan, in the plan's order.
///
/// # Errors
///
/// If one has no agent that can inject it.
pub fn specs(plan: &Plan, agents: &[RosterEntry]) -> Result<Vec<Spec>, NoAgent> {
    let hosts = proxies(plan, agents)?;
    let spec = |fault: &Fault| {
        let (inject_within, revert_within) = bounds(fault);
        Ok(Spec {
            name: fault.name.clone(),
            begin: match &fault.begin {
                FaultBegin::At(at) => Begin::At(*at),
                FaultBegin::After {
                    scenario,
                    stage,
                    delay,
                } => Begin::After {
                    scenario: scenario.clone(),
                    stage: stage.clone(),
                    delay: *delay,
                },
            },
            length: fault.length,
            capable: capable(plan, fault, agents, &hosts)?,
            ends_with_lease: matches!(fault.action, FaultAction::Proxy { .. }),
            inject_within,
            revert_within,
            by_hand: by_hand(plan, fault),
        })
    };
    plan.faults.iter().map(spec).collect()
}

/// How long it takes at most until every fault of a plan is reverted or given up; none without faults.
pub fn longest_revert(plan: &Plan) -> Option<Duration> {
    let longest = plan.faults.iter().map(|fault| {
        let (inject, revert) = bounds(fault);
        inject + revert
    });
    // A second agent may have to do it.
    longest.max().map(|one| one * 2 + limits::FAULT_LEASE)
}

fn capable(
    plan: &Plan,
    fault: &Fault,
    agents: &[RosterEntry],
    hosts: &[AgentIndex],
) -> Result<Vec<AgentIndex>, NoAgent> {
    if let FaultAction::Proxy { proxy, .. } = &fault.action {
        let place = plan.proxies.iter().position(|one| one.name == *proxy);
        return Ok(place.map(|place| hosts[place]).into_iter().collect());
    }
    let here: Vec<AgentIndex> = at_site(agents, fault.site.as_deref()).collect();
    if here.is_empty() {
        return Err(NoAgent::AtSite {
            what: format!("fault `{}`", fault.name),
            site: fault.site.clone().unwrap_or_default(),
        });
    }
    if !matches!(fault.action, FaultAction::Command { .. }) {
        return Ok(here);
    }
    let may = here
        .into_iter()
        .filter(|agent| agents[*agent].may_run_commands);
    let may: Vec<AgentIndex> = may.collect();
    if may.is_empty() {
        let place = match &fault.site {
            Some(site) => format!("no agent at the site `{site}`"),
            None => "no agent".to_owned(),
        };
        let fault = fault.name.clone();
        return Err(NoAgent::Commands { fault, place });
    }
    Ok(may)
}

fn at_site<'a>(
    agents: &'a [RosterEntry],
    site: Option<&'a str>,
) -> impl Iterator<Item = AgentIndex> + 'a {
    let here = move |entry: &RosterEntry| site.is_none_or(|site| entry.site.as_str() == site);
    let all = agents.iter().enumerate();
    all.filter(move |(_, entry)| here(entry))
        .map(|(agent, _)| agent)
}

/// How long injecting and reverting may take, as the coordinator waits for it.
fn bounds(fault: &Fault) -> (Duration, Duration) {
    let stages = |stages: &[Stage]| {
        let longest = stages.iter().map(|stage| stage.timeout);
        let longest = longest.map(|timeout| timeout.unwrap_or(FAULT_STAGE)).max();
        longest.unwrap_or_default()
    };
    let (inject, revert) = match &fault.action {
        FaultAction::Proxy { .. } => (Duration::ZERO, Duration::ZERO),
        FaultAction::Stage { inject, revert } => (stages(inject), stages(revert)),
        FaultAction::Command { within, .. } => (*within, *within),
    };
    // An agent tries to revert three times before it says that it cannot.
    let slack = limits::FAULT_ANSWER;
    (inject + slack, revert * 3 + slack)
}

fn by_hand(plan: &Plan, fault: &Fault) -> String {
    match &fault.action {
        FaultAction::Proxy { proxy, .. } => format!(
            "the proxy `{proxy}` passes everything on again once its lease of {:?} has ended; end its process if it does not",
            limits::FAULT_LEASE
        ),
        FaultAction::Command { revert, .. } if !revert.is_empty() => {
            format!("run: {}", revert.join(" "))
        }
        FaultAction::Stage { revert, .. } if !revert.is_empty() => {
            let at = revert[0].position;
            format!(
                "do what the stage `{}` does, on line {} of {}",
                revert[0].name, at.line, plan.file
            )
        }
        FaultAction::Stage { .. } | FaultAction::Command { .. } => {
            "the plan names nothing that reverts it".to_owned()
        }
    }
}
