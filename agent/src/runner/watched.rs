//! What of the sessions of one worker faults wait for: a stage that passes for the first time, and the first session that
//! passes after a fault's end.
//!
//! A worker hears of a fault's end a little later than it was, so the latest passing sessions are remembered.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;

use testmesh_shared::plan::{FaultBegin, Plan};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits;

/// Something that a fault waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A session passed this stage, for the first time on this worker.
    StagePassed {
        /// The scenario.
        scenario: String,
        /// The stage.
        stage: String,
        /// When.
        at: Instant,
    },
    /// A session that started after the fault's end has passed.
    Recovered {
        /// The fault's number in the plan.
        fault: usize,
        /// The session's scenario.
        scenario: String,
        /// When it had passed.
        at: Instant,
    },
}

#[derive(Debug)]
struct Awaited {
    scenario: String,
    stage: String,
    told: Cell<bool>,
}

#[derive(Debug)]
struct Passed {
    scenario: Arc<str>,
    started: Instant,
    ended: Instant,
}

/// A fault that has ended, and whose first passing session is looked for.
#[derive(Debug)]
struct Over {
    fault: usize,
    since: Instant,
    /// Only sessions of this scenario count.
    scenario: Option<String>,
}

/// What faults wait for on one worker.
#[derive(Debug, Default)]
pub struct Watched {
    stages: Vec<Awaited>,
    has_faults: bool,
    passed: RefCell<VecDeque<Passed>>,
    over: RefCell<Vec<Over>>,
    seen: RefCell<Vec<Seen>>,
    news: Notify,
}

impl Watched {
    /// What the faults of a plan wait for.
    pub fn of(plan: &Plan) -> Self {
        let awaited = plan.faults.iter().filter_map(|fault| match &fault.begin {
            FaultBegin::At(_) => None,
            FaultBegin::After {
                scenario, stage, ..
            } => Some(Awaited {
                scenario: scenario.clone(),
                stage: stage.clone(),
                told: Cell::new(false),
            }),
        });
        Self {
            stages: awaited.collect(),
            has_faults: !plan.faults.is_empty(),
            ..Self::default()
        }
    }

    /// A session passed a stage.
    pub fn stage_passed(&self, scenario: &str, stage: &str) {
        let new = self.stages.iter().filter(|awaited| {
            awaited.scenario == scenario && awaited.stage == stage && !awaited.told.replace(true)
        });
        if new.count() > 0 {
            self.tell(Seen::StagePassed {
                scenario: scenario.to_owned(),
                stage: stage.to_owned(),
                at: Instant::now(),
            });
        }
    }

    /// A session passed.
    pub fn session_passed(&self, scenario: &Arc<str>, started: Instant, ended: Instant) {
        if !self.has_faults {
            return;
        }
        let passed = Passed {
            scenario: Arc::clone(scenario),
            started,
            ended,
        };
        let mut over = self.over.borrow_mut();
        over.retain(|over| {
            let found = over.is_overcome_by(&passed);
            if found {
                self.tell(over.recovered(&passed));
            }
            !found
        });
        let mut remembered = self.passed.borrow_mut();
        if remembered.len() >= limits::PASSED_REMEMBERED {
            remembered.pop_front();
        }
        remembered.push_back(passed);
    }

    /// Looks for the first session that started after a fault's end and passed.
    pub fn watch(&self, fault: usize, since: Instant, scenario: Option<String>) {
        let over = Over {
            fault,
            since,
            scenario,
        };
        let remembered = self.passed.borrow();
        let found = remembered
            .iter()
            .filter(|passed| over.is_overcome_by(passed))
            .min_by_key(|passed| passed.ended);
        if let Some(passed) = found {
            return self.tell(over.recovered(passed));
        }
        let mut all = self.over.borrow_mut();
        all.retain(|one| one.fault != fault);
        all.push(over);
    }

    /// Waits until something was seen. Cancel safe.
    pub async fn seen(&self) -> Vec<Seen> {
        loop {
            let seen = self.seen.take();
            if !seen.is_empty() {
                return seen;
            }
            self.news.notified().await;
        }
    }

    fn tell(&self, seen: Seen) {
        self.seen.borrow_mut().push(seen);
        self.news.notify_one();
    }
}

impl Over {
    fn is_overcome_by(&self, passed: &Passed) -> bool {
        let counts = self.scenario.as_deref();
        passed.started >= self.since && counts.is_none_or(|name| name == &*passed.scenario)
    }

    fn recovered(&self, passed: &Passed) -> Seen {
        Seen::Recovered {
            fault: self.fault,
            scenario: passed.scenario.to_string(),
            at: passed.ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::time::Duration;

    fn watched() -> Watched {
        Watched {
            has_faults: true,
            stages: vec![Awaited {
                scenario: "live".into(),
                stage: "open".into(),
                told: Cell::new(false),
            }],
            ..Watched::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stage_is_told_once_and_only_if_it_is_waited_for() {
        let watched = watched();
        watched.stage_passed("live", "close");
        watched.stage_passed("other", "open");
        assert_eq!(watched.seen().now_or_never(), None);
        watched.stage_passed("live", "open");
        watched.stage_passed("live", "open");
        assert_eq!(watched.seen().now_or_never().unwrap().len(), 1);
        assert_eq!(watched.seen().now_or_never(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_session_after_a_fault_is_found_before_and_after_it_is_asked_for() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (live, other): (Arc<str>, Arc<str>) = ("live".into(), "other".into());
        let recovered = |scenario: &str, ms| Seen::Recovered {
            fault: 0,
            scenario: scenario.into(),
            at: at(ms),
        };
        // It started while the fault was there.
        let first = watched();
        first.session_passed(&live, at(90), at(110));
        first.session_passed(&live, at(101), at(130));
        first.session_passed(&live, at(102), at(120));
        first.watch(0, at(100), None);
        assert_eq!(first.seen().await, [recovered("live", 120)]);
        let later = watched();
        later.watch(0, at(100), Some("live".into()));
        later.session_passed(&live, at(99), at(101));
        later.session_passed(&other, at(105), at(106));
        assert_eq!(later.seen().now_or_never(), None);
        later.session_passed(&live, at(100), at(107));
        later.session_passed(&live, at(101), at(108));
        assert_eq!(later.seen().await, [recovered("live", 107)]);
        assert_eq!(later.seen().now_or_never(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let watched = watched();
        let live: Arc<str> = "live".into();
        for _ in 0..2 * limits::PASSED_REMEMBERED {
            watched.session_passed(&live, Instant::now(), Instant::now());
        }
        assert_eq!(watched.passed.borrow().len(), limits::PASSED_REMEMBERED);
    }
}
