//! Which jobs exist: the lowest free slot for each new one, until its clean-up has closed its port.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpSocket;

use super::job::Job;
use super::ports::{Ports, bind};

/// The jobs of one testbed.
#[derive(Debug)]
pub(crate) struct Registry {
    ip: IpAddr,
    ports: Ports,
    on_conflict: OnConflict,
    table: Mutex<Table>,
}

/// What to do with a slot whose port another process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnConflict {
    /// Take the next slot.
    Skip,
    /// Fail, as the real server does: every new job, until the port is free.
    Fail,
}

#[derive(Debug)]
struct Table {
    slots: Vec<Slot>,
    sequence: u64,
}

#[derive(Debug)]
enum Slot {
    Free,
    /// A job is being admitted, or its connections are being closed.
    Held,
    Taken(Arc<Job>),
}

/// Why no job was admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AdmitError {
    #[error("no free slot: {limit} jobs are running, which is the limit")]
    Full { limit: usize },
    #[error("Service creation failed: NodePort {port} already allocated")]
    PortTaken { port: u16 },
}

/// What a new job is called and where it will listen.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) slot: u16,
    pub(crate) id: String,
    pub(crate) port: u16,
    /// Bound, not listening.
    pub(crate) socket: TcpSocket,
}

impl Registry {
    pub(crate) fn new(ip: IpAddr, ports: Ports, jobs: u16, on_conflict: OnConflict) -> Self {
        let slots = (0..jobs).map(|_| Slot::Free).collect();
        Self {
            ip,
            ports,
            on_conflict,
            table: Mutex::new(Table { slots, sequence: 0 }),
        }
    }

    /// The port of slot 0.
    pub(crate) fn base(&self) -> u16 {
        self.ports.base
    }

    /// Takes the lowest free slot; [`Registry::insert`] puts the job in it.
    pub(crate) fn admit(&self) -> Result<Admission, AdmitError> {
        let mut table = self.table();
        let limit = table.slots.len();
        let mut conflict = None;
        for (slot, state) in (0..).zip(&mut table.slots) {
            if !matches!(state, Slot::Free) {
                continue;
            }
            let port = self.ports.base + slot;
            match bind(SocketAddr::new(self.ip, port)) {
                Ok(socket) => {
                    *state = Slot::Held;
                    table.sequence += 1;
                    return Ok(Admission {
                        slot,
                        id: format!("{slot}-{}", table.sequence),
                        port,
                        socket,
                    });
                }
                Err(error) => {
                    tracing::warn!(port, %error, "failed to bind a job's port");
                    conflict = Some(AdmitError::PortTaken { port });
                    if self.on_conflict == OnConflict::Fail {
                        break;
                    }
                }
            }
        }
        Err(conflict.unwrap_or(AdmitError::Full { limit }))
    }

    /// Makes an admitted job known.
    pub(crate) fn insert(&self, job: &Arc<Job>) {
        self.set(job.slot, Slot::Taken(Arc::clone(job)));
    }

    /// Forgets a job whose clean-up has begun; its slot stays held.
    pub(crate) fn forget(&self, slot: u16) {
        self.set(slot, Slot::Held);
    }

    /// Frees a slot, once its port is closed.
    pub(crate) fn release(&self, slot: u16) {
        self.set(slot, Slot::Free);
    }

    /// The job of an id.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Job>> {
        let slot: usize = id.split_once('-')?.0.parse().ok()?;
        match self.table().slots.get(slot)? {
            Slot::Taken(job) if job.id == id => Some(Arc::clone(job)),
            _ => None,
        }
    }

    /// All jobs, by slot.
    pub(crate) fn list(&self) -> Vec<Arc<Job>> {
        let table = self.table();
        let jobs = table.slots.iter().filter_map(|slot| match slot {
            Slot::Taken(job) => Some(Arc::clone(job)),
            Slot::Free | Slot::Held => None,
        });
        jobs.collect()
    }

    fn set(&self, slot: u16, state: Slot) {
        if let Some(place) = self.table().slots.get_mut(usize::from(slot)) {
            *place = state;
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
