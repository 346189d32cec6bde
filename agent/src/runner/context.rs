//! What all sessions of a run share on one worker.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use testmesh_shared::feed::RunFeed;
use testmesh_shared::id::{AgentId, RunId, Site};
use testmesh_shared::load::{self, Model};
use testmesh_shared::plan::expr::{Scope, Secrets, Value};
use testmesh_shared::plan::{FaultAction, Plan, Scenario, Stage};
use testmesh_shared::rng::SeedTree;

use super::trace::Tracer;
use super::transcript::Transcript;
use super::watched::Watched;
use crate::driver::Connections;
use crate::integrity::{MeshClock, Truths};
use crate::recorder::{Recorder, StageSeries};

/// One run on one agent, as every worker sees it.
#[derive(Debug)]
pub struct RunFacts {
    /// The run.
    pub run: RunId,
    /// Its plan.
    pub plan: Arc<Plan>,
    /// Its seed.
    pub seed: u64,
    /// This agent.
    pub agent: AgentId,
    /// Where it runs.
    pub site: Site,
    /// The values of the plan's secrets.
    pub secrets: Secrets,
    /// Hears every request and reply.
    pub transcript: Option<Transcript>,
    /// The plan's feeds, in their order of this run.
    pub feeds: Vec<RunFeed>,
    /// The truths that rows of streams are compared with, as far as they are read from elsewhere.
    pub truths: Truths,
}

impl RunFacts {
    /// The feeds of a plan in the run of that seed.
    pub fn feeds_of(plan: &Plan, seed: u64) -> Vec<RunFeed> {
        let feeds = plan.feeds.iter();
        feeds.map(|feed| RunFeed::new(feed, seed)).collect()
    }

    /// The row that a session of a scenario takes of each feed that the scenario reads.
    pub fn rows<'a>(
        &'a self,
        scenario: &'a Scenario,
        session: u64,
    ) -> impl Iterator<Item = (&'a str, Value)> {
        let read = |run: &&RunFeed| {
            scenario
                .feeds
                .iter()
                .any(|feed| Arc::ptr_eq(feed, &run.feed))
        };
        let feeds = self.feeds.iter().filter(read);
        // Of a feed at its end no session was started.
        feeds.filter_map(move |run| Some((run.feed.name.as_str(), run.row(session)?)))
    }

    /// The root of the run's randomness: what sessions draw repeats with the seed.
    pub fn seeds(&self) -> SeedTree {
        SeedTree::new(self.seed)
    }

    /// The bottom of all scopes; `saves` is what setup saved.
    pub fn scope(&self, saves: &serde_json::Map<String, serde_json::Value>) -> Scope<'static> {
        let mut scope = Scope::root();
        scope.set(
            "vars",
            Value::from_json(&serde_json::Value::Object(self.plan.vars.clone())),
        );
        scope.set("secrets", self.secrets.value());
        scope.set_field("agent", "id", self.agent.as_str());
        scope.set_field("agent", "site", self.site.as_str());
        for (name, value) in saves {
            scope.set_field("run", name.clone(), Value::from_json(value));
        }
        scope.set_field("run", "id", self.run.as_str());
        // Seeds are 64 bits; expressions see them as the integer with those bits.
        scope.set_field("run", "seed", self.seed.cast_signed());
        scope
    }
}

/// What all sessions of a run share on one worker.
#[derive(Debug)]
pub struct RunContext {
    /// The run.
    pub facts: Arc<RunFacts>,
    /// Where they record.
    pub recorder: Recorder,
    /// Where their spans go.
    pub tracer: Tracer,
    /// The worker's connections.
    pub connections: Connections,
    /// The coordinator's clock; not known unless it is set.
    pub clock: MeshClock,
    /// What faults wait for.
    pub watched: Watched,
    scope: RefCell<Rc<Scope<'static>>>,
    /// By the place of the stage in memory.
    series: RefCell<HashMap<usize, Rc<StageSeries>>>,
}

impl RunContext {
    /// A run without what setup saves.
    pub fn new(
        facts: Arc<RunFacts>,
        recorder: Recorder,
        tracer: Tracer,
        connections: Connections,
    ) -> Self {
        let scope = RefCell::new(Rc::new(facts.scope(&serde_json::Map::new())));
        let watched = Watched::of(&facts.plan);
        Self {
            facts,
            recorder,
            tracer,
            connections,
            clock: MeshClock::default(),
            watched,
            scope,
            series: RefCell::default(),
        }
    }

    /// The same run, which knows the coordinator's clock.
    #[must_use]
    pub fn with_clock(self, clock: MeshClock) -> Self {
        Self { clock, ..self }
    }

    /// Makes what setup saved visible to sessions that start from now on.
    pub fn set_saves(&self, saves: &serde_json::Map<String, serde_json::Value>) {
        *self.scope.borrow_mut() = Rc::new(self.facts.scope(saves));
    }

    /// The bottom of a session's scopes.
    pub fn scope(&self) -> Rc<Scope<'static>> {
        Rc::clone(&self.scope.borrow())
    }

    /// The series of a stage of the run's plan.
    pub fn series(&self, scenario: &Arc<str>, stage: &Stage) -> Rc<StageSeries> {
        // The plan lives as long as this does, so a stage's place is its name, without comparing any.
        let place = std::ptr::from_ref(stage).addr();
        let mut known = self.series.borrow_mut();
        let series = known.entry(place).or_insert_with(|| {
            StageSeries::new(&self.recorder, scenario, &Arc::from(stage.name.as_str()))
        });
        Rc::clone(series)
    }
}

/// Which stages of a plan a session runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The plan's `setup`.
    SetUp,
    /// The scenario of that place in the plan.
    Scenario(usize),
    /// The plan's `teardown`.
    TearDown,
    /// What injects the fault of that place in the plan.
    Fault(usize),
    /// What reverts it.
    Revert(usize),
}

/// One scenario on one worker; setup and teardown are scenarios of their own.
#[derive(Clone, Debug)]
pub struct ScenarioContext {
    /// The `scenario` label.
    pub name: Arc<str>,
    part: Part,
    plan: Arc<Plan>,
}

impl ScenarioContext {
    /// A part of a plan.
    pub fn new(plan: &Arc<Plan>, part: Part) -> Self {
        let name = match part {
            Part::SetUp => "setup",
            Part::Scenario(at) => plan.scenarios[at].name.as_str(),
            Part::TearDown => "teardown",
            Part::Fault(_) | Part::Revert(_) => "faults",
        };
        Self {
            name: Arc::from(name),
            part,
            plan: Arc::clone(plan),
        }
    }

    /// The scenario of the plan, unless this is setup or teardown.
    pub fn scenario(&self) -> Option<&Scenario> {
        match self.part {
            Part::Scenario(at) => Some(&self.plan.scenarios[at]),
            Part::SetUp | Part::TearDown | Part::Fault(_) | Part::Revert(_) => None,
        }
    }

    /// What a session does.
    pub fn stages(&self) -> &[Stage] {
        match self.part {
            Part::SetUp => &self.plan.setup,
            Part::Scenario(at) => &self.plan.scenarios[at].stages,
            Part::TearDown => &self.plan.teardown,
            Part::Fault(at) | Part::Revert(at) => match &self.plan.faults[at].action {
                FaultAction::Stage { inject, .. } if matches!(self.part, Part::Fault(_)) => inject,
                FaultAction::Stage { revert, .. } => revert,
                FaultAction::Proxy { .. } | FaultAction::Command { .. } => &[],
            },
        }
    }

    /// What a session does at its end, always.
    pub fn cleanup(&self) -> &[Stage] {
        self.scenario().map_or(&[], |scenario| &scenario.cleanup)
    }

    /// What `save` saves into.
    pub fn saves_into(&self) -> &'static str {
        match self.part {
            Part::SetUp | Part::TearDown | Part::Fault(_) | Part::Revert(_) => "run",
            Part::Scenario(_) => "session",
        }
    }

    /// Whether its sessions belong into the run's own trace: there are few of them, and they are what the run does once.
    pub fn joins_run_trace(&self) -> bool {
        // On two agents, one session on each is two.
        let whole = load::Part::whole(2, 0, &self.name);
        self.scenario().is_none_or(|scenario| {
            let load = &scenario.load;
            load.model() == Model::Once && load.planned(&whole) == Some(1)
        })
    }
}
