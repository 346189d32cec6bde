//! One fault on this agent, from its order to its end.
//!
//! A fault is held as long as its lease. Whoever holds it puts it right when it is told to, when the lease ends without a
//! renewal, and when the run is released; and says so each time.
use super::command;
use super::faults::{Do, Means, State, Told};
use super::proxy::{Counts, Effect, Order, ProxyHandle};
use crate::limits;
use crate::runner::worker::{FaultPart, RunCommand};
use std::sync::Arc;
use std::time::Duration;
use testmesh_shared::plan::{Fault, FaultAction, Plan};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

/// How often a fault is tried to be put right before that is given up here.
const TRIES: u32 = 3;
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// One fault on this agent.
pub(super) struct FaultTask {
    plan: Arc<Plan>,
    place: usize,
    means: Arc<Means>,
    orders: mpsc::Receiver<Do>,
    told: mpsc::Sender<Told>,
    /// Held until then.
    held: Option<Instant>,
    /// What was said last.
    said: Option<Told>,
    /// What the proxy had done before.
    before: Counts,
}

impl FaultTask {
    pub(super) fn new(
        plan: Arc<Plan>,
        place: usize,
        means: Arc<Means>,
        orders: mpsc::Receiver<Do>,
        told: mpsc::Sender<Told>,
    ) -> Self {
        Self {
            plan,
            place,
            means,
            orders,
            told,
            held: None,
            said: None,
            before: Counts::default(),
        }
    }

    /// Serves orders until the run is released.
    pub(super) async fn run(mut self) {
        loop {
            let lease = self.held;
            let expired = async {
                match lease {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // A renewal that has come counts, however late this task is.
                biased;
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => break,
                },
                () = expired => self.revert(true).await,
            }
        }
        if self.held.is_some() {
            self.revert(true).await;
        }
    }

    async fn obey(&mut self, order: Do) {
        match order {
            Do::Inject { lease } if self.held.is_some() => {
                self.renew(lease).await;
                self.say_again().await;
            }
            Do::Inject { lease } => self.inject(lease).await,
            Do::Renew { lease } if self.held.is_some() => self.renew(lease).await,
            Do::Renew { .. } => self.say_again().await,
            Do::Revert { .. } if self.is_reverted() => self.say_again().await,
            Do::Revert { unasked } => {
                // An agent that leaves has nothing to do with what others hold.
                if !unasked || self.held.is_some() {
                    self.revert(unasked).await;
                }
            }
        }
    }

    fn fault(&self) -> &Fault {
        &self.plan.faults[self.place]
    }

    fn is_reverted(&self) -> bool {
        let reverted = |told: &Told| told.state == State::Reverted;
        self.held.is_none() && self.said.as_ref().is_some_and(reverted)
    }

    async fn inject(&mut self, lease: Duration) {
        self.held = Some(Instant::now() + lease);
        let result = match &self.fault().action {
            FaultAction::Proxy { proxy, effect } => {
                let order = Order::Inject {
                    fault: self.fault().name.clone(),
                    effect: Effect::from(*effect),
                    lease_ms: millis(lease),
                };
                let before = order_proxy(&self.means, proxy, order).await;
                before.map(|before| self.before = before)
            }
            _ => self.act(FaultPart::Inject).await.map(drop),
        };
        match result {
            Ok(()) => self.say(State::Injected, String::new(), false).await,
            Err(error) => self.say(State::InjectFailed, error, false).await,
        }
    }

    async fn renew(&mut self, lease: Duration) {
        self.held = Some(Instant::now() + lease);
        let FaultAction::Proxy { proxy, .. } = &self.fault().action else {
            return;
        };
        let order = Order::Renew {
            fault: self.fault().name.clone(),
            lease_ms: millis(lease),
        };
        if let Err(error) = order_proxy(&self.means, proxy, order).await {
            tracing::warn!(fault = self.fault().name, error, "a fault ended by itself");
            self.revert(true).await;
        }
    }

    /// Puts it right, if need be in several tries.
    async fn revert(&mut self, unasked: bool) {
        let mut failures = 0;
        let result = loop {
            match self.revert_once().await {
                Err(error) if failures + 1 < TRIES => {
                    failures += 1;
                    tracing::warn!(
                        fault = self.fault().name,
                        error,
                        "not reverted, trying again"
                    );
                    sleep(PAUSE).await;
                }
                result => break result,
            }
        };
        self.held = None;
        match result {
            Ok(detail) => self.say(State::Reverted, detail, unasked).await,
            Err(error) => self.say(State::RevertFailed, error, unasked).await,
        }
    }

    async fn revert_once(&self) -> Result<String, String> {
        match &self.fault().action {
            FaultAction::Proxy { proxy, .. } => {
                let fault = self.fault().name.clone();
                let counts = order_proxy(&self.means, proxy, Order::Revert { fault }).await?;
                Ok(counts.since(self.before).to_string())
            }
            _ => self.act(FaultPart::Revert).await,
        }
    }

    /// Runs the stage or command of that part.
    async fn act(&self, part: FaultPart) -> Result<String, String> {
        match &self.fault().action {
            FaultAction::Proxy { .. } => Err("a proxy has no parts".into()),
            FaultAction::Stage { revert, .. } if part == FaultPart::Revert && revert.is_empty() => {
                Ok(String::new())
            }
            FaultAction::Stage { .. } => self.run_stage(part).await.map(|()| String::new()),
            FaultAction::Command {
                inject,
                revert,
                within,
            } => {
                let words = match part {
                    FaultPart::Inject => inject,
                    FaultPart::Revert => revert,
                };
                if words.is_empty() {
                    return Ok(String::new());
                }
                if !self.means.allow_commands {
                    return Err("this agent was not started with --allow-commands".into());
                }
                let printed = command::run(words, *within).await;
                printed.map_err(|error| error.to_string())
            }
        }
    }

    async fn run_stage(&self, part: FaultPart) -> Result<(), String> {
        let (done, mut ended) = mpsc::channel(1);
        let fault = self.place;
        let command = RunCommand::Fault { fault, part, done };
        let gone = || "the worker that runs its stage has ended".to_owned();
        self.means.worker.send(command).await.map_err(|_| gone())?;
        ended.recv().await.unwrap_or_else(|| Err(gone()))
    }

    async fn say(&mut self, state: State, detail: String, unasked: bool) {
        let told = Told {
            fault: self.fault().name.clone(),
            state,
            at: Instant::now(),
            detail,
            unasked,
        };
        tracing::info!(
            fault = told.fault,
            ?state,
            detail = told.detail,
            unasked,
            "fault"
        );
        self.said = Some(told.clone());
        // A run that was released needs to know nothing more.
        let _ = self.told.send(told).await;
    }

    async fn say_again(&self) {
        if let Some(told) = &self.said {
            let _ = self.told.send(told.clone()).await;
        }
    }
}

async fn order_proxy(means: &Means, proxy: &str, order: Order) -> Result<Counts, String> {
    let handle: Option<&ProxyHandle> = means.proxies.get(proxy);
    let handle = handle.ok_or_else(|| format!("this agent does not run the proxy `{proxy}`"))?;
    let done = handle.order(order).await;
    done.map_err(|error| format!("proxy `{proxy}`: {error}"))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How long a stage of a fault may take.
pub(crate) fn longest(stages: &[testmesh_shared::plan::Stage]) -> Duration {
    let longest = stages.iter().map(|stage| stage.timeout);
    let longest = longest.map(|timeout| timeout.unwrap_or(limits::FAULT_STAGE));
    longest.max().unwrap_or(limits::FAULT_STAGE)
}
