//! `testmesh check PLAN --schedule`: the schedule that the plan would run, and nothing started.
//!
//! It is the agents' own: the scheduler places the agents of a local mesh, and the load models say what each part starts.
use super::args::Check;
use super::error::CliError;
use super::output::Output;
use super::sites;
use crate::scheduler::{self, Candidate, Requirements, Schedule};
use serde_json::json;
use std::fmt::Write as _;
use std::time::Duration;
use testmesh_shared::load::{Model, Part};
use testmesh_shared::plan::Plan;
use testmesh_shared::rng::default_seed;

/// The planned start of one session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    /// Since the run's start; none if the scenario waits for one whose end nobody knows beforehand.
    at: Option<Duration>,
    scenario: String,
    index: u64,
    agent: String,
}

/// What `check --schedule` shows.
#[derive(Debug)]
pub(super) struct Planned {
    arrivals: Vec<Arrival>,
    reasons: Vec<String>,
    /// Scenarios of which only the first sessions are planned.
    first_only: Vec<String>,
}

impl Planned {
    /// The schedule of a plan on so many agents in one process.
    ///
    /// # Errors
    ///
    /// If so many agents cannot run the plan.
    pub(super) fn of(plan: &Plan, check: &Check) -> Result<Self, CliError> {
        let agents = check.agents.unwrap_or(1);
        let seed = check.seed.unwrap_or_else(|| default_seed(plan.digest));
        let schedule = place(plan, agents)?;
        let mut arrivals = Vec::new();
        for (agent, placed) in (0..).zip(&schedule.agents) {
            for (scenario, (_, share)) in plan.scenarios.iter().zip(&placed.shares) {
                let part = Part {
                    share: share.clone(),
                    agent,
                    agents: u32::try_from(schedule.agents.len()).unwrap_or(u32::MAX),
                    seeds: Part::seeds(seed, &scenario.name),
                };
                let begins = plan.begins(scenario);
                arrivals.extend(scenario.load.starts(&part).map(|start| Arrival {
                    at: begins.map(|begins| begins + start.at),
                    scenario: scenario.name.clone(),
                    index: start.session.get(),
                    agent: placed.id.clone(),
                }));
            }
        }
        arrivals.sort_unstable();
        let closed = plan.scenarios.iter();
        let closed = closed.filter(|scenario| scenario.load.model() == Model::Closed);
        Ok(Self {
            arrivals,
            reasons: schedule.reasons,
            first_only: closed.map(|scenario| scenario.name.clone()).collect(),
        })
    }

    /// For scripts.
    pub(super) fn as_json(&self) -> serde_json::Value {
        let arrival = |arrival: &Arrival| {
            json!({
                "at": arrival.at.map(|at| at.as_secs_f64()),
                "scenario": arrival.scenario,
                "index": arrival.index,
                "agent": arrival.agent,
            })
        };
        self.arrivals.iter().map(arrival).collect()
    }

    /// For people.
    ///
    /// # Errors
    ///
    /// If standard output cannot be written to.
    pub(super) fn print(&self, output: &Output) -> Result<(), CliError> {
        const LINES: usize = 4_096;
        for reason in &self.reasons {
            output.text(&format!("because {reason}"))?;
        }
        for scenario in &self.first_only {
            output.text(&format!(
                "of {scenario} the first session of each virtual user is shown: the others follow from how long sessions take"
            ))?;
        }
        for lines in self.arrivals.chunks(LINES) {
            let mut text = String::new();
            for arrival in lines {
                let at = match arrival.at {
                    Some(at) => format!("{:.6}", at.as_secs_f64()),
                    None => "later".to_owned(),
                };
                let Arrival {
                    scenario,
                    index,
                    agent,
                    ..
                } = arrival;
                writeln!(text, "{at:>14}  {scenario}/{index}  {agent}")
                    .expect("writing to a string cannot fail");
            }
            output.text(text.trim_end())?;
        }
        Ok(())
    }
}

/// Places the agents of a local mesh.
fn place(plan: &Plan, agents: u32) -> Result<Schedule, CliError> {
    let needs = Requirements::of(plan, agents);
    let candidates: Vec<Candidate> = (1..)
        .zip(sites::assign(plan, agents)?)
        .map(|(number, site)| Candidate {
            id: format!("local-{number}"),
            site,
            drivers: needs.drivers.clone(),
        })
        .collect();
    scheduler::schedule(&needs, &candidates).map_err(|error| {
        if error.is_the_plans() {
            CliError::Unplaceable(error.to_string())
        } else {
            CliError::NotEnoughAgents(error.to_string())
        }
    })
}
