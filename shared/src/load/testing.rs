//! What the tests of load models share: a load read from a plan, whole runs of it, and pacers that are played.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use super::{Freed, LoadModel, Pace, Part, Planned, Slots, Start, WorkerShare};
use crate::plan::tests::fake::plan;
use crate::segment::{Share, shares};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// A load as a plan writes it.
pub(super) fn load(text: &str) -> Box<dyn LoadModel> {
    let text = format!(
        "testmesh: v1\nname: t\ntargets: {{ web: {{ http: http://x }} }}\nscenarios:\n  s:\n    load: {text}\n    stages:\n      - {{ name: a, http: {{ target: web, get: / }} }}\n"
    );
    plan(&text).scenarios.remove(0).load
}

/// The parts of a run whose agents have these weights.
pub(super) fn parts(weights: &[u32]) -> Vec<Part> {
    let agents = u32::try_from(weights.len()).unwrap();
    let part = |(agent, share): (u32, Share)| Part {
        share,
        agent,
        ..Part::whole(agents, 7, "s")
    };
    (0..).zip(shares(weights)).map(part).collect()
}

/// All starts of a run whose agents have these weights, each agent's in the order of time.
pub(super) fn starts(load: &dyn LoadModel, weights: &[u32]) -> Vec<Start> {
    let mut all = Vec::new();
    for part in parts(weights) {
        let own: Vec<Start> = load.starts(&part).collect();
        assert!(own.is_sorted_by_key(|start| start.at), "{own:?}");
        all.extend(own);
    }
    all.sort_unstable();
    all
}

/// What playing one worker came to.
#[derive(Debug, Default)]
pub(super) struct Played {
    pub(super) started: Vec<Planned>,
    pub(super) dropped: u64,
    /// The promise that the pacer gave.
    pub(super) planned: Option<u64>,
}

/// Runs the pacer of one worker with sessions of one length.
pub(super) fn play(
    load: &dyn LoadModel,
    share: WorkerShare,
    length: Duration,
    failed: bool,
) -> Played {
    let mut pacer = load.pacer(share);
    let mut played = Played {
        planned: pacer.planned(),
        ..Played::default()
    };
    let (mut now, mut running) = (Duration::ZERO, BinaryHeap::new());
    loop {
        let wait = match pacer.try_acquire(now) {
            Pace::Start(planned) => {
                running.push(Reverse((now + length, now, planned.virtual_user)));
                played.started.push(planned);
                continue;
            }
            Pace::Dropped => {
                played.dropped += 1;
                continue;
            }
            Pace::Until(at) => {
                assert!(at > now, "it was due");
                Some(at)
            }
            Pace::Held => None,
            Pace::Done => return played,
        };
        let next_end = running.peek().map(|Reverse((ended, ..))| *ended);
        let next = wait.into_iter().chain(next_end).min();
        now = next.expect("a held pacer has sessions running").max(now);
        while let Some(&Reverse((ended, began, virtual_user))) =
            running.peek().filter(|one| one.0.0 <= now)
        {
            running.pop();
            pacer.release(Freed {
                virtual_user,
                started: began,
                ended,
                failed,
            });
        }
    }
}

/// The share of a worker that is alone on an agent with this part.
pub(super) fn alone(part: Part, load: &dyn LoadModel) -> WorkerShare {
    workers(part, load, 1).remove(0)
}

/// The shares of the workers of an agent.
pub(super) fn workers(part: Part, load: &dyn LoadModel, of: usize) -> Vec<WorkerShare> {
    let slots = load.max_sessions().unwrap_or_default();
    let slots = Arc::new(Slots::new(&part.share, slots));
    let share = |worker| WorkerShare {
        part: part.clone(),
        worker,
        of,
        slots: Arc::clone(&slots),
    };
    (0..of).map(share).collect()
}

/// A run of one agent with one worker.
pub(super) fn run(text: &str, length: Duration) -> Played {
    let load = load(text);
    let share = alone(Part::whole(1, 7, "s"), load.as_ref());
    play(load.as_ref(), share, length, false)
}
