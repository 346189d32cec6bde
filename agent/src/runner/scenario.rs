//! One scenario on one worker: the pacer asks, the pool starts, the terminator stops.

use std::sync::Arc;
use std::time::Duration;

use testmesh_shared::load::{Pace, Pacer};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::pool::SessionPool;
use super::terminate::{Stop, Terminate, Terminator};
use crate::limits;

/// One scenario on one worker: run it once.
#[derive(Debug)]
pub struct ScenarioLoop {
    /// Says when sessions start.
    pub pacer: Box<dyn Pacer>,
    /// Runs them.
    pub pool: SessionPool,
    /// Says when it is over.
    pub terminator: Terminator,
    /// What the run is asked to do.
    pub stop: watch::Receiver<Stop>,
    /// When the scenario begins.
    pub begin: Beginning,
    /// How many workers of the agent have ended each scenario.
    pub ended: Arc<Ended>,
    /// The scenario's place in the plan.
    pub place: usize,
}

/// When a scenario begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Then.
    At(Instant),
    /// When all workers of this agent have ended the scenario at that place of the plan, and not before then.
    After(usize, Instant),
}

/// How many workers of an agent have ended each scenario of a run.
#[derive(Debug)]
pub struct Ended {
    workers: usize,
    scenarios: Vec<watch::Sender<usize>>,
}

impl Ended {
    /// None has.
    pub fn new(workers: usize, scenarios: usize) -> Self {
        Self {
            workers,
            scenarios: (0..scenarios).map(|_| watch::channel(0).0).collect(),
        }
    }

    /// One worker has ended that scenario, or has no part in it.
    pub fn end(&self, place: usize) {
        self.scenarios[place].send_modify(|ended| *ended += 1);
    }

    async fn wait_for(&self, place: usize) {
        let mut ended = self.scenarios[place].subscribe();
        // The sender lives as long as this does.
        let _ = ended.wait_for(|ended| *ended >= self.workers).await;
    }
}

impl ScenarioLoop {
    /// Runs until no session is in flight and none will start. Returns how late it began.
    pub async fn run(mut self) -> Duration {
        let mut asked: Option<(Stop, Duration)> = None;
        let late = self.wait_for_start().await;
        loop {
            let now = self.elapsed();
            asked = self.hear(asked, now);
            // What was planned to start before the end starts, even if this loop comes late to it.
            if asked.is_none() && self.terminator.end.is_some_and(|end| now >= end) {
                self.start_due(now).await;
            }
            let wake = match self.terminator.decide(now, asked) {
                Terminate::Continue => match self.start_due(now).await {
                    Some(wake) => wake.into_iter().chain(self.terminator.end).min(),
                    None if self.pool.is_empty() => break,
                    None => self.terminator.end,
                },
                Terminate::Finish { .. } if self.pool.is_empty() => break,
                Terminate::Finish { grace_until } if now >= grace_until => {
                    self.pool.interrupt();
                    None
                }
                Terminate::Finish { grace_until } => Some(grace_until),
            };
            self.wait(wake).await;
        }
        self.pool.close();
        self.ended.end(self.place);
        late
    }

    /// A run that is stopped before it starts ends at once.
    async fn wait_for_start(&mut self) -> Duration {
        let mut stop = self.stop.clone();
        let begun = async {
            match self.begin {
                Beginning::At(at) => {
                    sleep_until(at).await;
                    at
                }
                Beginning::After(place, at) => {
                    sleep_until(at).await;
                    self.ended.wait_for(place).await;
                    Instant::now()
                }
            }
        };
        let (start, late) = tokio::select! {
            start = begun => (start, Instant::now().saturating_duration_since(start)),
            _ = stop.wait_for(|stop| *stop > Stop::No) => (Instant::now(), Duration::ZERO),
        };
        self.pool.begin(start);
        late
    }

    /// Starts everything that is due. None: no session will be due any more; else when to ask again, if time decides that.
    async fn start_due(&mut self, now: Duration) -> Option<Option<Duration>> {
        let mut burst = 0_u32;
        loop {
            match self.pacer.try_acquire(now) {
                Pace::Start(planned) => {
                    self.pool.start(planned);
                    burst += 1;
                    if burst.is_multiple_of(limits::BURST_WITHOUT_YIELD) {
                        tokio::task::yield_now().await;
                    }
                }
                Pace::Dropped => self.pool.drop_one(),
                Pace::Until(at) => return Some(Some(at)),
                Pace::Held => return Some(None),
                Pace::Done => return None,
            }
        }
    }

    /// Waits for a session to end, for the time, or for a word.
    async fn wait(&mut self, wake: Option<Duration>) {
        let begun = self.pool.begun();
        let alarm = async {
            match wake {
                Some(at) => sleep_until(begun + at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(freed) = self.pool.ended() => self.pacer.release(freed),
            () = alarm => {}
            Ok(()) = self.stop.changed() => {}
            else => tokio::task::yield_now().await,
        }
    }

    /// The strongest word so far, and when it came. A worker that is gone can say nothing: sessions are cut.
    fn hear(&self, asked: Option<(Stop, Duration)>, now: Duration) -> Option<(Stop, Duration)> {
        let stop = if self.stop.has_changed().is_err() {
            Stop::Abort
        } else {
            *self.stop.borrow()
        };
        match asked {
            Some((before, _)) if before >= stop => asked,
            _ if stop == Stop::No => asked,
            _ => Some((stop, now)),
        }
    }

    fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(self.pool.begun())
    }
}
