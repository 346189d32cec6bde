//! The events of one run: kept by number, so that a watcher that lost its connection resumes where it was.
//!
//! The run's driver appends; watchers read at their own pace and never hold the driver up. Of progress only the latest is
//! kept: a slow watcher skips what is out of date anyway. The lock is held to push or to copy, never across an await.
use crate::limits;
use crate::report::model::{EventKind, EventLine};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The run as merged so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Seconds since the start.
    pub elapsed: f64,
    /// The plan's own length in seconds; 0 if it has none.
    pub planned: f64,
    /// One per scenario.
    pub scenarios: Vec<ScenarioProgress>,
    /// Proven to be open at the same time, lately.
    pub streams_open: u64,
    /// Rows received.
    pub rows: u64,
    /// Rows proven wrong.
    pub rows_bad: u64,
    /// Agents that are not lost.
    pub agents_alive: u32,
    /// Agents of the run.
    pub agents: u32,
}

/// One scenario's part of the progress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the glossary, in numbers")]
pub struct ScenarioProgress {
    pub scenario: String,
    pub planned: u64,
    pub started: u64,
    pub active: u64,
    pub passed: u64,
    pub failed: u64,
}

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Something happened.
    Event(Arc<EventLine>),
    /// The run went on: number, coordinator time in nanoseconds since the Unix epoch, and how far it is.
    Progress(u64, i64, Arc<Progress>),
}

impl Told {
    /// Its number within the run.
    pub fn number(&self) -> u64 {
        match self {
            Self::Event(line) => line.number,
            Self::Progress(number, ..) => *number,
        }
    }
}

#[derive(Debug, Default)]
struct Kept {
    events: Vec<Arc<EventLine>>,
    progress: Option<(u64, i64, Arc<Progress>)>,
    next: u64,
    ended: bool,
}

/// The events of one run. Clones share them.
#[derive(Clone, Debug)]
pub struct EventLog {
    kept: Arc<Mutex<Kept>>,
    latest: watch::Sender<u64>,
}

impl Default for EventLog {
    fn default() -> Self {
        Self {
            kept: Arc::default(),
            latest: watch::channel(0).0,
        }
    }
}

impl EventLog {
    /// Appends an event. Beyond the bound, all but the last event of a run are no longer kept.
    pub fn push(&self, at_ns: i64, kind: EventKind) {
        let number = {
            let mut kept = self.lock();
            kept.next += 1;
            let number = kept.next;
            kept.ended |= matches!(kind, EventKind::Ended { .. });
            if kept.events.len() < limits::MAX_RUN_EVENTS || kept.ended {
                kept.events.push(Arc::new(EventLine {
                    number,
                    at_ns,
                    kind,
                }));
            }
            number
        };
        self.latest.send_replace(number);
    }

    /// Replaces the progress.
    pub fn progress(&self, at_ns: i64, progress: Progress) {
        let number = {
            let mut kept = self.lock();
            kept.next += 1;
            kept.progress = Some((kept.next, at_ns, Arc::new(progress)));
            kept.next
        };
        self.latest.send_replace(number);
    }

    /// Everything with a greater number, in order, and whether nothing can follow.
    pub fn after(&self, number: u64) -> (Vec<Told>, bool) {
        let kept = self.lock();
        let from = kept.events.partition_point(|line| line.number <= number);
        let mut told: Vec<_> = kept.events[from..]
            .iter()
            .map(|line| Told::Event(Arc::clone(line)))
            .collect();
        if let Some((at, ns, progress)) = kept.progress.as_ref().filter(|(at, ..)| *at > number) {
            told.push(Told::Progress(*at, *ns, Arc::clone(progress)));
            told.sort_by_key(Told::number);
        }
        (told, kept.ended)
    }

    /// Changes with every event.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// The latest progress.
    pub fn latest_progress(&self) -> Option<Arc<Progress>> {
        self.lock()
            .progress
            .as_ref()
            .map(|(_, _, progress)| Arc::clone(progress))
    }

    /// Every event that is kept.
    pub fn lines(&self) -> Vec<EventLine> {
        self.lock()
            .events
            .iter()
            .map(|line| EventLine::clone(line))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing is left half-done under this lock, so a panic elsewhere does not spoil it.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::VerdictKind;

    fn state(state: &str) -> EventKind {
        EventKind::State {
            state: state.into(),
            reason: String::new(),
        }
    }

    fn numbers(log: &EventLog, after: u64) -> (Vec<u64>, bool) {
        let (told, ended) = log.after(after);
        (told.iter().map(Told::number).collect(), ended)
    }

    #[test]
    fn a_watcher_resumes_and_skips_old_progress() {
        let log = EventLog::default();
        log.push(1, state("queued"));
        log.progress(2, Progress::default());
        log.push(3, state("running"));
        assert_eq!(numbers(&log, 0), (vec![1, 2, 3], false));
        log.progress(4, Progress::default());
        assert_eq!(numbers(&log, 0), (vec![1, 3, 4], false));
        assert_eq!(numbers(&log, 3), (vec![4], false));
        assert_eq!(numbers(&log, 9), (vec![], false));
        log.push(
            5,
            EventKind::Ended {
                verdict: VerdictKind::Passed,
                exit_code: 0,
                reasons: Vec::new(),
            },
        );
        assert_eq!(numbers(&log, 4), (vec![5], true));
        assert_eq!(log.lines().len(), 3);
    }

    #[test]
    fn the_end_is_kept_however_many_events_there_were() {
        let log = EventLog::default();
        for _ in 0..limits::MAX_RUN_EVENTS + 10 {
            log.push(0, state("running"));
        }
        log.push(
            0,
            EventKind::Ended {
                verdict: VerdictKind::Passed,
                exit_code: 0,
                reasons: Vec::new(),
            },
        );
        assert_eq!(log.lines().len(), limits::MAX_RUN_EVENTS + 1);
    }
}
