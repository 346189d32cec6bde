//! The faults of one run on this agent, and the proxies that it runs for them.
use super::proxy::{Opening, ProxyError, ProxyHandle, ProxyProgram};
use super::task::FaultTask;
use crate::limits;
use crate::runner::worker::RunCommand;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use testmesh_proto::v1::{self, fault::Order, fault_state};
use testmesh_shared::plan::Plan;
use testmesh_shared::rng::SeedTree;
use testmesh_shared::shutdown::Tasks;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Why an agent cannot take part in a run because of its proxies.
#[derive(Debug, Error)]
pub enum FaultsError {
    /// The plan has no such proxy.
    #[error("the plan has no proxy `{0}`")]
    Unknown(String),
    /// It does not start or listen.
    #[error("proxy `{name}` of the plan does not run on this agent: {source}")]
    Proxy {
        /// The proxy.
        name: String,
        /// Why.
        source: ProxyError,
    },
}

/// What the faults of a run work with.
#[derive(Debug)]
pub struct Means {
    /// Proxies that run here.
    pub proxies: HashMap<String, ProxyHandle>,
    /// Runs their stages.
    pub worker: mpsc::Sender<RunCommand>,
    /// Whether plans may run commands here.
    pub allow_commands: bool,
}

impl Means {
    /// Starts these proxies of a plan. All listen when this returns.
    ///
    /// # Errors
    ///
    /// If one does not; the others end.
    pub async fn start(
        plan: &Plan,
        names: &[String],
        seed: u64,
        program: &ProxyProgram,
        tasks: &Tasks,
    ) -> Result<HashMap<String, ProxyHandle>, FaultsError> {
        let mut proxies = HashMap::new();
        for name in names {
            let proxy = plan.proxy(name);
            let proxy = proxy.ok_or_else(|| FaultsError::Unknown(name.clone()))?;
            let seeds = SeedTree::new(seed).child("proxies").child(name);
            let opening = Opening {
                listen: proxy.listen,
                to: proxy.to.clone(),
                seed: seeds.number(),
                linger_ms: u64::try_from(limits::PROXY_LINGER.as_millis()).unwrap_or(u64::MAX),
            };
            let started = ProxyHandle::start(program, opening, tasks).await;
            let handle = started.map_err(|source| FaultsError::Proxy {
                name: name.clone(),
                source,
            })?;
            proxies.insert(name.clone(), handle);
        }
        Ok(proxies)
    }
}

/// What a fault's task is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Do {
    Inject { lease: Duration },
    Renew { lease: Duration },
    Revert { unasked: bool },
}

/// How a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Injected,
    InjectFailed,
    Reverted,
    RevertFailed,
}

/// What a fault's task says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The fault.
    pub fault: String,
    pub(super) state: State,
    /// When that was.
    pub at: Instant,
    /// What failed, or what the fault did.
    pub detail: String,
    /// Nobody had told it to.
    pub unasked: bool,
}

impl Told {
    /// The state on the wire.
    pub fn state(&self) -> fault_state::State {
        match self.state {
            State::Injected => fault_state::State::Injected,
            State::InjectFailed => fault_state::State::InjectFailed,
            State::Reverted => fault_state::State::Reverted,
            State::RevertFailed => fault_state::State::RevertFailed,
        }
    }

    /// Whether the fault still needs to be put right, as far as this agent knows.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Injected | State::InjectFailed)
    }
}

/// The faults of one run. Dropping it puts right what is held, and then ends the proxies.
#[derive(Debug)]
pub struct Faults {
    /// They stay as long as the run, also if no fault acts on them.
    _proxies: Vec<ProxyHandle>,
    orders: HashMap<String, mpsc::Sender<Do>>,
}

impl Faults {
    /// One task for each fault of the plan. What they say comes out of the channel.
    pub fn start(plan: &Arc<Plan>, means: Means, tasks: &Tasks) -> (Self, mpsc::Receiver<Told>) {
        let (told, says) = mpsc::channel(plan.faults.len().max(1) * 4);
        let proxies = means.proxies.values().cloned().collect();
        let means = Arc::new(means);
        let mut orders = HashMap::new();
        for (place, fault) in plan.faults.iter().enumerate() {
            let (sender, taken) = mpsc::channel(limits::FAULT_ORDERS);
            let task = FaultTask::new(
                Arc::clone(plan),
                place,
                Arc::clone(&means),
                taken,
                told.clone(),
            );
            tasks.spawn("fault", task.run());
            orders.insert(fault.name.clone(), sender);
        }
        let faults = Self {
            _proxies: proxies,
            orders,
        };
        (faults, says)
    }

    /// Passes on what the coordinator wants. An order that has no room is repeated by it, or made good by the lease.
    pub fn order(&self, order: &v1::Fault) {
        let lease = Duration::from_millis(order.lease_ms.into());
        let what = match order.order() {
            Order::Inject => Do::Inject { lease },
            Order::Renew => Do::Renew { lease },
            Order::Revert => Do::Revert { unasked: false },
            // Sessions are watched by the workers.
            Order::Watch | Order::Unspecified => return,
        };
        match self.orders.get(&order.fault) {
            Some(orders) => {
                if orders.try_send(what).is_err() {
                    tracing::warn!(fault = order.fault, ?what, "an order had no room");
                }
            }
            None => tracing::warn!(fault = order.fault, "the plan has no such fault"),
        }
    }

    /// The agent leaves: what it holds is put right.
    pub fn leave(&self) {
        for orders in self.orders.values() {
            let _ = orders.try_send(Do::Revert { unasked: true });
        }
    }
}
