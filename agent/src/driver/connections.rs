//! Who shares which connection: per session, per virtual user, or a fixed number for all sessions of an agent.
//!
//! A [`Connections`] belongs to one session and reaches the stores of its virtual user and of its worker. Connections live
//! on the worker's runtime and never leave it. A store is bounded: the pool that was used least recently goes first.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};

use testmesh_shared::plan::Pool;
use tokio::sync::Mutex;

use super::limits;
use super::transport::Gate;

/// A connection that can be used again.
pub trait Reusable: 'static {
    /// Whether a further request may be tried on it.
    fn is_open(&self) -> bool;
}

/// The connections that one session may use.
#[derive(Debug, Clone)]
pub struct Connections {
    worker: Rc<Worker>,
    virtual_user: Rc<Store>,
    session: Rc<Store>,
    shared: Arc<Shared>,
}

/// What all workers of an agent share in one run, by its type. It ends with the last of them.
#[derive(Default)]
pub struct Shared(SyncMutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl Shared {
    /// The one value of that type, made when it is first needed.
    pub fn of<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        // Nothing is left half-done under this lock.
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = values
            .entry(TypeId::of::<T>())
            .or_insert_with(|| Arc::new(T::default()));
        Arc::clone(value)
            .downcast()
            .unwrap_or_else(|_| unreachable!("values are kept by their type"))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

impl Connections {
    /// The root of one worker, which is `index` of `workers`. `gate` is the agent's: it bounds connects in flight.
    pub fn worker(index: u32, workers: u32, gate: &Arc<Gate>) -> Self {
        let worker = Worker {
            store: Store::default(),
            gate: Arc::clone(gate),
            index,
            workers,
        };
        Self {
            worker: Rc::new(worker),
            virtual_user: Rc::default(),
            session: Rc::default(),
            shared: Arc::default(),
        }
    }

    /// The same, with what all workers of the agent share in the run.
    #[must_use]
    pub fn sharing(self, shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            ..self
        }
    }

    /// The one value of that type that all workers of the agent share in the run.
    pub fn shared<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        self.shared.of()
    }

    /// For a virtual user of this worker, with no connection yet.
    #[must_use]
    pub fn for_virtual_user(&self) -> Self {
        Self {
            worker: Rc::clone(&self.worker),
            virtual_user: Rc::default(),
            session: Rc::default(),
            shared: Arc::clone(&self.shared),
        }
    }

    /// For a session of this virtual user. Its own connections close when the last clone is dropped.
    #[must_use]
    pub fn for_session(&self) -> Self {
        Self {
            worker: Rc::clone(&self.worker),
            virtual_user: Rc::clone(&self.virtual_user),
            session: Rc::default(),
            shared: Arc::clone(&self.shared),
        }
    }

    /// The agent's bound on connects in flight.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.worker.gate
    }

    /// This worker's part of an agent's `count` connections; at least one.
    pub fn share(&self, count: u32) -> u32 {
        self.worker.share(count)
    }

    /// The connection that `sharing` grants under `key`, opened first if there is none. Of callers that need the same one,
    /// one opens it and the others wait.
    ///
    /// # Errors
    ///
    /// The error of `open`; the next caller tries again.
    pub async fn open<T: Reusable, E>(
        &self,
        sharing: Pool,
        key: &str,
        open: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<Rc<T>, E> {
        let slot = match sharing {
            Pool::Session => self.session.slot(key, 1),
            Pool::VirtualUser => self.virtual_user.slot(key, 1),
            Pool::Shared(count) => self.worker.store.slot(key, self.worker.share(count)),
        };
        let mut held = slot.lock().await;
        if let Some(known) = held
            .as_ref()
            .and_then(|known| Rc::clone(known).downcast::<T>().ok())
            && known.is_open()
        {
            return Ok(known);
        }
        let opened = Rc::new(open().await?);
        *held = Some(Rc::clone(&opened) as Rc<dyn Any>);
        Ok(opened)
    }
}

#[derive(Debug)]
struct Worker {
    store: Store,
    gate: Arc<Gate>,
    index: u32,
    workers: u32,
}

impl Worker {
    /// This worker's part of an agent's `count` connections; at least one, because every worker has sessions.
    fn share(&self, count: u32) -> u32 {
        let workers = self.workers.max(1);
        (count / workers + u32::from(self.index < count % workers)).max(1)
    }
}

/// A place for one connection; the lock is held while it is being opened.
type Slot = Rc<Mutex<Option<Rc<dyn Any>>>>;

#[derive(Default)]
struct Store {
    pools: RefCell<HashMap<Box<str>, Slots>>,
    clock: Cell<u64>,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    next: usize,
    used: u64,
}

impl Store {
    /// The next of `count` slots under `key`, in turn.
    fn slot(&self, key: &str, count: u32) -> Slot {
        let mut pools = self.pools.borrow_mut();
        let now = self.clock.get() + 1;
        self.clock.set(now);
        if let Some(pool) = pools.get_mut(key) {
            return pool.turn(now);
        }
        if pools.len() >= limits::POOLS {
            let oldest = pools
                .iter()
                .min_by_key(|(_, pool)| pool.used)
                .map(|(key, _)| key.clone());
            pools.remove(&oldest.expect("a full store has a pool"));
        }
        let pool = pools.entry(key.into()).or_default();
        pool.slots
            .resize_with(usize::try_from(count).unwrap_or(usize::MAX), Slot::default);
        pool.turn(now)
    }
}

impl Slots {
    fn turn(&mut self, now: u64) -> Slot {
        self.used = now;
        self.next = (self.next + 1) % self.slots.len();
        Rc::clone(&self.slots[self.next])
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.pools.borrow().keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Line(Cell<bool>);

    impl Reusable for Line {
        fn is_open(&self) -> bool {
            self.0.get()
        }
    }

    async fn opened(connections: &Connections, sharing: Pool) -> Rc<Line> {
        connections
            .open(sharing, "a", async || Ok::<_, ()>(Line(Cell::new(true))))
            .await
            .expect("opens")
    }

    #[tokio::test]
    async fn each_sharing_gives_the_connection_to_whom_it_says() {
        let worker = Connections::worker(0, 1, &Arc::default());
        let user = worker.for_virtual_user();
        let (one, two) = (user.for_session(), user.for_session());
        let other = worker.for_virtual_user().for_session();
        assert!(Rc::ptr_eq(
            &opened(&one, Pool::Session).await,
            &opened(&one, Pool::Session).await
        ));
        assert!(!Rc::ptr_eq(
            &opened(&one, Pool::Session).await,
            &opened(&two, Pool::Session).await
        ));
        assert!(Rc::ptr_eq(
            &opened(&one, Pool::VirtualUser).await,
            &opened(&two, Pool::VirtualUser).await
        ));
        assert!(!Rc::ptr_eq(
            &opened(&one, Pool::VirtualUser).await,
            &opened(&other, Pool::VirtualUser).await
        ));
        let shared = opened(&one, Pool::Shared(2)).await;
        assert!(!Rc::ptr_eq(&shared, &opened(&other, Pool::Shared(2)).await));
        assert!(Rc::ptr_eq(&shared, &opened(&two, Pool::Shared(2)).await));
    }

    #[tokio::test]
    async fn a_connection_that_closed_is_replaced() {
        let connections = Connections::worker(0, 1, &Arc::default());
        let first = opened(&connections, Pool::Session).await;
        first.0.set(false);
        assert!(opened(&connections, Pool::Session).await.is_open());
    }

    #[tokio::test]
    async fn a_store_forgets_what_was_used_least_recently() {
        let connections = Connections::worker(0, 1, &Arc::default());
        for address in 0..=limits::POOLS {
            let open = async || Ok::<_, ()>(Line(Cell::new(true)));
            connections
                .open(Pool::Session, &address.to_string(), open)
                .await
                .expect("opens");
        }
        let pools = connections.session.pools.borrow();
        assert_eq!(pools.len(), limits::POOLS);
        assert!(!pools.contains_key("0"));
    }

    #[test]
    fn workers_share_connections_exactly() {
        let shares: Vec<_> = (0..3)
            .map(|index| {
                Connections::worker(index, 3, &Arc::default())
                    .worker
                    .share(7)
            })
            .collect();
        assert_eq!(shares, [3, 2, 2]);
    }
}
